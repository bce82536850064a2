"""Options of NumPy's functions: each is honoured, or refused; none is dropped."""

import inspect

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph.core.registry import registry
from tinygraph.errors import TinygraphError

# Values other than the defaults, tried for every parameter of that name.
VALUES = {
    "out": [np.zeros(1)],
    "dtype": [np.float32, np.complex128],
    "casting": ["no", "unsafe"],
    "order": ["F", "C"],
    "where": [np.array([True, False, True]), False],
    "initial": [3.0],
    "mean": [np.array(1.0)],
    "correction": [1],
    "ddof": [1],
    "keepdims": [True, 1, np.True_, False, 0],
    "axis": [0, -1, np.int64(0), (0,)],
    "axis1": [1], "axis2": [0], "offset": [1], "k": [1, -1, np.int64(1)],
    "mode": ["wrap", "clip"],
    "prepend": [0.0], "append": [5.0],
    "kind": ["stable"], "stable": [True],
    "optimize": [True],
    "copy": [True, False],
    "decimals": [1, np.int64(1)],
    "shift": [1], "repeats": [2],
    "equal_nan": [True],
    "min": [0.5], "max": [1.5], "a_min": [0.5], "a_max": [1.5],
    "ord": [1, np.inf],
}  # fmt: skip
SQUARE = np.array([[1.0, -2.0, 3.5], [0.5, 4.0, -1.5], [2.0, 0.0, 1.0]])
CALLS = {
    np.concatenate: ([SQUARE, SQUARE],), np.stack: ([SQUARE, SQUARE],), np.hstack: ([SQUARE, SQUARE],),
    np.vstack: ([SQUARE, SQUARE],), np.einsum: ("ij,jk->ik", SQUARE, SQUARE), np.where: (SQUARE > 0, SQUARE, SQUARE),
    np.take: (SQUARE, np.array([0, 2])), np.take_along_axis: (SQUARE, np.array([[0, 1, 2]]), 0),
    np.split: (SQUARE, 3), np.array_split: (SQUARE, 2), np.pad: (SQUARE, 1), np.reshape: (SQUARE, (9,)),
    np.repeat: (SQUARE, 2), np.roll: (SQUARE, 1), np.broadcast_to: (SQUARE, (2, 3, 3)), np.tile: (SQUARE, 2),
    np.swapaxes: (SQUARE, 0, 1), np.moveaxis: (SQUARE, 0, 1), np.expand_dims: (SQUARE, 0), np.clip: (SQUARE, 0.0, 1.0),
    np.matmul: (SQUARE, SQUARE), np.dot: (SQUARE, SQUARE), np.inner: (SQUARE, SQUARE), np.outer: (SQUARE, SQUARE),
    np.vdot: (SQUARE, SQUARE), np.tensordot: (SQUARE, SQUARE),
}  # fmt: skip


def functions():
    registry._load_builtin()
    known = [one for one in registry._numpy if not isinstance(one, np.ufunc)]
    return sorted(known, key=lambda one: one.__name__)


def wrapped(value):
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return tg.tensor(value, requires_grad=True)
    return [wrapped(one) for one in value] if isinstance(value, list) else value


def plain(value):
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    return value.numpy() if isinstance(value, tg.Tensor) else np.asarray(value)


@pytest.mark.filterwarnings("ignore")
@each("function", functions(), ids=lambda one: one.__name__)
def test_every_option_is_honoured_or_refused(function):
    operands = CALLS.get(function, (SQUARE,))
    given = list(inspect.signature(function).parameters)[: len(operands)]
    trials = [
        {name: value}
        for name in inspect.signature(function).parameters
        if name not in given or name not in ("axis", "a", "x")
        for value in VALUES.get(name, ())
        if name not in given
    ]
    if function is np.pad:
        trials += [{"mode": mode} for mode in ("reflect", "edge", "wrap", "mean")]
        trials += [
            {"constant_values": 2.0},
            {"stat_length": 1, "mode": "mean"},
            {"end_values": 1.0, "mode": "linear_ramp"},
        ]
    for options in trials:
        try:
            wanted = function(*operands, **options)
        except Exception:  # noqa: BLE001 - whatever it is: what NumPy does not take, we need not
            continue
        try:
            found = function(*map(wrapped, operands), **options)
        except TinygraphError:
            continue
        for one, other in zip(
            found if isinstance(found, tuple | list) else [found],
            wanted if isinstance(wanted, tuple | list) else [wanted],
            strict=True,
        ):
            one, other = plain(one), np.asarray(other)
            assert one.dtype == other.dtype, options
            np.testing.assert_allclose(one, other, err_msg=f"{options}")


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.add.at(x, [0], 1.0),
        lambda x: np.sin(x, where=np.array([True, False, True])),
        lambda x: np.add(x, 1.0, casting="no"),
        lambda x: np.dot(x, x, out=np.zeros(())),
        lambda x: np.clip(x, 0.0, 1.0, None, where=np.array([True, False, True])),
    ],
)
def test_options_of_ufuncs_are_refused(call):
    with pytest.raises(TinygraphError):
        call(tg.tensor([1.0, 2.0, 3.0], requires_grad=True))
