"""`Optimizer`: parameter groups, and the state - slots, step counts, rates - that update rules read and write.

An update rule is one method, `_update(parameter, gradient, group, slots)`, written with plain operators on what
`core.state.read` returns: arrays when eager, captured tensors when a training step is captured. Rules are elsewhere.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import nullcontext
from functools import partial
from operator import is_
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from tinygraph.core.locks import Lock
from tinygraph.core.modes import modes, no_grad, phase
from tinygraph.core.source import is_library
from tinygraph.core.state import buffer, read, write, zero_gradient
from tinygraph.core.tensor import Tensor
from tinygraph.core.unwatched import unwatched
from tinygraph.errors import CaptureError, DTypeError, RecordingError, SettingError, StateDictError

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

Slots = dict[str, Tensor]

_AT_LEAST_ZERO = (
    "lr", "momentum", "weight_decay", "eps", "alpha", "lr_decay", "initial_accumulator_value", "rho", "momentum_decay",
    "lambd", "t0", "d",
)  # fmt: skip


class ParameterGroup(MutableMapping[str, Any]):
    """Parameters and the settings they share, as a dict: `group["params"]`, `group["lr"]`, `group["momentum"]`.

    Numbers named in `scheduled` are state: schedules write them, and captured programs that take them with `now` read
    them each time they run. A program that reads a setting as a Python value is captured again when it changes.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        scheduled: Iterable[str],
        check: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._scheduled = frozenset(scheduled)
        self._check = check
        self._values: dict[str, Any] = {}
        for name, value in settings.items():
            self._set(name, value)

    def __getitem__(self, name: str) -> Any:
        if modes.current.capture is not None:
            if name == "params":
                held = list(self._values[name])
                self._rely("the params of the optimizer changed", name, partial(self._holds, held))
            else:
                self._rely(f"the optimizer setting {name!r} changed", name, partial(self._plain, name))
        return self._plain(name) if name in self._scheduled else self._values[name]

    def _holds(self, parameters: list[Tensor]) -> bool:
        """Whether the parameters are these very tensors: comparing them would be elementwise."""
        now = self._values["params"]
        return len(now) == len(parameters) and all(map(is_, now, parameters))

    def uses(self, name: str) -> bool:
        """Whether a number is other than zero; a captured program holds for any other number."""
        if modes.current.capture is not None:
            words = f"optimizer setting {name!r} became zero, or no longer is"
            self._rely(words, f"uses {name}", partial(self._used, name))
        return self._used(name)

    def _used(self, name: str) -> bool:
        held = self._values[name]  # asked in each call of a compiled step: a scheduled number stays NumPy's
        return bool(held._value if name in self._scheduled else held)

    def _plain(self, name: str) -> Any:
        """A setting for Python to read: a number, a tuple of numbers, or the parameters."""
        value = self._values[name]
        if name not in self._scheduled:
            return value
        number = value._value
        return number.item() if number.ndim == 0 else tuple(number.tolist())

    def _rely(self, words: str, fact: str, question: Callable[[], Any]) -> None:
        modes.current.capture.rely(words, question, key=(id(self), fact))  # type: ignore[union-attr]

    def __setitem__(self, name: str, value: object) -> None:
        self._check({**{known: self._plain(known) for known in self._values}, name: value})
        self._set(name, value)

    def _set(self, name: str, value: object) -> None:
        if name not in self._scheduled:
            self._values[name] = value
        elif name not in self._values:
            self._values[name] = buffer(np.asarray(value, np.float64), name)
        else:
            write(self._values[name], np.asarray(value, np.float64))

    def __delitem__(self, name: str) -> None:
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        shown = {name: value for name, value in self.items() if name != "params"}
        return f"ParameterGroup({len(self['params'])} parameters, {shown})"

    def now(self, name: str) -> Any:
        """A scheduled number for use in an update: a float64 scalar, or a captured tensor."""
        return read(self._values[name])


