"""Random operands and settings for an op, made after its own samples: where two rules agree on all of them, they are
taken for equal. What the probes are used for is decided in `mutation.py`."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.op import Op, Sample
from tinygraph.testing.mutants.value_edits import nudged
from tinygraph.testing.trial import Trial, array_of

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

COUNT = 64
_SHAPES = ((3,), (2, 3), (4, 1), (1, 3), (), (2, 2, 3))


def probes_of(op: Op, count: int = COUNT) -> list[Sample]:
    """Up to `count` operands and settings on which the op is finite; the same ones in every call."""
    rng = np.random.default_rng(zlib.crc32(op.name.encode()))
    found: list[Sample] = []
    for attempt, sample in enumerate(_candidates(op, rng)):
        if _is_finite(op, sample):
            found.append(sample)
        if len(found) == count or attempt == 5 * count:
            break
    return found


def _candidates(op: Op, rng: np.random.Generator) -> Iterator[Sample]:
    while True:
        for sample in op.samples:
            for draw in _DRAWS:
                settings = _settings(op, sample, rng)
                shapes = _shapes(op, sample, rng)
                operands = [
                    None if x is None else draw(x, shape, rng) if x.dtype.kind in "fc" else _reordered(x, rng)
                    for x, shape in zip(sample.operands, shapes, strict=True)
                ]
                if rng.uniform() < 0.15:
                    operands = _emptied(operands, rng)
                yield Sample(*operands, **settings)


def _settings(op: Op, sample: Sample, rng: np.random.Generator) -> dict[str, Any]:
    """The sample's own settings, some of them exchanged for the default, another sample's, or one nearby."""
    settings = dict(sample.settings)
    for name in op.signature.settings:
        if rng.uniform() < 0.4:
            known = [one.settings[name] for one in op.samples if name in one.settings]
            nearby = [nudged(setting) for setting in known]
            pool = [*known, *nearby, None]
            chosen = pool[rng.integers(len(pool))]
            if chosen is None:
                settings.pop(name, None)
            else:
                settings[name] = chosen
    return settings


def _shapes(op: Op, sample: Sample, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """The sample's own shapes; for elementwise ops any that broadcast, as long as all operands are real."""
    own = [() if x is None else x.shape for x in sample.operands]
    free = all(x is None or x.dtype.kind in "fc" for x in sample.operands)
    if op.kind != "elementwise" or not free or rng.uniform() < 0.5:
        return own
    return [_SHAPES[rng.integers(len(_SHAPES))] for _ in own]


def _reordered(x: Numeric, rng: np.random.Generator) -> Any:
    """Indices and conditions: the sample's own in another order, so that they stay in range."""
    return rng.permuted(x) if x.ndim else x


def _emptied(operands: list[Any], rng: np.random.Generator) -> list[Any]:
    """The operands with no elements along an axis: of the first alone, or of all that have it."""
    axis, all_of_them = int(rng.integers(4)), rng.uniform() < 0.5
    cut = (slice(None),) * axis + (slice(0),)
    return [
        x[cut] if x is not None and x.ndim > axis and (i == 0 or all_of_them) else x
        for i, x in enumerate(operands)
    ]


def _jittered(x: Numeric, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    """Near the sample's own values, which lie in the op's domain."""
    near = np.resize(x, shape) if x.size else np.zeros(shape, x.dtype)
    return near * rng.uniform(0.7, 1.1, shape) + 0.01 * rng.normal(size=shape)


def _normal(x: Numeric, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    made = 2 * rng.normal(size=shape)
    return made + 2j * rng.normal(size=shape) if x.dtype.kind == "c" else made


def _positive(x: Numeric, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    return np.abs(_normal(x, shape, rng)).astype(x.dtype) + 0.05


def _small(x: Numeric, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    return rng.uniform(-0.95, 0.95, shape).astype(x.dtype)


_DRAWS = (_jittered, _normal, _positive, _small)


def _is_finite(op: Op, sample: Sample) -> bool:
    try:
        outputs = Trial.of(op, sample).results(*Trial.of(op, sample).values)
    except Exception:  # noqa: BLE001 - whatever the op refuses is no probe
        return False
    arrays = [array_of(out) for out in outputs]
    return all(np.isfinite(one).all() for one in arrays if one.dtype.kind in "fc")
