"""L-BFGS (Nocedal, 1980): steps of Newton's method, with the curvature estimated from the last changes of gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygraph.core.modes import modes, phase
from tinygraph.core.state import write
from tinygraph.core.tensor import Tensor
from tinygraph.errors import CaptureError, SettingError, StateDictError
from tinygraph.optim.line_search import Point, strong_wolfe
from tinygraph.optim.optimizer import Optimizer

Vector = NDArray[np.floating]


class LBFGS(Optimizer):
    """p <- p - t H g: H is the inverse Hessian as the last `history_size` steps show it, t the step length.

    One `step(closure)` makes up to `max_iter` such steps, each of which asks the closure for loss and gradients at
    least once. All parameters are one vector, complex numbers as two real ones each; there is one group.

    Args:
        params: parameters.
        lr: the step length, or where its search starts.
        max_iter: steps in one call of `step`.
        max_eval: evaluations of the closure in one call; 1.25 max_iter if None.
        tolerance_grad: stop when no element of the gradient is larger.
        tolerance_change: stop when the loss, or no parameter, changes by more.
        history_size: how many steps are remembered.
        line_search_fn: "strong_wolfe" to search a length with enough decrease and a flat slope; None for `lr`.

    Raises:
        SettingError: several groups, or an unknown line search.

    >>> import tinygraph as tg
    >>> w = tg.tensor([3.0, -1.0], requires_grad=True)
    >>> optimizer = LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - [1.0, 2.0]) ** 2 * [1.0, 10.0]).sum()
    ...     loss.backward()
    ...     return loss
    >>> first = optimizer.step(closure)
    >>> print(float(first.item()), w.numpy().round(5))
    94.0 [1. 2.]
    """

    scheduled = ("lr",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": line_search_fn,
        }  # fmt: skip
        super().__init__(params, defaults)
        self._history = _History()

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        if self.param_groups:
            raise SettingError("LBFGS sees all parameters as one vector: give one list, without groups")
        super().add_param_group(param_group)

    @classmethod
    def _check(cls, settings: Mapping[str, Any]) -> None:
        super()._check(settings)
        if settings["line_search_fn"] not in (None, "strong_wolfe"):
            raise SettingError(
                f'LBFGS: line_search_fn={settings["line_search_fn"]!r} must be "strong_wolfe" or None'
            )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make up to `max_iter` steps.

        Args:
            closure: `zero_grad()`, the loss, `backward()`; returns the loss.

        Returns:
            what the closure returned first: the loss before the steps.

        Raises:
            SettingError: no closure.
            CaptureError: inside a captured program; how many steps are made depends on values.
        """
        if closure is None:
            raise SettingError(
                "LBFGS evaluates the loss several times in a step: optimizer.step(closure), with a function that "
                "calls zero_grad(), computes the loss, calls backward() and returns the loss"
            )
        if modes.current.capture is not None:
            raise CaptureError(
                "LBFGS.step() goes on until its numbers say so and cannot be captured: compile what the closure "
                "computes, and call step() outside"
            )
        with self.lock.held:
            return self._steps(closure)

    def _steps(self, closure: Callable[[], Any]) -> Any:
        group, history = self.param_groups[0], self._history
        first = closure()
        loss, gradient = _number(first), self._gradient()
        evaluations = made = 0
        while made < group["max_iter"]:
            if made and evaluations + 1 >= group["max_eval"]:
                break
            if _largest(gradient) <= group["tolerance_grad"]:
                break
            made += 1
            direction = history.direction(gradient, group["history_size"])
            length = group["lr"]
            if history.steps == 1:
                length *= min(1.0, 1.0 / float(np.abs(gradient).sum()))
            slope = float(gradient @ direction)
            if slope > -group["tolerance_change"]:
                break
            old_loss, origin = loss, self._vector()
            if group["line_search_fn"] is not None:
                start = Point(0.0, loss, gradient, slope)
                found, tries = strong_wolfe(
                    lambda t, x=origin, d=direction: self._at(closure, x, t, d),  # type: ignore[misc]
                    start, length, _largest(direction), group["tolerance_change"],
                )  # fmt: skip
                length, loss, gradient = found.length, found.loss, found.gradient
                self._move(origin + length * direction)
                evaluations += tries
            else:
                self._move(origin + length * direction)
                evaluations += 1
                if made < group["max_iter"]:
                    loss, gradient = _number(closure()), self._gradient()
            history.length = length
            small = _largest(direction) * length <= group["tolerance_change"]
            if small or abs(loss - old_loss) < group["tolerance_change"]:
                break
        return first

    def _at(self, closure: Callable[[], Any], origin: Vector, length: float, direction: Vector) -> Point:
        self._move(origin + length * direction)
        loss, gradient = _number(closure()), self._gradient()
        return Point(length, loss, gradient, float(gradient @ direction))

    def _vector(self) -> Vector:
        return np.concatenate([_reals(parameter.detach().numpy()) for parameter in self._parameters()])

    def _gradient(self) -> Vector:
        """All gradients as one vector, zeros where there is none.

        Of a complex parameter a gradient is ∂/∂a - i ∂/∂b here, so that its conjugate holds both derivatives.
        """
        return np.concatenate(
            [
                _reals(
                    np.zeros(parameter.shape, parameter.dtype)
                    if parameter.grad is None
                    else np.conj(np.asarray(parameter.grad))
                )
                for parameter in self._parameters()
            ]
        )

    def _move(self, vector: Vector) -> None:
        place = 0
        with phase("update"):
            for parameter in self._parameters():
                count = parameter.size * (2 if parameter.dtype.kind == "c" else 1)
                part = vector[place : place + count].astype(np.zeros(0, parameter.dtype).real.dtype)
                write(parameter, part.view(parameter.dtype).reshape(parameter.shape))
                place += count

    def state_dict(self) -> dict[str, Any]:
        """The settings, and what is remembered of the last steps as arrays under the first parameter's number."""
        whole = super().state_dict()
        if self._history.steps:
            whole["state"] = {0: self._history.arrays()}
        return whole

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a `state_dict` of this class.

        Raises:
            StateDictError: another number of parameters, or vectors of another length; nothing is changed.
        """
        entry = state_dict["state"].get(0, state_dict["state"].get("0"))
        history = _History() if entry is None else _History.of(entry, self._vector().shape)
        super().load_state_dict({**state_dict, "state": {}})
        self._history = history


class _History:
    """The last steps and changes of the gradient, and the direction that follows from them."""

    def __init__(self) -> None:
        self.steps = 0
        self.length = 0.0  # of the last step
        self._moves: list[Vector] = []
        self._changes: list[Vector] = []
        self._scale = 1.0  # the first guess of the inverse Hessian is this times the identity
        self._gradient: Vector | None = None
        self._direction: Vector | None = None

    def direction(self, gradient: Vector, size: int) -> Vector:
        """-H g, by the recursion of two loops (Nocedal and Wright, 2006, algorithm 7.4)."""
        self.steps += 1
        if self._gradient is None or self._direction is None:
            direction = -gradient
        else:
            self._remember(gradient - self._gradient, self._direction * self.length, size)
            direction, shares = -gradient, []
            pairs = list(zip(self._moves, self._changes, strict=True))
            for move, change in reversed(pairs):
                share = move @ direction / (change @ move)
                direction = direction - share * change
                shares.append(share)
            direction = direction * self._scale
            for (move, change), share in zip(pairs, reversed(shares), strict=True):
                direction = direction + move * (share - change @ direction / (change @ move))
        self._gradient, self._direction = gradient.copy(), direction
        return direction

    def _remember(self, change: Vector, move: Vector, size: int) -> None:
        curvature = float(change @ move)
        if curvature <= 1e-10:  # not convex there: the estimate would lose its sign
            return
        self._moves, self._changes = [*self._moves, move][-size:], [*self._changes, change][-size:]
        self._scale = curvature / float(change @ change)

    def arrays(self) -> dict[str, Any]:
        """What goes on later needs, as arrays."""
        assert self._gradient is not None
        assert self._direction is not None
        return {
            "n_iter": np.array(self.steps),
            "t": np.array(self.length),
            "H_diag": np.array(self._scale),
            "prev_flat_grad": self._gradient.copy(),
            "d": self._direction.copy(),
            "old_stps": np.array(self._moves),
            "old_dirs": np.array(self._changes),
        }

    @classmethod
    def of(cls, entry: Mapping[str, Any], shape: tuple[int, ...]) -> _History:
        """The history that `arrays` described.

        Raises:
            StateDictError: something is missing, or of another length than the parameters.
        """
        names = ("n_iter", "t", "H_diag", "prev_flat_grad", "d", "old_stps", "old_dirs")
        missing = [name for name in names if name not in entry]
        if missing:
            raise StateDictError(f"LBFGS: the state_dict has no {missing[0]!r}; it needs {', '.join(names)}")
        found = {name: np.asarray(entry[name]) for name in names}
        rows = [*found["old_stps"], *found["old_dirs"], found["prev_flat_grad"], found["d"]]
        for row in rows:
            if np.shape(row) != shape:
                raise StateDictError(
                    f"LBFGS: the state_dict is of parameters with {np.size(row)} elements; these have {shape[0]}"
                )
        history = cls()
        history.steps, history.length = int(found["n_iter"]), float(found["t"])
        history._scale = float(found["H_diag"])
        history._gradient, history._direction = found["prev_flat_grad"].copy(), found["d"].copy()
        history._moves, history._changes = list(found["old_stps"]), list(found["old_dirs"])
        return history


def _reals(values: NDArray[Any]) -> Vector:
    """The elements as one vector; of complex ones the real and the imaginary part each, as PyTorch lays them out."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return flat.view(flat.real.dtype) if flat.dtype.kind == "c" else flat


def _largest(vector: Vector) -> float:
    return float(np.abs(vector).max(initial=0.0))


def _number(loss: Any) -> float:
    return float(loss.item() if isinstance(loss, Tensor) else loss)
