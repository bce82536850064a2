"""`check_grads` and the differences it rests on."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import SettingError
from tinygraph.plugin import op, ops
from tinygraph.testing import LawBroken, check_grads
from tinygraph.testing.differences import disagreement, pulled_back, pushed_forward
from tinygraph.testing.likely_causes import likely_cause

X = np.array([[0.3, -1.2], [0.8, 1.5]])


def doubled_rule(order):
    """sin with a rule that is wrong from the given order on."""

    @op(kind="elementwise", declare=False)
    def sine(x):
        """sin(x)."""
        return np.sin(x)

    @sine.vjp("x")
    def sine_wrt_x(g, x):
        return 2 * g * ops.cos(x) if order == 1 else g * ops.cos(ops.detach(x))

    return sine


@pytest.mark.parametrize("order", [1, 2, 3])
def test_right_derivatives_pass(order):
    check_grads(lambda x, y: np.sum(np.sin(x) @ y) + x[0] * y, X, X + 0.1, order=order)


def test_containers_and_several_results_are_taken_apart():
    check_grads(lambda p: {"a": p["w"] ** 2, "b": [p["v"] * p["w"]]}, {"w": X, "v": np.float64(0.7)})


def test_complex_functions_follow_the_convention():
    check_grads(lambda z: z * z * np.conj(z), np.array([0.3 + 0.4j, -1.0 + 0.2j]))


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_a_wrong_first_derivative_is_named(mode):
    with pytest.raises(LawBroken, match=rf"order 1 in {mode} mode(.|\n)*found = 2 × expected"):
        check_grads(doubled_rule(1), X, modes=(mode,))


def test_a_wrong_second_derivative_needs_the_second_order():
    check_grads(doubled_rule(2), X, order=1)
    with pytest.raises(LawBroken, match="order 2 in reverse mode"):
        check_grads(doubled_rule(2), X, order=2)


def test_a_detached_value_is_noticed():
    with pytest.raises(LawBroken, match="order 1"):
        check_grads(lambda x: x * tg.ops.detach(x), X, modes=("reverse",))


def test_float32_arguments_are_checked_in_double_precision():
    check_grads(np.sin, X.astype(np.float32))


def test_impossible_options_are_refused():
    with pytest.raises(SettingError, match="modes are"):
        check_grads(np.sin, X, modes=("backward",))


def test_differences_reach_nine_digits():
    x = np.array([0.3, 2.0])
    exact = np.exp(x) * np.array([2.0, -1.0])
    np.testing.assert_allclose(
        pulled_back(lambda x: [np.exp(x)], [x], 0, [np.array([2.0, -1.0])]), exact, rtol=1e-9
    )
    (along,) = pushed_forward(lambda x: [np.exp(x)], [x], [np.array([2.0, -1.0])])
    np.testing.assert_allclose(along, exact, rtol=1e-9)


@pytest.mark.parametrize("x", [1e-4, 1.0, 1e4])
def test_a_step_is_found_for_steep_and_flat_functions(x):
    def f(x):
        return [np.exp(x / 1e-4 - 1), np.log(x)]

    x = np.array([x])
    with np.errstate(all="ignore"):
        exact = np.exp(x / 1e-4 - 1) / 1e-4 if x < 1 else 1 / x
    k = 0 if x < 1 else 1
    assert (
        disagreement(
            exact, lambda step: pulled_back(lambda x: [f(x)[k]], [x], 0, [np.ones(1)], step), 1e-6, 1.0
        )
        is None
    )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (lambda x: -x, "wrong sign"),
        (lambda x: 0 * x, "zero everywhere"),
        (lambda x: x / 2, "found = 0.5 × expected"),
        (lambda x: x.T, "transposed"),
        (lambda x: x + 1, "constant term"),
        (lambda x: x[::-1], "wrong places"),
        (lambda x: x.sum(axis=0), "not the operand's shape"),
        (lambda x: x[None], "axes too many"),
        (lambda x: x * np.nan, "not finite"),
        (lambda x: np.where(x > 1, 0, x), "1 of 4 elements"),
    ],
)
def test_causes_are_put_into_words(found, words):
    assert words in likely_cause(found(X), X)


def test_swapped_operands_are_recognised():
    assert "operand 'y'" in likely_cause(X**2, X, {"y": X**2})
