"""The laws themselves: for each, an op that breaks it is caught under its name, and a right op passes them all."""

import importlib
import io
import itertools
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from tinygraph.core.registry import registry
from tinygraph.errors import SettingError, ShapeError, UnknownOpError
from tinygraph.plugin import ArrayType, ErrorSample, Lowering, Sample, op, ops
from tinygraph.testing import LAWS, LawBroken, check_op

X = Sample([[0.3, -1.2, 0.8], [1.5, 0.4, -0.6]])
XY = Sample([[0.3, -1.2, 0.8], [1.5, 0.4, -0.6]], [[0.9, 0.2, -0.7], [1.1, -1.3, 0.5]])
WRONG = {}  # law -> [(a function that makes an op, words that the finding must contain)]


def breaks(law, words=""):
    def register(make):
        WRONG.setdefault(law, []).append((make, words))
        return make

    return register


def sine(function=None, rule=None, **options):
    """sin, with a forward or a rule that may be wrong."""

    def forward(x):
        """sin(x)."""
        return np.sin(x)

    options = {"kind": "elementwise", "samples": [X], **options}
    made = op(function or forward, name="wrong", declare=False, **options)
    made.vjp("x")(rule or (lambda g, x: g * ops.cos(x)))
    return made


def product(rule, **options):
    """x * y, with a rule for x that may be wrong."""

    def forward(x, y):
        """x * y."""
        return x * y

    made = op(forward, name="wrong", declare=False, **{"kind": "elementwise", "samples": [XY], **options})
    made.vjp("x")(rule)
    if "y" not in made.nondifferentiable:
        made.vjp("y")(lambda g, x: g * x)
    return made


@pytest.fixture
def restored_registry():
    before = registry._snapshot()
    yield registry
    registry._restore(before)


# -- right ops -------------------------------------------------------------------------------------------------------


def test_a_right_op_passes_every_law():
    report = check_op(sine(samples=[Sample([0.0, 1.0], expected=[0.0, 0.8414709848078965]), X]))
    assert report.ok
    checked = {name for name, status, _ in report.rows() if status == "holds"}
    assert {"first derivatives", "second derivatives", "forward mode", "captured", "zero size"} <= checked


def test_a_right_op_with_several_outputs_passes_every_law():
    @op(samples=[Sample([0.5, 2.0], [1.5, -0.3])], declare=False)
    def sum_and_product(x, y):
        """(x + y, x y)."""
        return x + y, x * y

    @sum_and_product.vjp("x", "y")
    def sum_and_product_wrt(g, x, y):
        return g[0] + g[1] * y, g[0] + g[1] * x

    assert check_op(sum_and_product).ok


@pytest.mark.parametrize("name", ["exp", "tinygraph_ops:exp"])
def test_ops_are_found_by_name(name):
    assert check_op(name).op is ops.exp


def test_what_cannot_be_checked_says_so():
    with pytest.raises(UnknownOpError, match="exp"):
        check_op("expp")
    with pytest.raises(SettingError, match="no samples"):
        check_op(sine(samples=[]))


# -- one wrong op a law ----------------------------------------------------------------------------------------------


@breaks("literal values", "other values")
def _():
    return sine(samples=[Sample([0.0, 1.0], expected=[0.0, 1.0])])


@breaks("literal values", "another shape")
def _():
    return sine(samples=[Sample([0.0], expected=0.0)])


@breaks("inputs unchanged", "read-only")
def _():
    def forward(x):
        """sin(x)."""
        np.sin(x, out=x)
        return x.copy()

    return sine(forward)


@breaks("inputs unchanged", "read-only")
def _():
    def rule(g, x):
        g *= ops.cos(x)
        return g

    return sine(rule=rule)


@breaks("inputs unchanged", "two results")
def _():
    calls = itertools.count()
    return sine(rule=lambda g, x: g * ops.cos(x) * (1 if next(calls) % 2 else 2))


@breaks("repeatable", "two results")
def _():
    calls = itertools.count()

    def forward(x):
        """sin(x), and how often it was asked."""
        return np.sin(x) + next(calls)

    return sine(forward)


@breaks("type rule", "type rule and the forward differ")
def _():
    made = sine()
    made.types(lambda x: ArrayType((1, *x.shape), x.dtype))
    return made


