"""Numbers at hard points: half precision, derivatives after a convention, size 1, masked rows, Fractions."""

from fractions import Fraction

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph import nn
from tinygraph.errors import NumpyFunctionError, TinygraphError
from tinygraph.nn import functional as F

HALF = np.array([[300, -300, 100, 5]], np.float16)


def leaf(value, dtype=float):
    return tg.tensor(np.asarray(value, dtype), requires_grad=True)


# -- half precision ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (lambda x: F.layer_norm(x, (4,)), [[1.265, -1.508, 0.341, -0.098]]),
        (lambda x: F.group_norm(x.reshape(1, 4, 1), 1).reshape(1, 4), [[1.265, -1.508, 0.341, -0.098]]),
        (lambda x: F.rms_norm(x, (4,)), [[1.376, -1.376, 0.459, 0.0229]]),
        (lambda x: np.var(x, axis=1), [46817.2]),
        (lambda x: np.std(x, axis=1), [216.37]),
        (lambda x: np.linalg.norm(x, axis=1), [435.9]),
        (lambda x: np.linalg.norm(x, 3, axis=1), [380.7]),
        (lambda x: tg.ops.standardize(x, axis=1)[0], [[1.265, -1.508, 0.341, -0.098]]),
        (lambda x: tg.ops.standardize(x, axis=1)[2], [[46817.2]]),
    ],
)
def test_half_precision_computes_in_single(function, wanted, compiled):
    found = (tg.compile(function) if compiled else function)(tg.tensor(HALF))
    np.testing.assert_allclose(found.numpy(), wanted, rtol=2e-3, atol=3e-4)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.layer_norm(x, (4,)),
        lambda x: F.rms_norm(x, (4,)),
        lambda x: F.group_norm(x.reshape(1, 4, 1), 2).reshape(1, 4),
        lambda x: np.var(x, axis=1) * 1e-3,
        lambda x: np.std(x, axis=1),
        lambda x: np.linalg.norm(x, axis=1),
        lambda x: np.linalg.norm(x, 3, axis=1),
        lambda x: tg.ops.softmax(x * 0.01, axis=1),
        lambda x: tg.ops.log_softmax(x * 0.01, axis=1),
        lambda x: tg.ops.logsumexp(x * 0.01, axis=1),
    ],
)
def test_gradients_of_half_precision_are_those_of_double(function):
    narrow, wide = leaf(HALF, np.float16), leaf(HALF)
    weights = np.array([1.0, -2.0, 0.5, 3.0])
    for x in (narrow, wide):
        out = function(x)
        (out * weights[: out.shape[-1]].astype(x.dtype)).sum().backward()
    assert narrow.grad.dtype == np.float16
    np.testing.assert_allclose(narrow.grad.numpy(), wide.grad.numpy(), rtol=1e-2, atol=2e-5)


def test_half_precision_batch_norm_and_its_statistics():
    x = leaf([[300, -300], [100, 5], [-200, 10]], np.float16)
    out, mean, variance = tg.ops.batch_norm(x)
    np.testing.assert_allclose(out.numpy(), [[1.136, -1.414], [0.162, 0.690], [-1.298, 0.724]], rtol=2e-3)
    np.testing.assert_allclose(mean.numpy(), [66.667, -95.0], rtol=1e-4)
    np.testing.assert_allclose(variance.numpy(), [42222.2, 21016.7], rtol=1e-4)
    assert (out.dtype, variance.dtype) == (np.float16, np.float32)
    layer = nn.BatchNorm1d(2)  # of float32
    layer(x.detach())
    np.testing.assert_allclose(layer.running_var.numpy(), [0.9 + 6333.33, 0.9 + 3152.5], rtol=1e-4)
    inference = tg.ops.batch_norm_inference(x, mean, variance)
    np.testing.assert_allclose(inference.numpy(), out.numpy(), rtol=5e-3)


def test_a_mean_of_many_and_losses_over_many_in_half_precision():
    x = leaf(np.ones(100_000), np.float16)
    np.mean(x).backward()
    np.testing.assert_allclose(x.grad.numpy()[:3].astype(float), 1e-5, rtol=2e-2)
    logits = leaf(np.zeros((70_000, 2)), np.float16)
    loss = tg.ops.cross_entropy(logits, np.zeros(70_000, int))
    assert loss.item() == pytest.approx(0.6931, rel=1e-3)
    shares = tg.ops.softmax(np.zeros(100_000, np.float16), axis=0)
    assert float(shares[0]) == pytest.approx(1e-5, rel=2e-2)


