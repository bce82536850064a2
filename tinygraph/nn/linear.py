"""Layers that are tables of weights: Linear, Bilinear, Identity, Embedding and EmbeddingBag."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.state import default_generator, write
from tinygraph.core.tensor import Tensor
from tinygraph.errors import SettingError, ShapeError
from tinygraph.nn import functional, init
from tinygraph.nn.module import Module
from tinygraph.nn.parameter import Parameter, zeros_parameter

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class Identity(Module):
    """Returns its input; arguments are ignored."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def forward(self, input: Numeric) -> Any:
        return input


class Linear(Module):
    """input @ weight.T + bias.

    Shapes: input (..., in_features), weight (out_features, in_features), bias (out_features,).
    Initial values are uniform in [-b, b), b = 1 / sqrt(in_features).

    >>> import numpy as np
    >>> Linear(4, 2)(np.ones((3, 4), np.float32)).shape
    (3, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: object = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.in_features = in_features
        self.out_features = out_features
        self.weight = zeros_parameter((out_features, in_features), dtype, device)
        self.bias = zeros_parameter(out_features, dtype, device) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        draw_fan_in(self.weight, self.bias)

    def forward(self, input: Numeric) -> Any:
        if input.ndim == 0 or input.shape[-1] != self.in_features:
            raise ShapeError(
                f"Linear({self.in_features}, {self.out_features}){_named(self.weight)} takes (..., "
                f"{self.in_features}) and got {input.shape}: the last axis must have in_features elements"
            )
        return functional.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}"


class Bilinear(Module):
    """out[..., k] = input1 . weight[k] . input2 + bias[k];  weight (out_features, in1_features, in2_features)."""

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: object = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        self.weight = zeros_parameter((out_features, in1_features, in2_features), dtype, device)
        self.bias = zeros_parameter(out_features, dtype, device) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values, uniform up to 1 / sqrt(in1_features)."""
        bound = 1.0 / sqrt(self.in1_features)
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                init.uniform_(parameter, -bound, bound)

    def forward(self, input1: Numeric, input2: Numeric) -> Any:
        return functional.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in1_features}, {self.in2_features}, {self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """Rows of a table, looked up by index.

    Shapes: input integers (...), weight (num_embeddings, embedding_dim), output (..., embedding_dim).
    Initial values are standard normal; the row `padding_idx` is zero and gets no gradient.

    Raises:
        SettingError: options that tinygraph does not have (max_norm, scale_grad_by_freq, sparse).

    >>> import numpy as np
    >>> Embedding(10, 3)(np.array([[1, 2], [4, 1]])).shape
    (2, 2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Numeric | None = None,
        _freeze: bool = False,
        device: object = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        functional.refuse("Embedding", max_norm=(max_norm, None), sparse=(sparse, False))
        functional.refuse("Embedding", scale_grad_by_freq=(scale_grad_by_freq, False))
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise SettingError(
                f"padding_idx={padding_idx} is no row of an embedding with {num_embeddings} rows"
            )
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx % num_embeddings if padding_idx is not None else None
        if _weight is None:
            self.weight = zeros_parameter((num_embeddings, embedding_dim), dtype, device)
            self.reset_parameters()
        else:
            self.weight = Parameter(_weight)
        self.weight.requires_grad = not _freeze

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        values = np.asarray(default_generator.normal(self.weight.shape))
        if self.padding_idx is not None:
            values[self.padding_idx] = 0.0
        write(self.weight, values)

    def forward(self, input: Numeric) -> Any:
        return functional.embedding(input, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = f", padding_idx={self.padding_idx}" if self.padding_idx is not None else ""
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"

    @classmethod
    def from_pretrained(
        cls, embeddings: Numeric, freeze: bool = True, padding_idx: int | None = None
    ) -> Embedding:
        """An embedding with a given table, which is copied."""
        rows, width = embeddings.shape
        return cls(rows, width, padding_idx, _weight=embeddings, _freeze=freeze)


class EmbeddingBag(Module):
    """Sums, means or maxima of rows of a table; see `functional.embedding_bag`.

    Shapes: input (bags, length), or (total,) with offsets; output (bags, embedding_dim).

    Raises:
        SettingError: options that tinygraph does not have (max_norm, scale_grad_by_freq, sparse, include_last_offset).
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Numeric | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: object = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        functional.refuse(
            "EmbeddingBag",
            max_norm=(max_norm, None),
            sparse=(sparse, False),
            scale_grad_by_freq=(scale_grad_by_freq, False),
            include_last_offset=(include_last_offset, False),
        )
        self.num_embeddings, self.embedding_dim, self.mode = num_embeddings, embedding_dim, mode
        self.padding_idx = padding_idx % num_embeddings if padding_idx is not None else None
        table = Embedding(
            num_embeddings, embedding_dim, padding_idx, _weight=_weight, device=device, dtype=dtype
        )
        self.weight = table.weight

    def forward(
        self, input: Numeric, offsets: Numeric | None = None, per_sample_weights: Numeric | None = None
    ) -> Any:
        return functional.embedding_bag(
            input, self.weight, offsets, self.mode, per_sample_weights, self.padding_idx
        )

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, mode={self.mode!r}"


def draw_fan_in(weight: Tensor, bias: Tensor | None) -> None:
    """PyTorch's initial values of linear and convolutional layers: uniform up to 1 / sqrt(fan_in)."""
    init.kaiming_uniform_(weight, a=sqrt(5))
    if bias is not None:
        fan_in, _ = init.fans(weight.shape)
        bound = 1.0 / sqrt(fan_in) if fan_in else 0.0
        init.uniform_(bias, -bound, bound)


def _named(parameter: Tensor) -> str:
    return f" ({parameter.name.rpartition('.')[0]})" if parameter.name and "." in parameter.name else ""
