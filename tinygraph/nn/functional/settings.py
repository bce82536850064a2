"""What functions share: settings that are refused, reductions of losses, and single samples as batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tinygraph.core.registry import ops
from tinygraph.errors import SettingError, ShapeError

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


def refuse(name: str, **settings: tuple[Any, Any]) -> None:
    """Raise for settings that tinygraph does not have, unless they are at their default.

    Args:
        name: what was called.
        settings: name=(value, default).
    """
    for setting, (value, default) in settings.items():
        if value is not default and value != default:
            raise SettingError(f"{name}: {setting}={value!r} is not supported; leave it at {default!r}")


def reduced(losses: Numeric, reduction: str) -> Any:
    """The mean or sum of losses, or all of them for "none"."""
    if reduction not in ("mean", "sum", "none"):
        raise SettingError(f'reduction is {reduction!r}; it can be "mean", "sum" or "none"')
    if reduction == "none":
        return losses
    return ops.mean(losses) if reduction == "mean" else ops.sum(losses)


def batched(dimensions: int, input: Numeric, function: Callable[[Any], Any]) -> Any:
    """Apply a function of (batch, channels, *spatial), also to a single sample."""
    if input.ndim == dimensions + 1:
        return function(ops.expand_dims(input, axis=0))[0]
    if input.ndim != dimensions + 2:
        raise ShapeError(
            f"input has shape {input.shape}; {dimensions} spatial dimension(s) need (batch, channels, "
            f"{'*spatial' if dimensions > 1 else 'length'}) or a single (channels, ...)"
        )
    return function(input)
