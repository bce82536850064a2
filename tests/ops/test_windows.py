"""The array functions under convolution and pooling: against plain loops, as adjoints, against PyTorch."""

from __future__ import annotations

import warnings
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from tests.rows import each
from tinygraph.errors import ShapeError
from tinygraph_ops.windows import sliding as windows
from tinygraph_ops.windows.sliding import (
    adaptive_average_pool,
    adaptive_average_pool_input_gradient,
    adaptive_output_shape,
    average_pool,
    average_pool_input_gradient,
    convolution_geometry,
    convolution_transpose_geometry,
    convolve,
    convolve_input_gradient,
    convolve_kernel_gradient,
    gather_windows,
    max_pool,
    pool_geometry,
    scatter_windows,
)

SEEDS = range(60)


def elements(geometry, position):
    """(tap, input position) of every element of the input that the window at an output position reads."""
    for tap in product(*map(range, geometry.size)):
        place = tuple(
            o * stride - pair[0] + t * dilation
            for o, stride, pair, t, dilation in zip(
                position, geometry.stride, geometry.padding, tap, geometry.dilation, strict=True
            )
        )
        if all(0 <= p < length for p, length in zip(place, geometry.x_shape[2:], strict=True)):
            yield tap, place


def convolve_slowly(x, kernel, geometry):
    out = np.zeros(geometry.output_shape)
    out_per_group = kernel.shape[0] // geometry.groups
    for b, o, *position in np.ndindex(*geometry.output_shape):
        first = o // out_per_group * kernel.shape[1]
        for tap, place in elements(geometry, position):
            for c in range(kernel.shape[1]):
                out[(b, o, *position)] += kernel[(o, c, *tap)] * x[(b, first + c, *place)]
    return out


def random_ints(rng, low, high, count):
    return tuple(int(value) for value in rng.integers(low, high + 1, count))


