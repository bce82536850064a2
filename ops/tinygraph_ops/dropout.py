"""Dropout: elements zeroed at random, the others scaled up; the draw is an operand, so replay is exact."""

from __future__ import annotations

from tinygraph.plugin import (
    ErrorSample,
    Generator,
    Numeric,
    Sample,
    SettingError,
    composite,
    default_generator,
    ops,
)


@composite(
    samples=[Sample([1.0, 2.0], p=0.0, expected=[1.0, 2.0])],
    error_samples=[
        ErrorSample([1.0], p=1.0, error=SettingError, match="p is 1.0"),
        ErrorSample([1.0], p=-0.1, error=SettingError, match="p is -0.1"),
    ],
)
def dropout(x: Numeric, *, p: float = 0.5, generator: Generator | None = None) -> Numeric:
    """x / (1 - p) where a uniform draw is at least p, else 0.

    Args:
        p: the probability of zeroing an element.
        generator: where the draw comes from; the library's (`tg.manual_seed`) by default.

    Raises:
        SettingError: p outside [0, 1).

    >>> import numpy as np
    >>> dropout(np.ones(2), p=0.0)
    array([1., 1.])
    """
    if not 0 <= p < 1:
        raise SettingError(f"dropout: p is {p}; the probability of zeroing an element must be in [0, 1)")
    draw = (default_generator if generator is None else generator).uniform(x.shape)
    return ops.where(draw >= p, x * (1.0 / (1.0 - p)), 0)