def test_shares_of_large_numbers():
    for dtype, size in ((np.float16, 3000.0), (np.float32, 1e9), (float, 1e17)):
        x = leaf([size, size], dtype)
        tg.ops.logsumexp(x).backward()
        assert x.grad.tolist() == [0.5, 0.5]
        a, b = leaf(size, dtype), leaf(size, dtype)
        np.logaddexp(a, b).backward()
        assert (a.grad.item(), b.grad.item()) == (0.5, 0.5)
    x = leaf([[-np.inf, -np.inf], [-np.inf, 1.5]])
    tg.ops.logsumexp(x, axis=1).sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0], [0.0, 1.0]]


# -- derivatives after a convention ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize(
    ("function", "point", "gradient", "wanted"),
    [
        (lambda x: np.linalg.norm(x) ** 2, [0, 0], [0, 0], [[2, 0], [0, 2]]),
        (lambda x: np.linalg.norm(x, 2, axis=0) ** 2, [0, 0], [0, 0], [[2, 0], [0, 2]]),
        (lambda x: np.linalg.norm(x, 3) ** 3, [0, 0], [0, 0], [[0, 0], [0, 0]]),
        (lambda x: np.linalg.norm(x.reshape(1, 2), "fro") ** 2, [0, 0], [0, 0], [[2, 0], [0, 2]]),
        (lambda x: np.hypot(x[0], x[1]) ** 2, [0, 0], [0, 0], [[2, 0], [0, 2]]),
        (lambda x: np.abs(x[0] + 1j * x[1]) ** 2, [0, 0], [0, 0], [[2, 0], [0, 2]]),
        (lambda x: np.std(x) ** 2, [2, 2], [0, 0], [[0.5, -0.5], [-0.5, 0.5]]),
        (lambda x: np.linalg.norm(x), [0, 0], [0, 0], np.full((2, 2), np.nan)),
        (lambda x: np.power(x[0], x[1]), [0, 1], [1, 0], [[0, -np.inf], [-np.inf, 0]]),
        (lambda x: np.power(x[0], x[1]), [0, 0], [0, 0], np.full((2, 2), np.nan)),
        (lambda x: np.sqrt(x[0] * x[0]) ** 2, [0], [np.nan], [[2]]),
        (lambda x: np.cbrt(x[0]) ** 3, [0], [np.nan], [[0]]),
        (lambda x: np.arctan2(x[0], x[1]), [0, 0], [np.nan, np.nan], np.full((2, 2), np.nan)),
    ],
)
def test_second_derivatives_are_right_or_not_finite(function, point, gradient, wanted):
    point, wanted = np.array(point, float), np.asarray(wanted, float)
    np.testing.assert_array_equal(tg.grad(function)(point), gradient)
    for found in (tg.hessian(function)(point), tg.jacobian(tg.grad(function))(point)):
        right = np.isclose(found, wanted)
        assert (right | ~np.isfinite(found)).all(), found


@pytest.mark.parametrize(
    ("function", "point", "wanted"),
    [
        (lambda x: np.linalg.norm(x) ** 2, [3, 4], [[2, 0], [0, 2]]),
        (lambda x: np.linalg.norm(x, axis=1).sum() ** 2, [[3, 4]], [[[[2, 0]], [[0, 2]]]]),
        (lambda x: np.hypot(x[0], x[1]) ** 2, [3, 4], [[2, 0], [0, 2]]),
        (lambda x: np.std(x) ** 2, [1, 2], [[0.5, -0.5], [-0.5, 0.5]]),
        (lambda x: (x**2).sum(), [0, 1], [[2, 0], [0, 2]]),
        (lambda x: (x**1).sum(), [0], [[0]]),
        (lambda x: (x**0).sum(), [0], [[0]]),
        (lambda x: np.power(x[0], x[1]), [0, 2], [[2, 0], [0, 0]]),
        (lambda x: np.power(x[0], x[1]), [0, 3], [[0, 0], [0, 0]]),
        (lambda x: np.prod(x), [0, 0, 3], [[0, 3, 0], [3, 0, 0], [0, 0, 0]]),
        (lambda x: np.cumprod(x).sum(), [0, 0, 3], [[0, 4, 0], [4, 0, 0], [0, 0, 0]]),
        (lambda x: np.sinc(x).sum(), [0], [[-(np.pi**2) / 3]]),
        (lambda x: tg.ops.logsumexp(x), [1e17, 1e17], [[0.25, -0.25], [-0.25, 0.25]]),
        (lambda x: np.logaddexp(x[0], x[1]), [1e17, 1e17], [[0.25, -0.25], [-0.25, 0.25]]),
        (lambda x: tg.ops.softplus(x).sum(), [800, -800], [[0, 0], [0, 0]]),
        (lambda x: tg.ops.log_sigmoid(x).sum(), [800, -800], [[0, 0], [0, 0]]),
    ],
)
def test_second_derivatives_elsewhere_are_right(function, point, wanted):
    np.testing.assert_allclose(tg.hessian(function)(np.array(point, float)), wanted, atol=1e-12)


