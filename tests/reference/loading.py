"""Reading the fixtures and comparing with them: what a test needs. NumPy and stdlib only.

A framework comes in as arguments (`vjp`, `grad`), so the fixtures can also be checked with another one.
"""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from . import cases, training_cases
from .cases import Case
from .seeded import Array, frozen, projection_weights

FOLDER = Path(__file__).parent
MODEL_FILE = FOLDER / "models_torch_style.py"
LARGEST_STORED_WHOLE = 24  # elements; larger arrays are stored as projections


class Named(Protocol):
    """What every kind of case has."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...


FAMILIES: dict[str, Callable[[], Sequence[Named]]] = {
    "convolution": cases.convolution_cases,
    "convolution_transpose": cases.convolution_transpose_cases,
    "pool": cases.pool_cases,
    "adaptive_average_pool": cases.adaptive_average_pool_cases,
    "function": cases.function_cases,
    "module": training_cases.module_cases,
    "training": training_cases.training_cases,
    "optimizer": training_cases.optimizer_cases,
    "schedule": training_cases.schedule_cases,
}


@dataclass(frozen=True)
class Expected:
    """One array of PyTorch's: shape, and either the values or four projections and the largest magnitude."""

    shape: tuple[int, ...]
    stored: Array
    whole: bool

    @classmethod
    def of(cls, array: Array, largest_whole: int = LARGEST_STORED_WHOLE) -> "Expected":
        array = np.asarray(array, np.float64)
        if array.size <= largest_whole or not np.isfinite(array).all():
            return cls(array.shape, array.reshape(-1), whole=True)
        return cls(array.shape, np.append(_project(array), abs(array).max()), whole=False)

    def values(self) -> Array:
        """PyTorch's array itself, where it is stored whole."""
        if not self.whole:
            raise ValueError(f"an array of shape {self.shape} is stored as projections: use assert_matches")
        return frozen(self.stored.reshape(self.shape))


@dataclass(frozen=True)
class Reference:
    """A case (its class depends on the family) and what PyTorch answers to it, by result name."""

    case: Any
    expected: Mapping[str, Expected]

    def __str__(self) -> str:
        name: str = self.case.name
        return name


@functools.cache
def load(family: str) -> tuple[Reference, ...]:
    """All cases of one of `FAMILIES` with their expected results.

    Raises ValueError where a case has changed since its values were stored.
    """
    stored = read_results(FOLDER / f"{family}.npz")
    return tuple(Reference(case, _results(stored, case)) for case in FAMILIES[family]())


def _results(stored: Mapping[str, tuple[str, dict[str, Expected]]], case: Named) -> dict[str, Expected]:
    digest, results = stored.get(case.name, ("none", {}))
    if digest != case.digest:
        raise ValueError(
            f"the stored values of {case.name} belong to other inputs or settings (digest {digest}, "
            f"expected {case.digest}); regenerate them: see tests/reference/README.md"
        )
    return results


@functools.cache
def module_states() -> dict[str, list[dict[str, Any]]]:
    """Module case name -> its `state_dict` entries in order.

    An entry has "name", "shape", "dtype", "parameter" (False for buffers) and "initialiser", which
    `assert_initialised` reads.
    """
    states: dict[str, list[dict[str, Any]]] = json.loads((FOLDER / "module_states.json").read_text())
    return states


def initial_state(model: str) -> dict[str, Array]:
    """The `state_dict` that the training traces of this model start from, in float64 (counters int64)."""
    with np.load(FOLDER / "initial_states.npz", allow_pickle=False) as archive:
        entries = {
            key.removeprefix(f"{model}/"): archive[key] for key in archive if key.startswith(f"{model}/")
        }
    return {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in entries.items()}


def model_definitions(import_line: str = "from tinygraph import nn") -> dict[str, Any]:
    """What `models_torch_style.py` defines when its one framework import is replaced by `import_line`."""
    text = MODEL_FILE.read_text()
    if text.count("from torch import nn") != 1:
        raise ValueError(f"{MODEL_FILE.name} must hold the line 'from torch import nn' exactly once")
    namespace: dict[str, Any] = {"__name__": MODEL_FILE.stem}
    code = compile(text.replace("from torch import nn", import_line), str(MODEL_FILE), "exec")
    exec(code, namespace)  # noqa: S102 - our own file; a changed import is what the tests are about
    return namespace


def read_results(path: Path) -> dict[str, tuple[str, dict[str, Expected]]]:
    """name -> (digest, {result name: Expected}), as `write_results` stored them."""
    with np.load(path, allow_pickle=False) as archive:
        manifest, values = json.loads(archive["manifest"].tobytes()), archive["values"]
    found: dict[str, tuple[str, dict[str, Expected]]] = {}
    position = 0
    for name, digest, results in manifest:
        found[name] = (digest, {})
        for result, shape, count, whole in results:
            found[name][1][result] = Expected(tuple(shape), values[position : position + count], bool(whole))
            position += count
    return found


def write_results(path: Path, entries: Mapping[str, tuple[str, Mapping[str, Expected]]]) -> None:
    """Store name -> (digest, {result name: Expected}) as one JSON manifest and one flat float64 array."""
    manifest = [
        (name, digest, [(r, kept.shape, kept.stored.size, int(kept.whole)) for r, kept in results.items()])
        for name, (digest, results) in entries.items()
    ]
    values = [kept.stored for _, results in entries.values() for kept in results.values()]
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
    """Compare every expected result; a missing one fails, results that are not stored are ignored."""
    missing = expected.keys() - found.keys()
    if missing:
        raise AssertionError(f"results not found: {sorted(missing)}; found {sorted(found)}")
    for result, array in expected.items():
        assert_matches(found[result], array, tol, result)


def assert_initialised(values: Array, initialiser: Mapping[str, Any]) -> None:
    """Raise AssertionError unless `values`, many fresh draws of one parameter, follow PyTorch's initialiser.

    Limits are five standard errors; give some thousand values for them to mean something. Leave out the
    row of zeros that an embedding has for padding.
    """
    kind, standard_error = initialiser["distribution"], 1.0 / np.sqrt(values.size)
    if kind == "constant":
        np.testing.assert_array_equal(values, initialiser["value"])
        return
    std = initialiser["std"] if kind == "normal" else initialiser["bound"] / np.sqrt(3.0)
    # That of a standard deviation is sqrt((kurtosis - 1) / 4n): kurtosis 3 for a normal, 9/5 for a uniform.
    relative_error = standard_error * np.sqrt(0.5 if kind == "normal" else 0.2)
    assert abs(values.mean()) <= 5 * standard_error * std, f"mean {values.mean()}, expected 0"
    assert abs(values.std() / std - 1.0) <= 5 * relative_error, (
        f"standard deviation {values.std()}, expected {std}"
    )
    largest = abs(values).max()
    if kind == "uniform":
        assert largest <= initialiser["bound"] * (1 + 1e-6), f"{largest} is beyond {initialiser['bound']}"
    else:
        assert values.size < 1000 or largest > 2.5 * std, (
            f"largest magnitude {largest} is not that of a normal"
        )


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