@breaks("type rule", "float32")
def _():
    made = sine()
    made.types(lambda x: ArrayType(x.shape, np.dtype(float)))
    return made


@breaks("settings as data", "JSON")
def _():
    def scaled(x, *, by):
        """by x."""
        return by.real * x

    made = op(scaled, name="wrong", declare=False, samples=[Sample([1.0, 2.0], by=2j)])
    made.vjp("x")(lambda g, by: by.real * g)
    return made


@breaks("error samples", "nothing was raised")
def _():
    return sine(error_samples=[ErrorSample([1.0, 2.0], error=ShapeError)])


@breaks("error samples", "another error")
def _():
    def forward(x):
        """sin(x)."""
        if x.ndim > 2:
            raise KeyError("too many axes")
        return np.sin(x)

    return sine(forward, error_samples=[ErrorSample([[[1.0]]], error=ShapeError)])


@breaks("error samples", "lacks words")
def _():
    return product(
        lambda g, y: g * y,
        error_samples=[ErrorSample([1.0, 2.0], [1.0, 2.0, 3.0], error=ShapeError, match="rank")],
    )


@breaks("numpy twin", "NumPy's own result")
def _():
    def wrong(x):
        """sin(x), said to be the distance to the next number."""
        return np.sin(x)

    made = op(wrong, kind="elementwise", numpy=np.spacing, samples=[X])
    made.vjp("x")(lambda g, x: g * ops.cos(x))
    return made


@breaks("rules present", "no VJP rule for y")
def _():
    def forward(x, y):
        """x * y."""
        return x * y

    made = op(forward, name="wrong", kind="elementwise", samples=[XY], declare=False)
    made.vjp("x")(lambda g, y: g * y)
    return made


@breaks("rule shapes", "shape")
def _():
    def rows(x):
        """Σ of each row."""
        return x.sum(axis=1)

    made = op(rows, name="wrong", declare=False, samples=[X])
    made.vjp("x")(lambda g: g)
    return made


@breaks("first derivatives", "wrong sign")
def _():
    return sine(rule=lambda g, x: -g * ops.cos(x))


@breaks("first derivatives", "a factor: found = 2 ×")
def _():
    return sine(rule=lambda g, x: 2 * g * ops.cos(x))


@breaks("first derivatives", "operand 'y'")
def _():
    return product(lambda g, x: g * x)


@breaks("first derivatives", "zero everywhere")
def _():
    return sine(rule=lambda g: 0 * g)


@breaks("first derivatives", "the last two axes are exchanged")
def _():
    def matrix_product(x, y):
        """x y."""
        return x @ y

    square = Sample([[0.3, -1.2], [1.5, 0.4]], [[0.9, 0.2], [1.1, -1.3]])
    made = op(matrix_product, name="wrong", declare=False, samples=[square])
    made.vjp("x")(lambda g, y: ops.swapaxes(g @ ops.swapaxes(y, axis1=0, axis2=1), axis1=0, axis2=1))
    made.vjp("y")(lambda g, x: ops.swapaxes(x, axis1=0, axis2=1) @ g)
    return made


@breaks("first derivatives", "the right numbers in the wrong places")
def _():
    def doubled(x):
        """2 x."""
        return x * np.array([1.0, 2.0, 4.0])

    made = op(doubled, name="wrong", declare=False, samples=[Sample([0.5, 0.6, 0.7])])
    made.vjp("x")(lambda g: ops.flip(g * np.array([1.0, 2.0, 4.0]), axis=0))
    return made


@breaks("first derivatives", "of 6 elements are wrong")
def _():
    return sine(rule=lambda g, x: g * ops.where(x > 1.0, 0.5, ops.cos(x)))


@breaks("first derivatives", "kink")
def _():
    def forward(x):
        """|x|."""
        return np.abs(x)

    return sine(forward, rule=lambda g, x: g * ops.where(x >= 0, 1.0, -1.0), samples=[Sample([0.0, 1.0])])


@breaks("linear in g", "not linear in g")
def _():
    return sine(rule=lambda g, x: ops.where(g > 0, g, 2 * g) * ops.cos(x))


@breaks("closed", "drops the graph")
def _():
    return sine(rule=lambda g, x: ops.detach(g) * ops.cos(x.detach() if hasattr(x, "detach") else x))


