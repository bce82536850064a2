"""Connectionist temporal classification: a loss of label sequences without an alignment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.errors import ShapeError
from tinygraph.nn.functional.settings import reduced

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

_NEVER = (
    -1e30
)  # the log-probability of what cannot be: finite, so that differences of two of them are numbers


def ctc_loss(
    log_probs: Numeric,
    targets: object,
    input_lengths: object,
    target_lengths: object,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    """The negative log-probability of label sequences over all alignments (Graves et al., 2006).

    Args:
        log_probs: (steps, batch, classes) or (steps, classes).
        targets: labels (batch, longest), or all sequences joined (sum of target_lengths,).
        input_lengths, target_lengths: (batch,) integers that are known before anything runs.
        blank: the class of no label.
        reduction: "mean" divides each loss by its target's length first.
        zero_infinity: losses of targets that do not fit into their input are 0 instead of infinite.
    """
    single = log_probs.ndim == 2
    if single:
        log_probs = ops.expand_dims(log_probs, axis=1)
    lengths, sizes = (np.atleast_1d(np.asarray(given)) for given in (input_lengths, target_lengths))
    steps, batch, _ = log_probs.shape
    if lengths.shape != (batch,) or sizes.shape != (batch,):
        raise ShapeError(
            f"ctc_loss: {batch} sequences need as many input_lengths and target_lengths, not {lengths.size} and "
            f"{sizes.size}"
        )
    labels, longest = _padded(np.asarray(targets), sizes, batch)
    # the labels with a blank before, between and after them, and which of them may be come to from two before
    states = np.full((batch, 2 * longest + 1), blank)
    states[:, 1::2] = labels
    jumps = np.zeros(states.shape, bool)
    jumps[:, 2:] = (states[:, 2:] != blank) & (states[:, 2:] != states[:, :-2])
    emitted = ops.take_along_axis(log_probs, np.broadcast_to(states, (steps, *states.shape)), axis=2)
    begin = np.arange(states.shape[1]) < np.minimum(2, 2 * sizes + 1)[:, None]
    alpha = ops.where(begin, emitted[0], _NEVER)
    for step in range(1, steps):
        one, two = (_moved(alpha, by) for by in (1, 2))
        ways = ops.stack(alpha, one, ops.where(jumps, two, _NEVER), axis=0)
        ahead = ops.maximum(ops.logsumexp(ways, axis=0) + emitted[step], _NEVER)
        alpha = ops.where((step < lengths)[:, None], ahead, alpha)
    last = np.stack([2 * sizes, np.maximum(2 * sizes - 1, 0)], axis=1)
    ends = ops.take_along_axis(alpha, last, axis=1)
    ends = ops.where((sizes == 0)[:, None] & np.array([False, True]), _NEVER, ends)
    losses = -ops.logsumexp(ends, axis=1)
    impossible = losses > -_NEVER / 2
    losses = ops.where(impossible, 0 if zero_infinity else np.inf, losses)
    if single:
        return reduced(losses[0] / max(1, int(sizes[0])) if reduction == "mean" else losses[0], reduction)
    return reduced(
        losses / np.maximum(sizes, 1).astype(losses.dtype) if reduction == "mean" else losses, reduction
    )


def _padded(targets: Any, sizes: Any, batch: int) -> tuple[Any, int]:
    """Labels as rows (batch, longest), zeros behind the shorter ones."""
    longest = int(sizes.max(initial=0))
    rows = np.zeros((batch, longest), np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    for i, size in enumerate(sizes):
        rows[i, :size] = targets[i, :size] if targets.ndim == 2 else targets[starts[i] : starts[i] + size]
    return rows, longest


def _moved(alpha: Numeric, by: int) -> Any:
    """Columns moved to the right, impossible ones before them."""
    return ops.pad(alpha, pad_width=((0, 0), (by, 0)), constant_values=_NEVER)[:, : alpha.shape[1]]
