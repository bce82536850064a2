"""`tg.explain`: the counts of the article series, totals against gradients for many ops, the words, and the errors."""

from fractions import Fraction

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph.errors import (
    CaptureError,
    DTypeError,
    RecordingError,
    SettingError,
    ShapeError,
    StaleValueError,
)


def variable(rng, *shape, name=None):
    return tg.tensor(rng.normal(size=shape), requires_grad=True, name=name)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def series(rng):
    """3 input channels of 7x7 to 2 output channels by 3x3 kernels, all random."""
    ch, ker, bias = (
        variable(rng, 1, 3, 7, 7, name="ch"),
        variable(rng, 2, 3, 3, 3, name="ker"),
        variable(rng, 2),
    )
    out = tg.ops.convolution(ch, ker, bias, padding="same")
    return ch, ker, bias, (out * out * 0.5).sum()


def test_a_kernel_element_reaches_the_outputs_of_its_channel_but_for_the_padding(series):
    _, ker, _, loss = series
    counts = [[len(tg.explain(loss, wrt=ker, element=(1, 0, p, q))) for q in range(3)] for p in range(3)]
    assert counts == [[36, 42, 36], [42, 49, 42], [36, 42, 36]]


def test_the_corner_of_a_kernel_meets_the_first_six_rows_and_columns(series):
    _, ker, _, loss = series
    impacts = tg.explain(loss, wrt=ker, element=(0, 2, 0, 0))
    expected = [(0, 0, i, j) for i in range(1, 7) for j in range(1, 7)]
    assert [impact.output_element for impact in impacts] == expected
    assert [impact.factor for impact in impacts] == [f"ch[0,2,{i - 1},{j - 1}]" for _, _, i, j in expected]


def test_an_input_element_reaches_18_12_or_8_outputs(series):
    ch, _, _, loss = series
    counts = {
        at: len(tg.explain(loss, wrt=ch, element=(0, 1, *at))) for at in ((3, 3), (0, 3), (0, 0), (6, 6))
    }
    assert counts == {(3, 3): 18, (0, 3): 12, (0, 0): 8, (6, 6): 8}


def test_a_bias_reaches_49_outputs_with_derivative_one(series):
    _, _, bias, loss = series
    impacts = tg.explain(loss, wrt=bias, element=1)
    assert len(impacts) == 49
    assert {impact.local for impact in impacts} == {1.0}
    assert {impact.factor for impact in impacts} == {None}


def test_the_contributions_add_up_to_the_gradient_before_and_after_backward(series):
    ch, ker, bias, loss = series
    cases = [(ch, (0, 1, 3, 3)), (ker, (1, 0, 2, 1)), (bias, (0,))]
    before = [tg.explain(loss, wrt=wrt, element=element).total for wrt, element in cases]
    loss.backward()
    after = [tg.explain(loss, wrt=wrt, element=element).total for wrt, element in cases]
    assert before == after
    np.testing.assert_allclose(before, [wrt.grad.numpy()[element] for wrt, element in cases], rtol=1e-12)


def test_zero_partners_are_impacts_and_padding_is_none():
    ch = tg.tensor(np.zeros((1, 1, 7, 7)), requires_grad=True)
    ker = tg.tensor(np.zeros((1, 1, 3, 3)), requires_grad=True)
    loss = tg.ops.convolution(ch, ker, padding=1).sum()
    impacts = tg.explain(loss, wrt=ker, element=(0, 0, 0, 1))
    assert len(impacts) == 42
    assert {impact.local for impact in impacts} == {0.0}


