"""The op cases: settings and seeded inputs, in the form tinygraph's ops take them. NumPy and stdlib only.

The expected values, PyTorch's, lie in the `.npz` files: `make_fixtures` writes and `loading` reads them.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .seeded import Array, Stream, digest, frozen

Settings = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One call of one op: `op(*inputs.values(), **settings)`, differentiated with respect to `wrt`."""

    name: str
    op: str
    settings: Settings
    inputs: Mapping[str, Array]
    wrt: tuple[str, ...]
    # For filtering: "ties" and "kinks" (the derivative is a convention), "infinite", "reduction", "empty".
    tags: frozenset[str] = field(default_factory=frozenset)

    def __str__(self) -> str:
        return self.name

    def cotangent(self, shape: Sequence[int]) -> Array:
        """What the first gradients are pulled back from; `shape` is the output's."""
        return Stream(f"{self.name}/cotangent").uniform(shape)

    def direction(self, argument: str) -> Array:
        """What the gradient of `argument` is dotted with before it is differentiated again."""
        return Stream(f"{self.name}/direction/{argument}").uniform(self.inputs[argument].shape)

    @property
    def digest(self) -> str:
        settings = sorted(self.settings.items())
        return digest(self.op, settings, self.wrt, tuple(self.inputs), *self.inputs.values())


# Geometries

LARGEST = 500  # elements of any one array


def convolution_cases() -> list[Case]:
    return _numbered("convolution", 240, _convolution)


def convolution_transpose_cases() -> list[Case]:
    return _numbered("convolution_transpose", 140, _convolution_transpose)


def pool_cases() -> list[Case]:
    return _numbered("max_pool", 90, _max_pool) + _numbered("average_pool", 90, _average_pool)


def adaptive_average_pool_cases() -> list[Case]:
    return _numbered("adaptive_average_pool", 36, _adaptive_average_pool)


def _numbered(op: str, count: int, build: Callable[[str, int, Stream], Case | None]) -> list[Case]:
    return [_first_accepted(f"{op}-{index:03d}", index, build) for index in range(count)]


def _first_accepted(name: str, index: int, build: Callable[[str, int, Stream], Case | None]) -> Case:
    """`build` answers None for a geometry that has no output or is too large: draw again."""
    drawn = (build(name, index, Stream(f"{name}/{attempt}")) for attempt in itertools.count())
    return next(case for case in drawn if case is not None)


