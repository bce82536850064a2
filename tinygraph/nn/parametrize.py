"""Parametrizations, PyTorch's `nn.utils.parametrize`: a parameter that is computed from others each time it is read.

`state_dict` has PyTorch's layout: `parametrizations.weight.original`, and what the parametrizations hold themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.modes import modes
from tinygraph.core.registry import ops
from tinygraph.core.state import default_generator, read, write
from tinygraph.core.tensor import Tensor
from tinygraph.errors import SettingError, ShapeError
from tinygraph.nn.containers import ModuleDict
from tinygraph.nn.module import Module
from tinygraph.nn.parameter import Parameter

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class ParametrizationList(Module):
    """The parametrizations of one parameter, run in order on the original, and the original itself."""

    def __init__(self, original: Parameter, first: Module) -> None:
        value: Any = original.detach()
        if hasattr(first, "right_inverse"):
            value = first.right_inverse(value)
        self._several = len(value) if isinstance(value, tuple | list) else 0
        for i, one in enumerate(value if self._several else (value,)):
            kept = Parameter(np.array(_array(one)), requires_grad=original.requires_grad)
            self.register_parameter(f"original{i}" if self._several else "original", kept)
        self.append(first)

    def append(self, module: Module) -> None:
        """Add one that is run after the others."""
        self.add_module(str(sum(1 for _ in self.children())), module)

    def originals(self) -> tuple[Parameter, ...]:
        """What the parameter is computed from."""
        names = [f"original{i}" for i in range(self._several)] or ["original"]
        return tuple(getattr(self, name) for name in names)

    def set(self, value: Any) -> None:
        """Write the originals so that the parameter becomes `value`.

        Raises:
            SettingError: a parametrization has no `right_inverse`.
        """
        for module in reversed(list(self.children())):
            if not hasattr(module, "right_inverse"):
                raise SettingError(
                    f"{type(module).__name__} has no right_inverse, so the parameter cannot be set"
                )
            value = module.right_inverse(value)
        for original, one in zip(self.originals(), value if self._several else (value,), strict=True):
            write(original, one)

    def forward(self) -> Any:
        first, *rest = self.children()
        value = first(*self.originals())
        for module in rest:
            value = module(value)
        return value


def register_parametrization(module: Module, tensor_name: str, parametrization: Module) -> Module:
    """Let a parameter be what a module makes of it, each time it is read.

    Args:
        module: whose parameter it is; it gets a class of its own.
        tensor_name: of the parameter.
        parametrization: a module that takes the original value - or several, if it has a `right_inverse` that returns
            a tuple - and returns the parameter. `right_inverse(value)`, if there is one, gives the first originals.

    Returns:
        the module.

    Raises:
        SettingError: the module has no such parameter.
        ShapeError: the parametrization gives another shape or dtype.

    >>> import numpy as np
    >>> from tinygraph import nn
    >>> class Symmetric(nn.Module):
    ...     def forward(self, x):
    ...         return np.triu(x) + np.triu(x, 1).T
    >>> layer = register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((layer.weight.numpy() == layer.weight.numpy().T).all())
    True
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'parametrizations.weight.original']
    """
    if is_parametrized(module, tensor_name):
        _fits(module, tensor_name, parametrization(getattr(module, tensor_name)))
        _all(module)[tensor_name].append(parametrization)
        return module
    held = vars(module).get(tensor_name)
    if not isinstance(held, Parameter):
        names = ", ".join(name for name, _ in module.named_parameters(recurse=False)) or "none"
        raise SettingError(f"{type(module).__name__} has no parameter {tensor_name!r}; it has: {names}")
    made = ParametrizationList(held, parametrization)
    found = made()
    if found.shape != held.shape or found.dtype != held.dtype:
        raise ShapeError(
            f"{type(parametrization).__name__} makes {found.type} of {tensor_name!r}, which is {held.type}"
        )
    if not hasattr(module, "parametrizations"):
        module.add_module("parametrizations", ModuleDict())
    delattr(module, tensor_name)
    _all(module)[tensor_name] = made
    own = type(module)
    place = property(
        lambda self: _value(self.parametrizations[tensor_name]),
        lambda self, value: self.parametrizations[tensor_name].set(value),
    )
    base = own if getattr(own, "_parametrized", False) else type(
        f"Parametrized{own.__name__}", (own,), {"_parametrized": True, "__module__": own.__module__}
    )  # fmt: skip
    module.__class__ = base
    setattr(base, tensor_name, place)
    return module


# What was computed in a `cached` block, by parametrization: the value, and in which capture and with what recording.
_cached: ContextVar[dict[ParametrizationList, tuple[Any, Any]] | None] = ContextVar("cached", default=None)


@contextmanager
def cached() -> Iterator[None]:
    """Compute each parametrized parameter once in this block: layers that share it, and loops, read the same tensor.

    What it is computed from must not change inside: an optimizer's step belongs behind the block. Blocks may be nested;
    the outermost one counts.

    >>> from tinygraph import nn
    >>> layer = weight_norm(nn.Linear(2, 2))
    >>> with cached():
    ...     layer.weight is layer.weight
    True
    """
    if _cached.get() is not None:
        yield
        return
    token = _cached.set({})
    try:
        yield
    finally:
        _cached.reset(token)


def _value(held: ParametrizationList) -> Any:
    """The parameter, from what a `cached` block keeps if there is one."""
    known = _cached.get()
    if known is None:
        return held()
    here = (modes.current.capture, modes.current.recording)
    if held not in known or known[held][0] != here:
        known[held] = here, held()
    return known[held][1]


def _array(x: object) -> np.ndarray[Any, Any]:
    return np.asarray(read(x)) if isinstance(x, Tensor) else np.asarray(x)


def _all(module: Module) -> Any:
    """The parametrizations of a module, by the names of parameters."""
    return vars(module)["parametrizations"]


def _fits(module: Module, name: str, found: Tensor) -> None:
    present = getattr(module, name)
    if found.shape != present.shape or found.dtype != present.dtype:
        raise ShapeError(f"the parametrization makes {found.type} of {name!r}, which is {present.type}")


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has parametrizations, of one parameter or at all."""
    held = vars(module).get("parametrizations")
    return isinstance(held, ModuleDict) and (tensor_name is None or tensor_name in held)


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Let a parameter be one again: with the value it has now, or the original.

    Raises:
        SettingError: it has no parametrization, or several originals of which none is the value.
    """
    if not is_parametrized(module, tensor_name):
        raise SettingError(f"{tensor_name!r} of {type(module).__name__} has no parametrization")
    held = _all(module)[tensor_name]
    if not leave_parametrized and len(held.originals()) > 1:
        raise SettingError(f"{tensor_name!r} has several originals; leave_parametrized=False needs one")
    value = getattr(module, tensor_name) if leave_parametrized else held.originals()[0]
    delattr(type(module), tensor_name)
    del _all(module)[tensor_name]
    wanted = held.originals()[0].requires_grad
    setattr(module, tensor_name, Parameter(np.array(read(value.detach())), requires_grad=wanted))
    if not len(_all(module)):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__mro__[1]
    return module


# -- parametrizations that there are -------------------------------------------------------------------------------


def _norm_except(x: Numeric, dim: int | None) -> Any:
    """The 2-norm over all axes but one, which stay with length 1; over all of them for None."""
    if dim is None:
        return np.sqrt(np.sum(x * x))
    return np.sqrt(np.sum(x * x, axis=tuple(i for i in range(x.ndim) if i != dim % x.ndim), keepdims=True))


class _WeightNorm(Module):
    def __init__(self, dim: int | None) -> None:
        self.dim = dim

    def forward(self, length: Numeric, direction: Numeric) -> Any:
        return direction * (length / _norm_except(direction, self.dim))

    def right_inverse(self, weight: Numeric) -> tuple[Any, Any]:
        return _norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """A weight as length times direction (Salimans and Kingma, 2016): w = g v / norm(v), per index of `dim`.

    The originals are g (`original0`) and v (`original1`), as in `torch.nn.utils.parametrizations`.
    """
    return register_parametrization(module, name, _WeightNorm(dim))


class _SpectralNorm(Module):
    """w / sigma, the largest singular value, from `u' W v` with u and v by power iteration in training."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, steps: int, dim: int, eps: float) -> None:
        self.steps, self.eps = steps, eps
        self.dim = dim % weight.ndim
        if weight.ndim > 1:
            matrix = np.asarray(self._matrix(np.asarray(read(weight))))
            u, v = (self._unit(np.asarray(default_generator.normal((n,)))) for n in matrix.shape)
            for _ in range(15):
                u = self._unit(matrix @ v)
                v = self._unit(matrix.T @ u)
            self.register_buffer("_u", u.astype(weight.dtype))
            self.register_buffer("_v", v.astype(weight.dtype))

    def _matrix(self, weight: Numeric) -> Any:
        order = (self.dim, *(i for i in range(weight.ndim) if i != self.dim))
        return np.reshape(np.transpose(weight, order), (weight.shape[self.dim], -1))

    def _unit(self, x: Numeric) -> Any:
        return x / np.maximum(np.sqrt(np.sum(x * x)), self.eps)

    def forward(self, weight: Numeric) -> Any:
        if weight.ndim == 1:
            return self._unit(weight)
        matrix = self._matrix(weight)
        if self.training:
            fixed, u, v = ops.detach(matrix), self._u, self._v
            for _ in range(self.steps):
                u = self._unit(ops.detach(fixed @ v))
                v = self._unit(ops.detach(fixed.T @ u))
            write(self._u, u)
            write(self._v, v)
        u, v = ops.copy(self._u), ops.copy(self._v)
        return weight / (u @ (matrix @ v))

    def right_inverse(self, weight: Numeric) -> Any:
        return weight


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """A weight over its largest singular value (Miyato and others, 2018), as in `torch.nn.utils.parametrizations`.

    Args:
        n_power_iterations: steps towards the singular vectors each time the weight is read in training mode.
        eps: the least norm that is divided by.
        dim: which axis makes the rows; 0, and 1 for transposed convolutions.

    Raises:
        SettingError: `n_power_iterations` is not positive.
    """
    if n_power_iterations < 1:
        raise SettingError(f"spectral_norm: n_power_iterations={n_power_iterations!r} must be at least 1")
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    made = _SpectralNorm(getattr(module, name), n_power_iterations, dim, eps)
    return register_parametrization(module, name, made.train(module.training))


