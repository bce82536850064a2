"""Parameters and buffers that are the same in all processes, in few exchanges."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.modes import no_grad
from tinygraph.core.process_group import processes
from tinygraph.core.state import write
from tinygraph.core.tensor import Tensor
from tinygraph.errors import ParallelError

if TYPE_CHECKING:
    from tinygraph.core.types import Array


def broadcast_states(states: Sequence[Tensor]) -> None:
    """Give all processes the values that rank 0 has.

    Args:
        states: parameters and buffers, in the same order in all processes.

    Raises:
        ParallelError: the processes have other states.
    """
    among = processes()
    if among.size == 1:
        return
    told = among.gather_texts("; ".join(f"{one.name or 'unnamed'} {one.type}" for one in states))
    if len(set(told)) > 1:
        other = next(rank for rank, text in enumerate(told) if text != told[0])
        raise ParallelError(
            f"the processes hold different parameters: rank 0 has {_shown(told[0])}, rank {other} has "
            f"{_shown(told[other])}; each must make the same model"
        )
    give(states, [0] * len(states))


def give(states: Sequence[Tensor], roots: Sequence[int]) -> None:
    """Give all processes the values that the process of a rank has, a rank for each state."""
    groups: dict[tuple[np.dtype[np.generic], int], list[Tensor]] = {}
    for state, root in zip(states, roots, strict=True):
        groups.setdefault((state.dtype, root), []).append(state)
    with no_grad():
        for (_, root), group in groups.items():
            flat: Array = np.concatenate([np.reshape(one.detach().numpy(), -1) for one in group])
            flat = processes().broadcast(flat, root)
            for state, part in zip(group, apart(flat, group), strict=True):
                write(state, part)


def apart(flat: Any, like: Sequence[Any]) -> list[Any]:
    """Arrays, in the shapes of others, that lie one after another in a flat one."""
    ends = np.cumsum([0, *(one.size for one in like)]).tolist()
    return [flat[a:b].reshape(one.shape) for (a, b), one in zip(pairwise(ends), like, strict=True)]


def _shown(text: str) -> str:
    return text if len(text) < 200 else f"{text[:200]} ..."