# -- shapes ------------------------------------------------------------------------------------------------------------

MATRIX = np.arange(6.0).reshape(2, 3) + 1.5
VECTOR = np.array([1.0, -2.0, 0.5])


def held_against_numpy(function, *values):
    """Values, shapes, dtypes and gradients as NumPy and differences have them, or an error on both sides."""
    try:
        wanted = function(*values)
    except Exception:  # noqa: BLE001 - whatever NumPy raises
        with pytest.raises(TinygraphError):
            function(*map(leaf, values))
        return
    leaves = [leaf(value) for value in values]
    found = function(*leaves)
    several = isinstance(wanted, list | tuple)
    pairs = list(zip(found, wanted, strict=True)) if several else [(found, wanted)]
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=np.shape(one)) for _, one in pairs]
    for one, other in pairs:
        assert (one.shape, one.dtype) == (np.shape(other), np.asarray(other).dtype)
        np.testing.assert_allclose(one.numpy(), other)
    if not several and found.dtype.kind != "f":
        return
    sum((one * w).sum() for (one, _), w in zip(pairs, weights, strict=True)).backward()

    def loss(*moved):
        out = function(*moved)
        return sum((np.asarray(o) * w).sum() for o, w in zip(out if several else [out], weights, strict=True))

    for k, value in enumerate(values):
        slope = np.zeros(np.shape(value))
        for index in np.ndindex(np.shape(value)):
            moved = [[np.array(v, float) for v in values] for _ in range(2)]
            moved[0][k][index] += 1e-6
            moved[1][k][index] -= 1e-6
            slope[index] = (loss(*moved[0]) - loss(*moved[1])) / 2e-6
        grad = np.zeros(np.shape(value)) if leaves[k].grad is None else leaves[k].grad.numpy()
        np.testing.assert_allclose(grad, slope, atol=1e-5)


REDUCTIONS = [
    np.sum, np.mean, np.prod, np.max, np.min, np.var, np.std, np.any, np.all, np.argmax, np.cumsum, np.cumprod,
    np.sort, np.flip, np.squeeze, np.linalg.norm,
]  # fmt: skip


@each("value", [np.float64(2.0), VECTOR, MATRIX], ids=["0-d", "1-d", "2-d"])
@each("function", REDUCTIONS, ids=lambda one: one.__name__)
def test_reductions_take_the_axes_that_numpy_takes(function, value):
    for axis in (0, -1, 1, -2, (), (0,), (0, 0), None):
        held_against_numpy(lambda x, axis=axis: function(x, axis=axis), value)


@pytest.mark.parametrize("axis", [0, -1])
def test_sums_of_scalars_compiled_and_captured(axis):
    for function in (np.sum, np.prod, np.max, np.min):
        assert tg.compile(lambda x, f=function: f(x, axis=axis))(np.float64(2.0)) == 2.0
        graph = tg.capture(lambda x, f=function: f(x, axis=axis), np.float64(0.0))
        assert graph(np.float64(2.0)) == 2.0
        assert graph.gradient(wrt=graph.inputs)(np.float64(2.0))[1] == 1.0


