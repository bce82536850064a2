"""The engine: accumulation, un-broadcasting, several outputs, what it refuses. Against values worked out by hand."""

from fractions import Fraction

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import DTypeError, MissingRuleError, RecordingError, RuleError, ShapeError
from tinygraph.plugin import op, ops


def leaf(value, **options):
    return tg.tensor(value, requires_grad=True, **options)


def test_uses_of_one_tensor_add_up():
    x = leaf(3.0)
    (x * x + x).backward()
    assert x.grad.item() == 7.0


def test_grad_accumulates_over_backward_passes():
    x = leaf(3.0)
    y = x * x
    y.backward()
    y.backward()
    assert x.grad.item() == 12.0


def test_accumulating_leaves_an_earlier_grad_alone():
    x = leaf([1.0, 2.0])
    (x * 2).sum().backward()
    first = x.grad.numpy()
    (x * 2).sum().backward()
    assert first.tolist() == [2.0, 2.0]
    assert x.grad.tolist() == [4.0, 4.0]


@pytest.mark.parametrize(
    ("shape", "expected"), [((), 6.0), ((1,), [6.0]), ((3,), [2.0, 2.0, 2.0]), ((2, 1), [[3.0], [3.0]])]
)
def test_broadcast_operands_get_summed_gradients(shape, expected):
    x = leaf(np.zeros(shape))
    (x + np.zeros((2, 3))).sum().backward()
    assert x.grad.tolist() == expected


def test_gradients_have_the_operands_dtype():
    x, y = leaf(np.ones(2, np.float32)), leaf(np.ones(2))
    (x * y).sum().backward()
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)


def test_backward_starts_from_a_given_cotangent():
    x = leaf([1.0, 2.0])
    (x * x).backward([1.0, 10.0])
    assert x.grad.tolist() == [2.0, 40.0]


def test_create_graph_gives_second_derivatives():
    x = leaf(2.0)
    (x * x * x).backward(create_graph=True)
    first, x.grad = x.grad, None
    first.backward()
    assert (first.item(), x.grad.item()) == (12.0, 12.0)


def test_without_create_graph_nothing_is_recorded():
    x = leaf(2.0)
    (x * x).backward()
    assert not x.grad.requires_grad


def test_python_objects_are_differentiated_exactly():
    x = leaf(np.array(Fraction(1, 3), dtype=object))
    (x * x * x).backward()
    assert x.grad.item() == Fraction(1, 3)


def test_writing_a_gradient_does_not_reach_the_cotangent_it_is_a_view_of():
    x, seed = leaf(np.zeros((2, 2))), np.ones(4)
    x.reshape(4).backward(seed)
    x.grad += 5.0
    assert seed.tolist() == [1.0] * 4
    x.grad = None
    x.sum().backward()
    x.grad[0, 0] += 5.0
    assert x.grad.tolist() == [[6.0, 1.0], [1.0, 1.0]]


def test_interior_and_constant_tensors_keep_no_grad():
    x, constant = leaf(2.0), tg.tensor(3.0)
    y = x * constant
    (y * y).backward()
    assert y.grad is None
    assert constant.grad is None


def split():
    """(x, 2 x, an integer), for tests of several outputs; notes the cotangents it gets."""
    seen = []

    @op(declare=False)
    def parts(x):
        return x, 2 * x, np.argmax(x)

    @parts.vjp("x")
    def parts_wrt_x(g):
        seen.append(g)
        return g[0] + 2 * g[1]

    return parts, seen


def test_an_unused_output_sends_typed_zeros_and_an_integer_one_none():
    parts, seen = split()
    x = leaf(np.array([1.0, 5.0], np.float32))
    _, double, place = parts(x)
    assert not place.requires_grad
    double.sum().backward()
    ((first, second, third),) = seen
    assert (first.dtype, first.tolist(), second.tolist(), third) == (np.float32, [0, 0], [1, 1], None)
    assert x.grad.tolist() == [2.0, 2.0]


def test_several_outputs_used_together_run_the_rule_once():
    parts, seen = split()
    x = leaf([1.0, 5.0])
    same, double, _ = parts(x)
    (same * double).sum().backward()
    assert x.grad.tolist() == [4.0, 20.0]
    assert len(seen) == 1


def test_uses_of_one_output_of_several_add_up():
    parts, seen = split()
    x = leaf([1.0, 5.0])
    _, double, _ = parts(x)
    (double * 3 + double * [10.0, 20.0]).sum().backward()
    assert seen[0][1].tolist() == [13.0, 23.0]
    assert x.grad.tolist() == [26.0, 46.0]


def test_a_real_operand_gets_the_real_part_of_what_its_rule_returns():
    @op(kind="elementwise", declare=False)
    def times(x):
        return 2 * x

    times.vjp("x")(lambda g: g * (2 + 3j))
    x, z = leaf([1.0, 2.0]), leaf([1.0 + 1.0j])
    times(x).sum().backward()
    assert (x.grad.dtype, x.grad.tolist()) == (np.float64, [2.0, 2.0])
    np.real(times(z)).sum().backward()
    assert (z.grad.dtype, z.grad.tolist()) == (np.complex128, [2.0 + 3.0j])


