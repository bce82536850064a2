"""Reading the fixtures and comparing with them: what a test needs. NumPy and stdlib only.

A framework comes in as arguments (`vjp`, `grad`), so the fixtures can also be checked with another one.
"""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .cases import Case, families
from .seeded import Array, projection_weights

FOLDER = Path(__file__).parent
LARGEST_STORED_WHOLE = 24  # elements; larger arrays are stored as projections


@dataclass(frozen=True)
class Expected:
    """One array of PyTorch's: shape, and either the values or four projections and the largest magnitude."""

    shape: tuple[int, ...]
    stored: Array
    whole: bool

    @classmethod
    def of(cls, array: Array) -> "Expected":
        array = np.asarray(array, np.float64)
        if array.size <= LARGEST_STORED_WHOLE or not np.isfinite(array).all():
            return cls(array.shape, array.reshape(-1), whole=True)
        return cls(array.shape, np.append(_project(array), abs(array).max()), whole=False)


@dataclass(frozen=True)
class Reference:
    """A case and what PyTorch answers to it, by result name."""

    case: Case
    expected: Mapping[str, Expected]

    def __str__(self) -> str:
        return self.case.name


@functools.cache
def load(family: str) -> tuple[Reference, ...]:
    """All cases of one family (a key of `cases.families`) with their expected results.

    Raises ValueError where a case has changed since its values were stored.
    """
    stored = read_results(FOLDER / f"{family}.npz")
    return tuple(Reference(case, stored_results(stored, case)) for case in families()[family]())


def stored_results(stored: Mapping[str, Mapping[str, Any]], case: Case) -> Mapping[str, Expected]:
    entry = stored.get(case.name, {"digest": "none", "results": {}})
    if entry["digest"] != case.digest:
        raise ValueError(
            f"the stored values of {case.name} belong to other inputs or settings (digest {entry['digest']}, "
            f"expected {case.digest}); regenerate them: see tests/reference/README.md"
        )
    results: Mapping[str, Expected] = entry["results"]
    return results


def read_results(path: Path) -> dict[str, dict[str, Any]]:
    """name -> {"digest": ..., "results": {result name: Expected}}, as `write_results` stored them."""
    with np.load(path, allow_pickle=False) as archive:
        manifest, values = json.loads(archive["manifest"].tobytes()), archive["values"]
    found: dict[str, dict[str, Any]] = {}
    position = 0
    for name, digest, results in manifest:
        found[name] = {"digest": digest, "results": {}}
        for result, shape, count, whole in results:
            stored = values[position : position + count]
            found[name]["results"][result] = Expected(tuple(shape), stored, bool(whole))
            position += count
    return found


def write_results(path: Path, entries: Mapping[str, tuple[str, Mapping[str, Array]]]) -> None:
    """Store name -> (digest, {result name: array}) as one JSON manifest and one flat float64 array."""
    manifest, values = [], [np.zeros(0)]
    for name, (digest, results) in entries.items():
        expected = {result: Expected.of(array) for result, array in results.items()}
        values += [kept.stored for kept in expected.values()]
        manifest.append(
            (
                name,
                digest,
                [(r, kept.shape, kept.stored.size, int(kept.whole)) for r, kept in expected.items()],
            )
        )
    text = np.frombuffer(json.dumps(manifest, separators=(",", ":")).encode(), np.uint8)
    write_arrays(path, {"manifest": text, "values": np.concatenate(values)})


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    temporary = path.with_suffix(".partial")
    with temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    temporary.replace(path)


def assert_matches(found: Any, expected: Expected, tol: float = 1e-7, label: str = "result") -> None:
    """Raise AssertionError unless `found` (array, or tensor with `.numpy()`) equals PyTorch's array.

    Whole arrays: every element within tol * (1 + |expected|), infinities and NaNs at the same places.
    Projections: within tol * (1 + largest magnitude), and every weight is at least 0.5, so one element
    that is wrong by more than twice that fails.
    """
    array = np.asarray(found.numpy() if hasattr(found, "numpy") else found)
    if array.shape != expected.shape:
        raise AssertionError(f"{label}: shape {array.shape}, PyTorch's is {expected.shape}")
    if expected.whole:
        np.testing.assert_allclose(
            array.reshape(-1), expected.stored, rtol=tol, atol=tol, err_msg=f"{label}, against PyTorch"
        )
        return
    projections, largest = expected.stored[:-1], expected.stored[-1]
    off = np.append(abs(_project(array) - projections), abs(abs(array).max() - largest))
    if not (off <= tol * (1.0 + largest)).all():  # written so that NaN fails
        raise AssertionError(
            f"{label}: shape {array.shape} agrees with PyTorch's, values do not: projections and largest "
            f"magnitude are off by {off}, allowed {tol * (1.0 + largest):.3g}"
        )


def assert_all_match(found: Mapping[str, Any], expected: Mapping[str, Expected], tol: float = 1e-7) -> None:
    """Compare every expected result; a missing one fails, results without a stored value are not looked at."""
    missing = expected.keys() - found.keys()
    if missing:
        raise AssertionError(f"results not found: {sorted(missing)}; found {sorted(found)}")
    for result, array in expected.items():
        assert_matches(found[result], array, tol, result)


def first_and_second(
    call: Callable[..., Any],
    case: Case,
    *,
    vjp: Callable[..., Any],
    grad: Callable[..., Any],
    convert: Callable[[Array], Any] = lambda array: array,
) -> dict[str, Any]:
    """`output`, `grad_<argument>`, `second_<argument>` and `second_cotangent` of one case.

    `call(*inputs, **settings)` is the op. With v the case's directions and c its cotangent, the second
    gradients are those of  sum over arguments of (v * vjp(c)).sum()  with respect to every argument of
    `case.wrt` and to c. `vjp` and `grad` are used as `vjp(f, *primals) -> (out, pull)` and
    `grad(f, argnums=tuple)(*primals) -> tuple`; `convert` makes the framework's arrays.
    """
    inputs = {argument: convert(array) for argument, array in case.inputs.items()}
    primals = [inputs[argument] for argument in case.wrt]

    def differentiated(*primals: Any) -> Any:
        given = inputs | dict(zip(case.wrt, primals, strict=True))
        return call(*given.values(), **case.settings)

    def slope(*primals_and_cotangent: Any) -> Any:
        *primals, cotangent = primals_and_cotangent
        _, pull = vjp(differentiated, *primals)
        pairs = zip(case.wrt, pull(cotangent), strict=True)
        return sum((gradient * convert(case.direction(argument))).sum() for argument, gradient in pairs)

    output, pull = vjp(differentiated, *primals)
    cotangent = convert(case.cotangent(tuple(output.shape)))
    second = grad(slope, argnums=tuple(range(len(primals) + 1)))(*primals, cotangent)
    names = (*case.wrt, "cotangent")
    return (
        {"output": output}
        | {f"grad_{name}": gradient for name, gradient in zip(case.wrt, pull(cotangent), strict=True)}
        | {f"second_{name}": gradient for name, gradient in zip(names, second, strict=True)}
    )


def _project(array: Array) -> Array:
    return projection_weights(array.size) @ np.asarray(array, np.float64).reshape(-1)
