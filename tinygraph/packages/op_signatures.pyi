"""The built-in ops of `tg.ops`, for editors and type checkers: every call gives arrays for arrays, tensors for tensors.

Written by `python -m tinygraph.scaffold.stubs`. Ops of plugins are there, too, but not known to a type checker.
"""

from typing import Any

from tinygraph.core.tensor import Tensor

class BuiltinOps:
    def abs(self, x: Any, /) -> Tensor | Any:
        """|x|;  d/dx = sign(x), 0 at 0. For complex x: conj(x) / |x|."""

    def adaptive_average_pool(self, x: Any, /, *, size: Any) -> Tensor | Any:
        """out[n, c, i] = mean of x[n, c, floor(i * length / size) : ceil((i + 1) * length / size)]."""

    def adaptive_average_pool_input_gradient(self, cotangent: Any, /, *, spatial_shape: Any) -> Tensor | Any:
        """Each cotangent[n, c, i], divided by its window's length, added to all of its window."""

    def add(self, x: Any, y: Any, /) -> Tensor | Any:
        """x + y;  d/dx = 1,  d/dy = 1."""

    def add_at(self, x: Any, index: Any, value: Any) -> Tensor | Any:
        """x with `value` added at x[index], once for each time that the index names a place."""

    def all(
        self,
        x: Any,
        /,
        *,
        axis: int | tuple[int, ...] | None = None,
        keepdims: bool = False,
    ) -> Tensor | Any:
        """Whether every element over `axis` is non-zero."""

    def all_gather(self, x: Any, /, *, axis: int = 0) -> Tensor | Any:
        """Every process's x, one after another along an axis, for every process;  each gets its part of all
        g, summed."""

    def all_reduce(self, x: Any, /, *, reduction: str = "sum") -> Tensor | Any:
        """The sum of every process's x, for every process;  its gradient is the sum of their g."""

    def angle(self, x: Any, /) -> Tensor | Any:
        """The angle of x in the complex plane;  its gradient is -i g / x. That of a real x is 0 or π, without
        a slope."""

    def any(
        self,
        x: Any,
        /,
        *,
        axis: int | tuple[int, ...] | None = None,
        keepdims: bool = False,
    ) -> Tensor | Any:
        """Whether some element over `axis` is non-zero."""

    def arccos(self, x: Any, /) -> Tensor | Any:
        """arccos(x);  d/dx = -1 / √(1 - x²)."""

    def arccosh(self, x: Any, /) -> Tensor | Any:
        """arcosh(x);  d/dx = 1 / √(x² - 1)."""

    def arcsin(self, x: Any, /) -> Tensor | Any:
        """arcsin(x);  d/dx = 1 / √(1 - x²)."""

    def arcsinh(self, x: Any, /) -> Tensor | Any:
        """arsinh(x);  d/dx = 1 / √(1 + x²)."""

    def arctan(self, x: Any, /) -> Tensor | Any:
        """arctan(x);  d/dx = 1 / (1 + x²)."""

    def arctan2(self, y: Any, x: Any, /) -> Tensor | Any:
        """The angle of the point (x, y);  d/dy = x / (x² + y²),  d/dx = -y / (x² + y²), undefined at the
        origin."""

    def arctanh(self, x: Any, /) -> Tensor | Any:
        """artanh(x);  d/dx = 1 / (1 - x²)."""

    def argmax(self, x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Tensor | Any:
        """Where the largest element stands along `axis`, the first of several; in x flattened by default."""

    def argmin(self, x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Tensor | Any:
        """Where the smallest element stands along `axis`, the first of several; in x flattened by default."""

    def argsort(self, x: Any, /, *, axis: Any = -1) -> Tensor | Any:
        """The places of the elements of x in ascending order along `axis`, equal ones in their order."""

    def average_pool(
        self,
        x: Any,
        /,
        *,
        size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> Tensor | Any:
        """out[n, c, i] = mean over p of x[n, c, i * stride + p - padding]."""

    def average_pool_input_gradient(
        self,
        cotangent: Any,
        /,
        *,
        spatial_shape: Any,
        size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> Tensor | Any:
        """out[n, c, i * stride + p - padding] += cotangent[n, c, i] / count[i];  the transpose of
        `average_pool`."""

    def batch_norm(self, x: Any, weight: Any = None, bias: Any = None, *, eps: float = 1e-05) -> Any:
        """weight * (x - mean) / sqrt(variance + eps) + bias, with each channel's mean and biased variance."""

    def batch_norm_inference(
        self,
        x: Any,
        mean: Any,
        variance: Any,
        weight: Any = None,
        bias: Any = None,
        *,
        eps: float = 1e-05,
    ) -> Any:
        """weight * (x - mean) / sqrt(variance + eps) + bias, with mean and variance given."""

    def binary_cross_entropy_with_logits(
        self,
        logits: Any,
        target: Any,
        *,
        reduction: str = "mean",
    ) -> Tensor | Any:
        """mean of -target * log(sigmoid(logits)) - (1 - target) * log(sigmoid(-logits))"""

    def bitwise_and(self, x: Any, y: Any, /) -> Tensor | Any:
        """x & y, bit by bit; `and` for bools."""

    def bitwise_or(self, x: Any, y: Any, /) -> Tensor | Any:
        """x | y, bit by bit; `or` for bools."""

    def bitwise_xor(self, x: Any, y: Any, /) -> Tensor | Any:
        """x ^ y, bit by bit; `xor` for bools."""

    def broadcast(self, x: Any, /, *, root: int = 0) -> Tensor | Any:
        """The x of the process `root`, for every process;  it gets the sum of all g, the others zeros."""

    def broadcast_to(self, x: Any, /, *, shape: Any) -> Tensor | Any:
        """x repeated along new axes and axes of size 1 up to `shape` (a read-only view);  gradients are
        summed."""

    def by_convention(self, value: Any, kink: Any, x: Any, y: Any = None, /) -> Tensor | Any:
        """value;  d/d value = 1, and by x and y 0, but unknown (nan) where there is a kink."""

    def cast(self, x: Any, /, *, dtype: Any) -> Tensor | Any:
        """x converted to another dtype;  the gradient is converted back. Nothing flows through integers."""

    def cbrt(self, x: Any, /) -> Tensor | Any:
        """The real cube root of x;  d/dx = 1 / (3 ∛x²), infinite at 0."""

    def ceil(self, x: Any, /) -> Tensor | Any:
        """⌈x⌉; piecewise constant, so no gradient flows."""

    def cholesky(self, x: Any, /) -> Tensor | Any:
        """L with L Lᴴ = X, of which the lower triangle is read;  the gradient (Murray, 2016) is L⁻ᴴ Φ(Lᴴ G)
        L⁻¹."""

    def class_probabilities(
        self,
        labels: Any,
        /,
        *,
        classes: int,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        dtype: str = "float64",
    ) -> Any:
        """(1 - s) * [label == class] + s / classes, with s = label_smoothing; all zeros for an ignored
        label."""

    def clip(self, x: Any, min: Any = None, max: Any = None, /) -> Tensor | Any:
        """min(max(x, min), max), either bound absent if None;  the gradient goes to what was chosen, to x on
        a bound."""

    def cofactors(self, x: Any, /) -> Tensor | Any:
        """The cofactors of square matrices, det(X) X⁻ᵀ where there is an inverse: the derivatives of the
        determinant."""

    def cofactors_along(self, x: Any, direction: Any, /) -> Tensor | Any:
        """How the cofactors of X change along T: the second derivatives of the determinant, symmetric in T
        and G."""

    def concatenate(self, *xs: Any, axis: int = 0) -> Tensor | Any:
        """The operands one after another along an axis they have;  each gets its part of the gradient."""

    def conj(self, x: Any, /) -> Tensor | Any:
        """The complex conjugate of x;  its gradient is conj(g)."""

    def constant_function(self, *xs: Any, function: str, options: tuple[tuple[str, Any], ...] = ()) -> Any:
        """A function without a derivative, by its name in NumPy;  `options` are its arguments that are no
        arrays."""

    def convolution(
        self,
        x: Any,
        kernel: Any,
        bias: Any = None,
        /,
        *,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor | Any:
        """out[n, o, i] = bias[o] + sum over c, p of x[n, c, i*stride + p*dilation - padding] * kernel[o, c,
        p]."""

    def convolution_kernel_gradient(
        self,
        x: Any,
        cotangent: Any,
        /,
        *,
        size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor | Any:
        """out[o, c, p] = sum over n, i of x[n, c, i * stride + p * dilation - padding] * cotangent[n, o,
        i]."""

    def convolution_transpose(
        self,
        x: Any,
        kernel: Any,
        bias: Any = None,
        /,
        *,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor | Any:
        """out[n, o, i * stride + p * dilation - padding] += x[n, c, i] * kernel[c, o, p], plus bias[o]."""

    def copy(self, x: Any, /, *, order: Any = "C") -> Tensor | Any:
        """x in memory of its own: in rows, or as NumPy's orders say; "K" is as x lies, as ufuncs and
        `np.copy` do it."""

    def cos(self, x: Any, /) -> Tensor | Any:
        """cos(x);  d/dx = -sin(x)."""

    def cosh(self, x: Any, /) -> Tensor | Any:
        """cosh(x);  d/dx = sinh(x)."""

    def cross_entropy(
        self,
        logits: Any,
        labels: Any,
        /,
        *,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> Any:
        """-sum over classes of target * log_softmax(logits);  d/dlogits = softmax(logits) - target."""

    def cross_entropy_gradient(
        self,
        cotangent: Any,
        logits: Any,
        labels: Any,
        /,
        *,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> Tensor | Any:
        """cotangent * d cross_entropy / d logits = cotangent * (softmax(logits) - target), / counted of a
        mean."""

    def cumprod(self, x: Any, /, *, axis: Any = None) -> Tensor | Any:
        """The products of the elements up to each along `axis`, of x flattened by default;  right at zeros
        too."""

    def cumsum(self, x: Any, /, *, axis: Any = None) -> Tensor | Any:
        """The sums of the elements up to each along `axis`, of x flattened by default."""

    def deg2rad(self, x: Any, /) -> Tensor | Any:
        """Degrees as radians, πx / 180."""

    def det(self, x: Any, /) -> Tensor | Any:
        """The determinant of square matrices;  the gradient is g times the cofactors, of singular matrices,
        too."""

    def detach(self, x: Any, /) -> Tensor | Any:
        """x itself, where gradients stop."""

    def diag(self, x: Any, *, k: int = 0) -> Any:
        """The k-th diagonal of a matrix, or the matrix with the vector x there and zeros elsewhere."""

    def diagonal(self, x: Any, *, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor | Any:
        """The elements with equal places on two axes (`offset` apart), along a new last axis."""

    def diff(self, x: Any, *, n: int = 1, axis: int = -1) -> Tensor | Any:
        """x[i + 1] - x[i] along `axis`, n times over."""

    def divide(self, x: Any, y: Any, /) -> Tensor | Any:
        """x / y;  d/dx = 1 / y,  d/dy = -x / y²."""

    def dot(self, x: Any, y: Any) -> Tensor | Any:
        """np.dot: Σ over the last axis of x and the second to last of y (the last of a vector); * for
        scalars."""

    def dropout(self, x: Any, *, p: float = 0.5, generator: Any = None) -> Tensor | Any:
        """x / (1 - p) where a uniform draw is at least p, else 0."""

    def eig(self, x: Any, /) -> Any:
        """Eigenvalues w and eigenvectors V of square matrices, complex always; each vector has length 1, its
        largest"""

    def eigh(self, x: Any, /) -> Any:
        """Eigenvalues w, ascending, and eigenvectors V of Hermitian matrices, of which the lower triangle is
        read."""

    def einsum(self, x: Any, y: Any = None, /, *others: Any, subscripts: str) -> Tensor | Any:
        """Σ of products of elements with the labels of `subscripts`, such as "ij,jk->ik"; NumPy's notation,
        with ...."""

    def elu(self, x: Any, /, *, alpha: float = 1.0) -> Tensor | Any:
        """x where x > 0, else alpha * (exp(x) - 1);  d/dx = 1 or alpha * exp(x), which holds at 0."""

    def embedding(self, weight: Any, indices: Any, /, *, padding_idx: int | None = None) -> Tensor | Any:
        """out[..., :] = weight[indices[...], :];  the gradient adds up over equal indices."""

    def equal(self, x: Any, y: Any, /) -> Tensor | Any:
        """x == y, elementwise."""

    def erf(self, x: Any, /) -> Tensor | Any:
        """The error function, 2/√π ∫₀ˣ e^(-t²) dt;  d/dx = 2/√π e^(-x²)."""

    def exp(self, x: Any, /) -> Tensor | Any:
        """e^x;  d/dx = e^x."""

    def exp2(self, x: Any, /) -> Tensor | Any:
        """2^x;  d/dx = 2^x log 2."""

    def expand_dims(self, x: Any, /, *, axis: int) -> Tensor | Any:
        """x with new axes of size 1 at the places `axis` of the result."""

    def expm1(self, x: Any, /) -> Tensor | Any:
        """e^x - 1, accurate near 0;  d/dx = e^x."""

    def fft(
        self,
        x: Any,
        /,
        *,
        axes: Any = (-1,),
        inverse: bool = False,
        norm: Any = "backward",
    ) -> Tensor | Any:
        """Σ x_j exp(-2πi jk / n) along each of the axes, or the inverse transform;  the gradient is the same
        of g."""

    def finish_all_reduce(self, number: Any, /, *, shape: tuple[int, ...], dtype: str) -> Tensor | Any:
        """The result of an `all_reduce` that was begun, once it is there;  no gradient."""

    def flatten(self, x: Any, /, *, start_axis: int = 0, end_axis: int = -1) -> Tensor | Any:
        """x with the axes from `start_axis` to `end_axis` joined into one."""

    def flip(self, x: Any, /, *, axis: Any = None) -> Tensor | Any:
        """x in reverse order along `axis` (every axis by default)."""

    def floor(self, x: Any, /) -> Tensor | Any:
        """⌊x⌋; piecewise constant, so no gradient flows."""

    def floor_divide(self, x: Any, y: Any, /) -> Tensor | Any:
        """⌊x / y⌋; piecewise constant, so no gradient flows."""

    def gather_windows(self, x: Any, index: Any, /) -> Tensor | Any:
        """out[n, c, i] = x[n, c, index[n, c, i]], with flat positions in the spatial dimensions of x."""

    def gelu(self, x: Any, /, *, approximate: str = "none") -> Tensor | Any:
        """x * P(x), P(x) = (1 + erf(x / sqrt(2))) / 2;  d/dx = P(x) + x * p(x), p the normal density."""

    def greater(self, x: Any, y: Any, /) -> Tensor | Any:
        """x > y, elementwise."""

    def greater_equal(self, x: Any, y: Any, /) -> Tensor | Any:
        """x >= y, elementwise."""

    def group_norm(
        self,
        x: Any,
        weight: Any = None,
        bias: Any = None,
        *,
        groups: int,
        eps: float = 1e-05,
    ) -> Tensor | Any:
        """weight * (x - mean) / sqrt(variance + eps) + bias, mean and biased variance over groups of
        channels."""

    def hardtanh(self, x: Any, /, *, min: float = -1.0, max: float = 1.0) -> Tensor | Any:
        """x kept between min and max;  d/dx = 1 strictly between them, else 0."""

    def hermitian(self, x: Any, /, *, lower: bool = True) -> Tensor | Any:
        """The Hermitian matrix of which x holds the lower (or upper) triangle;  the gradient is g's Hermitian
        part."""

    def hypot(self, x: Any, y: Any, /) -> Tensor | Any:
        """√(x² + y²) without overflow;  d/dx = x / out,  d/dy = y / out, both 0 at the origin."""

    def identity(self, x: Any, /) -> Tensor | Any:
        """x itself."""

    def imag(self, x: Any, /) -> Tensor | Any:
        """The imaginary part of x;  its gradient is -i g."""

    def index(self, x: Any, /, *indices: Any, pattern: Any) -> Tensor | Any:
        """x[...];  the gradient is added up where the elements came from."""

    def index_add(self, x: Any, value: Any, /, *indices: Any, pattern: Any) -> Tensor | Any:
        """x with `value` added at an index, repeatedly where it repeats."""

    def index_set(self, x: Any, value: Any, /, *indices: Any, pattern: Any) -> Tensor | Any:
        """x with `value` at an index, where the last of several values for one place stays."""

    def index_stays(self, *indices: Any, pattern: Any, shape: Any) -> Tensor | Any:
        """Which of the values written at an index stay: an index may name a place again, and the last value
        wins."""

    def inner(self, x: Any, y: Any) -> Tensor | Any:
        """Σ over the last axis of both; * for scalars."""

    def inv(self, x: Any, /) -> Tensor | Any:
        """The inverse of square matrices, Y = X⁻¹;  the gradient is -Yᵀ G Yᵀ."""

    def invert(self, x: Any, /) -> Tensor | Any:
        """Every bit of an integer inverted; `not` for bools."""

    def irfft(self, x: Any, /, *, n: int, axis: int = -1, norm: Any = "backward") -> Tensor | Any:
        """The n real numbers whose transform has x as its first half."""

    def isfinite(self, x: Any, /) -> Tensor | Any:
        """Whether x is neither infinite nor nan, elementwise."""

    def isinf(self, x: Any, /) -> Tensor | Any:
        """Whether x is ∞ or -∞, elementwise."""

    def isnan(self, x: Any, /) -> Tensor | Any:
        """Whether x is not a number, elementwise."""

    def layer_norm(
        self,
        x: Any,
        weight: Any = None,
        bias: Any = None,
        *,
        normalized_shape: Any,
        eps: float = 1e-05,
    ) -> Tensor | Any:
        """weight * (x - mean) / sqrt(variance + eps) + bias, mean and biased variance over the last axes."""

    def leaky_relu(self, x: Any, /, *, negative_slope: float = 0.01) -> Tensor | Any:
        """x where x > 0, else negative_slope * x;  d/dx = 1 or negative_slope, which holds at 0."""

    def less(self, x: Any, y: Any, /) -> Tensor | Any:
        """x < y, elementwise."""

    def less_equal(self, x: Any, y: Any, /) -> Tensor | Any:
        """x <= y, elementwise."""

    def log(self, x: Any, /) -> Tensor | Any:
        """The natural logarithm of x;  d/dx = 1 / x."""

    def log10(self, x: Any, /) -> Tensor | Any:
        """The logarithm of x to base 10;  d/dx = 1 / (x log 10)."""

    def log1p(self, x: Any, /) -> Tensor | Any:
        """log(1 + x), accurate near 0;  d/dx = 1 / (1 + x)."""

    def log2(self, x: Any, /) -> Tensor | Any:
        """The logarithm of x to base 2;  d/dx = 1 / (x log 2)."""

    def log_sigmoid(self, x: Any, /) -> Tensor | Any:
        """log(sigmoid(x)) = min(x, 0) - log(1 + exp(-|x|));  d/dx = sigmoid(-x)."""

    def log_softmax(self, x: Any, /, *, axis: Any = -1) -> Tensor | Any:
        """x - log(sum of exp(x) over axis);  the VJP is g - exp(out) * sum of g over axis."""

    def logaddexp(self, x: Any, y: Any, /) -> Tensor | Any:
        """log(e^x + e^y) without overflow;  d/dx = sigmoid(x - y),  d/dy = sigmoid(y - x), both 0 where out
        is -∞."""

    def logical_and(self, x: Any, y: Any, /) -> Tensor | Any:
        """Whether x and y are both non-zero, elementwise."""

    def logical_not(self, x: Any, /) -> Tensor | Any:
        """Whether x is zero or false, elementwise."""

    def logical_or(self, x: Any, y: Any, /) -> Tensor | Any:
        """Whether x or y is non-zero, elementwise."""

    def logical_xor(self, x: Any, y: Any, /) -> Tensor | Any:
        """Whether just one of x and y is non-zero, elementwise."""

    def logsumexp(
        self,
        x: Any,
        /,
        *,
        axis: int | tuple[int, ...] | None = None,
        keepdims: bool = False,
    ) -> Tensor | Any:
        """log Σ e^x over `axis` without overflow;  d/dx = softmax(x), 0 where out is -∞."""

    def make_complex(self, real: Any, imag: Any, /) -> Tensor | Any:
        """real + i imag, from two real arrays;  the gradients are g and i g, of which the real parts
        count."""

    def matmul(self, x: Any, y: Any, /) -> Tensor | Any:
        """x @ y;  d/dx = g @ yᵀ,  d/dy = xᵀ @ g. Axes before the last two broadcast; a vector is a row on the
        left, a"""

    def matrix_function(self, x: Any, /, *, function: str) -> Tensor | Any:
        """f(X) for an analytic f by its name in scipy.linalg."""

    def max(
        self,
        x: Any,
        /,
        *,
        axis: int | tuple[int, ...] | None = None,
        keepdims: bool = False,
    ) -> Tensor | Any:
        """The largest element over `axis` (all by default), nan if one is;  the gradient is split evenly
        among ties."""

    def max_pool(
        self,
        x: Any,
        /,
        *,
        size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> Tensor | Any:
        """out[n, c, i] = max over p of x[n, c, i*stride + p*dilation - padding];  d/dx = 1 at the maximum."""

    def max_pool_index(
        self,
        x: Any,
        /,
        *,
        size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> Tensor | Any:
        """out[n, c, i] = the flat position in the spatial dimensions of x of the first maximum of window
        i."""

    def maximum(self, x: Any, y: Any, /) -> Tensor | Any:
        """The larger of x and y, nan if either is;  the gradient goes to it, half to each where they are
        equal."""

    def mean(
        self,
        x: Any,
        /,
        *,
        axis: int | tuple[int, ...] | None = None,
        keepdims: bool = False,
    ) -> Tensor | Any:
        """Σ x / n over `axis` (all by default);  each element's derivative is 1 / n."""

    def mean_absolute_error(self, prediction: Any, target: Any, *, reduction: str = "mean") -> Tensor | Any:
        """mean of |prediction - target|;  arguments and errors are those of `mse`."""

    def min(
        self,
        x: Any,
        /,
        *,
        axis: int | tuple[int, ...] | None = None,
        keepdims: bool = False,
    ) -> Tensor | Any:
        """The smallest element over `axis` (all by default), nan if one is;  the gradient is split evenly
        among ties."""

    def minimum(self, x: Any, y: Any, /) -> Tensor | Any:
        """The smaller of x and y, nan if either is;  the gradient goes to it, half to each where they are
        equal."""

    def moveaxis(self, x: Any, /, *, source: Any, destination: Any) -> Tensor | Any:
        """x with the axes `source` moved to the places `destination`, the others in order."""

    def mse(self, prediction: Any, target: Any, *, reduction: str = "mean") -> Tensor | Any:
        """mean of (prediction - target) ** 2"""

    def multiply(self, x: Any, y: Any, /) -> Tensor | Any:
        """x * y;  d/dx = y,  d/dy = x."""

    def nan_to_num(
        self,
        x: Any,
        /,
        *,
        nan: float = 0.0,
        posinf: float | None = None,
        neginf: float | None = None,
    ) -> Tensor | Any:
        """x with nan and the infinities replaced, by the largest finite numbers if None;  d/dx = 1 where x is
        finite."""

    def negative(self, x: Any, /) -> Tensor | Any:
        """-x;  d/dx = -1."""

    def nextafter(self, x: Any, y: Any, /) -> Tensor | Any:
        """The number next to x on the way to y;  d/dx = 1, as the step is a constant."""

    def norm(
        self,
        x: Any,
        *,
        ord: Any = None,
        axis: int | tuple[int, ...] | None = None,
        keepdims: bool = False,
    ) -> Tensor | Any:
        """The norm of vectors (one axis) or matrices (two axes), as np.linalg.norm;  its gradient is taken as
        0 at 0."""

    def not_equal(self, x: Any, y: Any, /) -> Tensor | Any:
        """x != y, elementwise."""

    def one_hot(self, labels: Any, /, *, num_classes: int, dtype: Any = "float64") -> Tensor | Any:
        """A new last axis of `num_classes` zeros, with a one at each label's place."""

    def outer(self, x: Any, y: Any) -> Tensor | Any:
        """Every product of an element of x with one of y, both flattened."""

    def pad(
        self,
        x: Any,
        /,
        *,
        pad_width: Any,
        mode: str = "constant",
        constant_values: Any = 0,
    ) -> Tensor | Any:
        """x with elements added around it: a constant, or its own (reflect, symmetric, edge, wrap), as in
        NumPy."""

    def pinv(self, x: Any, /, *, rcond: float | None = None) -> Tensor | Any:
        """The Moore-Penrose inverse P, of which singular values up to rcond times the largest are left
        out."""

    def power(self, x: Any, y: Any, /) -> Tensor | Any:
        """x^y;  d/dx = y x^(y-1),  d/dy = x^y log x."""

    def prod(
        self,
        x: Any,
        /,
        *,
        axis: int | tuple[int, ...] | None = None,
        keepdims: bool = False,
    ) -> Tensor | Any:
        """Π x over `axis` (all by default);  each element's derivative is the product of the others, zeros or
        not."""

    def qr(self, x: Any, /) -> Any:
        """Q with orthonormal columns and the triangular R of X = Q R, for X at least as tall as wide."""

    def rad2deg(self, x: Any, /) -> Tensor | Any:
        """Radians as degrees, 180 x / π."""

    def random_normal(
        self,
        generator: Any,
        /,
        *,
        shape: tuple[int, ...],
        mean: float = 0.0,
        std: float = 1.0,
    ) -> Tensor | Any:
        """Numbers drawn from the normal distribution, float64 of the given shape."""

    def random_uniform(
        self,
        generator: Any,
        /,
        *,
        shape: tuple[int, ...],
        low: float = 0.0,
        high: float = 1.0,
    ) -> Tensor | Any:
        """Numbers drawn uniformly from [low, high), float64 of the given shape."""

    def real(self, x: Any, /) -> Tensor | Any:
        """The real part of x;  its gradient is g."""

    def reciprocal(self, x: Any, /) -> Tensor | Any:
        """1 / x;  d/dx = -1 / x². Of integers, like NumPy, an integer."""

    def reduce_scatter(self, x: Any, /, *, axis: int = 0) -> Tensor | Any:
        """The sum of every process's x, of which each gets its part along an axis;  the g of all, one after
        another."""

    def relu(self, x: Any, /) -> Tensor | Any:
        """max(x, 0);  d/dx = 1 where x > 0, else 0, at 0 too."""

    def relu6(self, x: Any) -> Tensor | Any:
        """min(max(x, 0), 6)"""

    def remainder(self, x: Any, y: Any, /) -> Tensor | Any:
        """x - y ⌊x / y⌋, with the sign of y;  d/dx = 1,  d/dy = -⌊x / y⌋."""

    def repeat(self, x: Any, /, *, repeats: Any, axis: int | None = None) -> Tensor | Any:
        """Each element `repeats` times (a number, or one for each) along `axis`, of x flattened by
        default."""

    def resample(
        self,
        x: Any,
        /,
        *,
        size: int | None = None,
        axis: int = -1,
        factor: float | None = None,
        mode: str = "nearest",
        align_corners: bool = False,
    ) -> Any:
        """out[i] = sum over neighbours k of w_k(p_i) x[k], along one axis, p_i = (i + 1/2) / factor - 1/2."""

    def resample_adjoint(
        self,
        x: Any,
        /,
        *,
        size: int,
        axis: int = -1,
        factor: float | None = None,
        mode: str = "nearest",
        align_corners: bool = False,
    ) -> Any:
        """The transpose of `resample`: out[k] = sum over i of w_k(p_i) x[i], each element given back to where
        it was read."""

    def reshape(self, x: Any, /, *, shape: Any) -> Tensor | Any:
        """The elements of x, in order, in another shape; one size may be -1."""

    def rfft(self, x: Any, /, *, axis: int = -1, norm: Any = "backward") -> Tensor | Any:
        """The first half of the transform of real numbers, whose other half is conjugate to it."""

    def rms_norm(
        self,
        x: Any,
        weight: Any = None,
        *,
        normalized_shape: Any,
        eps: float | None = None,
    ) -> Tensor | Any:
        """weight * x / sqrt(mean of x * x + eps), the mean over the last axes (Zhang and Sennrich, 2019)."""

    def roll(self, x: Any, /, *, shift: Any, axis: Any = None) -> Tensor | Any:
        """x with its elements moved on by `shift` places along `axis`, around the end; of x flattened by
        default."""

    def round(self, x: Any, /, *, decimals: int = 0) -> Tensor | Any:
        """x rounded to `decimals` places, halves to even; piecewise constant, so no gradient flows."""

    def round_straight_through(self, x: Any, /) -> Tensor | Any:
        """x rounded to integers, halves to even;  by convention d/dx = 1, as if it did not round."""

    def round_to_format(
        self,
        x: Any,
        /,
        *,
        format: str,
        saturate: bool = True,
        mode: str = "up",
    ) -> Tensor | Any:
        """x rounded to what a format of fewer bits holds, in float32;  by convention d/dx = 1, as if it did
        not round."""

    def scan(
        self,
        *operands: Any,
        body: Any,
        carries: int,
        slices: int,
        length: int,
        reverse: bool = False,
    ) -> Any:
        """Repeat: each step makes new carries, and one slice of each further result, of the carries and a
        slice of each xs."""

    def scatter(self, values: Any, /, *indices: Any, pattern: Any, shape: Any) -> Tensor | Any:
        """Zeros of `shape` with the values added at an index, repeatedly where it repeats: the transpose of
        `index`."""

    def scatter_rows(self, values: Any, indices: Any, /, *, rows: int) -> Tensor | Any:
        """out[indices[...], :] += values[..., :], from zeros;  the transpose of `embedding`."""

    def scatter_windows(self, values: Any, index: Any, /, *, spatial_shape: Any) -> Tensor | Any:
        """out[n, c, index[n, c, i]] += values[n, c, i], from zeros;  the transpose of `gather_windows`."""

    def set_at(self, x: Any, index: Any, value: Any) -> Tensor | Any:
        """x with x[index] = value done: the functional form of an assignment, for every index that NumPy
        takes."""

    def sigmoid(self, x: Any, /) -> Tensor | Any:
        """1 / (1 + exp(-x));  d/dx = out * (1 - out)."""

    def sign(self, x: Any, /) -> Tensor | Any:
        """-1, 0 or 1; piecewise constant, so no gradient flows."""

    def silu(self, x: Any, /) -> Tensor | Any:
        """x * sigmoid(x), also called swish;  d/dx = s + x * s * (1 - s) with s = sigmoid(x)."""

    def sin(self, x: Any, /) -> Tensor | Any:
        """sin(x);  d/dx = cos(x)."""

    def sinc(self, x: Any, /, *, order: int = 0) -> Tensor | Any:
        """The `order`-th derivative of sin(πx) / (πx), right at 0 too;  d/dx = sinc(x, order + 1)."""

    def sinh(self, x: Any, /) -> Tensor | Any:
        """sinh(x);  d/dx = cosh(x)."""

    def slogdet(self, x: Any, /) -> Any:
        """Sign and log |det X|, two outputs;  gradients are X⁻ᵀ times g of the logarithm, plus i Im(g
        sign)."""

    def softmax(self, x: Any, /, *, axis: Any = -1) -> Tensor | Any:
        """exp(x) / sum of exp(x) over axis;  the VJP is out * (g - sum of g * out over axis)."""

    def softplus(self, x: Any, /, *, beta: float = 1.0, threshold: float = 20.0) -> Tensor | Any:
        """log(1 + exp(beta * x)) / beta, and x where beta * x > threshold;  d/dx = sigmoid(beta * x), there
        1."""

    def solve(self, a: Any, b: Any, /) -> Tensor | Any:
        """X of A X = B for stacks of matrices that broadcast;  B's gradient is H = A⁻ᵀ G, and A's is -H
        Xᵀ."""

    def solve_sylvester(self, a: Any, b: Any, q: Any, /) -> Tensor | Any:
        """X of A X + X B = Q;  Q's gradient H solves Aᵀ H + H Bᵀ = G, A's is -H Xᵀ and B's -Xᵀ H."""

    def sort(self, x: Any, *, axis: Any = -1) -> Any:
        """The elements of x in ascending order along `axis`, of x flattened if None."""

    def special_function(self, *xs: Any, function: str) -> Any:
        """A function of scipy.special, by its name;  the derivatives are a table of such functions."""

    def special_slope(
        self,
        *xs: Any,
        function: str,
        operand: int,
        order: int,
        output: int | None = None,
    ) -> Any:
        """The derivative, of an order, of a function of scipy.special by an operand with no closed form; see
        `slopes.py`."""

    def split(self, x: Any, /, *, sections: Any, axis: int = 0) -> Any:
        """x cut along an axis: into `sections` equal parts, or before each of the positions `sections`. A
        tuple."""

    def sqrt(self, x: Any, /) -> Tensor | Any:
        """√x;  d/dx = 1 / (2 √x), infinite at 0."""

    def square(self, x: Any, /) -> Tensor | Any:
        """x²;  d/dx = 2 x."""

    def squeeze(self, x: Any, /, *, axis: Any = None) -> Tensor | Any:
        """x without its axes of size 1, or without those in `axis`."""

    def stack(self, *xs: Any, axis: int = 0) -> Tensor | Any:
        """The operands, of one shape, side by side along a new axis;  each gets its part of the gradient."""

    def standardize(self, x: Any, /, *, axis: Any, eps: float = 1e-05) -> Any:
        """(x - mean) / sqrt(variance + eps), mean and variance over axis;  see the VJP for its derivative."""

    def start_all_reduce(self, x: Any, /, *, reduction: str = "sum") -> Tensor | Any:
        """Begins an `all_reduce`, whose result `finish_all_reduce` waits for;  gives the number of it. No
        gradient."""

    def std(
        self,
        x: Any,
        *,
        axis: int | tuple[int, ...] | None = None,
        ddof: int = 0,
        keepdims: bool = False,
    ) -> Tensor | Any:
        """√var over `axis`: the standard deviation;  its gradient is taken as 0 where it is 0."""

    def subtract(self, x: Any, y: Any, /) -> Tensor | Any:
        """x - y;  d/dx = 1,  d/dy = -1."""

    def sum(
        self,
        x: Any,
        /,
        *,
        axis: int | tuple[int, ...] | None = None,
        keepdims: bool = False,
    ) -> Tensor | Any:
        """Σ x over `axis` (all by default);  each element's derivative is 1."""

    def svd(self, x: Any, /) -> Any:
        """U, s and Vᴴ of X = U diag(s) Vᴴ, singular values descending, as many vectors as values."""

    def swapaxes(self, x: Any, /, *, axis1: int, axis2: int) -> Tensor | Any:
        """x with two axes exchanged."""

    def switch(self, index: Any, /, *operands: Any, branches: Any) -> Any:
        """One of several branches, on the same operands: number `index`, the nearest where there is no such
        number."""

    def take(self, x: Any, indices: Any, *, axis: Any = None) -> Tensor | Any:
        """The elements of x at `indices` along `axis`, of x flattened by default."""

    def take_along_axis(self, x: Any, indices: Any, *, axis: Any = -1) -> Tensor | Any:
        """For every position of `indices`, the element of x there, but for its place along `axis`: what
        argsort gave."""

    def tan(self, x: Any, /) -> Tensor | Any:
        """tan(x);  d/dx = 1 + tan(x)²."""

    def tanh(self, x: Any, /) -> Tensor | Any:
        """tanh(x);  d/dx = 1 - tanh(x)²."""

    def tensordot(self, x: Any, y: Any, *, axes: Any = 2) -> Tensor | Any:
        """Σ over the last `axes` axes of x and the first of y, or over a pair of lists of axes."""

    def tile(self, x: Any, /, *, reps: Any) -> Tensor | Any:
        """x repeated as a whole, `reps` times along each of the last axes;  gradients of the copies are
        summed."""

    def trace(self, x: Any, *, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor | Any:
        """Σ over the diagonal of two axes."""

    def transpose(self, x: Any, /, *, axes: Any = None) -> Tensor | Any:
        """x with its axes in the order `axes` (reversed by default)."""

    def tril(self, x: Any, k: int = 0) -> Tensor | Any:
        """The lower triangle of the last two axes, up to the k-th diagonal; zero above."""

    def triu(self, x: Any, k: int = 0) -> Tensor | Any:
        """The upper triangle of the last two axes, from the k-th diagonal; zero below."""

    def trunc(self, x: Any, /) -> Tensor | Any:
        """x without its fraction; piecewise constant, so no gradient flows."""

    def var(
        self,
        x: Any,
        *,
        axis: int | tuple[int, ...] | None = None,
        ddof: int = 0,
        keepdims: bool = False,
    ) -> Tensor | Any:
        """Σ |x - mean|² / (n - ddof) over `axis`: the variance."""

    def vdot(self, x: Any, y: Any) -> Tensor | Any:
        """Σ conj(x) y over all elements."""

    def vecdot(self, x: Any, y: Any, *, axis: int = -1) -> Tensor | Any:
        """Σ conj(x) y over `axis` of both, the last by default, the other axes broadcasting."""

    def where(self, condition: Any, x: Any, y: Any, /) -> Tensor | Any:
        """x where the condition holds, y elsewhere;  gradients flow to what was chosen, and exact zeros
        elsewhere."""

    def while_loop(
        self,
        *operands: Any,
        condition: Any,
        body: Any,
        carries: int,
        max_steps: int | None = None,
    ) -> Any:
        """Repeat as long as a condition on the carries holds, `max_steps` times at most."""