def test_a_complex_cotangent_of_a_real_output_is_refused():
    x = leaf([1.0, 2.0])
    with pytest.raises(DTypeError, match="imaginary part"):
        (x * 2).backward([1j, 0])


@pytest.mark.parametrize("found", [lambda g: (g,), lambda g: ()])
def test_a_joint_rule_that_returns_too_little_is_named(found):
    @op(kind="elementwise", declare=False)
    def times(x, y):
        return x * y

    times.vjp("x", "y")(found)
    with pytest.raises(RuleError, match="'times' must return a tuple with one entry per operand"):
        times(leaf(2.0), leaf(3.0)).backward()


def test_rules_of_operands_beside_the_path_do_not_run():
    calls = []

    @op(kind="elementwise", declare=False)
    def times(x, y):
        return x * y

    times.vjp("x")(lambda g, y: calls.append("x") or g * y)
    times.vjp("y")(lambda g, x: calls.append("y") or g * x)
    beside = leaf(3.0)
    assert tg.grad(lambda x: times(x, beside))(2.0) == 3.0
    assert calls == ["x"]


@pytest.mark.parametrize("part", [lambda y: y, lambda y: y[...], lambda y: y[::-1]])
def test_writing_a_gradient_does_not_reach_what_a_node_saved(part):
    @op(kind="elementwise", declare=False)
    def times(x, y):
        return x * y

    times.vjp("x")(lambda g, y: part(y))
    times.vjp("y")(lambda g, x: g * x)
    x, y = leaf([1.0, 2.0]), leaf([3.0, 3.0])
    times(x, y).sum().backward()
    x.grad[...] = 7.0
    assert y.tolist() == [3.0, 3.0]
    held = np.array([3.0, 3.0])
    found = tg.grad(lambda x: np.sum(times(x, held)))(np.ones(2))
    np.asarray(found)[...] = 7.0
    assert held.tolist() == [3.0, 3.0]


@pytest.mark.parametrize("shape", [(3,), (1,), (4,)])
def test_a_gradient_of_another_size_is_refused(shape):
    @op(declare=False)
    def twice(x):
        return 2 * x

    twice.vjp("x")(lambda g: np.ones(shape))
    with pytest.raises(RuleError, match=r"'twice'.*returned shape"):
        twice(leaf([1.0, 2.0])).sum().backward()


def test_rules_run_only_where_a_gradient_is_wanted():
    calls = []

    @op(kind="elementwise", declare=False)
    def times(x, y):
        return x * y

    times.vjp("x")(lambda g, y: calls.append("x") or g * y)
    times.vjp("y")(lambda g, x: calls.append("y") or g * x)
    x = leaf(2.0)
    times(x, tg.tensor(3.0)).backward()
    assert calls == ["x"]


def test_a_missing_rule_is_named_and_never_zero():
    @op(kind="elementwise", declare=False)
    def ruleless(x):
        return 2 * x

    with pytest.raises(
        MissingRuleError, match=r"'ruleless' has no VJP rule for its operand 'x'.*test_engine.py"
    ):
        ruleless(leaf(1.0)).backward()


def test_a_rule_of_the_wrong_shape_is_named():
    @op(declare=False)
    def total(x):
        return np.sum(x)

    total.vjp("x")(lambda g: g)
    with pytest.raises(
        RuleError, match=r"'total' for operand 'x' returned shape \(\), but the operand is float64\[3\]"
    ):
        total(leaf(np.ones(3))).backward()


def writing(rule, tangent=None):
    """x * y, with a rule for x that is given."""

    @op(declare=False)
    def weighted(x, y):
        """x * y."""
        return x * y

    weighted.vjp("x")(rule)
    weighted.vjp("y")(lambda g, x: g * x)
    if tangent is not None:
        weighted.jvp("x")(tangent)
    return weighted


def in_place(g, y):
    g *= y
    return g


def into_out(g, y):
    return np.multiply(g, y, out=g)


def into_a_view(g, y):
    flat = g.reshape(-1)
    flat[:] = flat * 2.0
    return g


Y = np.array([2.0, 3.0])


@pytest.mark.parametrize("rule", [in_place, into_out, into_a_view])
def test_a_rule_that_writes_into_its_cotangent_is_named(rule):
    """The sum hands the same cotangent to both branches: without the error the other one would get 2 or 3 times it."""
    x, z = leaf([1.0, 1.0]), leaf([1.0, 1.0])
    loss = np.sum(writing(rule)(x, Y) + z)
    with pytest.raises(
        RuleError, match=rf"VJP rule '{rule.__name__}' of op 'weighted' for operand 'x' writes into g"
    ):
        loss.backward()


