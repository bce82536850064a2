"""The linter of ops: each fault is found in a rule that has it, and the built-in ops have none."""

import math

import numpy as np
import pytest

from tinygraph.core.registry import registry
from tinygraph.plugin import Sample, op, ops
from tinygraph.testing.linter import lint_op

X = Sample([[0.3, -1.2, 0.8], [1.5, 0.4, -0.6]], expected=[[0.3, -1.2, 0.8], [1.5, 0.4, -0.6]])
XY = Sample([[0.3, -1.2, 0.8], [1.5, 0.4, -0.6]], [0.9, 0.2, -0.7], expected=np.zeros((2, 3)))


def unary(rule, **options):
    """An elementwise op with a rule that may have a fault."""

    def forward(x):
        """f(x)."""
        return np.asarray(x)

    made = op(forward, name="faulty", declare=False, **{"kind": "elementwise", "samples": [X], **options})
    made.vjp("x")(rule)
    return made


def found(made):
    return [(fault.severity, fault.what) for fault in lint_op(made)]


def clean(g, x):
    return g * ops.cos(x)


def with_numpy(g, x):
    return g * np.cos(x)


def with_math(g, x):
    return g * math.sqrt(2) * x


def with_numpy_scalar(g, x):
    return g * np.sqrt(2) * x


def with_shapes(g, x_type):
    return g * np.ones(x_type.shape, x_type.dtype)


def with_asarray(g, x):
    return g * np.asarray(x)


def in_place(g, x):
    g *= x
    return g


def in_place_alias(g, x):
    total = g
    total += x
    return total


def with_item_assignment(g, x):
    y = g * x
    y[0] = 0
    return y


def with_out(g, x):
    return np.multiply(g, x, out=g)


def with_item(g, x):
    return g * x.item()


def with_numpy_method(g, x):
    return g * ops.cos(x.numpy())


def with_float(g, x):
    return g * float(x)


def branching(g, x):
    if x > 0:
        return g
    return g * 2


def branching_on_derived(g, x):
    small = ops.abs(x) < 1
    return g if small.all() else -g


def branching_on_type(g, x):
    if x.dtype.kind == "c" or x.ndim > 3:
        return g
    return g * x


def branching_on_number(g, x):
    if isinstance(x, int | float):
        return g * 2 if x == 2 else g
    return g * x


def unused(g, x):
    return g


def only_shape(g, x):
    return ops.broadcast_to(g, shape=x.shape)


def only_shape_of_out(g, out):
    return ops.broadcast_to(g, shape=out.shape)


def summing(g, x):
    return (g * x).sum(axis=0)


def casting(g, x):
    return (g * x).astype("float32")


def detaching(g, x):
    return g * ops.detach(x)


def sorting(g, x):
    g.sort()
    return g * x


@pytest.mark.parametrize("rule", [clean, with_math, with_shapes, branching_on_type, branching_on_number])
def test_rules_without_fault(rule):
    assert found(unary(rule)) == []


@pytest.mark.parametrize(
    ("rule", "severity", "words"),
    [
        (with_numpy, "error", "np.cos on a value is not closed"),
        (with_numpy_scalar, "warning", "float64 NumPy scalar"),
        (with_asarray, "error", "np.asarray takes a value out of the graph"),
        (in_place, "error", "changes 'g' in place"),
        (in_place_alias, "error", "changes 'total' in place"),
        (with_item_assignment, "error", "writes into 'y'"),
        (with_out, "error", "out=...) writes into an array"),
        (with_item, "error", ".item() takes the value out of the graph"),
        (with_numpy_method, "error", ".numpy() takes the value out of the graph"),
        (with_float, "error", "float(...) takes the number out of the graph"),
        (branching, "error", "branches on a value (x > 0)"),
        (branching_on_derived, "error", "branches on a value"),
        (unused, "warning", "asks for 'x' and does not use it"),
        (only_shape, "warning", "asks for the value of 'x' only for its shape"),
        (only_shape_of_out, "warning", "asks for the value of 'out' only for its shape"),
        (summing, "warning", "sums, in an elementwise op"),
        (casting, "warning", ".astype casts a value"),
        (detaching, "hint", "stops derivatives of higher order"),
        (sorting, "error", ".sort() writes into the array"),
        (lambda g, x: g * x, "warning", "it is a lambda"),
    ],
)
def test_faults_of_rules(rule, severity, words):
    faults = lint_op(unary(rule))
    (fault,) = [one for one in faults if words in one.what]
    assert fault.severity == severity
    assert fault.op == "faulty"
    assert fault.rule == rule.__name__
    assert fault.place.startswith("test_linter.py:")
    assert fault.todo
    assert str(fault).startswith(f"{fault.place}: {severity}: rule {rule.__name__!r} of op 'faulty'")