class _Orthogonal(Module):
    """A matrix with orthonormal columns (rows, if it is wide), made of one without constraints."""

    base: Tensor

    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool) -> None:
        self.orthogonal_map = orthogonal_map
        self._based = use_trivialization
        if use_trivialization:
            *stack, n, k = weight.shape
            size = max(n, k)
            self.register_buffer(
                "base", np.broadcast_to(np.eye(size), (*stack, size, size)).astype(weight.dtype)
            )

    def forward(self, weight: Numeric) -> Any:
        wide = weight.shape[-2] < weight.shape[-1]
        x: Any = np.swapaxes(weight, -1, -2) if wide else weight
        if self.orthogonal_map == "householder":
            made = _householder(x)
        else:
            made = self._of_skew(x)
        if self._based:
            made = ops.copy(self.base) @ made
        return np.swapaxes(made, -1, -2) if wide else made

    def _of_skew(self, x: Numeric) -> Any:
        """The first columns of the exponential, or Cayley's transform, of A = X - X' with the lower triangle X."""
        *stack, n, k = x.shape
        lower = np.tril(x)
        if n != k:
            lower = np.concatenate([lower, np.zeros((*stack, n, n - k), x.dtype)], axis=-1)
        skew = lower - np.swapaxes(lower, -1, -2)
        if self.orthogonal_map == "matrix_exp":
            from tinygraph.scipy.linalg import expm  # SciPy is optional

            return expm(skew)[..., :k]
        unit = np.eye(n, dtype=x.dtype)
        return np.linalg.solve(unit - skew * 0.5, unit + skew * 0.5)[..., :k]

    def right_inverse(self, weight: Numeric) -> Any:
        q = _array(weight)
        wide = q.shape[-2] < q.shape[-1]
        tall = np.swapaxes(q, -1, -2) if wide else q
        *stack, n, k = tall.shape
        if not self._based:
            if self.orthogonal_map != "householder":
                raise SettingError(
                    f"orthogonal: a weight cannot be set through {self.orthogonal_map!r} with use_trivialization=False"
                )
            made = _reflections(tall)
            return np.swapaxes(made, -1, -2) if wide else made
        if n != k:
            rest = np.asarray(default_generator.normal((*stack, n, n - k))).astype(q.dtype)
            tall = np.concatenate([tall, rest], axis=-1)
        if not np.allclose(np.swapaxes(tall, -1, -2) @ tall, np.eye(n), atol=10 * n * np.finfo(q.dtype).eps):
            tall, upper = np.linalg.qr(tall)
            tall = tall * np.sign(np.diagonal(upper, axis1=-2, axis2=-1))[..., None, :]
        write(self.base, tall.astype(q.dtype))
        # -1 on the diagonal, for the householder map reads signs there
        return np.broadcast_to(-np.eye(*q.shape[-2:]), q.shape).astype(q.dtype)