@breaks("second derivatives", "not closed")
def _():
    return sine(rule=lambda g, x: g * ops.cos(ops.detach(x)))


@breaks("forward mode", "its own rule")
def _():
    made = sine()
    made.jvp("x")(lambda t, x: -t * ops.cos(x))
    return made


@breaks("between the slopes", "no side of the kink has, nor anything between")
def _():
    corner = Sample([0.0, 1.0], smooth=False)
    made = sine(lambda x: np.abs(x), samples=[X, corner])
    made.rules.clear()
    made.vjp("x")(lambda g, x: g * ops.where(ops.equal(x, 0), 3.0, ops.sign(x)))
    return made


@breaks("between the slopes", "the parts add up")
def _():
    tie = Sample([1.0, 2.0], [1.0, 3.0], smooth=False)
    made = product(lambda g, x, y: g * (x >= y), samples=[XY, tie])
    made.forward = np.maximum
    made.rules.pop("y")
    made.vjp("y")(lambda g, x, y: g * (y >= x))
    return made


@breaks("between the slopes", "not a number")
def _():
    corner = Sample([0.0, 1.0], smooth=False)
    made = sine(lambda x: np.abs(x), samples=[X, corner])
    made.rules.clear()
    made.vjp("x")(lambda g, x, out: g * x / out)
    return made


@breaks("derivatives of tangents", "not closed")
def _():
    made = sine()
    made.jvp("x")(lambda t, x: t * ops.cos(ops.detach(x)))
    return made


@breaks("several outputs", "do not add up")
def _():
    def both(x):
        """(2 x, 3 x)."""
        return 2 * x, 3 * x

    def rule(g):
        return 2 * g[0] + 3 * g[1] if np.any(g[1]) else 2 * g[0] + 1

    made = op(both, name="wrong", declare=False, samples=[Sample([0.5, 0.7])])
    made.vjp("x")(rule)
    return made


@breaks("declared linear", "not linear")
def _():
    return sine(linear="x")


@breaks("declared nondifferentiable", "does have a derivative")
def _():
    return product(lambda g, y: g * y, nondifferentiable="y")


@breaks("broadcasting", "leave un-broadcasting to the engine")
def _():
    def rule(g, x_type, y):
        return ops.reshape(ops.mean(g * y), shape=x_type.shape) if x_type.size == 1 else g * y

    return product(rule)


@breaks("single precision", "output 0 leaves single precision")
def _():
    def forward(x):
        """sin(x)."""
        return np.sin(x.astype(np.float64))

    return sine(forward)


@breaks("single precision", "the rule leaves single precision")
def _():
    return sine(rule=lambda g, x: g * ops.cos(x) * np.float64(1.0))


@breaks("zero size", "wrong")
def _():
    def forward(x):
        """sin(x) scaled to its largest element and back."""
        return np.sin(x) / np.max(x) * np.max(x)

    return sine(forward)


@breaks("zero dimensions", "wrong")
def _():
    def forward(x):
        """sin(x), row by row."""
        return np.stack([np.sin(row) for row in x]) if len(x) else np.sin(x)

    return sine(forward)


@breaks("memory layout", "arrays give other values")
def _():
    def forward(x):
        """sin(x), read in the order of memory."""
        return np.sin(x.ravel(order="K").reshape(x.shape))

    return sine(forward)


@breaks("vmap equals the loop", "example 0 differs")
def batch_rule_that_forgets_an_axis():
    @op(kind="shape", name="wrong", declare=False, samples=[X], linear=("x",))
    def reversed_rows(x):
        """x[::-1]."""
        return x[::-1]

    reversed_rows.vjp("x")(lambda g: reversed_rows(g))
    reversed_rows.batch(lambda batched, x: reversed_rows(x))
    return reversed_rows


@breaks("captured", "no value")
def _():
    return sine(rule=lambda g, x: g * ops.cos(x) if float(ops.sum(x)) < 1e9 else g)


@breaks("own kernel", "output 0 of the kernel differs")
def _():
    made = sine()

    @made.lower
    def accumulates(types, layouts, target):
        def bind(inputs, outputs, scratch):
            def run():
                outputs[0][...] += np.sin(inputs[0])  # what was there before is still in it

            return run

        return Lowering(bind)

    return made


