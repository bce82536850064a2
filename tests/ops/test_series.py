"""The numbers of the article series that tinygraph grew from: what reaches what, the house and the patients.

Counts are found by letting ones flow back, never written into the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import ops

Array = Any

# -- what reaches what, from 3 channels of 7x7 to 2, through 3x3 kernels -------------------------------------


def _reached(**one: Array) -> Array:
    """How many output elements one element of x, kernel or bias reaches: all other values are ones."""
    values = {"x": np.ones((1, 3, 7, 7)), "kernel": np.ones((2, 3, 3, 3)), "bias": np.ones(2)}
    (name, element), *_ = one.items()
    direction = np.zeros_like(values[name])
    direction[element] = 1.0

    def output(value: Any) -> Any:
        return ops.convolution(*(values | {name: value}).values(), padding="same")

    _, moved = tg.jvp(output, (values[name],), (direction,))
    assert moved.shape == (1, 2, 7, 7)
    return np.count_nonzero(moved)


def _gradients() -> tuple[Array, Array, Array]:
    """Of the sum of all outputs: with ones for operands, each path to an output element adds 1."""
    operands = np.ones((1, 3, 7, 7)), np.ones((2, 3, 3, 3)), np.ones(2)
    gradient: tuple[Array, Array, Array] = tg.grad(
        lambda x, kernel, bias: ops.sum(ops.convolution(x, kernel, bias, padding="same")), argnums=(0, 1, 2)
    )(*operands)
    return gradient


def test_an_input_element_reaches_8_12_or_18_outputs() -> None:
    x, _, _ = _gradients()
    assert x[0, 0, 0, 0] == _reached(x=(0, 0, 0, 0)) == 8
    assert x[0, 1, 0, 3] == _reached(x=(0, 1, 0, 3)) == 12
    assert x[0, 2, 3, 3] == _reached(x=(0, 2, 3, 3)) == 18


def test_a_kernel_element_reaches_the_outputs_it_does_not_meet_padding_at() -> None:
    _, kernel, _ = _gradients()
    table = [[36, 42, 36], [42, 49, 42], [36, 42, 36]]
    np.testing.assert_array_equal(kernel, np.broadcast_to(table, (2, 3, 3, 3)))
    assert _reached(kernel=(1, 0, 0, 0)) == 36
    assert _reached(kernel=(1, 2, 1, 1)) == 49


def test_the_first_kernel_element_is_paired_with_all_but_the_last_row_and_column() -> None:
    x = np.arange(1.0, 50.0).reshape(1, 1, 7, 7)
    direction = np.zeros((1, 1, 3, 3))
    direction[0, 0, 0, 0] = 1.0
    _, moved = tg.jvp(lambda kernel: ops.convolution(x, kernel, padding=1), (direction,), (direction,))
    expected = np.zeros((7, 7))
    expected[1:, 1:] = x[0, 0, :6, :6]
    np.testing.assert_array_equal(moved[0, 0], expected)


def test_a_bias_reaches_49_outputs() -> None:
    _, _, bias = _gradients()
    np.testing.assert_array_equal(bias, [49, 49])
    assert _reached(bias=(1,)) == 49


def test_the_gradients_are_the_articles_sums() -> None:
    """d_in: the kernel turned by 180 degrees; d_ker: the pixels that each kernel element was paired with."""
    rng = np.random.default_rng(7)
    x, kernel, delta = rng.normal(size=(3, 7, 7)), rng.normal(size=(2, 3, 3, 3)), rng.normal(size=(2, 7, 7))
    _, pull = tg.vjp(lambda x, kernel: ops.convolution(x[None], kernel, padding="same")[0], x, kernel)
    d_x, d_kernel = pull(delta)
    far_x, far_delta = np.pad(x, ((0, 0), (1, 1), (1, 1))), np.pad(delta, ((0, 0), (1, 1), (1, 1)))
    for p, q in np.ndindex(3, 3):
        np.testing.assert_allclose(
            d_kernel[:, :, p, q], np.einsum("oij,cij->oc", delta, far_x[:, p : p + 7, q : q + 7]), atol=1e-12
        )
    turned = kernel[:, :, ::-1, ::-1]
    for i, j in np.ndindex(7, 7):
        window = far_delta[:, i : i + 3, j : j + 3]
        np.testing.assert_allclose(d_x[:, i, j], np.einsum("opq,ocpq->c", window, turned), atol=1e-12)


# -- the house: integers, exact ------------------------------------------------------------------------------

PICTURE = ["BBBGBBB", "BBGGGBB", "BGGGWGB", "GGGWWGG", "BRCCCRB", "BRCRCRB", "BRCRCRB"]
COLOURS = {
    "B": (0, 57, 71),
    "G": (147, 146, 136),
    "W": (70, 74, 51),
    "C": (207, 166, 121),
    "R": (152, 92, 57),
}
DETECTORS = [
    [[0, -1, 1], [-1, 1, 0], [1, 0, 0]],
    [[1, -1, 0], [0, 1, -1], [0, 0, 1]],
    [[1, -1, 1], [-1, -1, 1], [1, 1, 1]],
    [[-1, 1, 1], [-1, 1, 1], [-1, 1, 1]],
    [[1, 1, -1], [1, 1, -1], [1, 1, -1]],
    [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
]
BIASES = [-1030, -1030, -1990, -2000, -2000, -4059]
FIRST_GRID = [
    [128, 128, 128, 730, 128, 429, 128],
    [128, 128, 1031, 128, 429, -106, 301],
    [128, 1031, 429, 429, -340, 429, 0],
    [730, 128, 301, 26, 728, 427, 173],
    [128, 301, 260, 494, 535, 301, -301],
    [301, 494, 494, 301, 301, 128, 0],
    [301, 366, 0, 0, 0, -366, -301],
]
# value and places of the maximum of each detector's grid
MAXIMA: list[tuple[int, list[tuple[int, int]]]] = [
    (1031, [(1, 2), (2, 1)]),
    (1031, [(1, 4), (2, 5)]),
    (1991, [(3, 4)]),
    (2001, [(5, 1)]),
    (2001, [(5, 5)]),
    (4060, [(5, 3)]),
]


def _picture(dtype: str) -> Array:
    pixels = np.array([[COLOURS[colour] for colour in row] for row in PICTURE], dtype)
    return np.moveaxis(pixels, -1, 0)[None]


def _detectors(dtype: str) -> Array:
    """(6, 3, 3, 3): one kernel for each output, the same for the three colours."""
    return np.repeat(np.array(DETECTORS, dtype)[:, None], 3, axis=1)


def _single_ones(places: list[tuple[int, int]], dtype: str) -> Array:
    """(6, 3, 3), each with a single 1."""
    kernels = np.zeros((6, 3, 3), dtype)
    for kernel, place in zip(kernels, places, strict=True):
        kernel[place] = 1
    return kernels


def _fourth_layer(dtype: str) -> Array:
    """(6, 6, 3, 3): output n reads input n only."""
    places = [(1, 0), (1, 2), (1, 1), (2, 0), (2, 2), (2, 1)]
    kernel = np.zeros((6, 6, 3, 3), dtype)
    kernel[range(6), range(6)] = _single_ones(places, dtype)
    return kernel


def _fifth_layer(dtype: str) -> Array:
    return _single_ones([(0, 0), (0, 2), (1, 2), (2, 0), (2, 2), (2, 1)], dtype)[None]


def _house(dtype: str) -> tuple[Array, Array, Array, Array]:
    """What layers 2 to 5 make of the picture."""
    second = ops.convolution(_picture(dtype), _detectors(dtype), padding="same")
    third = ops.relu(second + np.array(BIASES, dtype).reshape(6, 1, 1))
    fourth = ops.convolution(third, _fourth_layer(dtype), padding="same")
    return second, third, fourth, ops.convolution(fourth, _fifth_layer(dtype), padding="same")


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "object"])
def test_house_is_found_at_the_centre(dtype: str) -> None:
    second, third, _, fifth = _house(dtype)
    assert second.dtype == fifth.dtype == dtype
    np.testing.assert_array_equal(second[0, 0], FIRST_GRID)
    for grid, fired, (value, places) in zip(second[0], third[0], MAXIMA, strict=True):
        assert grid.max() == value
        found = list(map(tuple, np.argwhere(fired)))
        assert found == list(map(tuple, np.argwhere(grid == value))) == places
        assert {int(one) for one in fired[fired != 0]} == {1}
    expected = np.zeros((7, 7))
    expected[3, 3], expected[2, 2], expected[2, 4] = 6, 1, 1
    np.testing.assert_array_equal(fifth[0, 0], expected)


def test_the_fourth_layer_moves_each_feature_by_one_place() -> None:
    _, third, fourth, _ = _house("int64")
    places = [(1, 0), (1, 2), (1, 1), (2, 0), (2, 2), (2, 1)]
    for before, after, (row, column) in zip(third[0], fourth[0], places, strict=True):
        # a 1 at (row, column) of the kernel reads the neighbour in that direction from the centre
        shifted = np.pad(before, 1)[row : row + 7, column : column + 7]
        np.testing.assert_array_equal(after, shifted)


def test_the_first_detector_on_the_red_channel() -> None:
    red = _picture("int64")[:, :1]
    grid = ops.convolution(red, np.array(DETECTORS[:1])[:, None], padding="same")[0, 0]
    assert (grid[6, 0], grid[3, 3]) == (152, 53)


# -- the patients: gradient descent by hand ------------------------------------------------------------------

PATIENTS = [(100, 2000, 100), (200, 0, 0), (0, 2000, 3000)]
TARGETS = [0, 1, 1]
WEIGHTS = [Fraction(1, 200), Fraction(-3000, 11600000), Fraction(1, 5800)]
ONE_BY_ONE = [[0], [1], [2]]
ALL_AT_ONCE = [[0, 1, 2]]


def _relu_open_at_0(x: Any) -> Any:
    """The series takes slope 1 at 0, and the third patient starts there; tinygraph has slope 0."""
    return ops.where(x >= 0, x, 0)


def _outcome(weights: Sequence[Any], patient: Sequence[Any], relu: Any) -> Any:
    """Linear without bias, summed from left to right, then ReLU."""
    products = [weight * value for weight, value in zip(weights, patient, strict=True)]
    return relu(products[0] + products[1] + products[2])


def _gradient(leaf: tg.Tensor) -> Any:
    assert leaf.grad is not None
    return leaf.grad.item()


def _descend(
    number: Any, steps: list[list[int]], *, weights: Sequence[Any] = WEIGHTS, relu: Any = _relu_open_at_0
) -> tuple[list[Any], list[Any]]:
    """Outputs and losses of the three patients after one update for each group of patients in `steps`."""
    rate, half = number(Fraction(1, 10_000_000)), number(Fraction(1, 2))
    weights = [number(weight) for weight in weights]
    patients = [[number(value) for value in patient] for patient in PATIENTS]

    def loss(weights: Sequence[Any], i: int) -> Any:
        error = _outcome(weights, patients[i], relu) - number(TARGETS[i])
        return half * (error * error)

    for group in steps:
        live = [tg.tensor(weight, requires_grad=True) for weight in weights]
        for i in group:
            (loss(live, i) * number(Fraction(1, len(group)))).backward()
        weights = [number(leaf.item() - rate * number(_gradient(leaf))) for leaf in live]
    outputs = [_outcome(weights, patient, relu) for patient in patients]
    return outputs, [loss(weights, i) for i in range(3)]


EPOCH = ([Fraction(43, 100), 1, Fraction(13, 10)], [Fraction(9245, 100000), 0, Fraction(45, 1000)])
BATCH = (
    [Fraction(43, 300), 1, Fraction(13, 30)],
    [Fraction(43, 300) ** 2 / 2, 0, Fraction(17, 30) ** 2 / 2],
)


def test_patients_before_learning_exactly() -> None:
    assert _descend(Fraction, []) == ([0, 1, 0], [0, 0, Fraction(1, 2)])


def test_patients_one_by_one_exactly() -> None:
    assert _descend(Fraction, ONE_BY_ONE) == EPOCH


def test_patients_all_at_once_exactly() -> None:
    assert _descend(Fraction, ALL_AT_ONCE) == BATCH
    np.testing.assert_allclose([float(loss) for loss in BATCH[1]], [0.0102722, 0, 0.1605556], atol=5e-8)


@pytest.mark.parametrize(("steps", "expected"), [(ONE_BY_ONE, EPOCH), (ALL_AT_ONCE, BATCH)])
def test_patients_in_floating_point(steps: list[list[int]], expected: Any) -> None:
    """In float32 rounding leaves the third patient just above 0; in float64 a hair more weight does."""
    nudged = [*map(float, WEIGHTS[:2]), float(WEIGHTS[2]) * (1 + 1e-15)]
    for number, weights in ((np.float32, WEIGHTS), (np.float64, nudged)):
        for found, exact in zip(
            _descend(number, steps, weights=weights, relu=ops.relu), expected, strict=True
        ):
            assert {np.asarray(one).dtype for one in found} == {np.dtype(number)}
            np.testing.assert_allclose(np.array(found), np.array(exact, float), atol=5e-5)


def test_the_third_patient_is_lost_where_rounding_goes_down() -> None:
    """The trap: float64 makes -1.1e-16 of the third patient's 0, and ReLU lets nothing through."""
    outputs, _ = _descend(np.float64, ONE_BY_ONE)
    assert outputs[2] == 0
    assert _descend(Fraction, ONE_BY_ONE, relu=ops.relu)[0] == [0, 1, 0]
