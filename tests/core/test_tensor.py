"""Tensors: making, reading, comparing and writing them."""

from fractions import Fraction

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import (
    CaptureError,
    DTypeError,
    InPlaceError,
    RecordingError,
    ShapeError,
    StaleValueError,
)


def leaf(value, **options):
    return tg.tensor(value, requires_grad=True, **options)


# -- making and reading ----------------------------------------------------------------------------------------------


def test_a_tensor_is_a_copy_and_its_array_is_read_only():
    source = np.array([1.0, 2.0])
    x = tg.tensor(source)
    source[0] = 9
    assert x.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        x.numpy()[0] = 9


@pytest.mark.parametrize("value", [True, 2, 2.5, 1 + 2j, Fraction(1, 3)])
def test_scalars_of_every_kind(value):
    x = tg.tensor(value)
    assert x.item() == value
    assert x.shape == ()


@pytest.mark.parametrize("value", ["text", ["1", "2"], [leaf(1.0)]])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(DTypeError, match=r"numbers|stack|numeric"):
        tg.tensor(value) + 1


def test_python_scalars_are_weak():
    x = leaf(np.ones(2, np.float32))
    assert ((2.0 * x + 1) ** 2 / 3).dtype == np.float32
    assert (tg.tensor(np.int8(3)) + 1).dtype == np.int8


def test_equality_is_elementwise_and_hashing_by_identity():
    x, y = tg.tensor([1.0, 2.0]), tg.tensor([1.0, 3.0])
    assert (x == y).tolist() == [True, False]
    assert len({x, y, x}) == 2


def test_printing_tells_values_names_and_origins():
    assert repr(leaf([1.0, 2.0], name="w")) == "tensor([1., 2.], name='w', requires_grad=True)"
    assert repr(leaf(2.0) * 3) == "tensor(6., op=multiply)"
    assert "float32" in repr(tg.tensor(np.float32(1)))
    assert f"{leaf(0.125):.2f}" == "0.12"


def test_an_array_of_a_recorded_tensor_is_refused():
    with pytest.raises(RecordingError, match="detach"):
        np.asarray(leaf(1.0))
    assert np.asarray(tg.tensor([1.0])).tolist() == [1.0]


def test_item_needs_one_element():
    with pytest.raises(ShapeError, match=r"\(2,\)"):
        tg.tensor([1.0, 2.0]).item()


def test_requires_grad_is_for_leaves_only():
    with pytest.raises(RecordingError, match="leaves only"):
        (leaf(1.0) * 2).requires_grad = False


# -- writing ---------------------------------------------------------------------------------------------------------


def test_writing_an_intermediate_is_recorded():
    x = leaf([1.0, 2.0, 3.0])
    y = x * 2
    before = y * 1
    y[1] = x[0] * 10
    (y * y).sum().backward()
    assert before.tolist() == [2.0, 4.0, 6.0]
    assert y.tolist() == [2.0, 10.0, 6.0]
    assert x.grad.tolist() == [2 * 2 * 2 + 2 * 10 * 10, 0.0, 2 * 6 * 2]


def test_adding_in_place_is_recorded():
    x = leaf([1.0, 2.0])
    y = x * 2
    y += x
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_a_recorded_value_written_into_plain_data_is_recorded():
    x, data = leaf(2.0), tg.tensor(np.zeros(2))
    data[1] = x * 3
    data.sum().backward()
    assert x.grad.item() == 3.0


def test_writing_a_leaf_while_recording_is_refused():
    x = leaf([1.0, 2.0], name="weight")
    for write in (lambda: x.__setitem__(0, 5.0), lambda: x.__iadd__(1.0)):
        with pytest.raises(InPlaceError, match="'weight' requires a gradient"):
            write()
    with tg.no_grad():
        x[0] = 5.0
        x -= 1.0
    assert x.tolist() == [4.0, 1.0]


def test_in_place_updates_keep_shape_and_dtype():
    x = leaf(np.ones(2, np.float32)) * 1
    with pytest.raises(ShapeError, match="shape"):
        x += np.ones((3, 2), np.float32)
    with pytest.raises(DTypeError, match="float64"):
        x += np.ones(2)
    assert x.tolist() == [1.0, 1.0]


def test_a_changed_parameter_is_noticed_with_both_places():
    w = leaf([1.0, 2.0], name="w")
    y = w * w  # saves w
    with tg.no_grad():
        w -= 0.5  # changes it
    with pytest.raises(StaleValueError) as raised:
        y.sum().backward()
    text = str(raised.value)
    assert f"test_tensor.py:{line_of('# saves w')}" in text
    assert f"test_tensor.py:{line_of('# changes it')}" in text
    assert "'w'" in text


def line_of(mark):
    """The first line of this file that ends in a comment."""
    with open(__file__, encoding="utf-8") as file:
        return next(number for number, line in enumerate(file, 1) if line.rstrip().endswith(mark))


def test_a_change_after_which_nothing_saved_is_stale_is_fine():
    w = leaf([1.0, 2.0])
    y = w * 3  # needs no value of w
    with tg.no_grad():
        w -= 0.5
    y.sum().backward()
    assert w.grad.tolist() == [3.0, 3.0]


def test_a_scalar_parameter_is_written_too():
    w = leaf(1.0)
    y = w * w
    with tg.no_grad():
        w -= 0.5
    assert w.item() == 0.5
    with pytest.raises(StaleValueError):
        y.backward()


def test_a_captured_tensor_has_no_value_to_read():
    def leak(x):
        kept.append(x)
        return x * 2

    kept = []
    tg.capture(leak, np.ones(2))
    for use in (lambda: kept[0].numpy(), lambda: kept[0] + 1):
        with pytest.raises(CaptureError, match=r"no value|finished capture"):
            use()


def test_writing_plain_data_changes_no_other_tensor():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    data = tg.tensor([3.0, 4.0])
    y = np.sum(w * w * data)
    w.detach()[0] = 7.0
    data[0] = 9.0
    y.backward()
    assert w.tolist() == [1, 2]
    assert w.grad.tolist() == [6, 16]


def test_a_gradient_that_is_set_becomes_a_tensor():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    w.grad = np.ones(2)
    assert isinstance(w.grad, tg.Tensor)


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(ShapeError, match="equal lengths"):
        tg.tensor([[1], [1, 2]])
    with pytest.raises(DTypeError, match="not None"):
        tg.tensor(None)


def test_round_and_divmod():
    assert round(tg.tensor(1.26), 1).item() == 1.3
    assert [one.item() for one in divmod(tg.tensor(5.0), 2)] == [2, 1]