@each(
    ("function", "value"),
    [
        (np.transpose, VECTOR),
        (lambda x: np.transpose(x, (0,)), VECTOR),
        (lambda x: x.T, VECTOR),
        (lambda x: x.transpose(), VECTOR),
        (lambda x: x.transpose(0), VECTOR),
        (lambda x: x.transpose((-1,)), VECTOR),
        (lambda x: x.transpose(1), VECTOR),
        (lambda x: np.transpose(x, (0, 0)), MATRIX),
        (lambda x: np.repeat(x, 0), VECTOR),
        (lambda x: np.repeat(x, [0, 2, 1]), VECTOR),
        (lambda x: np.repeat(x, [0, 0, 0]), VECTOR),
        (lambda x: np.repeat(x, [0, 2, 1], axis=1), MATRIX),
        (lambda x: np.repeat(x, np.array([1, 2, 0]), axis=1), MATRIX),
        (lambda x: np.repeat(x, np.array(2)), VECTOR),
        (lambda x: np.repeat(x, [2], axis=1), MATRIX),
        (lambda x: np.repeat(x, [0, 1, 2, 3, 0, 1]), MATRIX),
        (lambda x: np.repeat(x, -1), VECTOR),
        (lambda x: np.repeat(x, [1, 2]), VECTOR),
        (lambda x: np.repeat(x, 3), np.float64(2.0)),
        (lambda x: np.repeat(x, 3, axis=0), np.float64(2.0)),
        (lambda x: np.repeat(x, True), VECTOR),
        (lambda x: x.repeat(np.array([1, 0]), axis=0), MATRIX),
        (lambda x: x.repeat(2, axis=-1), MATRIX),
    ],
)
def test_transpose_and_repeat(function, value):
    held_against_numpy(function, value)


SHAPES = [(3,), (2, 3), (1, 3), (2, 1, 3), (4, 2, 3), (3, 1), (1,), ()]


@each("first", SHAPES, ids=str)
@each("second", SHAPES, ids=str)
def test_products_of_every_two_shapes(first, second):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=first), rng.normal(size=second)
    held_against_numpy(np.vecdot, a, b)
    held_against_numpy(lambda x, y: np.vecdot(x, y, axis=0), a, b)
    held_against_numpy(np.dot, a, b)
    held_against_numpy(np.inner, a, b)


@each(
    ("subscripts", "shapes"),
    [
        ("ij,ij->i", [(2, 1), (2, 3)]),
        ("ij,ij->ij", [(2, 1), (2, 3)]),
        ("ij,ij->j", [(2, 1), (2, 3)]),
        ("ij,ij", [(1, 1), (2, 3)]),
        ("ij,jk->ik", [(2, 1), (3, 4)]),
        ("ij,jk", [(2, 3), (1, 4)]),
        ("i,i->", [(1,), (3,)]),
        ("ij,i", [(2, 3), (1,)]),
        ("iij,i->ij", [(2, 2, 3), (1,)]),
        ("iij,i->ij", [(1, 1, 3), (2,)]),
        ("ii,ij->j", [(1, 1), (3, 2)]),
        ("ii,ii->i", [(3, 3), (1, 1)]),
        ("...ij,...jk->...ik", [(5, 2, 3), (1, 3, 4)]),
        ("...i,...i", [(2, 1, 3), (4, 1)]),
        ("...i,...i->...", [(2, 1, 3), (4, 3)]),
        ("i...,i...->...", [(2, 3), (1, 3)]),
        ("ij,jk,kl->il", [(2, 1), (3, 1), (4, 2)]),
        ("ij,ij,ij->", [(2, 1), (1, 3), (2, 3)]),
        ("ij,kj->ik", [(2, 3), (4, 1)]),
        ("i...j,j...->i...", [(2, 5, 3), (3, 1)]),
        ("ba", [(2, 3)]),
        ("i...->...", [(2, 3)]),
    ],
)
def test_labels_of_size_1_broadcast(subscripts, shapes):
    rng = np.random.default_rng(2)
    values = [rng.normal(size=shape) for shape in shapes]
    held_against_numpy(lambda *xs: np.einsum(subscripts, *xs), *values)
    gradient = tg.grad(lambda *xs: (np.einsum(subscripts, *xs) ** 2).sum(), argnums=tuple(range(len(shapes))))
    for one, other in zip(tg.compile(gradient)(*values), gradient(*values), strict=True):
        np.testing.assert_allclose(np.asarray(one), other, rtol=1e-12)


def test_a_label_of_size_1_in_the_second_operand_literally():
    x, y = leaf([[2], [3]]), leaf(np.ones((2, 3)))
    np.einsum("ij,ij->i", x, y).sum().backward()
    assert x.grad.tolist() == [[3.0], [3.0]]
    assert y.grad.tolist() == [[2.0] * 3, [3.0] * 3]


