"""Values that leave the graph, and gradients that come out of it: nothing is dropped without a word."""

import array
import logging
import math
import statistics
import struct
import warnings

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph.errors import CaptureError, DTypeError, RecordingError, SettingError, TinygraphWarning


def leaf(value, **options):
    return tg.tensor(np.asarray(value, float), requires_grad=True, **options)


def stored(x):
    out = np.zeros(2)
    out[1] = x
    return out[1]


def filled(x):
    out = np.zeros(2)
    out.fill(x)
    return out[1]


LEAVING = {
    "float": float,
    "int": int,
    "complex": complex,
    "round": lambda x: round(x).item(),
    "round to digits": lambda x: round(x, 1).item(),
    "math.sin": math.sin,
    "math.floor": math.floor,
    "math.isclose": lambda x: math.isclose(x, 2.0),
    "np.float64": np.float64,
    "a[i] = x": stored,
    "a.fill(x)": filled,
    "np.fromiter": lambda x: np.fromiter([x, x], float)[0],
    "statistics.fmean": lambda x: statistics.fmean([x, x]),
    "math.fsum": lambda x: math.fsum([x, x]),
    "array.array": lambda x: array.array("d", [x])[0],
    "struct.pack": lambda x: struct.pack("d", x),
}
REFUSED = {  # these raise everywhere
    "np.array of a list": lambda x: np.array([x, x]),
    "np.asarray": np.asarray,
    "np.float32": np.float32,
    "np.full": lambda x: np.full(2, x),
    "a[:] = x": lambda x: np.zeros(2).__setitem__(slice(None), x),
    "statistics.mean": lambda x: statistics.mean([x, x]),
}
TEXT = "%s %.3f %d"
# some callers raise an error of their own instead of ours
ERRORS = (RecordingError, ValueError, TypeError, struct.error)
FREE = {
    "item": lambda x: x.item(),
    "numpy": lambda x: x.numpy(),
    "tolist": lambda x: x.tolist(),
    "detach": lambda x: float(x.detach()),
    "f-string": lambda x: f"{x} {x!r} {x:.3f}",
    "str.format": lambda x: format(x, ".2e"),
    "percent": lambda x: TEXT % (x, x, x),
    "percent in place": lambda x: (lambda text: text.__class__(text % x))("%.1f"),
    "logging": lambda x: logging.LogRecord("a", 10, "b", 1, "loss %.3f", (x,), None).getMessage(),
    "comparisons": lambda x: (bool(x > 1), x == 2, max([x, x + 1]), x in [x]),
    "bool": bool,
    "np.round": lambda x: np.round(x),
    "integers": lambda x: [int(np.argmax(x)), range(5)[tg.tensor(2)], float(x > 1)],
}


@pytest.mark.parametrize("leaving", LEAVING.values(), ids=LEAVING)
def test_a_recorded_number_that_leaves_warns_at_the_users_line(leaving):
    x = leaf(2.0) * 1
    with pytest.warns(TinygraphWarning, match=r"out of the graph.*x\.item\(\)") as found:
        leaving(x)
    assert found[0].filename == __file__


@each("leaving", [*LEAVING.values(), *REFUSED.values()], ids=[*LEAVING, *REFUSED])
def test_a_differentiated_number_that_leaves_raises(leaving):
    def lost(x):
        leaving(x * 1)
        return x * x

    for transform in (tg.grad(lost), tg.value_and_grad(lost), tg.jacobian(lost), tg.hessian(lost)):
        with pytest.raises(ERRORS):
            transform(2.0)
    for call in (lambda: tg.vjp(lost, 2.0), lambda: tg.jvp(lost, (2.0,), (1.0,))):
        with pytest.raises(ERRORS):
            call()


@pytest.mark.parametrize("name", ["float", "int", "complex", "round", "math.sin", "math.fsum"])
def test_the_error_names_the_line_and_the_way_out(name):
    with pytest.raises(
        RecordingError, match=r"test_leaving\.py.*being differentiated.*x\.item\(\)"
    ) as raised:
        tg.grad(LEAVING[name])(2.0)
    assert "np.sin for math.sin" in str(raised.value)


@pytest.mark.parametrize("free", FREE.values(), ids=FREE)
def test_words_that_say_it_and_formatting_are_free(free):
    free(leaf(2.0) * 1)
    assert tg.grad(lambda x: (free(x * 1), x * x)[1])(2.0) == 4


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_arrays_of_recorded_tensors_are_refused(refused):
    with pytest.raises((RecordingError, ValueError, TypeError)):
        refused(leaf(2.0) * 1)