@pytest.mark.parametrize(
    "use",
    [
        lambda f: tg.grad(lambda a: np.sum(f(a, Y)))(np.ones(2)),
        lambda f: tg.grad(lambda a: np.sum(tg.grad(lambda b: np.sum(f(b, Y) * b))(a)))(np.ones(2)),
        lambda f: np.sum(f(leaf([1.0, 1.0]), Y)).backward(create_graph=True),
        lambda f: tg.jvp(lambda a: f(a, Y), (np.ones(2),), (np.ones(2),)),
        lambda f: tg.compile(lambda a: tg.grad(lambda b: np.sum(f(b, leaf(Y))))(a))(np.ones(2)),
    ],
    ids=["grad", "second order", "create_graph", "jvp", "compiled"],
)
def test_a_rule_that_writes_is_named_in_every_pass(use):
    with pytest.raises(RuleError, match="'in_place' of op 'weighted' for operand 'x' writes into g"):
        use(writing(in_place))


def test_a_forward_mode_rule_that_writes_into_its_tangent_is_named():
    def pushed(t, y):
        t *= y
        return t

    with pytest.raises(
        RuleError, match="forward-mode rule 'pushed' of op 'weighted' for operand 'x' writes into t"
    ):
        tg.jvp(lambda a: writing(lambda g, y: g * y, pushed)(a, Y), (np.ones(2),), (np.ones(2),))


def test_a_rule_that_hands_its_cotangent_on_hands_on_the_array_itself():
    """Rules read a view; what they hand on unchanged is not copied at the leaf, and the leaf may be written."""
    x, z = leaf([1.0, 1.0]), leaf([1.0, 1.0])
    np.sum((x + z) * Y).backward()
    for one in (x, z):
        np.testing.assert_array_equal(one.grad.numpy(), [2.0, 3.0])
    with tg.no_grad():
        x.grad *= 5.0
    np.testing.assert_array_equal(x.grad.numpy(), [10.0, 15.0])
    np.testing.assert_array_equal(z.grad.numpy(), [2.0, 3.0])


def test_a_joint_rule_must_return_a_tuple():
    @op(declare=False)
    def both(x, y):
        return x + y

    both.vjp("x", "y")(lambda g: g)
    with pytest.raises(RuleError, match="must return a tuple"):
        both(leaf(1.0), leaf(2.0)).backward()


def test_absent_operands_are_skipped():
    @op(declare=False)
    def shifted(x, bias=None):
        return x if bias is None else x + bias

    shifted.vjp("x")(lambda g, bias: g if bias is None else 10 * g)
    for operands, expected in (((), 1.0), ((None,), 1.0), ((2.0,), 10.0)):
        x = leaf(1.0)
        shifted(x, *operands).backward()
        assert x.grad.item() == expected


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_array_is_not_shared_between_leaves(create_graph):
    x, y, seed = leaf([1.0, 2.0]), leaf([1.0, 2.0]), np.ones(2)
    for output, cotangent in ((x + y, seed), ((x + y) * 1, seed)):
        x.grad = y.grad = None
        output.backward(cotangent, create_graph=create_graph)
        x.grad += 5.0
        assert y.grad.tolist() == seed.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("start", "error", "words"),
    [
        (lambda: tg.tensor(1.0).backward(), RecordingError, "not recorded"),
        (lambda: (leaf([1.0, 2.0]) * 2).backward(), RecordingError, r"non-scalar .*float64\[2\]"),
        (lambda: (leaf([1.0, 2.0]) * 2).backward(np.ones(3)), ShapeError, r"\(3,\), the output \(2,\)"),
        (lambda: ops.argmax(leaf([1.0, 2.0])).backward(), DTypeError, "int64"),
        (lambda: leaf([1, 2]), DTypeError, "int64 cannot require a gradient"),
    ],
)
def test_what_cannot_be_differentiated_says_why(start, error, words):
    with pytest.raises(error, match=words):
        start()


# -- values that a `where` does not choose ----------------------------------------------------------------------------


def chosen_and_returned(x):
    t = np.sin(x) * 2
    return np.where(np.array([True, False]), t, 0.0), t


@pytest.mark.parametrize("wrapped", [lambda f: f, tg.compile])
def test_a_result_counts_where_it_is_not_chosen_elsewhere(wrapped):
    """2 cos(x) times 1 + 3 where the sum of both results has it from both, times 3 from the second alone."""
    x = tg.tensor([0.5, 1.0], requires_grad=True)
    chosen, whole = wrapped(chosen_and_returned)(x)
    (np.sum(chosen) + 3 * np.sum(whole)).backward()
    np.testing.assert_allclose(x.grad.numpy(), [7.020660495122983, 3.2418138352088386], rtol=1e-14)
    pulled = tg.vjp(wrapped(chosen_and_returned), np.array([0.5, 1.0]))[1]((np.ones(2), 3 * np.ones(2)))
    np.testing.assert_allclose(pulled[0], [7.020660495122983, 3.2418138352088386], rtol=1e-14)


def test_what_a_hook_adds_counts_where_it_is_not_chosen():
    x = tg.tensor([0.5, 1.0], requires_grad=True)
    t = np.sin(x) * 2
    t.register_hook(lambda g: g + 1)
    np.sum(np.where(np.array([True, False]), t, 0.0)).backward()
    np.testing.assert_allclose(x.grad.numpy(), [3.5103302475614916, 1.0806046117362795], rtol=1e-14)
