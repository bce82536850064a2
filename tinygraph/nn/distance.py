"""Distances as modules: CosineSimilarity and PairwiseDistance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygraph.nn import functional
from tinygraph.nn.module import Module

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class CosineSimilarity(Module):
    """x1 . x2 / (max(|x1|, eps) * max(|x2|, eps)) along `dim`."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim, self.eps = dim, eps

    def forward(self, x1: Numeric, x2: Numeric) -> Any:
        return functional.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps along the last axis."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Numeric, x2: Numeric) -> Any:
        return functional.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