def _convolution(name: str, index: int, stream: Stream) -> Case | None:
    ndim = 1 + index % 3
    mode = ("zero", "int", "tuple", "pairs", "valid", "same")[index // 3 % 6]
    batch, groups, channels_in, channels_out = _channels(index, stream)
    kernel_size = _kernel_size(ndim, stream)
    stride = (1,) * ndim if mode == "same" else _per_axis(ndim, stream, 1, 3)
    dilation = _per_axis(ndim, stream, 1, 3 if ndim < 3 else 2)
    settings: Settings = {
        "stride": _short(stride, stream),
        "dilation": _short(dilation, stream),
        "groups": groups,
    }
    pairs, settings["padding"] = _padding(mode, ndim, stream)
    extents = [d * (k - 1) + 1 for k, d in zip(kernel_size, dilation, strict=True)]
    least = [1 if mode == "same" else max(1, e - sum(p)) for e, p in zip(extents, pairs, strict=True)]
    size = tuple(low + stream.integer(0, 5) for low in least)
    inputs = _kernel_inputs(
        stream, (batch, channels_in, *size), (channels_out, channels_in // groups, *kernel_size), channels_out
    )
    padded = extents if mode == "same" else [s + sum(p) for s, p in zip(size, pairs, strict=True)]
    outputs = [(p - e) // s + 1 for p, e, s in zip(padded, extents, stride, strict=True)]
    if _too_large(inputs) or batch * channels_out * np.prod(outputs) > LARGEST:
        return None
    return _case(name, "convolution", settings, inputs)


def _convolution_transpose(name: str, index: int, stream: Stream) -> Case | None:
    ndim = 1 + index % 3
    batch, groups, channels_in, channels_out = _channels(index, stream)
    kernel_size = _kernel_size(ndim, stream)
    stride, dilation = _per_axis(ndim, stream, 1, 3), _per_axis(ndim, stream, 1, 2)
    padding = _per_axis(ndim, stream, 0, 2)
    extra = tuple(stream.integer(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True))
    settings: Settings = {
        "stride": _short(stride, stream),
        "padding": _short(padding, stream),
        "output_padding": _short(extra, stream),
        "dilation": _short(dilation, stream),
        "groups": groups,
    }
    size = tuple(stream.integer(1, 5) for _ in range(ndim))
    axes = zip(size, kernel_size, stride, padding, extra, dilation, strict=True)
    outputs = [(n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, k, s, p, e, d in axes]
    kernel_shape = (channels_in, channels_out // groups, *kernel_size)
    inputs = _kernel_inputs(stream, (batch, channels_in, *size), kernel_shape, channels_out)
    if min(outputs) < 1 or _too_large(inputs) or batch * channels_out * np.prod(outputs) > LARGEST:
        return None
    return _case(name, "convolution_transpose", settings, inputs)


def _max_pool(name: str, index: int, stream: Stream) -> Case | None:
    ndim = 1 + index % 3
    dilation = _per_axis(ndim, stream, 1, 3)
    settings, shape = _pool_geometry(index, stream, ndim, dilation)
    settings["dilation"] = _short(dilation, stream)
    ties = index % 2 == 1
    x = stream.integers(-2, 2, shape).astype(np.float64) if ties else stream.uniform(shape)
    if x.size > LARGEST or not _windows_meet_input(settings, shape[2:]):
        return None
    return _case(name, "max_pool", settings, {"x": frozen(x)}, tags={"ties"} if ties else set())


def _average_pool(name: str, index: int, stream: Stream) -> Case | None:
    settings, shape = _pool_geometry(index, stream, 1 + index % 3, (1,) * (1 + index % 3))
    settings["count_include_pad"] = bool(index // 6 % 2)
    x = stream.uniform(shape)
    window = _each(settings["size"], len(shape) - 2)
    # PyTorch's avg_pool3d refuses an input smaller than the window even where padding makes up for it.
    smaller = len(window) == 3 and any(n < k for n, k in zip(shape[2:], window, strict=True))
    if smaller or x.size > LARGEST or not _windows_meet_input(settings, shape[2:]):
        return None
    return _case(name, "average_pool", settings, {"x": x})


def _adaptive_average_pool(name: str, index: int, stream: Stream) -> Case | None:
    ndim = 1 + index % 3
    size = tuple(stream.integer(1, 5) for _ in range(ndim))
    shape = (1 + index % 2, stream.integer(1, 3), *(stream.integer(1, 7) for _ in range(ndim)))
    x = stream.uniform(shape)
    return None if x.size > LARGEST else _case(name, "adaptive_average_pool", {"size": size}, {"x": x})


def _pool_geometry(
    index: int, stream: Stream, ndim: int, dilation: tuple[int, ...]
) -> tuple[Settings, tuple[int, ...]]:
    size = _per_axis(ndim, stream, 1, 4 if ndim < 3 else 3)
    padding = tuple(stream.integer(0, k // 2) for k in size)
    stride = None if index % 5 == 0 else _short(_per_axis(ndim, stream, 1, 4), stream)
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(size, dilation, padding, strict=True)]
    batch = 0 if index % 20 == 7 else stream.integer(1, 3)
    shape = (batch, stream.integer(1, 3), *(low + stream.integer(0, 5) for low in least))
    settings: Settings = {
        "size": _short(size, stream),
        "stride": stride,
        "padding": _short(padding, stream),
        "ceil_mode": bool(index // 3 % 2),
    }
    return settings, shape


def _windows_meet_input(settings: Settings, size: tuple[int, ...]) -> bool:
    """False where a dilated window holds padding alone: its maximum would be minus infinity."""
    ndim = len(size)
    window = _each(settings["size"], ndim)
    stride = window if settings["stride"] is None else _each(settings["stride"], ndim)
    padding, dilation = _each(settings["padding"], ndim), _each(settings.get("dilation", 1), ndim)
    for n, k, s, p, d in zip(size, window, stride, padding, dilation, strict=True):
        starts = range(-p, n + p, s)
        inside = [any(0 <= start + d * tap < n for tap in range(k)) for start in starts if start < n]
        if not all(inside):
            return False
    return True


def _case(
    name: str, op: str, settings: Settings, inputs: dict[str, Array], tags: set[str] | None = None
) -> Case:
    empty = {"empty"} if any(array.size == 0 for array in inputs.values()) else set()
    return Case(name, op, settings, inputs, tuple(inputs), frozenset((tags or set()) | empty))


def _channels(index: int, stream: Stream) -> tuple[int, int, int, int]:
    """Batch (0 now and then), groups, input channels, output channels; every fourth case is depthwise."""
    batch = 0 if index % 20 == 7 else stream.integer(1, 3)
    groups = stream.integer(2, 4) if index % 4 == 3 else stream.choice((1, 1, 2, 3))
    per_group_in = 1 if index % 4 == 3 else stream.integer(1, 3)
    return batch, groups, groups * per_group_in, groups * stream.integer(1, 2)


def _kernel_inputs(
    stream: Stream, x: tuple[int, ...], kernel: tuple[int, ...], channels_out: int
) -> dict[str, Array]:
    inputs = {"x": stream.uniform(x), "kernel": stream.uniform(kernel)}
    return inputs | ({"bias": stream.uniform((channels_out,))} if stream.integer(0, 1) else {})


def _kernel_size(ndim: int, stream: Stream) -> tuple[int, ...]:
    return _per_axis(ndim, stream, 1, 5 if ndim < 3 else 3)


def _padding(mode: str, ndim: int, stream: Stream) -> tuple[list[tuple[int, int]], Any]:
    """(before, after) per axis, and the same as the setting is written; "same" depends on the kernel."""
    if mode in ("valid", "same"):
        return [(0, 0)] * ndim, mode
    if mode == "pairs":
        pairs = tuple((stream.integer(0, 3), stream.integer(0, 3)) for _ in range(ndim))
        return list(pairs), pairs
    amounts = {"zero": (0,) * ndim, "int": (stream.integer(1, 3),) * ndim}.get(
        mode, _per_axis(ndim, stream, 0, 3)
    )
    return [(amount, amount) for amount in amounts], amounts if mode == "tuple" else amounts[0]


def _per_axis(ndim: int, stream: Stream, low: int, high: int) -> tuple[int, ...]:
    """Unequal per axis two times in three."""
    if stream.integer(0, 2) == 0:
        return (stream.integer(low, high),) * ndim
    return tuple(stream.integer(low, high) for _ in range(ndim))


def _short(amounts: tuple[int, ...], stream: Stream) -> int | tuple[int, ...]:
    """An int for equal amounts, half of the time, so that both spellings occur."""
    return amounts[0] if len(set(amounts)) == 1 and stream.integer(0, 1) else amounts


def _each(amount: int | tuple[int, ...], ndim: int) -> tuple[int, ...]:
    return (amount,) * ndim if isinstance(amount, int) else amount


def _too_large(inputs: dict[str, Array]) -> bool:
    return max(array.size for array in inputs.values()) > LARGEST


# Functions

# Where naive formulas overflow, cancel or divide zero by zero. The first two are kinks of relu and its kin.
HARD = frozen(
    [0.0, -0.0, 1e-8, -1e-8, 1e-3, -0.3, 0.5, 1.0, -1.0, 2.5, -2.5, 7.0, -7.0, 40.0, -40.0, 1e3, -1e3]
)
MODERATE = frozen(HARD[abs(HARD) <= 40.0])
SMALL = frozen([0.0, -0.0, 1e-8, -1e-8, 1e-3, -0.3, 0.5, -0.99, 0.9])
POSITIVE = frozen([1e-8, 1e-3, 0.1, 0.5, 0.999, 1.0, 1.001, 3.0, 40.0, 1e3])
ABOVE_ONE = frozen([1.0 + 1e-6, 1.1, 2.0, 40.0, 1e3])
BOTH_SIGNS = frozen([-40.0, -2.5, -1.0, -1e-3, 1e-3, 0.5, 1.0, 3.0, 1e3])

# op -> points; ops are named as in NumPy where NumPy has them.
UNARY: dict[str, Array] = {
    **dict.fromkeys(
        ("silu", "sigmoid", "log_sigmoid", "tanh", "erf", "sin", "cos", "arctan", "arcsinh"), HARD
    ),
    **dict.fromkeys(("square", "negative"), HARD),
    **dict.fromkeys(("exp", "exp2", "expm1", "sinh", "cosh", "tan"), MODERATE),
    **dict.fromkeys(("arcsin", "arccos", "arctanh", "log1p"), SMALL),
    **dict.fromkeys(("log", "log2", "log10", "sqrt", "rsqrt"), POSITIVE),
    "arccosh": ABOVE_ONE,
    "reciprocal": BOTH_SIGNS,
}
KINKED: list[tuple[str, Settings]] = [
    ("relu", {}),
    ("abs", {}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.2}),
    ("elu", {}),
    ("elu", {"alpha": 0.5}),
]
SMOOTH: list[tuple[str, Settings]] = [
    ("gelu", {}),
    ("gelu", {"approximate": "tanh"}),
    ("softplus", {}),
    ("softplus", {"beta": 2.0}),
]


def function_cases() -> list[Case]:
    builders = (
        _elementwise_cases,
        _binary_cases,
        _softmax_cases,
        _reduction_cases,
        _product_cases,
        _loss_cases,
        _normalisation_cases,
        _embedding_cases,
    )
    cases = [case for build in builders for case in build()]
    numbers = itertools.count()
    return [Case(f"{c.op}-{next(numbers):03d}", c.op, c.settings, c.inputs, c.wrt, c.tags) for c in cases]


def _elementwise_cases() -> Iterator[Case]:
    for op, points in UNARY.items():
        yield _function(op, {}, {"x": points})
    for op, settings in SMOOTH:
        yield _function(op, settings, {"x": HARD})
    for op, settings in KINKED:
        yield _function(op, settings, {"x": HARD}, tags=("kinks",))
        yield _function(op, settings, {"x": frozen(HARD[HARD != 0.0])})
    inner = _uniform("clip", (3, 5), -2, 2)
    yield _function("clip", {"min": -1.0, "max": 0.75}, {"x": inner})
    yield _function("clip", {"min": -1.0, "max": 1.0}, {"x": HARD}, tags=("kinks",))


def _binary_cases() -> Iterator[Case]:
    shapes = [
        ((3, 4), (3, 4)),
        ((3, 4), (4,)),
        ((2, 1, 3), (4, 1)),
        ((), (3,)),
        ((0, 3), (3,)),
        ((1,), (2, 2)),
    ]
    for op, (left, right) in itertools.product(("add", "subtract", "multiply", "maximum", "minimum"), shapes):
        yield _function(op, {}, {"x": _uniform(f"{op}x", left), "y": _uniform(f"{op}y", right)})
    for op, (left, right) in itertools.product(("divide", "power", "hypot", "arctan2", "logaddexp"), shapes):
        yield _function(
            op, {}, {"x": _uniform(f"{op}x", left, 0.5, 2), "y": _uniform(f"{op}y", right, 0.5, 3)}
        )
    ties = {"x": frozen([1.0, 2.0, 3.0, 0.0, -0.0]), "y": frozen([1.0, 3.0, 2.0, 0.0, 0.0])}
    yield _function("maximum", {}, ties, tags=("ties",))
    yield _function("minimum", {}, ties, tags=("ties",))
    far = {"x": frozen([0.0, 300.0, -300.0, 40.0, 1e3]), "y": frozen([0.0, -300.0, 300.0, 41.0, 1e3])}
    yield _function("logaddexp", {}, far)


def _softmax_cases() -> Iterator[Case]:
    plain = _uniform("softmax", (3, 5), -3, 3)
    deep = _uniform("softmax deep", (2, 3, 4), -3, 3)
    far = frozen([[1e3, 0.0, -1e3, 1e3], [40.0, -40.0, 0.0, 1e-8], [-1e3, -1e3, -1e3, -1e3]])
    masked = frozen([[0.5, -np.inf, 1.0], [-np.inf, -np.inf, 2.0], [1.0, 2.0, 3.0]])
    for op in ("softmax", "log_softmax", "logsumexp"):
        for x, axis in ((plain, -1), (plain, 0), (deep, 1), (far, -1), (_uniform("one", (4, 1)), -1)):
            yield _function(op, {"axis": axis}, {"x": x})
        yield _function(op, {"axis": -1}, {"x": masked}, tags=("infinite",))
    yield _function("logsumexp", {"axis": (0, 2)}, {"x": deep})
    yield _function("logsumexp", {"axis": 1, "keepdims": True}, {"x": deep})


def _reduction_cases() -> Iterator[Case]:
    deep = _uniform("reduction", (2, 3, 4))
    for op, axis in itertools.product(("sum", "mean", "max", "min", "var"), (None, 0, -1, (0, 2))):
        yield _function(op, {"axis": axis}, {"x": deep})
    yield _function("mean", {"axis": (1,), "keepdims": True}, {"x": deep})
    yield _function("var", {"axis": -1, "ddof": 1}, {"x": deep})
    yield _function("std", {"axis": 1}, {"x": deep})
    for op in ("max", "min"):
        yield _function(op, {"axis": 1}, {"x": frozen([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])}, tags=("ties",))
    for zeros in ((), ((0, 1),), ((0, 1), (0, 2), (1, 0))):
        x = np.array(_uniform("prod", (3, 4), 0.5, 2))
        x[tuple(zip(*zeros, strict=True)) if zeros else ()] *= 0.0 if zeros else 1.0
        yield _function("prod", {"axis": 1}, {"x": frozen(x)})
        yield _function("prod", {"axis": None}, {"x": frozen(x)})
    for axis in (0, 1, -1):
        yield _function("cumsum", {"axis": axis}, {"x": deep})


def _product_cases() -> Iterator[Case]:
    shapes = [
        ((3, 4), (4, 2)),
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((4,), (4, 2)),
        ((2, 3, 4), (4, 2)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((0, 4), (4, 2)),
        ((3, 0), (0, 2)),
    ]
    for left, right in shapes:
        yield _function("matmul", {}, {"x": _uniform("matmul x", left), "y": _uniform("matmul y", right)})
    equations = [
        ("ij,jk->ik", (2, 3), (3, 4)),
        ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
        ("ij,ij->", (2, 3), (2, 3)),
        ("...i,ij->...j", (2, 2, 3), (3, 4)),
        ("i,j->ij", (3,), (2,)),
        ("ii,ij->j", (3, 3), (3, 2)),
    ]
    for subscripts, left, right in equations:
        operands = {"x": _uniform("einsum x", left), "y": _uniform("einsum y", right)}
        yield _function("einsum", {"subscripts": subscripts}, operands)


def _loss_cases() -> Iterator[Case]:
    shapes = [
        ((4, 3), ()),
        ((2, 5, 3), ()),
        ((2, 3, 2, 2), ()),
        ((1, 1), ()),
        ((6, 4), (1, 4)),
        ((2, 3, 4), (0, 5)),
    ]
    for (shape, ignored), smoothing in itertools.product(shapes, (0.0, 0.1, 1.0)):
        yield _cross_entropy(shape, ignored, {"label_smoothing": smoothing} if smoothing else {})
    yield _cross_entropy((4, 3), (0,), {"ignore_index": 1})
    yield _cross_entropy((4, 3), (2,), {"label_smoothing": 0.2, "ignore_index": -1})
    for reduction in ("sum", "none"):
        yield _cross_entropy((4, 3), (1,), {"reduction": reduction})
        yield _cross_entropy((2, 3, 2), (1,), {"reduction": reduction, "label_smoothing": 0.1})
    far = frozen([[1e3, 0.0, -1e3], [40.0, -40.0, 0.0], [0.0, 0.0, 0.0], [-1e3, 1e3, 1e3]])
    yield _function("cross_entropy", {}, {"logits": far, "labels": frozen([2, 1, 0, 1])}, wrt=("logits",))
    by_default: Settings = {}
    for settings in (by_default, {"reduction": "sum"}, {"reduction": "none"}):
        tags = ("reduction",) if settings else ()
        shape = (3, 4)
        pair = {"prediction": _uniform("mse p", shape), "target": _uniform("mse t", shape)}
        yield _function("mse", settings, pair, tags=tags)
        logits = {"logits": HARD, "target": _uniform("bce", HARD.shape, 0, 1)}
        yield _function("binary_cross_entropy_with_logits", settings, logits, tags=tags)
    hard = {
        "logits": frozen([0.0, 40.0, -40.0, 1e3, -1e3, 1e3]),
        "target": frozen([1.0, 0.0, 1.0, 1.0, 0.0, 0.0]),
    }
    yield _function("binary_cross_entropy_with_logits", {}, hard)


def _cross_entropy(shape: tuple[int, ...], ignored: tuple[int, ...], settings: Settings) -> Case:
    """`ignored`: flat positions whose label is the ignored one."""
    logits = _uniform("cross entropy", shape, -3, 3)
    labels = np.array(Stream(f"labels {shape}").integers(0, shape[1] - 1, (shape[0], *shape[2:])))
    labels.reshape(-1)[list(ignored)] = settings.get("ignore_index", -100)
    tags = ("reduction",) if "reduction" in settings else ()
    return _function(
        "cross_entropy", settings, {"logits": logits, "labels": frozen(labels)}, wrt=("logits",), tags=tags
    )


def _normalisation_cases() -> Iterator[Case]:
    for shape, normalized in (((3, 4), (4,)), ((2, 3, 4), (3, 4)), ((2, 3, 4), (4,)), ((2, 1), (1,))):
        for affine, eps in itertools.product((True, False), (1e-5, 0.1)):
            inputs = {"x": _uniform("layer_norm", shape, -2, 3)}
            inputs |= _affine(normalized) if affine else {}
            yield _function("layer_norm", {"normalized_shape": normalized, "eps": eps}, inputs)
    constant = {"x": frozen(np.full((2, 4), 3.0)), **_affine((4,))}
    yield _function("layer_norm", {"normalized_shape": (4,), "eps": 1e-5}, constant)
    batches: list[tuple[int, ...]] = [(4, 3), (2, 3, 5), (2, 3, 2, 3), (2, 1, 2, 1, 2)]
    for batch, training, affine in itertools.product(batches, (True, False), (True, False)):
        yield _batch_norm(batch, affine, {"training": training, "momentum": 0.1, "eps": 1e-5})
    yield _batch_norm((4, 3), True, {"training": True, "momentum": 0.7, "eps": 1e-3})


def _batch_norm(shape: tuple[int, ...], affine: bool, settings: Settings) -> Case:
    """Also stored: `running_mean` and `running_var` after the call."""
    channels = shape[1:2]
    differentiated = {"x": _uniform("batch_norm", shape, -2, 3), **(_affine(channels) if affine else {})}
    running = {
        "running_mean": _uniform("running mean", channels),
        "running_var": _uniform("running var", channels, 0.5, 2),
    }
    return _function("batch_norm", settings, differentiated | running, wrt=tuple(differentiated))


def _affine(shape: tuple[int, ...]) -> dict[str, Array]:
    return {"weight": _uniform("scale", shape, 0.5, 2), "bias": _uniform("shift", shape)}


def _embedding_cases() -> Iterator[Case]:
    weight = _uniform("embedding", (5, 3))
    for indices in ([0, 4, 4, 1], [[1, 2], [2, 2]], 3):
        yield _function("embedding", {}, {"weight": weight, "indices": frozen(indices)}, wrt=("weight",))


def _uniform(key: str, shape: Sequence[int], low: float = -1.0, high: float = 1.0) -> Array:
    return Stream(f"{key} {tuple(shape)}").uniform(shape, low, high)


def _function(
    op: str,
    settings: Settings,
    inputs: Mapping[str, Array],
    wrt: tuple[str, ...] | None = None,
    tags: Sequence[str] = (),
) -> Case:
    """A case without its final name: `function_cases` numbers them."""
    empty = {"empty"} if any(array.size == 0 for array in inputs.values()) else set()
    return Case(op, op, settings, inputs, tuple(inputs) if wrt is None else wrt, frozenset(set(tags) | empty))