def _householder(x: Numeric) -> Any:
    """The first columns of H_1 ... H_k, H_i = I - tau_i v_i v_i' with v_i below the diagonal of x and 1 on it.

    Signs of the diagonal of x multiply the columns.
    """
    n, k = x.shape[-2:]
    below, unit = np.tril(x, -1), np.eye(n, dtype=x.dtype)
    made: Any = unit[:, :k]
    for i in reversed(range(k)):
        v = (below[..., i] + unit[i])[..., None]
        made = made - (2 / np.sum(v * v, axis=-2, keepdims=True)) * v * np.sum(
            v * made, axis=-2, keepdims=True
        )
    signs = np.trunc(ops.detach(np.diagonal(x, axis1=-2, axis2=-1)))
    return made * signs[..., None, :]


def _reflections(q: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A matrix of which `_householder` makes q, whose columns are orthonormal."""
    out, k = np.array(q), q.shape[-1]
    for place in np.ndindex(q.shape[:-2]):
        rest = np.array(q[place])
        kept = np.zeros_like(rest)
        for i in range(k):
            column = rest[i:, i]
            sign = -1.0 if column[0] > 0 else 1.0  # away from the column, so that nothing cancels
            v = column.copy()
            v[0] -= sign * np.linalg.norm(column)
            v = v / v[0]
            rest[i:] -= np.outer(v * (2 / (v @ v)), v @ rest[i:])
            kept[i + 1 :, i], kept[i, i] = v[1:], sign
        out[place] = kept
    return out


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """A weight with orthonormal columns, or rows if it is wide, as in `torch.nn.utils.parametrizations`.

    Args:
        orthogonal_map: "matrix_exp", "cayley" (of the skew-symmetric matrix made of the original's lower triangle) or
            "householder" (a product of reflections); the first for square weights, else the last by default.
        use_trivialization: multiply by a fixed orthogonal matrix, the buffer `base`, so that any orthogonal weight can
            be set (Lezcano-Casado, 2019). Without, only "householder" can be set.

    Raises:
        SettingError: an unknown map, or a parameter with fewer than two axes.
    """
    weight = getattr(module, name)
    maps = ("matrix_exp", "cayley", "householder")
    if orthogonal_map is None:
        square = weight.ndim > 1 and weight.shape[-1] == weight.shape[-2]
        orthogonal_map = "matrix_exp" if square else "householder"
    if orthogonal_map not in maps:
        raise SettingError(f"orthogonal_map={orthogonal_map!r} must be one of {', '.join(map(repr, maps))}")
    if weight.ndim < 2:
        raise SettingError(f"orthogonal needs a parameter of two axes or more; {name!r} is {weight.type}")
    return register_parametrization(module, name, _Orthogonal(weight, orthogonal_map, use_trivialization))