@pytest.mark.parametrize(
    "geometry",
    [
        {"stride": 2},
        {"dilation": 2, "padding": 2},
        {"groups": 2, "padding": ((1, 0), (0, 2))},
        {"stride": (2, 3), "padding": 1},
    ],
)
def test_every_convolution_reaches_what_plain_loops_count(rng, geometry):
    groups = geometry.get("groups", 1)
    x, ker = variable(rng, 2, 2, 6, 7), variable(rng, 4, 2 // groups, 3, 2)
    out = tg.ops.convolution(x, ker, **geometry)
    loss = (out * rng.normal(size=out.shape)).sum()
    loss.backward()
    # independent: outputs that differ from zero where the element alone is one, on an input of ones
    for element in [(0, 0, 0, 0), (3, 0, 2, 1), (1, 2 // groups - 1, 1, 0)]:
        alone = np.zeros(ker.shape)
        alone[element] = 1
        reached = np.argwhere(tg.ops.convolution(np.ones(x.shape), alone, **geometry))
        impacts = tg.explain(loss, wrt=ker, element=element)
        assert [impact.output_element for impact in impacts] == list(map(tuple, reached.tolist()))
        np.testing.assert_allclose(impacts.total, ker.grad.numpy()[element], rtol=1e-12)


PROGRAMS = {
    "matmul": lambda x: x @ np.arange(12.0).reshape(4, 3),
    "matmul from the right": lambda x: np.arange(6.0).reshape(2, 3) @ x,
    "relu": lambda x: tg.ops.relu(x),
    "softmax": lambda x: tg.ops.softmax(x, axis=-1),
    "broadcast product": lambda x: x * np.arange(24.0).reshape(2, 3, 4),
    "broadcast row": lambda x: x[0] * np.arange(8.0).reshape(2, 4),
    "basic indexing": lambda x: x[1:, ::2],
    "repeated indices": lambda x: x[[0, 0, 2]],
    "sum": lambda x: x.sum(axis=0),
    "maximum": lambda x: np.maximum(x, 0.25),
    "max pooling": lambda x: tg.ops.max_pool(x.reshape(1, 1, 3, 4), size=2, stride=1),
    "division by it": lambda x: 1.0 / x,
    "used twice": lambda x: x * x + x,
    "used in a chain": lambda x: (x * np.sin(x)) * x,
    "transpose": lambda x: x.T,
    "concatenate": lambda x: np.concatenate([x, x, np.ones((1, 4))]),
    "cumulative sum": lambda x: np.cumsum(x, axis=1),
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x),
    "layer normalisation": lambda x: (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True),
    "where": lambda x: np.where(np.arange(4) > 1, x, 0.0),
    "through complex numbers": lambda x: np.real(x * (1 + 2j) * (3 - 1j)),
    "several outputs": lambda x: np.concatenate(
        [part * (i + 2.0) for i, part in enumerate(np.split(x, 2, axis=1))]
    ),
}


@each("name", PROGRAMS)
def test_totals_are_gradients_for_every_kind_of_op(rng, name):
    x = variable(rng, 3, 4, name="x")
    out = PROGRAMS[name](x)
    loss = (out * rng.normal(size=out.shape)).sum()
    loss.backward()
    for element in np.ndindex(3, 4):
        impacts = tg.explain(loss, wrt=x, element=element)
        np.testing.assert_allclose(impacts.total, x.grad.numpy()[element], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(sum(impact.contribution for impact in impacts), impacts.total, atol=1e-12)
        str(impacts), impacts.formula(), impacts._repr_html_()


def test_local_derivatives_are_central_differences(rng):
    x = variable(rng, 4)
    loss = (tg.ops.softmax(x, axis=0) * np.arange(4.0)).sum()
    impacts = tg.explain(loss, wrt=x, element=2)
    step = np.array([0, 0, 1e-6, 0])
    softmax = tg.ops.softmax
    slopes = (softmax(x.detach().numpy() + step, axis=0) - softmax(x.detach().numpy() - step, axis=0)) / 2e-6
    np.testing.assert_allclose([impact.local for impact in impacts], slopes, rtol=1e-7)
    assert [impact.cotangent for impact in impacts] == [0.0, 1.0, 2.0, 3.0]


def test_what_a_non_linear_op_blocks_is_no_impact():
    x = tg.tensor([-1.0, 2.0], requires_grad=True)
    loss = tg.ops.relu(x).sum()
    assert len(tg.explain(loss, wrt=x, element=0)) == 0
    assert tg.explain(loss, wrt=x, element=0).total == 0.0
    assert len(tg.explain(loss, wrt=x, element=1)) == 1


def test_the_branch_of_where_that_is_not_taken_is_no_impact():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    loss = np.where(np.array([True, False]), x, 5.0).sum()
    assert [len(tg.explain(loss, wrt=x, element=i)) for i in range(2)] == [1, 0]


def test_each_use_is_listed_with_its_own_cotangent():
    w = tg.tensor([3.0], requires_grad=True, name="w")
    y = w * 2.0
    impacts = tg.explain((y * w).sum(), wrt=w, element=0)
    assert [(one.label, one.local, one.cotangent) for one in impacts] == [
        ("multiply[0]", 2.0, 3.0),
        ("multiply#2[0]", 6.0, 1.0),
    ]
    assert impacts.total == 12.0
    assert impacts[1].factor == "multiply[0]"


def test_scalars_intermediates_and_names_can_be_explained():
    x = tg.tensor(3.0, requires_grad=True, name="x")
    y = x * x
    y.name = "y"
    loss = y * 5.0 + y
    assert tg.explain(loss, wrt="x").total == 36.0
    assert tg.explain(loss, wrt=y).total == tg.explain(loss, wrt="y").total == 6.0
    assert tg.explain(loss, "y").label == "y"


def test_an_unrecorded_but_named_input_can_be_explained():
    x = tg.tensor([1.0, 2.0], name="x")
    w = tg.tensor([3.0, 4.0], requires_grad=True)
    assert tg.explain((x * w).sum(), wrt=x, element=1).total == 4.0


def test_fractions_stay_exact():
    x = tg.tensor([Fraction(1, 3), Fraction(2)], requires_grad=True)
    impacts = tg.explain((x * x).sum(), wrt=x, element=0)
    assert impacts.total == Fraction(2, 3)
    assert isinstance(impacts.total, Fraction)


def test_float32_sums_in_double_precision():
    x = tg.tensor(np.full(3, 0.1, np.float32), requires_grad=True)
    loss = (x * np.float32(3)).sum()
    loss.backward()
    assert tg.explain(loss, wrt=x, element=0).total == pytest.approx(float(x.grad.numpy()[0]), rel=1e-7)


def test_nan_and_infinity_are_shown():
    x = tg.tensor([np.nan, np.inf], requires_grad=True)
    loss = np.exp(x).sum()
    assert np.isnan(tg.explain(loss, wrt=x, element=0)[0].local)
    assert tg.explain(loss, wrt=x, element=1).total == np.inf


def test_a_graph_is_explained_on_given_inputs():
    w = tg.tensor([[1.0, 2.0]], requires_grad=True, name="w")
    graph = tg.capture(lambda x: (w @ x).sum(), np.zeros((2, 3)))
    x = np.arange(6.0).reshape(2, 3)
    assert tg.explain(graph, wrt="w", element=(0, 1), inputs=(x,)).total == 12.0
    assert tg.explain(graph, wrt="x", element=(1, 0), inputs=(x,)).total == 2.0
    assert tg.explain(graph, wrt=w, element=(0, 0), inputs=(x,)).total == 3.0


def test_impacts_are_a_sequence():
    x = tg.tensor([1.0, 2.0], requires_grad=True, name="x")
    impacts = tg.explain((x * np.ones((5, 2))).sum(), wrt=x, element=-1)
    assert impacts.element == (1,)
    assert len(list(impacts)) == len(impacts) == 5
    assert impacts[-1] == impacts[4] == list(impacts)[4]
    assert impacts[1:3] == (impacts[1], impacts[2])
    with pytest.raises(IndexError):
        impacts[5]


def test_it_prints_as_a_table_and_as_a_formula():
    ker = tg.tensor([[[[1.0, 2.0]]]], requires_grad=True, name="ker")
    ch = tg.tensor([[[[5.0, 7.0, 11.0]]]], name="ch")
    tmp = tg.ops.convolution(ch, ker)
    tmp.name = "tmp"
    loss = tmp.sum()
    loss.name = "loss"
    impacts = tg.explain(loss, wrt=ker, element=(0, 0, 0, 1))
    assert impacts.formula() == (
        "∂loss/∂ker[0,0,0,1] = sum over 2 impacts of cotangent × local derivative\n"
        "  = ∂loss/∂tmp[0,0,0,0] × ch[0,0,0,1]    (1 × 7 = 7)\n"
        "  + ∂loss/∂tmp[0,0,0,1] × ch[0,0,0,2]    (1 × 11 = 11)\n"
        "  = 18"
    )
    lines = str(impacts).splitlines()
    assert lines[0] == "2 impacts of ker[0,0,0,1] on loss"
    assert lines[3].split() == ["convolution", "tmp[0,0,0,0]", "ch[0,0,0,1]", "7", "1", "7"]
    assert lines[-1].split() == ["total", "18"]
    assert impacts.formula(1).splitlines()[2] == "  + 1 more"


def test_names_cannot_break_the_notebook_or_the_table():
    x = tg.tensor([1.0], requires_grad=True, name="<script>[bold]x[/bold]")
    impacts = tg.explain((x * 2.0).sum(), wrt=x, element=0)
    assert "<script>" not in impacts._repr_html_()
    assert "[bold]x[/bold]" in str(impacts)


def test_nothing_of_the_graph_changes(series):
    _, ker, _, loss = series
    tg.explain(loss, wrt=ker, element=(0, 0, 0, 0))
    assert ker.grad is None
    loss.backward()


def test_errors_say_what_to_do(rng):
    x = variable(rng, 2, 3, name="x")
    loss = (x * 2.0).sum()
    with pytest.raises(RecordingError, match="was recorded"):
        tg.explain(tg.tensor(1.0), wrt=x, element=(0, 0))
    with pytest.raises(RecordingError, match=r"real scalar output.*float64\[2,3\]"):
        tg.explain(x * 2.0, wrt=x, element=(0, 0))
    with pytest.raises(RecordingError, match=r"not in the graph.*Named tensors in the graph: x"):
        tg.explain(loss, wrt=variable(rng, 2), element=0)
    with pytest.raises(RecordingError, match="no tensors are called 'y'"):
        tg.explain(loss, wrt="y", element=0)
    with pytest.raises(ShapeError, match=r"element \(2, 0\) does not exist: x has the shape \(2, 3\)"):
        tg.explain(loss, wrt=x, element=(2, 0))
    with pytest.raises(ShapeError, match="does not exist"):
        tg.explain(loss, wrt=x)
    with pytest.raises(SettingError, match="an int for each axis of x"):
        tg.explain(loss, wrt=x, element=(0, 1.5))
    with pytest.raises(RecordingError, match="the output itself"):
        tg.explain(loss, wrt=loss)
    with pytest.raises(RecordingError, match="tensor or a name"):
        tg.explain(loss, wrt=3, element=0)


def test_changed_values_and_missing_values_are_reported(rng):
    x, y = variable(rng, 2, name="x"), variable(rng, 2, name="y")
    loss = (x * y).sum()
    with tg.no_grad():
        y += 1.0
    with pytest.raises(StaleValueError, match="'y'"):
        tg.explain(loss, wrt=x, element=0)
    with pytest.raises(CaptureError, match="inputs="):
        tg.capture(lambda z: tg.explain(z.sum(), wrt=z, element=0), np.ones(2))


def test_complex_elements_are_refused():
    z = tg.tensor([1 + 2j], requires_grad=True)
    with pytest.raises(DTypeError, match="real tensor"):
        tg.explain(np.real(z * z).sum(), wrt=z, element=0)


def leaf(values, name="w"):
    return tg.tensor(np.asarray(values, float), requires_grad=True, name=name)


class TestViewsAreSeenThrough:
    def test_the_weight_of_a_linear_layer_meets_its_input(self):
        layer = tg.nn.Linear(3, 1, bias=False)
        loss = layer(np.array([[1.0, 2.0, 3.0]], layer.weight.dtype)).sum()
        impacts = tg.explain(loss, wrt=layer.weight, element=(0, 1))
        assert [(one.op, one.output_element, one.local, one.cotangent) for one in impacts] == [
            ("matmul", (0, 0), 2.0, 1.0)
        ]
        assert impacts[0].factor == "input[0,1]"
        assert impacts.total == 2.0

    @pytest.mark.parametrize(
        ("view", "locals_"),
        [
            (lambda w: w.reshape(-1)[1:], [5.0]),  # 2 · 2.5
            (lambda w: w.T, [5.0]),
            (lambda w: np.swapaxes(w, 0, 1)[None].squeeze(0), [5.0]),
            (lambda w: w[1], [5.0]),
            (lambda w: w[..., ::-1].astype(np.float32), [5.0]),
            (lambda w: np.broadcast_to(w, (3, 2, 3)), [5.0, 5.0, 5.0]),
            (lambda w: w[[1, 1]], [5.0, 5.0]),
            (lambda w: np.transpose(w.reshape(1, 2, 3), (2, 0, 1)).copy(), [5.0]),
        ],
    )
    def test_every_way_to_look_at_it(self, view, locals_):
        w = leaf([[1.0, 2.0, 3.0], [4.0, 2.5, 6.0]])
        impacts = tg.explain((view(w) ** 2).sum(), wrt=w, element=(1, 1))
        assert [one.op for one in impacts] == ["power"] * len(locals_)
        assert [one.local for one in impacts] == locals_
        assert impacts.total == sum(locals_)

    def test_an_element_that_no_view_shows_has_no_impact(self):
        w = leaf([1.0, 2.0, 3.0])
        impacts = tg.explain((w[1:] ** 2).sum(), wrt=w, element=0)
        assert (len(impacts), impacts.total) == (0, 0.0)

    def test_a_weight_read_through_a_view_and_directly(self):
        w = leaf([[1.0, 2.0], [3.0, 4.0]])
        impacts = tg.explain((w.T * w).sum(), wrt=w, element=(0, 1))
        found = [(one.output_element, one.local) for one in impacts]
        assert found == [((1, 0), 3.0), ((0, 1), 3.0)]
        assert impacts.total == 6.0

    def test_several_views_of_one_tensor_in_one_op(self):
        w = leaf([1.0, 2.0, 3.0])
        loss = (w[:2] * w[1:]).sum()
        assert [one.local for one in tg.explain(loss, wrt=w, element=1)] == [3.0, 1.0]

    def test_copies_that_one_sum_reads_are_one_impact(self):
        w = leaf([2.0, 5.0])
        (one,) = tg.explain(np.broadcast_to(w, (4, 2)).sum(), wrt=w, element=0)
        assert (one.op, one.local, one.contribution) == ("sum", 4.0, 4.0)

    def test_a_view_that_is_the_output_is_shown_itself(self):
        w = leaf([[2.0, 5.0]])
        (one,) = tg.explain(w[0, 1], wrt=w, element=(0, 1))
        assert (one.op, one.local, one.cotangent) == ("index", 1.0, 1.0)

    def test_a_chain_of_views_costs_no_recursion(self):
        w = leaf([2.0, 5.0])
        y = w
        for _ in range(300):
            y = y[::-1].reshape(1, 2).T.reshape(-1)
        (one,) = tg.explain((y * y * np.array([7.0, 1.0])).sum(), wrt=w, element=0)[:1]
        assert (one.op, one.output_element, one.cotangent) == ("multiply", (0,), 7.0)


class TestWhatIsNotFinite:
    def test_the_root_of_a_sum_of_squares_at_zero(self):
        w = leaf([0.0, 0.0, 0.0])
        impacts = tg.explain(np.sqrt((w**2).sum()), wrt=w, element=(0,))
        (one,) = impacts
        assert (one.op, one.output_element, one.local, one.cotangent) == ("power", (0,), 0.0, np.inf)
        assert np.isnan(one.contribution)
        assert np.isnan(impacts.total)
        assert str(impacts).splitlines()[-1].split() == ["total", "nan"]

    @pytest.mark.parametrize(
        ("program", "values", "expected"),
        [
            (lambda w: np.sqrt((w * 0.0).sum()), [1.0, 2.0], np.nan),  # 0 times infinity
            (lambda w: np.sqrt(w).sum(), [0.0, 4.0], np.inf),
            (lambda w: -np.sqrt(w).sum(), [0.0, 4.0], -np.inf),
            (lambda w: np.sqrt(np.prod(w)), [0.0, 0.0], np.nan),
            (lambda w: np.log(tg.ops.softmax(w, axis=0) * 0.0).sum(), [1.0, 2.0], np.nan),
            (
                lambda w: np.sqrt(np.max(w * np.array([-1.0, 0.0]))),
                [3.0, 4.0],
                0.0,
            ),  # only the maximum gets it
            (lambda w: np.log(tg.ops.relu(w)).sum(), [-1.0, 2.0], None),
            (lambda w: np.sqrt(np.where(np.array([False, True]), w, 0.0)).sum(), [1.0, 4.0], 0.0),
        ],
    )
    def test_the_total_is_the_gradient(self, program, values, expected):
        w = leaf(values)
        with np.errstate(all="ignore"):
            loss = program(w)
            loss.backward()
        total = tg.explain(loss, wrt=w, element=0).total
        np.testing.assert_equal(total, float(w.grad.numpy()[0]) + 0.0)
        if expected is not None:
            np.testing.assert_equal(total, expected)
        assert tg.explain(loss, wrt=w, element=1).total == w.grad.numpy()[1] or np.isnan(w.grad.numpy()[1])

    def test_no_warning_is_given(self, recwarn):
        w = leaf([0.0])
        loss = np.sqrt((w**2).sum())
        tg.explain(loss, wrt=w, element=0)
        assert not recwarn.list

    def test_the_picture_of_what_it_reaches_says_so_too(self):
        w = leaf([0.0, 0.0])
        picture = tg.draw(np.sqrt((w**2).sum()), zoom="neuron", element=(w, (0,)), backward=True).picture
        assert "∂sqrt/∂w[0] = nan" in [box.title.replace("output", "sqrt") for box in picture.boxes]


class TestBranchesWithoutADirection:
    def test_a_gradient_that_cancels_out_is_shared_by_nobody(self):
        x = leaf([1.0, 2.0], "x")
        found = tg.contributions((x * 3.0 - x * 3.0).sum(), x)
        assert [one.share for one in found] == [0.0, 0.0]
        rows = [line.split() for line in repr(found).splitlines()]
        assert ["all", "0"] in rows
        assert ["multiply", "→", "subtract", "→", "sum", "4.243"] in rows
        assert found.error == 0.0

    def test_a_gradient_that_is_nan_is_shown_as_that(self):
        w = leaf([0.0, 0.0])
        found = tg.contributions(np.sqrt((w * w).sum()) + w.sum(), w)
        assert np.isnan(found.total).all()
        assert found.error == 0.0
        assert sorted(str(one.norm) for one in found) == ["1.4142135623730951", "nan", "nan"]
        assert ["all", "nan"] in [line.split() for line in repr(found).splitlines()]

    def test_an_infinite_one_too(self):
        w = leaf([0.0, 4.0])
        found = tg.contributions(np.sqrt(w).sum() + w.sum(), w)
        np.testing.assert_array_equal(found.total, [np.inf, 1.25])
        assert found.error == 0.0


def test_a_compiled_call_is_explained_by_the_ops_in_it():
    x = tg.tensor([1.0, 2.0], requires_grad=True, name="x")
    inner = tg.compile(lambda v: (np.sin(v) * 2).sum())
    (impact,) = tg.explain(inner(x) * 3, wrt=x, element=0)
    assert (impact.op, impact.label) == ("sin", "sin[0]")
    np.testing.assert_allclose([impact.local, impact.cotangent], [np.cos(1.0), 6.0], rtol=1e-15)

    layer = tg.nn.Linear(3, 1, bias=False)
    out = tg.compile(layer)(np.array([[1.0, 2.0, 3.0]], "float32")).sum()
    (impact,) = tg.explain(out, wrt=layer.weight, element=(0, 1))
    assert (impact.op, impact.local, impact.cotangent, impact.factor) == ("matmul", 2.0, 1.0, "x[0,1]")

    squares = x * x  # computed before the compiled call, and read outside of it, too
    found = tg.explain(inner(squares) + squares.sum(), wrt=squares, element=1)
    assert [one.op for one in found] == ["sum", "sin"]
    np.testing.assert_allclose(found.total, 1 + 2 * np.cos(4.0), rtol=1e-15)

    twice = tg.compile(lambda v: inner(v * x))  # one inside another
    found = tg.explain(twice(np.ones(2)), wrt="x", element=1)
    assert [one.op for one in found] == ["multiply"]
    np.testing.assert_allclose(found.total, 2 * np.cos(2.0), rtol=1e-15)