class Sharding(Protocol):
    """How the processes of a program share out an optimizer's state."""

    def updates(self, parameter: Tensor) -> bool:
        """Whether this process updates a parameter."""

    def finish(self) -> None:
        """Give all processes the parameters that each has updated."""

    def keeps(self, number: int) -> bool:
        """Whether this process keeps the state of a parameter, by its number."""

    def gathered(self, slots: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
        """The state of all parameters, by their numbers, from what each process has."""


class Optimizer:
    """Updates parameters from their gradients. Subclasses say how.

    Args:
        params: parameters (tensors that require a gradient), (name, parameter) pairs, or groups: dicts with "params"
            and the settings in which the group differs.
        defaults: settings of groups that do not give their own.

    Raises:
        SettingError: no parameters, one given twice, or a setting out of range.
        RecordingError: a tensor that is no leaf.
        DTypeError: something that is no tensor, or cannot have a gradient.
    """

    scheduled: ClassVar[tuple[str, ...]] = ("lr",)
    numbers: ClassVar[tuple[str, ...]] = ("step",)  # slots that hold one float64 number for a parameter

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        self.defaults = dict(defaults)
        self.param_groups: list[ParameterGroup] = []
        self.state: dict[Tensor, Slots] = {}
        self.schedules: list[
            weakref.ref[Any]
        ] = []  # that write its rates, for as long as somebody holds them
        self.sharding: Sharding | None = None  # of its state among processes: `tg.parallel.data_parallel`
        self.lock = Lock()  # of one step at a time: steps read, compute and write
        if isinstance(params, Tensor | Mapping):
            raise DTypeError(
                f"{type(self).__name__} takes a list of parameters or of groups, not a {type(params).__name__}"
            )
        given = list(params)
        if not given:
            raise SettingError(
                f"{type(self).__name__} got no parameters: the model has none, or a generator such as "
                f"model.parameters() was used up before (pass a fresh one, or a list)"
            )
        for group in given if isinstance(given[0], Mapping) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add parameters with settings of their own.

        Raises:
            SettingError, RecordingError, DTypeError: see the class.
        """
        if "params" not in param_group:
            raise SettingError(f'a parameter group is a dict with an entry "params", not {param_group!r}')
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        params = [one[1] if isinstance(one, tuple) else one for one in params]
        unknown = set(param_group) - set(self.defaults) - {"params", "initial_lr"}
        if unknown:
            known = ", ".join(self.defaults)
            raise SettingError(
                f"{type(self).__name__} has no setting {min(unknown)!r}; its settings are: {known}"
            )
        held = {id(one) for group in self.param_groups for one in group["params"]}
        for parameter in params:
            _check_parameter(parameter, type(self).__name__)
            if id(parameter) in held:
                raise SettingError(
                    f"parameter {_called(parameter)} is given twice; each belongs to one group"
                )
            held.add(id(parameter))
        settings = {
            **self.defaults,
            **{name: value for name, value in param_group.items() if name != "params"},
        }
        self._check(settings)
        self.param_groups.append(ParameterGroup({"params": params, **settings}, self.scheduled, self._check))

    @classmethod
    def _check(cls, settings: Mapping[str, Any]) -> None:
        """Raise SettingError for settings out of range."""
        for name in _AT_LEAST_ZERO:
            if name in settings and not isinstance(settings[name], tuple):
                require_at_least_zero(cls.__name__, name, settings[name])
        if not np.isfinite(settings.get("dampening", 0)):
            raise SettingError(f"{cls.__name__}: dampening={settings['dampening']!r} must be finite")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss and its gradients anew (`zero_grad()`, `backward()`) and returns the loss; it is
                called once before the update.

        Returns:
            what the closure returned; None without one.
        """
        loss = closure() if closure is not None else None
        capture = modes.current.capture
        if capture is not None:  # the slots are made in the first step: what holds at the end is relied on
            words = "the optimizer's state was replaced or cleared"
            capture.rely_at_end(words, partial(_SameSlots, self), key=(id(self), "state"))
        own = capture is not None and is_library(type(self)._update.__code__.co_filename)
        with self.lock.held, no_grad(), phase("update"), unwatched() if own else nullcontext():
            for group in self.param_groups:
                for parameter in group["params"]:
                    found = parameter.grad
                    if found is not None and (self.sharding is None or self.sharding.updates(parameter)):
                        gradient = read(found)
                        slots = self.state.setdefault(parameter, {})
                        gradient = -gradient if group["maximize"] else gradient
                        if parameter.dtype.kind == "c":
                            self._update_complex(parameter, gradient, group, slots)
                        else:
                            self._update(parameter, gradient, group, slots)
            if self.sharding is not None:
                self.sharding.finish()
        return loss

    def _update_complex(
        self, parameter: Tensor, gradient: Numeric, group: ParameterGroup, slots: Slots
    ) -> None:
        """Update the real and imaginary parts as a last axis of two real numbers, as PyTorch does.

        A gradient is ∂/∂a - i ∂/∂b here, so its imaginary part changes sign.
        """
        if modes.current.capture is not None:
            raise CaptureError(
                f"{type(self).__name__}: complex parameters are updated outside of captured programs: call "
                f"optimizer.step() after the compiled function, not in it"
            )
        value = read(parameter)
        parts = buffer(np.stack([np.real(value), np.imag(value)], axis=-1))
        self._update(parts, np.stack([np.real(gradient), -np.imag(gradient)], axis=-1), group, slots)
        found = read(parts)
        write(parameter, found[..., 0] + 1j * found[..., 1])

    def _update(self, parameter: Tensor, gradient: Numeric, group: ParameterGroup, slots: Slots) -> None:
        raise NotImplementedError

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or set those that exist to zero."""
        for group in self.param_groups:
            for parameter in group["params"]:
                zero_gradient(parameter, set_to_none)

    # -- saving ----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All state, copied, laid out as in PyTorch: parameters are numbered through the groups.

        Returns:
            {"state": {number: {slot: array}}, "param_groups": [{setting: value, "params": [number, ...]}]}
        """
        numbers = {id(parameter): i for i, parameter in enumerate(self._parameters())}
        slots = {
            numbers[id(parameter)]: {name: np.array(slot.detach().numpy()) for name, slot in found.items()}
            for parameter, found in self.state.items()
        }
        if self.sharding is not None:
            slots = self.sharding.gathered(slots)
        groups = [
            {**dict(group), "params": [numbers[id(parameter)] for parameter in group["params"]]}
            for group in self.param_groups
        ]
        return {"state": slots, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a `state_dict` of an optimizer of the same class over parameters of the same shapes.

        Raises:
            StateDictError: another number of groups or parameters, slots that do not fit, settings out of range;
                nothing is changed.
        """
        groups = state_dict["param_groups"]
        sizes, found = (
            [len(group["params"]) for group in self.param_groups],
            [len(g["params"]) for g in groups],
        )
        if sizes != found:
            raise StateDictError(f"this optimizer's groups have {sizes} parameters, the state_dict's {found}")
        parameters = self._parameters()
        slots = {int(number): entry for number, entry in state_dict["state"].items()}
        strange = [number for number in slots if not 0 <= number < len(parameters)]
        if strange:
            raise StateDictError(
                f"this optimizer has {len(parameters)} parameters, and the state_dict has slots of number {strange[0]}"
            )
        loaded = {
            parameters[i]: {
                name: self._loaded(parameters[i], name, value) for name, value in slots[i].items()
            }
            for i in sorted(slots)
            if self.sharding is None or self.sharding.keeps(i)
        }
        settings = [
            {name: new[name] for name in (*self.defaults, "initial_lr") if name in new} for new in groups
        ]
        for group, new in zip(self.param_groups, settings, strict=True):
            try:
                self._check({**dict(group), **new})
            except SettingError as error:
                raise StateDictError(f"the state_dict holds a setting out of range: {error}") from None
        for group, new in zip(self.param_groups, settings, strict=True):
            for name, value in new.items():
                group._set(name, value)
        self.state = loaded

    def _loaded(self, parameter: Tensor, name: str, value: Numeric) -> Tensor:
        """A slot of a `state_dict` as this optimizer holds it.

        Raises:
            StateDictError: its shape is not the slot's.
        """
        array = np.asarray(value.detach() if isinstance(value, Tensor) else value)
        shape = () if name in self.numbers else self._slot_shape(name, parameter)
        if array.shape != shape:
            raise StateDictError(
                f"slot {name!r} of parameter {_called(parameter)} has shape {array.shape}; it needs {shape}"
            )
        dtype = np.float64 if name in self.numbers else parameter.dtype
        return buffer(array.astype(dtype), _slot_name(name, parameter))

    def _slot_shape(self, name: str, parameter: Tensor) -> tuple[int, ...]:
        """The shape of a slot that is no number: the parameter's, unless a subclass says otherwise."""
        return parameter.shape

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.param_groups))})"