def test_filling_an_array_under_grad():
    def f(x):
        out = np.zeros(3)
        for i in range(3):
            out[i] = x[i] ** 2
        return (out * x).sum()

    def right(x):
        return (tg.ops.stack(*(x[i] ** 2 for i in range(3)), axis=0) * x).sum()

    with pytest.raises(ValueError, match="sequence") as raised:
        tg.grad(f)(np.array([1.0, 2.0, 3.0]))
    assert isinstance(raised.value.__cause__, RecordingError)
    assert tg.grad(right)(np.array([1.0, 2.0, 3.0])).tolist() == [3, 12, 27]


def test_a_line_warns_once():
    losses = [leaf(float(i)) * 1 for i in range(5)]
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        for loss in losses:
            float(loss)
        float(losses[0])
    assert [one.category for one in found] == [TinygraphWarning] * 2


def test_numbers_that_do_not_depend_on_the_primals_only_warn():
    w = leaf(3.0)
    with pytest.warns(TinygraphWarning, match="out of the graph"):
        assert tg.grad(lambda x: x * float(w * 2))(2.0) == 6
    inner = tg.grad(lambda y: y * y)
    assert tg.grad(lambda x: x * inner(3.0).item() if hasattr(inner(3.0), "item") else x)(2.0) == 6
    with pytest.raises(RecordingError):
        tg.grad(lambda x: tg.grad(lambda y: y * float(x))(1.0) * x)(2.0)


def test_the_library_itself_leaves_by_name():
    w = leaf(2.0)
    optimizer = tg.optim.SGD([w], lr=0.5)
    schedule = tg.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    for _ in range(2):
        schedule.step(w * w)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


def test_numbers_without_gradients_leave_freely():
    assert float(tg.tensor(2.0)) == 2
    with tg.no_grad():
        assert float(leaf(2.0) * 2) == 4
    assert int(leaf(2.0).detach()) == 2
    with pytest.raises(CaptureError, match="where"):
        tg.capture(lambda x: x * float(x.sum()), np.ones(2))


# -- arrays of tensors -----------------------------------------------------------------------------------------------


def test_the_array_of_a_tensor_is_read_only():
    p = leaf([1.0, 2.0])
    y = p * p
    for shared in (np.asarray(p.detach()), p.numpy(), np.asarray(tg.tensor([1.0, 2.0])), y.detach().numpy()):
        with pytest.raises(ValueError, match="read-only"):
            shared[:] = 9
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(p.detach(), dtype=float)[:1] += 1
    with pytest.raises(ValueError, match="read-only"):
        np.array(p.detach(), copy=None).fill(9)
    y.sum().backward()
    assert p.grad.tolist() == [2, 4]


def test_a_copy_of_a_tensors_value_is_the_callers():
    data = tg.tensor([1.0, 2.0])
    for copy in (
        np.array(data),
        np.asarray(data, copy=True),
        data.__array__(copy=True),
        np.asarray(data, dtype=np.float32),
    ):
        copy[:] = 9
    assert data.tolist() == [1, 2]
    assert not any(hasattr(data, door) for door in ("__array_interface__", "__array_struct__", "data"))
    shared = np.from_dlpack(data)
    assert not shared.flags.writeable or not np.shares_memory(shared, data.numpy())


# -- gradients that come out -----------------------------------------------------------------------------------------


IDENTITIES = {
    "itself": lambda x: x,
    "sum": lambda x: x.sum(),
    "mean of a view": lambda x: x[1:].mean(),
    "a product": lambda x: (x * CONSTANT).sum(),
    "reshaped": lambda x: x.reshape(-1).reshape(3).sum(),
    "flipped": lambda x: np.flip(x),
    "broadcast": lambda x: np.broadcast_to(x, (2, 3)).sum(),
    "nothing": lambda x: x.sum() * 0 + 1,
    "dot": lambda x: x @ CONSTANT,
}
CONSTANT = np.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize("f", IDENTITIES.values(), ids=IDENTITIES)
def test_gradients_of_transforms_are_the_callers_own(f):
    x, cotangent = np.array([1.0, 2.0, 3.0]), np.ones(3)
    out, pull = tg.vjp(f, x)
    seed = cotangent if np.shape(out) else 1.0
    (first,) = pull(seed)
    expected = first.tolist()
    first[:] = 7
    (second,) = pull(seed)
    assert second.tolist() == expected
    for other in (x, cotangent, first, CONSTANT, np.asarray(out)):
        assert not np.shares_memory(second, other)
    assert CONSTANT.tolist() == [1, 2, 3]
    if not np.shape(out):
        tg.grad(f)(x)[:] = 7
        _, gradient = tg.value_and_grad(f)(x)
        gradient[:] = 7
        assert tg.grad(f)(x).tolist() == expected
    matrix = tg.jacobian(f)(x)
    matrix[...] = 0
    tangent = np.ones(3)
    _, moved = tg.jvp(f, (x,), (tangent,))
    if np.ndim(moved):
        moved[...] = 7
    assert tangent.tolist() == [1, 1, 1]
    assert x.tolist() == [1, 2, 3]