def random_convolution(seed):
    """A small geometry of 1 to 3 dimensions with uneven padding, strides that need not tile, and groups."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4))
    groups = int(rng.choice([1, 1, 2, 3]))
    size, stride, dilation = (random_ints(rng, 1, 3, n) for _ in range(3))
    padding = tuple(random_ints(rng, 0, 3, 2) for _ in range(n))
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, size, strict=True)]
    spatial = tuple(
        max(1, span - sum(pair)) + int(rng.integers(0, 5)) for span, pair in zip(spans, padding, strict=True)
    )
    in_per_group, out_per_group, batch = random_ints(rng, 1, 2, 3)
    x_shape = (batch, in_per_group * groups, *spatial)
    kernel_shape = (out_per_group * groups, in_per_group, *size)
    return rng, convolution_geometry(x_shape, kernel_shape, stride, padding, dilation, groups)


def random_pool(seed, dilate=True):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4))
    size, stride = random_ints(rng, 1, 4, n), random_ints(rng, 1, 4, n)
    dilation = random_ints(rng, 1, 2, n) if dilate else (1,) * n
    padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in size)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, size, strict=True)]
    spatial = tuple(span + int(rng.integers(0, 5)) for span in spans)
    return rng, pool_geometry((2, 2, *spatial), size, stride, padding, dilation, bool(rng.integers(0, 2)))


@pytest.fixture(params=[1, windows.BLOCK_BYTES], ids=["row by row", "in one block"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(windows, "BLOCK_BYTES", request.param)


class TestConvolve:
    @each("seed", SEEDS)
    def test_equals_plain_loops(self, seed, blocks):
        rng, geometry = random_convolution(seed)
        x, kernel = rng.standard_normal(geometry.x_shape), rng.standard_normal(geometry.kernel_shape)
        np.testing.assert_allclose(
            convolve(x, kernel, geometry), convolve_slowly(x, kernel, geometry), atol=1e-12
        )

    @each("seed", SEEDS)
    def test_gradients_are_adjoints(self, seed, blocks):
        rng, geometry = random_convolution(seed)
        x, kernel = rng.standard_normal(geometry.x_shape), rng.standard_normal(geometry.kernel_shape)
        g = rng.standard_normal(geometry.output_shape)
        wanted = np.vdot(convolve(x, kernel, geometry), g)
        assert np.isclose(np.vdot(x, convolve_input_gradient(g, kernel, geometry)), wanted, atol=1e-10)
        assert np.isclose(np.vdot(kernel, convolve_kernel_gradient(g, x, geometry)), wanted, atol=1e-10)

    @each("dtype", [np.float32, np.float64, np.complex64, np.int64, np.int8])
    def test_keeps_the_dtype(self, dtype):
        geometry = convolution_geometry((2, 2, 5, 4), (3, 2, 3, 2), stride=2, padding=1)
        x, kernel, g = (
            np.ones(shape, dtype)
            for shape in (geometry.x_shape, geometry.kernel_shape, geometry.output_shape)
        )
        assert convolve(x, kernel, geometry).dtype == dtype
        assert convolve_input_gradient(g, kernel, geometry).dtype == dtype
        assert convolve_kernel_gradient(g, x, geometry).dtype == dtype

    @each("stride", [1, 2])
    def test_is_exact_in_fractions(self, stride):
        rng = np.random.default_rng(0)
        geometry = convolution_geometry((1, 2, 4, 5), (2, 2, 2, 3), stride=stride, padding=1)
        x, kernel, g = (
            rng.integers(-9, 9, shape)
            for shape in (geometry.x_shape, geometry.kernel_shape, geometry.output_shape)
        )
        sevenths = np.vectorize(lambda value: Fraction(int(value), 7), otypes=[object])
        for function, left, right in (
            (convolve, x, kernel),
            (convolve_input_gradient, g, kernel),
            (convolve_kernel_gradient, g, x),
        ):
            exact = function(sevenths(left), sevenths(right), geometry)
            assert exact.dtype == object
            assert (exact * 49 == function(left, right, geometry)).all()

    @each(
        ("x_shape", "kernel_shape", "padding"),
        [
            ((0, 2, 5), (3, 2, 2), 0),
            ((2, 0, 5), (3, 0, 2), 0),
            ((2, 2, 5), (0, 2, 2), 0),
            ((2, 2, 0), (3, 2, 2), 1),
        ],
    )
    @each("stride", [1, 2])
    def test_empty(self, x_shape, kernel_shape, padding, stride):
        geometry = convolution_geometry(x_shape, kernel_shape, stride, padding)
        x, kernel = np.ones(x_shape), np.ones(kernel_shape)
        out = convolve(x, kernel, geometry)
        assert out.shape == geometry.output_shape
        assert not out.any()
        assert convolve_input_gradient(out, kernel, geometry).shape == x_shape
        np.testing.assert_array_equal(convolve_kernel_gradient(out, x, geometry), np.zeros(kernel_shape))

    def test_read_only_and_strided_input(self):
        rng = np.random.default_rng(1)
        x, kernel = rng.standard_normal((4, 7, 3, 2)).T, rng.standard_normal((6, 6, 3, 4))[::2, ::2, ::-1]
        x.flags.writeable = kernel.flags.writeable = False
        geometry = convolution_geometry(x.shape, kernel.shape, stride=(2, 1), padding=1)
        contiguous = convolve(x.copy("C"), kernel.copy("C"), geometry)
        np.testing.assert_allclose(convolve(x, kernel, geometry), contiguous, atol=1e-12)

    def test_transposed_with_output_padding_beyond_the_stride(self):
        """Dilation allows more output padding than the stride does: no window reaches the last ones."""
        geometry = convolution_transpose_geometry((1, 1, 2), (1, 1, 2), output_padding=2, dilation=3)
        out = convolve_input_gradient(np.ones((1, 1, 2)), np.array([[[1.0, 10.0]]]), geometry)
        np.testing.assert_array_equal(out, [[[1, 1, 0, 10, 10, 0, 0]]])
        assert convolve(out, np.ones((1, 1, 2)), geometry).shape == (1, 1, 2)


class TestPools:
    @each("seed", SEEDS)
    def test_max_pool_equals_plain_loops(self, seed):
        rng, geometry = random_pool(seed)
        x = rng.integers(-2, 3, geometry.x_shape).astype(float)  # few values, so many ties
        x[rng.random(x.shape) < 0.1] = -np.inf
        out, index = max_pool(x, geometry)
        for b, c, *position in np.ndindex(*geometry.output_shape):
            places = [place for _, place in elements(geometry, position)]
            first = max(places, key=lambda place: x[(b, c, *place)])
            assert out[(b, c, *position)] == x[(b, c, *first)]
            assert index[(b, c, *position)] == np.ravel_multi_index(first, x.shape[2:])

    def test_nan_wins_and_the_first_one(self):
        x = np.array([[[1.0, np.nan, np.nan, 5.0, 6.0, 2.0]]])
        out, index = max_pool(x, pool_geometry(x.shape, 3))
        np.testing.assert_array_equal(out, [[[np.nan, 6.0]]])
        np.testing.assert_array_equal(index, [[[1, 4]]])

    @pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.float32, bool, object])
    def test_max_pool_of_the_smallest_values(self, dtype):
        x = np.zeros((1, 1, 4), dtype) if dtype != np.int8 else np.full((1, 1, 4), -128, dtype)
        out, index = max_pool(x, pool_geometry(x.shape, 3, 2, padding=1))
        assert out.dtype == dtype
        np.testing.assert_array_equal(index, [[[0, 1]]])

    @each("seed", SEEDS)
    def test_scatter_is_the_adjoint_of_gather(self, seed):
        rng, geometry = random_pool(seed)
        x, g = rng.standard_normal(geometry.x_shape), rng.standard_normal(geometry.output_shape)
        out, index = max_pool(x, geometry)
        np.testing.assert_array_equal(gather_windows(x, index), out)
        scattered = scatter_windows(g, index, x.shape[2:])
        assert scattered.shape == x.shape
        assert np.isclose(np.vdot(scattered, x), np.vdot(g, out))

    @each("count_include_pad", [True, False])
    @each("seed", SEEDS)
    def test_average_pool_equals_plain_loops(self, seed, count_include_pad):
        rng, geometry = random_pool(seed, dilate=False)
        x, g = rng.standard_normal(geometry.x_shape), rng.standard_normal(geometry.output_shape)
        out = average_pool(x, geometry, count_include_pad)
        padded = [length + pair[1] for length, pair in zip(x.shape[2:], geometry.padding, strict=True)]
        for b, c, *position in np.ndindex(*geometry.output_shape):
            values = [x[(b, c, *place)] for _, place in elements(geometry, position)]
            starts = [
                o * s - p[0] for o, s, p in zip(position, geometry.stride, geometry.padding, strict=True)
            ]
            ends = np.minimum(np.add(starts, geometry.size), padded)
            count = np.prod(ends - starts) if count_include_pad else len(values)
            assert np.isclose(out[(b, c, *position)], sum(values) / count)
        back = average_pool_input_gradient(g, geometry, count_include_pad)
        assert np.isclose(np.vdot(back, x), np.vdot(g, out))

    @pytest.mark.parametrize(
        ("spatial", "output"), [((5,), (3,)), ((7, 4), (1, 4)), ((3, 2), (5, 7)), ((4, 6, 5), (2, 4, 3))]
    )
    def test_adaptive_average_pool_equals_plain_loops(self, spatial, output):
        rng = np.random.default_rng(0)
        x, g = rng.standard_normal((2, 3, *spatial)), rng.standard_normal((2, 3, *output))
        out = adaptive_average_pool(x, output)
        for position in np.ndindex(*output):
            window = tuple(
                slice(o * length // n, -(-(o + 1) * length // n))
                for o, n, length in zip(position, output, spatial, strict=True)
            )
            wanted = x[(..., *window)].reshape(2, 3, -1).mean(axis=-1)
            np.testing.assert_allclose(out[(..., *position)], wanted)
        assert np.isclose(np.vdot(adaptive_average_pool_input_gradient(g, spatial), x), np.vdot(g, out))

    def test_an_infinity_stays_in_its_window(self):
        x = np.array([[[1.0, 2.0, np.inf, 3.0, 4.0]]])
        np.testing.assert_array_equal(adaptive_average_pool(x, (2,)), [[[np.inf, np.inf]]])
        np.testing.assert_array_equal(adaptive_average_pool(x, (5,)), x)
        np.testing.assert_array_equal(average_pool(x, pool_geometry(x.shape, 2)), [[[1.5, np.inf]]])

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64])
    def test_averages_keep_the_dtype(self, dtype):
        geometry = pool_geometry((1, 2, 5, 5), 2, padding=1, ceil_mode=True)
        assert average_pool(np.ones(geometry.x_shape, dtype), geometry).dtype == dtype
        assert average_pool_input_gradient(np.ones(geometry.output_shape, dtype), geometry).dtype == dtype
        assert adaptive_average_pool(np.ones((1, 2, 5), dtype), (3,)).dtype == dtype
        assert adaptive_average_pool_input_gradient(np.ones((1, 2, 3), dtype), (5,)).dtype == dtype

    def test_averages_of_integers_and_fractions(self):
        x = np.array([[[100, 100, 101, 100]]], np.int8)
        assert average_pool(x, pool_geometry(x.shape, 4)).item() == 100.25
        assert adaptive_average_pool(x, (1,)).item() == 100.25
        exact = np.array([[[Fraction(1, 3), Fraction(1), Fraction(0), Fraction(0)]]])
        assert average_pool(exact, pool_geometry(exact.shape, 2))[0, 0, 0] == Fraction(2, 3)
        assert adaptive_average_pool(exact, (3,))[0, 0, 0] == Fraction(2, 3)

    def test_empty_batch(self):
        geometry = pool_geometry((0, 3, 4), 2)
        out, index = max_pool(np.ones((0, 3, 4)), geometry)
        assert out.shape == index.shape == average_pool(np.ones((0, 3, 4)), geometry).shape == (0, 3, 2)
        assert scatter_windows(out, index, (4,)).shape == (0, 3, 4)
        assert adaptive_average_pool(np.ones((0, 3, 4)), (3,)).shape == (0, 3, 3)

    def test_inputs_are_left_alone(self):
        x = np.arange(16.0).reshape(1, 1, 4, 4)
        before, geometry = x.copy(), pool_geometry(x.shape, (2, 1), 1)
        max_pool(x, geometry)
        average_pool(x, geometry)
        np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"x_shape": (2, 3)}, "x has shape \\(2, 3\\).*spatial axis"),
        (
            {"kernel_shape": (4, 3, 3)},
            "3 dimensions.*2 spatial.*needs 4: \\(out, in/groups, size0, size1\\)",
        ),
        ({"kernel_shape": (4, 3, 3, 0)}, "kernel.*empty along spatial dimension 1"),
        ({"kernel_shape": (4, 2, 3, 3)}, "x has 3 channels.*kernel takes 2"),
        ({"groups": 2}, "groups is 2.*3 in channels"),
        ({"groups": 3, "kernel_shape": (4, 1, 3, 3)}, "groups is 3.*4 out channels"),
        ({"groups": 3, "kernel_shape": (3, 3, 3, 3)}, "1 in each of 3 groups.*kernel takes 3"),
        ({"groups": 0}, "groups is 0; it must be positive"),
        ({"stride": 0}, "stride is 0; it must be positive"),
        ({"stride": (1, -1)}, "stride\\[1\\] is -1"),
        ({"stride": 1.0}, "stride is 1.0, of type float"),
        ({"stride": True}, "stride is True, of type bool"),
        ({"stride": (1, 2, 3)}, "stride is \\(1, 2, 3\\), with 3 entries.*2 spatial dimensions"),
        ({"dilation": 0}, "dilation is 0"),
        ({"padding": -1}, "padding is -1; it must be zero or more"),
        ({"padding": ((0, -1), (0, 0))}, "padding\\[0\\]\\[1\\] is -1"),
        ({"padding": ((0, 1), 2)}, "one \\(before, after\\) for each of the 2"),
        ({"padding": "full"}, 'padding is \'full\'.*"same" or "valid"'),
        ({"padding": "same", "stride": 2}, "needs stride 1, but stride is \\(2, 2\\)"),
        ({"dilation": (1, 4)}, "spans 9 along spatial dimension 1 \\(axis 3\\).*input's 8.*no output"),
    ],
)
def test_convolution_errors(settings, message):
    with pytest.raises(ShapeError, match=message):
        convolution_geometry(**{"x_shape": (2, 3, 8, 8), "kernel_shape": (4, 3, 3, 3)} | settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel_shape": (3, 4, 3, 3)}, "3 dimensions|needs 3: \\(in, out/groups, size0\\)"),
        ({"kernel_shape": (4, 3, 3)}, "x has 3 channels.*kernel takes 4"),
        ({"groups": 2}, "groups is 2.*3 in channels"),
        ({"padding": "same"}, '"same".*transposed convolution'),
        ({"output_padding": 1}, "output_padding is 1.*less than the stride"),
        ({"output_padding": -1}, "output_padding is -1"),
        ({"padding": 5}, "leaves nothing.*use less"),
        ({"x_shape": (2, 3, 0)}, "x is empty along spatial dimension 0"),
    ],
)
def test_transposed_convolution_errors(settings, message):
    with pytest.raises(ShapeError, match=message):
        convolution_transpose_geometry(**{"x_shape": (2, 3, 8), "kernel_shape": (3, 4, 3)} | settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"x_shape": (3, 8)}, "spatial axis"),
        ({"x_shape": (2, 3, 8, 0)}, "empty along spatial dimension 1.*nothing to pool"),
        ({"size": 0}, "size is 0"),
        ({"size": 9}, "window spans 9"),
        ({"stride": 0}, "stride is 0"),
        ({"padding": -1}, "padding is -1"),
        ({"padding": (1, 2)}, "padding\\[1\\] is 2, more than half.*at most 1"),
        ({"padding": "same"}, "padding is 'same', of type str"),
        (
            {"x_shape": (2, 3, 8, 1), "size": 2, "padding": 1, "dilation": 2},
            "read only padding along.*length of x is 1",
        ),
    ],
)
def test_pool_errors(settings, message):
    with pytest.raises(ShapeError, match=message):
        pool_geometry(**{"x_shape": (2, 3, 8, 8), "size": 3} | settings)


def test_adaptive_output_shape():
    assert adaptive_output_shape((2, 3, 8, 7), 1) == (2, 3, 1, 1)
    assert adaptive_output_shape((2, 3, 8, 7), (None, 2)) == (2, 3, 8, 2)
    for output_size, message in ((0, "output_size is 0"), ((1, 2, 3), "3 entries"), (None, "type NoneType")):
        with pytest.raises(ShapeError, match=message):
            adaptive_output_shape((2, 3, 8, 7), output_size)
    with pytest.raises(ShapeError, match="nothing to average"):
        adaptive_output_shape((2, 3, 0), 1)


@pytest.mark.reference
@pytest.mark.parametrize("seed", SEEDS)
class TestAgainstTorch:
    @pytest.fixture
    def torch(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what an import of another project warns of is not ours to judge
            return pytest.importorskip("torch")

    def gradients(self, torch, function, *arrays):
        """PyTorch's result, a random cotangent, and the gradients of the arrays."""
        tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
        out = function(*tensors)
        g = np.random.default_rng(0).standard_normal(tuple(out.shape))
        return (
            out.detach().numpy(),
            g,
            [t.numpy() for t in torch.autograd.grad(out, tensors, torch.tensor(g))],
        )

    def test_convolution_and_its_transpose(self, torch, seed):
        rng, geometry = random_convolution(seed)
        x, kernel = rng.standard_normal(geometry.x_shape), rng.standard_normal(geometry.kernel_shape)
        n, stride, dilation, groups = len(geometry.size), geometry.stride, geometry.dilation, geometry.groups
        widths = [width for pair in reversed(geometry.padding) for width in pair]
        forward = getattr(torch.nn.functional, f"conv{n}d")
        out, g, (x_gradient, kernel_gradient) = self.gradients(
            torch,
            lambda x, k: forward(torch.nn.functional.pad(x, widths), k, None, stride, 0, dilation, groups),
            x,
            kernel,
        )
        np.testing.assert_allclose(convolve(x, kernel, geometry), out, atol=1e-10)
        np.testing.assert_allclose(convolve_input_gradient(g, kernel, geometry), x_gradient, atol=1e-10)
        np.testing.assert_allclose(convolve_kernel_gradient(g, x, geometry), kernel_gradient, atol=1e-10)

        extra = tuple(max(steps) - 1 for steps in zip(stride, dilation, strict=True))
        transpose = convolution_transpose_geometry(
            out.shape, kernel.shape, stride, 0, extra, dilation, groups
        )
        backward = getattr(torch.nn.functional, f"conv_transpose{n}d")
        wanted = backward(torch.tensor(out), torch.tensor(kernel), None, stride, 0, extra, groups, dilation)
        np.testing.assert_allclose(
            convolve_input_gradient(out, kernel, transpose), wanted.numpy(), atol=1e-10
        )

    def test_max_pool(self, torch, seed):
        rng, geometry = random_pool(seed)
        n, length = len(geometry.size), geometry.x_shape[2:]
        padding, ceil_mode = [pair[0] for pair in geometry.padding], self.sticks_out(geometry)
        function = getattr(torch.nn.functional, f"max_pool{n}d")
        settings = (geometry.size, geometry.stride, padding, geometry.dilation, ceil_mode)
        x = rng.integers(-2, 3, geometry.x_shape).astype(float)
        out, g, (x_gradient,) = self.gradients(torch, lambda x: function(x, *settings), x)
        ours, index = max_pool(x, geometry)
        np.testing.assert_array_equal(ours, out)
        np.testing.assert_allclose(scatter_windows(g, index, length), x_gradient, atol=1e-12)

    @pytest.mark.parametrize("count_include_pad", [True, False])
    def test_average_pools(self, torch, seed, count_include_pad):
        rng, geometry = random_pool(seed, dilate=False)
        n, x = len(geometry.size), rng.standard_normal(geometry.x_shape)
        padding, ceil_mode = [pair[0] for pair in geometry.padding], self.sticks_out(geometry)
        function = getattr(torch.nn.functional, f"avg_pool{n}d")
        settings = (geometry.size, geometry.stride, padding, ceil_mode, count_include_pad)
        out, g, (x_gradient,) = self.gradients(torch, lambda x: function(x, *settings), x)
        np.testing.assert_allclose(average_pool(x, geometry, count_include_pad), out, atol=1e-12)
        ours = average_pool_input_gradient(g, geometry, count_include_pad)
        np.testing.assert_allclose(ours, x_gradient, atol=1e-12)

        adaptive, output = getattr(torch.nn.functional, f"adaptive_avg_pool{n}d"), random_ints(rng, 1, 9, n)
        out, g, (x_gradient,) = self.gradients(torch, lambda x: adaptive(x, output), x)
        np.testing.assert_allclose(adaptive_average_pool(x, output), out, atol=1e-12)
        ours = adaptive_average_pool_input_gradient(g, x.shape[2:])
        np.testing.assert_allclose(ours, x_gradient, atol=1e-12)

    def sticks_out(self, geometry):
        """Whether ceil mode gave this geometry, or could as well have."""
        padding = tuple(pair[0] for pair in geometry.padding)
        settings = (geometry.x_shape, geometry.size, geometry.stride, padding, geometry.dilation)
        return pool_geometry(*settings, ceil_mode=True) == geometry