# -- nothing to normalise, nothing to attend to ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 2), (0, 2, 5), (3, 2, 0)])
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_batch_without_samples_leaves_the_statistics(shape, momentum, compiled):
    layer = nn.BatchNorm1d(2, momentum=momentum).double()
    out = (tg.compile(layer) if compiled else layer)(np.ones(shape))
    assert out.shape == shape
    assert (layer.running_mean.tolist(), layer.running_var.tolist()) == ([0.0, 0.0], [1.0, 1.0])
    assert layer.num_batches_tracked.item() == 1


KEEP = np.array([[True, False, True], [False, False, False], [True, True, True]])


@each("dtype", [np.float64, np.float32, np.float16])
@each("make", [lambda a: a, tg.tensor], ids=["array", "tensor"])
@each("additive", [False, True])
@each("compiled", [False, True])
def test_a_query_that_may_attend_to_nothing_gives_zeros(dtype, make, additive, compiled):
    rng = np.random.default_rng(0)
    mask = make(np.where(KEEP, dtype(0), dtype(-np.inf)) if additive else KEEP)

    def attend(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    values = [rng.normal(size=(2, 3, 4)).astype(dtype) for _ in range(3)]
    out, pull = tg.vjp(attend, *values)
    if compiled:
        np.testing.assert_allclose(
            np.asarray(tg.compile(attend)(*values)), out, rtol=2e-2 if dtype == np.float16 else 1e-5
        )
    assert (out[:, 1] == 0).all()
    gradients = pull(np.ones_like(out))
    assert (gradients[0][:, 1] == 0).all()
    assert all(np.isfinite(one).all() for one in (out, *gradients))
    alone, _ = tg.vjp(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=KEEP[2:]),
        values[0][:, 2:],
        *values[1:],
    )
    np.testing.assert_allclose(out[:, 2:], alone, rtol=1e-2 if dtype == np.float16 else 1e-6)


@pytest.mark.parametrize("kind", ["attn_mask", "float attn_mask", "key_padding_mask", "both"])
def test_heads_that_may_attend_to_nothing_give_zeros(kind):
    hidden, padding = np.zeros((3, 3), bool), np.zeros((2, 3), bool)
    hidden[1], padding[0] = True, True
    masks = {
        "attn_mask": {"attn_mask": hidden},
        "float attn_mask": {"attn_mask": np.where(hidden, -np.inf, 0.0)},
        "key_padding_mask": {"key_padding_mask": padding},
        "both": {"attn_mask": hidden, "key_padding_mask": padding},
    }[kind]
    tg.manual_seed(0)
    layer = nn.MultiheadAttention(4, 2, batch_first=True).double()
    x = leaf(np.random.default_rng(0).normal(size=(2, 3, 4)))
    out, weights = layer(x, x, x, **masks)
    (out * out).sum().backward()
    assert out.numpy()[0, 1].tolist() == layer.out_proj.bias.tolist()
    assert weights.numpy()[0, 1].tolist() == [0.0, 0.0, 0.0]
    assert np.isfinite(x.grad.numpy()).all()
    assert all(np.isfinite(p.grad.numpy()).all() for p in layer.parameters())


# -- objects -----------------------------------------------------------------------------------------------------------

THIRDS = np.array([Fraction(1, 3), Fraction(2, 5), Fraction(-1, 7)], dtype=object)


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (lambda x: x.sum() + x.sum() + x.sum(), [3, 3, 3]),
        (lambda x: (x + x * x + x * 2).sum(), [3 + 2 * one for one in THIRDS]),
        (lambda x: (np.where(x > 0, x * x, x) + x + x * 2).sum(), [3 + 2 * THIRDS[0], 3 + 2 * THIRDS[1], 4]),
        (lambda x: x.max() * x.max() + x.max() + x.min(), [0, 2 * THIRDS[1] + 1, 1]),
        (lambda x: x.mean() + x.mean() + x.mean(), [1, 1, 1]),
        (lambda x: x[0] * x[1] + x[1] * x[2] + x[0], [THIRDS[1] + 1, THIRDS[0] + THIRDS[2], THIRDS[1]]),
        (
            lambda x: np.einsum("i,i->", x, x) + x[0] + x[0] + x[0],
            [2 * THIRDS[0] + 3, 2 * THIRDS[1], 2 * THIRDS[2]],
        ),
    ],
)
def test_fractions_stay_exact_through_several_contributions(function, wanted):
    x = tg.tensor(THIRDS, requires_grad=True)
    function(x).backward()
    for found in (x.grad.numpy(), tg.grad(function)(THIRDS), tg.jacobian(function)(THIRDS)):
        assert found.tolist() == wanted
        assert not any(isinstance(one, float) for one in found)