def test_two_gradients_do_not_share_memory():
    a, b = tg.grad(lambda a, b: (a + b).sum(), argnums=(0, 1))(np.ones(3), np.ones(3))
    a[:] = 7
    assert b.tolist() == [1, 1, 1]
    x, y = leaf(np.ones(3)), leaf(np.ones(3))
    (x + y).backward(np.ones(3))
    assert not np.shares_memory(x.grad.numpy(), y.grad.numpy())


# -- complex losses and cotangents -----------------------------------------------------------------------------------


def test_a_complex_loss_of_a_real_leaf_is_refused():
    x = leaf(2.0, name="x")
    for call in (
        lambda: (x * 1j).backward(),
        lambda: (x * 1j).backward(1j),
        lambda: np.exp(x * 1j).backward(),
        lambda: tg.ops.make_complex(x, 2.0).backward(),
        lambda: tg.grad(lambda x: x * (1 + 2j))(2.0),
        lambda: tg.value_and_grad(lambda x: np.exp(1j * x))(2.0),
        lambda: tg.grad(lambda z, x: z * x)(1j, 2.0) and tg.grad(lambda z, x: z * x, argnums=1)(1j, 2.0),
    ):
        with pytest.raises(DTypeError, match=r"real part|holomorphic=True"):
            call()
    assert x.grad is None


def test_a_complex_cotangent_of_a_real_output_is_refused():
    x = leaf([1.0, 2.0])
    for call in (
        lambda: (x * 2).backward(np.array([1j, 1.0])),
        lambda: (x * 2).backward(tg.tensor(np.array([1j, 1.0]))),
        lambda: tg.vjp(lambda x: x * 2, np.ones(2))[1](np.array([1j, 1.0])),
        lambda: x.sum().backward(1j),
    ):
        with pytest.raises(DTypeError, match="imaginary part"):
            call()
    assert x.grad is None


def test_complex_numbers_inside_a_real_loss_are_fine():
    x = leaf(2.0)
    (np.abs(x * (3 + 4j)) ** 2).backward()
    assert x.grad.item() == pytest.approx(100)
    z = tg.tensor(1 + 2j, requires_grad=True)
    (z * z).backward()
    assert z.grad.item() == 2 + 4j
    assert tg.grad(lambda z: z**3, holomorphic=True)(1 + 1j) == pytest.approx(3 * (1 + 1j) ** 2)
    _, pull = tg.vjp(lambda x: x * (1 + 2j), 2.0)
    assert pull(1j)[0] == -2


def test_jacobians_of_complex_functions_of_real_arguments_are_complex():
    x = np.array([1.0, 2.0, 3.0])
    for f in (lambda x: x * 1j, lambda x: (x * 1j).sum(), lambda x: x[:2] * (2 + 1j)):
        found = tg.jacobian(f)(x)
        assert found.dtype == complex
        np.testing.assert_allclose(found, np.stack([f(e) for e in np.eye(3)], axis=-1))


# -- argnums ---------------------------------------------------------------------------------------------------------


@each("transform", [tg.grad, tg.value_and_grad, tg.jacobian, tg.hessian])
@each(
    ("argnums", "words"),
    [
        ((0, 0), "twice"),
        ((0, -2), "twice"),
        ((1, 0, 1), "twice"),
        (2, r"2 positional"),
        (-3, r"2 positional"),
        ((0, 5), r"2 positional"),
        (True, "position of an argument"),
        ((0, True), "position of an argument"),
        (1.0, "position of an argument"),
        ((0, 1.0), "position of an argument"),
        ("0", "position of an argument"),
        (None, "position of an argument"),
        ((), "position of an argument"),
    ],
)
def test_argnums_that_name_no_argument_or_one_twice(transform, argnums, words):
    with pytest.raises(SettingError, match=rf"argnums=.*{words}"):
        transform(lambda a, b: a * b, argnums=argnums)(2.0, 3.0)


def test_argnums_that_are_fine():
    def f(a, b):
        return a * b * b

    assert tg.grad(f, argnums=(0, 1))(2.0, 3.0) == (9, 12)
    assert tg.grad(f, argnums=(1, 0))(2.0, 3.0) == (12, 9)
    assert tg.grad(f, argnums=-1)(2.0, 3.0) == 12
    assert tg.grad(f, argnums=np.int64(1))(2.0, 3.0) == 12
    assert tg.grad(f, argnums=[1])(2.0, 3.0) == (12,)
    assert tg.jacobian(f, argnums=[0])(2.0, 3.0) == (9,)
    assert tg.hessian(f, argnums=1)(2.0, 3.0) == 4