def test_a_fault_tells_its_line():
    (fault,) = lint_op(unary(with_item_assignment))
    with open(__file__, encoding="utf-8") as file:
        assert file.read().splitlines()[fault.line - 1].strip() == "y[0] = 0"


def test_forward_mode_rules_are_read_too():
    made = unary(clean)
    made.jvp("x")(lambda_free_tangent)
    assert found(made) == [("error", "np.cos on a value is not closed")]


def lambda_free_tangent(t, x):
    return t * np.cos(x)


def binary(**options):
    def forward(x, y, *, power=1, axis):
        return x * y

    return op(forward, name="faulty", declare=False, **{"kind": "elementwise", **options})


def test_faults_of_declarations():
    made = binary(samples=[Sample([1.0, 2.0], [3.0, 4.0], axis=0), Sample([1.0], [2.0], axis=0, power=1)])
    whats = {fault.what: fault.severity for fault in lint_op(made)}
    assert whats == {
        "operand 'x' has no derivative rule": "error",
        "operand 'y' has no derivative rule": "error",
        "it has no docstring": "warning",
        "no sample has expected values": "warning",
        "no sample sets 'power' away from its default": "warning",
        "all samples set 'axis' to 0": "hint",
        "no sample has operands that broadcast": "warning",
    }
    assert [fault.severity for fault in lint_op(made)][:2] == ["error", "error"]


def test_faults_of_samples():
    assert ("error", "it has no samples, so nothing can check it") in found(unary(clean, samples=[]))
    corner = Sample([0.0], expected=[0.0], smooth=False)
    whats = [what for _, what in found(unary(clean, samples=[corner]))]
    assert whats == [
        "all samples lie at kinks, where no derivative is checked",
        "no sample of 'x' has more than one element",
    ]
    square = Sample([[1.0, 2.0], [3.0, 4.0]], expected=[[1.0, 2.0], [3.0, 4.0]])
    made = unary(clean, kind="other", types="like_first", samples=[square])
    assert [what for _, what in found(made)] == ["all samples of 'x' are square"]


def test_a_rule_beside_a_declaration_that_there_is_none():
    made = unary(clean, nondifferentiable="x")
    assert ("error", "'x' has a rule and is declared nondifferentiable") in found(made)


def test_a_type_rule_is_recommended():
    made = unary(clean, kind="other")
    assert [what for _, what in found(made)] == [
        "it has no type rule, so that types are found by running the forward on stand-ins"
    ]


def test_a_good_op_with_two_operands():
    made = op(lambda_free_product, name="faulty", kind="elementwise", samples=[XY], declare=False)
    made.vjp("x")(product_wrt_x)
    made.vjp("y")(product_wrt_y)
    assert lint_op(made) == []


def lambda_free_product(x, y):
    """x y;  d/dx = y,  d/dy = x."""
    return x * y


def product_wrt_x(g, y):
    return g * y


def product_wrt_y(g, x):
    return g * x


def test_the_built_in_ops_have_no_faults():
    faults = [fault for one in registry.all_ops() if one.package == "tinygraph_ops" for fault in lint_op(one)]
    # what draws random numbers alone has nothing to check by samples; loops are checked against their unrolled
    # versions; what begins an exchange and what waits for it are two ops; rounding that gradients pass straight
    # through is flat everywhere; one process has one root; functions of square matrices have no rectangular operands
    apart = (
        "random_normal", "random_uniform", "scan", "switch", "while_loop", "start_all_reduce", "finish_all_reduce",
        "round_straight_through", "round_to_format", "broadcast",
    )  # fmt: skip
    square = ("cofactors_along", "matrix_function", "solve_sylvester", "solve")
    left = [
        fault
        for fault in faults
        if fault.op not in apart and not (fault.op in square and "are square" in str(fault))
    ]
    assert list(map(str, left)) == []