def test_scalar_fractions_and_their_second_derivatives():
    third = Fraction(1, 3)
    x = tg.tensor(third, requires_grad=True)
    for _ in range(3):
        (x * x + x + x + x).backward()
    assert x.grad.item() == 3 * (2 * third + 3)
    assert tg.hessian(lambda x: x * x * x + x * x + x)(third) == 6 * third + 2
    dots = tg.hessian(lambda x: np.einsum("i,i->", x, x) + x.sum() + x.sum())(THIRDS)
    assert dots.tolist() == [[2, 0, 0], [0, 2, 0], [0, 0, 2]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_to_num_is_numpys_and_passes_gradients_where_numbers_are_finite(dtype):
    x = np.array([np.nan, np.inf, -np.inf, -1.5], dtype)
    most = np.finfo(dtype).max
    compiled = tg.compile(lambda x: np.nan_to_num(x, nan=2))
    for found in (tg.ops.nan_to_num(x, nan=2), compiled(x)):
        np.testing.assert_array_equal(found, np.array([2.0, most, -most, -1.5], dtype))
    bounded = tg.grad(lambda x: np.sum(np.nan_to_num(x, posinf=1.0, neginf=-1.0) ** 2))
    np.testing.assert_array_equal(bounded(x), [0.0, 0.0, 0.0, -3.0])
    np.testing.assert_array_equal(tg.compile(bounded)(x), [0.0, 0.0, 0.0, -3.0])


def test_nan_to_num_treats_parts_of_complex_numbers_alone():
    x = np.array([complex(np.nan, 2.0), complex(3.0, np.inf)])
    np.testing.assert_array_equal(tg.ops.nan_to_num(x, posinf=7.0), [2.0j, 3.0 + 7.0j])
    gradient = tg.grad(lambda x: np.sum(np.abs(np.nan_to_num(x, posinf=4.0)) ** 2))(x)
    np.testing.assert_allclose(np.abs(gradient), [4.0, 6.0], rtol=1e-15)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"copy": False}, "makes a new tensor"), ({"nan": np.zeros(2)}, "one number for nan")],
)
def test_nan_to_num_refuses_what_tensors_cannot(options, words):
    with pytest.raises(NumpyFunctionError, match=words):
        tg.grad(lambda x: np.sum(np.nan_to_num(x, **options)))(np.ones(2))


@pytest.mark.parametrize("generated", [True, False])
def test_single_precision_far_from_zero_is_standardized_as_in_double(generated, monkeypatch):
    """Eagerly and in plans with generated kernels and without: variances as exact sums give them."""
    if not generated:
        monkeypatch.setattr("tinygraph.kernels.available", lambda: False)
    function = lambda x: tg.ops.standardize(x, axis=1)  # noqa: E731
    noise = np.random.default_rng(3).normal(size=(5, 1000))
    for x in (noise, noise + 1e4, noise - 1e5, np.full((5, 7), 1e6), np.full((5, 7), 0.1) + 3e4):
        x = x.astype(np.float32)
        exact = x.astype(np.float64)
        for found in (function(x), function(tg.tensor(x)), tg.compile(function)(x)):
            _, mean, variance = (np.asarray(one) for one in found)
            assert mean.dtype == variance.dtype == np.float32
            np.testing.assert_allclose(mean, exact.mean(axis=1, keepdims=True), rtol=1e-7, atol=1e-7)
            np.testing.assert_allclose(variance, exact.var(axis=1, keepdims=True), rtol=1e-6, atol=1e-12)
    assert not np.asarray(function(np.full((1, 7), 1e6, np.float32))[0]).any()


def test_a_half_power_of_half_precision_is_numpys():
    """`np.power` takes roots in float32 and float64 alone, `**` in all: 0.0 and -0.0, inf and nan."""
    values = np.array([-0.0, -np.inf, 4.0], np.float16)
    with np.errstate(invalid="ignore"):
        powers = [np.power(tg.tensor(values), 0.5), tg.compile(lambda x: np.power(x, 0.5))(values)]
        roots = [tg.tensor(values) ** 0.5, np.power(tg.tensor(values.astype(np.float32)), 0.5)]
    assert [str(np.asarray(one).tolist()) for one in powers] == ["[0.0, inf, 2.0]"] * 2
    assert [str(np.asarray(one).tolist()) for one in roots] == ["[-0.0, nan, 2.0]"] * 2