def lowered_sine(kernel, **lowering):
    """sin with a kernel: `kernel(x, out, scratch)` makes the function that a plan calls."""
    made = sine()

    @made.lower
    def lower(types, layouts, target):
        return Lowering(lambda inputs, outputs, scratch: kernel(inputs[0], outputs[0], scratch), **lowering)

    return made


@breaks("own kernel", "output 0 of the kernel differs")
def _():  # right where operands lie in rows
    return lowered_sine(
        lambda x, out, scratch: (
            lambda: (
                np.sin(np.ndarray(x.shape, x.dtype, x), out=out) if x.flags.c_contiguous else out.fill(0.5)
            )
        )
    )


@breaks("own kernel", "output 0 of the kernel differs")
def _():  # right where results lie in rows
    return lowered_sine(lambda x, out, scratch: lambda: out.ravel(order="K").put(range(out.size), np.sin(x)))


@breaks("own kernel", "output 0 of the kernel differs")
def _():  # right for the operands that were there when it was bound
    return lowered_sine(lambda x, out, scratch: partial(np.copyto, out, np.sin(x)))


@breaks("own kernel", "output 0 of the kernel differs")
def _():  # right where scratch memory holds zeros
    def kernel(x, out, scratch):
        sums = scratch[0].view(np.float32)

        def run():
            np.sin(x, out=out)
            out[...] += np.nan_to_num(sums[0], nan=1.0)

        return run

    return lowered_sine(kernel, scratch=(4,))


@breaks("own emission", "what the op emits differs from its forward")
def _():
    made = sine()

    @made.emit
    def rounds_signs_away(code, x):
        return code.add(code.library("sin", x), code.constant(0, x))  # -0.0 becomes 0.0

    return made


@breaks("keeps what rules ask for", "though no rule asks")
def _():
    kept = []

    def forward(x):
        """3 x."""
        kept.append(x)
        return 3 * x

    return sine(forward, rule=lambda g: 3 * g)


@breaks("asks for the least", "asks for the value of 'x'")
def _():
    def forward(x):
        """3 x."""
        return 3 * x

    return sine(forward, rule=lambda g, x: 3 * g)


@breaks("prints", "docstring")
def _():
    def forward(x):
        return np.sin(x)

    return sine(forward)


@breaks("survives a file", "wrong")
def _():
    def wrong(x, *, by):
        """by(x)."""
        return by(x)

    made = op(wrong, samples=[Sample([1.0, 2.0], by=np.negative)])
    made.vjp("x")(lambda g, by: by(g))
    return made


def test_every_law_has_a_wrong_op():
    assert {*WRONG, "draws"} == {law.name for law in LAWS}


def test_a_drawing_without_the_op_is_caught(monkeypatch):
    module = importlib.import_module("tinygraph.drawing")
    monkeypatch.setattr(module, "draw", lambda graph: SimpleNamespace(source="digraph {}"))
    assert check_op(sine(), report=True).broken == ("draws",)


@pytest.mark.parametrize(
    ("law", "make", "words"),
    [
        pytest.param(law, make, words, id=f"{law}-{i}")
        for law, all_ in WRONG.items()
        for i, (make, words) in enumerate(all_)
    ],
)
@pytest.mark.usefixtures("restored_registry")
def test_a_wrong_op_is_caught(law, make, words):
    made = make()
    report = check_op(made, report=True)
    assert law in report.broken, str(report)
    texts = [str(finding) for finding in report.findings if finding.law == law]
    assert any(words in text for text in texts), texts
    assert all("op 'wrong'" in text and law in text for text in texts)


# -- how it is told --------------------------------------------------------------------------------------------------


def test_a_broken_law_raises_with_everything_that_is_known():
    with pytest.raises(LawBroken) as raised:
        check_op(sine(rule=lambda g, x: -g * ops.cos(x)))
    (first, *_) = raised.value.findings
    assert (first.law, first.op, first.operand) == ("first derivatives", "wrong", "x")
    np.testing.assert_allclose(first.found, -first.expected, rtol=1e-6)
    text = str(raised.value)
    for words in ("sample       Sample([[ 0.3,", "expected     float64[2,3]", "found ", "wrong sign"):
        assert words in text