class _SameSlots:
    """The question whether an optimizer's state still lies in the tensors in which it lies now."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._filled = [
            (parameter, list(slots.values())) for parameter, slots in optimizer.state.items() if slots
        ]

    def __call__(self) -> bool:
        state = self._optimizer.state
        if not self._filled:
            return not any(state.values())
        if sum(map(bool, state.values())) != len(self._filled):
            return False
        for parameter, held in self._filled:
            slots = state.get(parameter)
            if slots is None or len(slots) != len(held) or not all(map(is_, slots.values(), held)):
                return False
        return True


def slot(
    slots: Slots, name: str, parameter: Tensor, start: float = 0.0, shape: tuple[int, ...] | None = None
) -> Tensor:
    """A slot of the parameter's dtype, and of its shape unless another is given; full of `start` at its first use."""
    if name not in slots:
        filled = np.full(parameter.shape if shape is None else shape, start, parameter.dtype)
        slots[name] = buffer(filled, _slot_name(name, parameter))
    return slots[name]


def number(slots: Slots, name: str, parameter: Tensor, start: float = 0.0) -> Tensor:
    """A slot that holds one float64 number, `start` at its first use."""
    if name not in slots:
        slots[name] = buffer(float(start), _slot_name(name, parameter))
    return slots[name]


