"""What samples cannot say of the neural-network ops: random draws, empty and ignored input, dtypes, what is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import ops
from tinygraph.errors import ShapeError

# -- dropout -----------------------------------------------------------------------------------------------------


def test_dropout_keeps_the_mean_and_zeroes_a_share_of_p() -> None:
    out = ops.dropout(np.ones(100_000), p=0.3, generator=tg.Generator(0))
    assert set(np.unique(out)) == {0.0, 1 / 0.7}
    assert abs((out == 0).mean() - 0.3) < 0.01
    assert abs(out.mean() - 1) < 0.01


def test_dropout_draws_from_the_librarys_generator() -> None:
    x = np.ones(50)
    tg.manual_seed(3)
    first, second = ops.dropout(x), ops.dropout(x)
    tg.manual_seed(3)
    np.testing.assert_array_equal(ops.dropout(x), first)
    assert (first != second).any()


def test_dropout_sends_gradients_through_what_it_kept() -> None:
    x = tg.tensor(np.arange(1.0, 9.0), dtype="float32", requires_grad=True)
    out = ops.dropout(x, p=0.5, generator=tg.Generator(1))
    out.sum().backward()
    assert out.dtype == x.grad.dtype == "float32"
    np.testing.assert_array_equal(x.grad.numpy(), np.where(out.numpy() == 0, 0, 2))


def test_a_captured_dropout_draws_anew_in_each_run() -> None:
    graph = tg.capture(lambda x: ops.dropout(x), np.ones(50))
    tg.manual_seed(5)
    first, second = np.asarray(graph(np.ones(50))), np.asarray(graph(np.ones(50)))
    tg.manual_seed(5)
    np.testing.assert_array_equal(ops.dropout(np.ones(50)), first)
    assert (first != second).any()


# -- cross entropy -----------------------------------------------------------------------------------------------


def test_cross_entropy_of_ignored_labels_alone_is_nan_with_gradient_zero() -> None:
    logits = tg.tensor(np.ones((2, 3)), requires_grad=True)
    loss = ops.cross_entropy(logits, np.array([-100, -100]))
    assert np.isnan(loss.item())
    loss.backward()
    np.testing.assert_array_equal(logits.grad.numpy(), np.zeros((2, 3)))


def test_cross_entropy_with_an_impossible_class_is_finite() -> None:
    logits = np.array([[0.0, -np.inf, 0.0]])
    value, slope = tg.value_and_grad(lambda logits: ops.cross_entropy(logits, np.array([0])))(logits)
    np.testing.assert_allclose(value, np.log(2.0))
    np.testing.assert_allclose(slope, [[-0.5, 0.0, 0.5]])


def test_a_label_out_of_range_is_named_with_its_position() -> None:
    labels = np.zeros((2, 3), int)
    labels[1, 2] = 10
    with pytest.raises(ShapeError, match=r"labels\[1, 2\] is 10, but logits have the classes 0 to 9"):
        ops.cross_entropy(np.zeros((2, 10, 3)), labels)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_cross_entropy_takes_labels_of_any_integer_dtype(dtype: str) -> None:
    logits = np.array([[1.0, 2.0, 3.0], [1.0, 0.0, 0.0]], "float32")
    loss = ops.cross_entropy(logits, np.array([2, 0], dtype))
    assert loss.dtype == "float32"
    np.testing.assert_allclose(loss, (0.4076059644 + 0.5514447139) / 2, rtol=1e-6)


# -- empty input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: ops.convolution(x, np.ones((4, 3, 2, 2)), np.ones(4), padding=1), (0, 3, 5, 5)),
        (lambda x: ops.convolution(x, np.ones((4, 3, 2)), padding=1), (2, 3, 0)),
        (lambda x: ops.convolution_transpose(x, np.ones((3, 2, 2)), stride=2), (0, 3, 5)),
        (lambda x: ops.max_pool(x, size=2), (0, 3, 4)),
        (lambda x: ops.average_pool(x, size=2), (2, 0, 4)),
        (lambda x: ops.adaptive_average_pool(x, size=2), (0, 3, 5)),
        (lambda x: ops.batch_norm(x, np.ones(3), np.ones(3))[0], (0, 3, 5)),
        (lambda x: ops.layer_norm(x, normalized_shape=(4,)), (0, 4)),
        (lambda x: ops.softmax(x), (3, 0)),
        (lambda x: ops.log_softmax(x), (3, 0)),
        (lambda x: ops.cross_entropy(x, np.zeros(0, int), reduction="sum"), (0, 4)),
    ],
)
def test_empty_input_has_an_empty_gradient(function: Any, shape: tuple[int, ...]) -> None:
    x = tg.tensor(np.zeros(shape), requires_grad=True)
    ops.sum(function(x)).backward()
    assert x.grad.shape == shape


def test_embedding_of_no_index() -> None:
    weight = tg.tensor(np.ones((3, 2)), requires_grad=True)
    out = ops.embedding(weight, np.zeros((0, 4), int))
    assert out.shape == (0, 4, 2)
    out.sum().backward()
    np.testing.assert_array_equal(weight.grad.numpy(), np.zeros((3, 2)))


def test_embedding_lets_the_padding_row_go_without_a_gradient() -> None:
    weight = np.ones((3, 2))
    slope = tg.grad(lambda weight: ops.sum(ops.embedding(weight, np.array([0, 1, 1, 2]), padding_idx=1)))(
        weight
    )
    np.testing.assert_array_equal(slope, [[1, 1], [0, 0], [1, 1]])


# -- dtypes ------------------------------------------------------------------------------------------------------


def test_integer_input() -> None:
    image = np.arange(16).reshape(1, 1, 4, 4)
    assert ops.convolution(image, np.ones((1, 1, 2, 2), int)).dtype == int
    assert ops.max_pool(image, size=2).dtype == int
    assert ops.average_pool(image, size=2).dtype == float
    assert ops.softmax(np.array([1, 2])).dtype == float
    assert ops.relu(np.array([-1, 2])).tolist() == [0, 2]


def test_convolution_is_bilinear_over_complex_numbers() -> None:
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=(2, *shape)) for shape in ((1, 2, 5), (3, 2, 2)))
    found = ops.convolution(x[0] + 1j * x[1], kernel[0] + 1j * kernel[1], padding=1)

    def part(i: int, k: int) -> Any:
        return ops.convolution(x[i], kernel[k], padding=1)

    np.testing.assert_allclose(found, part(0, 0) - part(1, 1) + 1j * (part(0, 1) + part(1, 0)), atol=1e-12)


def test_normalisation_and_relu_keep_their_output_and_not_their_input() -> None:
    """So that the layer before them may forget what it returned."""
    x = tg.tensor(np.arange(12.0).reshape(4, 3), requires_grad=True)
    for out in (ops.standardize(x, axis=0)[0], ops.relu(x), ops.softmax(x)):
        assert out.node.live_rules.values == ()