def test_the_first_broken_law_names_the_fault():
    assert check_op(sine(rule=lambda g, x: -g * ops.cos(x)), report=True).broken[0] == "first derivatives"
    assert (
        check_op(sine(rule=lambda g, x: g * ops.cos(ops.detach(x))), report=True).broken[0]
        == "second derivatives"
    )


def causes(made):
    return [(one.root.law, one.root.operand, one.laws) for one in check_op(made, report=True).causes]


def test_one_wrong_rule_is_one_cause():
    report = check_op(sine(rule=lambda g, x: -g * ops.cos(x), samples=[X, X, X]), report=True)
    assert len(report.findings) == 6
    [cause] = report.causes
    assert (cause.root.law, cause.root.operand) == ("first derivatives", "x")
    assert cause.laws == ("forward mode",)
    text = str(cause)
    assert text.count("breaks the law") == 1
    assert "and          the same on 2 more samples" in text
    assert "and          forward mode fails with it: mend this and check again" in text
    assert str(report).count("breaks the law") == 1
    with pytest.raises(LawBroken) as raised:
        check_op(sine(rule=lambda g, x: -g * ops.cos(x)))
    assert str(raised.value).count("breaks the law") == 1
    assert len(raised.value.findings) == 2


def writes(g, x):
    g *= ops.cos(x)
    return g


def test_a_rule_that_writes_into_g_is_one_cause_with_its_name_and_line():
    [cause] = check_op(sine(rule=writes), report=True).causes
    assert (cause.root.law, cause.root.operand) == ("inputs unchanged", "x")
    assert f"the rule 'writes' writes into g or another array that it was given ({cause.root.place})" in str(
        cause
    )
    assert cause.root.place.startswith("test_laws_catch.py:")
    assert {"first derivatives", "second derivatives", "captured", "asks for the least"} <= set(cause.laws)


def test_two_rules_that_write_are_two_causes():
    def by_y(g, y):
        g *= y
        return g

    def by_x(g, x):
        return np.multiply(g, x, out=g)

    made = product(by_y)
    made.rules.pop("y")
    made.vjp("y")(by_x)
    assert [cause[:2] for cause in causes(made)] == [("inputs unchanged", "x"), ("inputs unchanged", "y")]


def test_rules_wrong_for_two_operands_are_two_causes():
    made = product(lambda g, y: -g * y)
    made.rules.pop("y")
    made.vjp("y")(lambda g, x: 3 * g * x)
    assert causes(made) == [("first derivatives", "x", ("forward mode",)), ("first derivatives", "y", ())]


def test_a_forward_that_writes_or_raises_is_one_cause():
    def forward(x):
        """sin(x)."""
        np.sin(x, out=x)
        return x.copy()

    assert [cause[0] for cause in causes(sine(forward))] == ["inputs unchanged"]

    def raises(x):
        """sin(x)."""
        raise ZeroDivisionError("nothing works")

    [cause] = check_op(sine(raises, error_samples=[]), report=True).causes
    assert "nothing works" in str(cause)
    assert str(cause).count("ZeroDivisionError") <= 1


def test_faults_of_their_own_are_causes_of_their_own():
    def forward(x):
        return np.sin(x)  # no docstring

    wrong = sine(forward, rule=lambda g, x: 2 * g * ops.cos(x))
    assert causes(wrong) == [("first derivatives", "x", ("forward mode",)), ("prints", "", ())]


def test_the_wrong_number_of_outputs_is_said_in_so_many_words():
    def two(x):
        """sin(x), twice."""
        return np.sin(x), np.sin(x)

    made = op(two, name="wrong", declare=False, samples=[Sample([0.0, 1.0, 2.0], expected=[0.0, 0.8, 0.9])])
    made.vjp("x")(lambda g, x: (g[0] + g[1]) * ops.cos(x))
    [cause] = check_op(made, report=True).causes
    assert "the op has 2 outputs, the sample expects 3 in a tuple, or one" in str(cause)


def test_a_report_prints_as_a_table():
    report = check_op(sine(rule=lambda g, x: -g * ops.cos(x)), report=True)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(report)
    shown = console.export_text()
    assert "✗" in shown
    assert "first derivatives" in shown
    assert "wrong sign" in shown
    assert "several outputs" in str(report)