def next_step(slots: Slots, parameter: Tensor) -> Any:
    """Count one more update of the parameter: 1 at the first."""
    step = number(slots, "step", parameter)
    count = read(step) + 1.0
    write(step, count)
    return count


def decayed(gradient: Numeric, value: Numeric, group: ParameterGroup) -> Any:
    """The gradient with weight decay: that of `weight_decay / 2 * sum(value ** 2)` added."""
    return gradient + group["weight_decay"] * value if group["weight_decay"] else gradient


def mixed(old: Any, new: Any, share: Any) -> Any:
    """A running mean's next value: `share` of the new one, the rest of the old one."""
    return old + share * (new - old)


def _slot_name(name: str, parameter: Tensor) -> str:
    return f"{parameter.name or 'parameter'}.{name}"


def require_at_least_zero(name: str, setting: str, value: Numeric) -> None:
    """Raise SettingError for a negative or non-finite number."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not 0 <= value < float("inf"):
        raise SettingError(f"{name}: {setting}={value!r} must be a number from zero up")


def _called(parameter: Tensor) -> str:
    return repr(parameter.name) if parameter.name else f"of shape {parameter.shape}"


def _check_parameter(parameter: object, optimizer: str) -> None:
    if not isinstance(parameter, Tensor):
        raise DTypeError(f"{optimizer} updates tensors, not a {type(parameter).__name__}")
    if not parameter.is_leaf:
        raise RecordingError(
            f"{optimizer} updates leaves, and {parameter!r} was computed: give the parameters it was computed from"
        )
    if not parameter.type.differentiable:
        raise DTypeError(
            f"{optimizer}: parameter {_called(parameter)} of {parameter.type} cannot have a gradient"
        )
