"""Learning-rate schedules with PyTorch's names and values.

A schedule sets the rate when it is made and again at each `.step()`. Most make the next rate of the present one, as
PyTorch's do, so that several act together on one optimizer and a rate set by hand is where they go on from. Those that
prescribe the rate itself (LambdaLR, CosineAnnealingWarmRestarts, OneCycleLR) are formulas of the step.
"""

from __future__ import annotations

import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import cos, floor, log, pi
from typing import Any

from tinygraph.core.modes import modes
from tinygraph.core.tensor import Tensor
from tinygraph.errors import CaptureError, SettingError, StateDictError
from tinygraph.optim.optimizer import Optimizer


class LRScheduler:
    """A learning rate that changes with the step. Subclasses give `next_rate`, or `rate`.

    Args:
        optimizer: whose groups' "lr" is written. Each group remembers the rate that it had before the first schedule as
            "initial_lr".
        last_epoch: the step to go on from; -1 to start.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise SettingError(
                f"{type(self).__name__} takes an optimizer first, not a {type(optimizer).__name__}"
            )
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()
        optimizer.schedules.append(weakref.ref(self))

    def next_rate(self, present: float, base: float, step: int, group: int) -> float:
        """The rate at a step, of a group that started with `base` and has the rate `present`."""
        return self.rate(base, step, group)

    def rate(self, base: float, step: int, group: int) -> float:
        """The rate at a step, of a group that started with `base`, whatever it is now."""
        raise NotImplementedError

    def begin(self) -> None:
        """Start at step 0, from the rates there are."""
        self.last_epoch = -1
        self.step()

    def step(self) -> None:
        """Go to the next step and set its rates."""
        if modes.current.capture is not None:
            raise CaptureError(
                "a learning-rate schedule counts its steps in Python: call scheduler.step() after the compiled "
                "function, not inside it. The compiled step reads the new rate all the same"
            )
        self.last_epoch += 1
        for i, (group, base) in enumerate(zip(self.optimizer.param_groups, self.base_lrs, strict=True)):
            rate = self.next_rate(group["lr"], base, self.last_epoch, i)
            # what should be zero may be a rounding error below it
            group["lr"] = 0.0 if -1e-12 * base < rate < 0 else rate

    def get_last_lr(self) -> list[float]:
        """The present rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on later."""
        return {
            "last_epoch": self.last_epoch,
            "base_lrs": list(self.base_lrs),
            "last_lrs": self.get_last_lr(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`, at the rates of that time.

        Raises:
            StateDictError: it is of no schedule, or of one for another number of groups; nothing is changed.
        """
        found: list[Any] = [state_dict.get(name) for name in ("last_epoch", "base_lrs", "last_lrs")]
        count = len(self.optimizer.param_groups)
        if not isinstance(found[0], int) or any(
            not isinstance(rates, list | tuple) or len(rates) != count for rates in found[1:]
        ):
            raise StateDictError(
                f"{type(self).__name__}: a state_dict of a schedule has last_epoch, and base_lrs and last_lrs for each "
                f"of the {count} parameter groups; this one is {state_dict!r}"
            )
        self.last_epoch, self.base_lrs = found[0], list(found[1])
        for group, rate in zip(self.optimizer.param_groups, found[2], strict=True):
            group["lr"] = rate


def _of_each_group(name: str, given: object, optimizer: Optimizer) -> list[Any]:
    """One value for each parameter group: those given, or the same for all.

    Raises:
        SettingError: another number of values than of groups.
    """
    count = len(optimizer.param_groups)
    values = list(given) if isinstance(given, list | tuple) else [given] * count
    if len(values) != count:
        raise SettingError(f"{name}: {len(values)} values are given for {count} parameter groups")
    return values


def _write_momentum(group: Any, momentum: float) -> None:
    """Set what a group keeps of its last steps: `momentum`, or the first of its `betas`."""
    if "betas" in group:
        group["betas"] = (momentum, group["betas"][1])
    elif "momentum" in group:
        group["momentum"] = momentum


class LambdaLR(LRScheduler):
    """base * lr_lambda(step), with one function, or one for each group.

    >>> import tinygraph as tg
    >>> from tinygraph.optim import SGD
    >>> optimizer = SGD([tg.tensor(1.0, requires_grad=True)], lr=0.5)
    >>> schedule = LambdaLR(optimizer, lambda step: 1 / (step + 1))
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas: list[Callable[[int], float]] = _of_each_group("LambdaLR", lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, step: int, group: int) -> float:
        return base * self.lr_lambdas[group](step)


class MultiplicativeLR(LRScheduler):
    """The rate times lr_lambda(step) at each step after the first, with one function, or one for each group.

    >>> import tinygraph as tg
    >>> from tinygraph.optim import SGD
    >>> optimizer = SGD([tg.tensor(1.0, requires_grad=True)], lr=0.5)
    >>> schedule = MultiplicativeLR(optimizer, lambda step: 0.5)
    >>> schedule.step()
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.125]
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: object, last_epoch: int = -1) -> None:
        self.lr_lambdas: list[Callable[[int], float]] = _of_each_group(
            "MultiplicativeLR", lr_lambda, optimizer
        )
        super().__init__(optimizer, last_epoch)

    def next_rate(self, present: float, base: float, step: int, group: int) -> float:
        return present * self.lr_lambdas[group](step) if step else present


class StepLR(LRScheduler):
    """Times gamma every `step_size` steps: base * gamma ** (step // step_size)."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        _require_positive("StepLR", step_size=step_size)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def next_rate(self, present: float, base: float, step: int, group: int) -> float:
        return present * self.gamma if step and step % self.step_size == 0 else present


class MultiStepLR(LRScheduler):
    """Times gamma at each milestone: base * gamma ** (how many milestones the step has reached)."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def next_rate(self, present: float, base: float, step: int, group: int) -> float:
        return present * self.gamma ** self.milestones.count(step)


class ExponentialLR(LRScheduler):
    """Times gamma at each step: base * gamma ** step."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def next_rate(self, present: float, base: float, step: int, group: int) -> float:
        return present * self.gamma if step else present


class ConstantLR(LRScheduler):
    """base * factor for the first `total_iters` steps, then base."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def next_rate(self, present: float, base: float, step: int, group: int) -> float:
        if step == 0:
            return present * self.factor
        if step != self.total_iters:
            return present
        return present * (1.0 / self.factor) if self.factor else base


class LinearLR(LRScheduler):
    """base times a factor that goes straight from `start_factor` to `end_factor` in `total_iters` steps."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        _require_positive("LinearLR", start_factor=start_factor, total_iters=total_iters)
        if not end_factor >= 0:
            raise SettingError(f"LinearLR: end_factor={end_factor!r} must be zero or more")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def next_rate(self, present: float, base: float, step: int, group: int) -> float:
        if step == 0:
            return present * self.start_factor
        if step > self.total_iters:
            return present
        more = self.end_factor - self.start_factor
        return present * (1.0 + more / (self.total_iters * self.start_factor + (step - 1) * more))


class PolynomialLR(LRScheduler):
    """base * (1 - step / total_iters) ** power, then 0."""

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        _require_positive("PolynomialLR", total_iters=total_iters)
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def next_rate(self, present: float, base: float, step: int, group: int) -> float:
        if step == 0 or step > self.total_iters:
            return present
        left = (1.0 - step / self.total_iters) / (1.0 - (step - 1) / self.total_iters)
        return present * float(left**self.power)


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from base to `eta_min` in `T_max` steps, and back (Loshchilov and Hutter, 2017)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        _require_positive("CosineAnnealingLR", T_max=T_max)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def next_rate(self, present: float, base: float, step: int, group: int) -> float:
        if step == 0:
            return present
        before = (step - 1) % (2 * self.T_max)
        if before == self.T_max:  # from the bottom, where there is nothing to multiply
            return present + (base - self.eta_min) * (1.0 - cos(pi / self.T_max)) / 2.0
        share = (1.0 + cos(pi * step / self.T_max)) / (1.0 + cos(pi * before / self.T_max))
        return share * (present - self.eta_min) + self.eta_min


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from base to `eta_min` in `T_0` steps, then again, each time `T_mult` times as long."""

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        _require_positive("CosineAnnealingWarmRestarts", T_0=T_0, T_mult=T_mult)
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, step: int, group: int) -> float:
        if self.T_mult == 1:
            length, done = self.T_0, step % self.T_0
        else:
            # cycle n starts after T_0 * (T_mult ** n - 1) / (T_mult - 1) steps; the small number is for rounding
            cycle = floor(log(step / self.T_0 * (self.T_mult - 1) + 1, self.T_mult) + 1e-12)
            length = self.T_0 * self.T_mult**cycle
            done = step - self.T_0 * (self.T_mult**cycle - 1) // (self.T_mult - 1)
        return self.eta_min + (base - self.eta_min) * (1.0 + cos(pi * done / length)) / 2.0


class OneCycleLR(LRScheduler):
    """Up from max_lr / div_factor to `max_lr` and down to next to nothing, momentum the other way (Smith, 2018).

    Args:
        max_lr: the highest rate, one for all groups or one each.
        total_steps: the length; or give `epochs` and `steps_per_epoch`.
        pct_start: the share of steps that go up.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether momentum (beta1 for Adam) falls from `max_momentum` to `base_momentum` meanwhile.
        div_factor: max_lr / the first rate.
        final_div_factor: the first rate / the last.
        three_phase: go down to the first rate as long as up, then to the last.

    Raises:
        SettingError: no length, or a step beyond it.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: object,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise SettingError("OneCycleLR needs total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        _require_positive("OneCycleLR", total_steps=total_steps)
        if anneal_strategy not in ("cos", "linear"):
            raise SettingError(
                f'OneCycleLR: anneal_strategy is {anneal_strategy!r}; it can be "cos" or "linear"'
            )
        self.total_steps = total_steps
        self.anneal_strategy = anneal_strategy
        self.momenta = (max_momentum, base_momentum) if cycle_momentum else None
        up = float(pct_start * total_steps) - 1
        rates = (1.0 / div_factor, 1.0, 1.0 / (div_factor * final_div_factor))
        # each phase: its last step, and which of (start, peak, end) it goes from and to
        if three_phase:
            down = float(2 * pct_start * total_steps) - 2
            self.phases = [
                (up, rates[0], rates[1]),
                (down, rates[1], rates[0]),
                (total_steps - 1, rates[0], rates[2]),
            ]
        else:
            self.phases = [(up, rates[0], rates[1]), (float(total_steps - 1), rates[1], rates[2])]
        self.max_lrs = _of_each_group("OneCycleLR", max_lr, optimizer)
        super().__init__(optimizer, last_epoch)

    def step(self) -> None:
        super().step()
        if self.momenta is None:
            return
        high, low = self.momenta
        towards = {1: (high, low), 2: (low, high), 3: (high, high)}
        number, done = self._phase(self.last_epoch)
        momentum = self._between(*towards[number], done)
        for group in self.optimizer.param_groups:
            _write_momentum(group, momentum)

    def rate(self, base: float, step: int, group: int) -> float:
        number, done = self._phase(step)
        _, start, end = self.phases[number - 1]
        return float(self.max_lrs[group] * self._between(start, end, done))

    def _phase(self, step: int) -> tuple[int, float]:
        """Which phase a step is in, from 1, and how much of it is done."""
        if step >= self.total_steps:
            raise SettingError(f"OneCycleLR: step {step} is beyond total_steps={self.total_steps}")
        first = 0.0
        for number, (last, _, _) in enumerate(self.phases, start=1):
            if step <= last or number == len(self.phases):
                return number, (step - first) / (last - first) if last > first else 1.0
            first = last
        raise AssertionError("there is always a last phase")

    def _between(self, start: float, end: float, done: float) -> float:
        if self.anneal_strategy == "cos":
            return end + (start - end) / 2.0 * (1.0 + cos(pi * done))
        return start + (end - start) * done


_SCALES: dict[str, tuple[str, Callable[[float, float], float]]] = {
    # mode -> what the height of a cycle depends on, and how: the number of the cycle or of the step, and gamma
    "triangular": ("cycle", lambda x, gamma: 1.0),
    "triangular2": ("cycle", lambda x, gamma: 0.5 ** (x - 1)),
    "exp_range": ("iterations", lambda x, gamma: gamma**x),
}


class CyclicLR(LRScheduler):
    """Up and down between `base_lr` and `max_lr` along straight lines, momentum the other way (Smith, 2017).

    Args:
        base_lr, max_lr: the lowest and the highest rate, one for all groups or one each.
        step_size_up, step_size_down: how many steps go up and down; down as many as up if None.
        mode: how high the cycles are: "triangular" (all alike), "triangular2" (each half the one before) or
            "exp_range" (gamma ** step).
        gamma: for "exp_range".
        scale_fn: a height of the user's own, of what `scale_mode` names: "cycle" (the number of the cycle, from 1) or
            "iterations" (of the step).
        cycle_momentum: whether momentum (beta1 for Adam) goes from `max_momentum` to `base_momentum` meanwhile.

    Raises:
        SettingError: an unknown mode, or an optimizer without momentum whose momentum should cycle.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: object,
        max_lr: object,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: object = 0.8,
        max_momentum: object = 0.9,
        last_epoch: int = -1,
    ) -> None:
        step_size_down = step_size_up if step_size_down is None else step_size_down
        _require_positive("CyclicLR", step_size_up=step_size_up, step_size_down=step_size_down)
        if scale_fn is None and mode not in _SCALES:
            raise SettingError(f"CyclicLR: mode={mode!r} must be one of {', '.join(map(repr, _SCALES))}")
        if scale_mode not in ("cycle", "iterations"):
            raise SettingError(f'CyclicLR: scale_mode={scale_mode!r} must be "cycle" or "iterations"')
        if cycle_momentum and not {"momentum", "betas"} & optimizer.defaults.keys():
            raise SettingError(
                f"CyclicLR: {type(optimizer).__name__} has neither momentum nor betas; pass cycle_momentum=False"
            )
        if scale_fn is None:
            scale_mode, formula = _SCALES[mode]
            self.scale: Callable[[float], float] = lambda x: formula(x, gamma)
        else:
            self.scale = scale_fn
        self.scale_mode = scale_mode
        self.sizes = (float(step_size_up), float(step_size_down))
        lowest = _of_each_group("CyclicLR", base_lr, optimizer)
        self.max_lrs = _of_each_group("CyclicLR", max_lr, optimizer)
        self.momenta = (
            list(
                zip(
                    _of_each_group("CyclicLR", base_momentum, optimizer),
                    _of_each_group("CyclicLR", max_momentum, optimizer),
                    strict=True,
                )
            )
            if cycle_momentum
            else None
        )
        if last_epoch == -1:
            for group, rate in zip(optimizer.param_groups, lowest, strict=True):
                group["lr"] = rate
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lowest

    def step(self) -> None:
        super().step()
        if self.momenta is not None:
            height = self._height(self.last_epoch)
            for group, (low, high) in zip(self.optimizer.param_groups, self.momenta, strict=True):
                _write_momentum(group, high - (high - low) * height)

    def rate(self, base: float, step: int, group: int) -> float:
        return float(base + (self.max_lrs[group] - base) * self._height(step))

    def _height(self, step: int) -> float:
        """How far up the step is, as a share of the way from the lowest rate to the highest."""
        up, down = self.sizes
        cycle, within = divmod(step, up + down)
        share = within / up if within <= up else (up + down - within) / down
        return share * self.scale(cycle + 1 if self.scale_mode == "cycle" else step)


class _Several:
    """What schedules made of other schedules share; each says what it is to `step`, and to `begin`.

    Args:
        optimizer: the one that all of them write.
        schedulers: at least one.
    """

    def __init__(self, optimizer: Optimizer | None, schedulers: Iterable[LRScheduler | _Several]) -> None:
        self._schedulers = list(schedulers)
        name = type(self).__name__
        if not self._schedulers:
            raise SettingError(f"{name} got no schedules")
        for i, one in enumerate(self._schedulers):
            if not isinstance(one, LRScheduler | _Several):
                raise SettingError(
                    f"{name}: schedule {i} is a {type(one).__name__}; it must step without an argument"
                )
        self.optimizer: Optimizer = self._schedulers[0].optimizer if optimizer is None else optimizer
        for i, one in enumerate(self._schedulers):
            if one.optimizer is not self.optimizer:
                raise SettingError(f"{name}: schedule {i} writes the rates of another optimizer")
        self.optimizer.schedules.append(weakref.ref(self))

    def step(self) -> None:
        """Step whichever of them it is the turn of."""
        raise NotImplementedError

    def begin(self) -> None:
        """Start at the first rate."""
        raise NotImplementedError

    def get_last_lr(self) -> list[float]:
        """The present rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on later."""
        return {"_schedulers": [one.state_dict() for one in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            StateDictError: it is of another number of schedules.
        """
        found = state_dict.get("_schedulers")
        if not isinstance(found, list | tuple) or len(found) != len(self._schedulers):
            raise StateDictError(
                f"{type(self).__name__} of {len(self._schedulers)} schedules: the state_dict is of something else"
            )
        for one, state in zip(self._schedulers, found, strict=True):
            one.load_state_dict(state)


class ChainedScheduler(_Several):
    """Several schedules that act together: one `step()` steps all of them, in their order.

    >>> import tinygraph as tg
    >>> from tinygraph.optim import SGD
    >>> optimizer = SGD([tg.tensor(1.0, requires_grad=True)], lr=1.0)
    >>> schedule = ChainedScheduler([ConstantLR(optimizer, 0.5, total_iters=2), ExponentialLR(optimizer, 0.9)])
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.45]

    Raises:
        SettingError: none, schedules of several optimizers, or one that needs a metric.
    """

    def __init__(
        self, schedulers: Iterable[LRScheduler | _Several], optimizer: Optimizer | None = None
    ) -> None:
        super().__init__(optimizer, schedulers)

    def step(self) -> None:
        """Step all of them."""
        for one in self._schedulers:
            one.step()

    def begin(self) -> None:
        """Start all of them, from the rates there are."""
        for one in self._schedulers:
            one.begin()


class SequentialLR(_Several):
    """One schedule after another: the next begins, from the first rate, at each of the `milestones`.

    >>> import tinygraph as tg
    >>> from tinygraph.optim import SGD
    >>> optimizer = SGD([tg.tensor(1.0, requires_grad=True)], lr=1.0)
    >>> warm_up, decay = LinearLR(optimizer, 0.5, total_iters=2), ExponentialLR(optimizer, 0.9)
    >>> schedule = SequentialLR(optimizer, [warm_up, decay], milestones=[2])
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [0.5, 0.75, 1.0, 0.9]

    Args:
        optimizer: the one that all of them write.
        schedulers: in their order.
        milestones: the steps at which the second and later ones begin, rising.

    Raises:
        SettingError: another number of milestones than one less than schedules, or milestones that do not rise.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Iterable[LRScheduler | _Several],
        milestones: Iterable[int],
        last_epoch: int = -1,
    ) -> None:
        super().__init__(optimizer, schedulers)
        self._milestones = list(milestones)
        if len(self._milestones) != len(self._schedulers) - 1:
            raise SettingError(
                f"SequentialLR: {len(self._schedulers)} schedules have {len(self._schedulers) - 1} milestones between "
                f"them, and {len(self._milestones)} are given"
            )
        if any(a >= b for a, b in pairwise([0, *self._milestones])):
            raise SettingError(f"SequentialLR: milestones={self._milestones} must rise from 1 or more")
        self.last_epoch = last_epoch
        self.begin()

    def begin(self) -> None:
        """Start at the first schedule's first step."""
        self.last_epoch = 0
        self._begin(self._schedulers[0])

    def step(self) -> None:
        """Step the schedule whose turn it is."""
        self.last_epoch += 1
        turn = bisect_right(self._milestones, self.last_epoch)
        if turn and self._milestones[turn - 1] == self.last_epoch:
            self._begin(self._schedulers[turn])
        else:
            self._schedulers[turn].step()

    def _begin(self, schedule: LRScheduler | _Several) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        schedule.begin()

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on later."""
        rates = self.get_last_lr()
        return {**super().state_dict(), "last_epoch": self.last_epoch, "_last_lr": rates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            StateDictError: it is of something else.
        """
        if not isinstance(state_dict.get("last_epoch"), int):
            raise StateDictError("SequentialLR: the state_dict has no last_epoch")
        super().load_state_dict(state_dict)
        self.last_epoch = state_dict["last_epoch"]
        for group, rate in zip(self.optimizer.param_groups, state_dict["_last_lr"], strict=True):
            group["lr"] = rate


class ReduceLROnPlateau:
    """Multiply the rate by `factor` when a metric has not improved for `patience` steps: `.step(metric)`.

    Args:
        optimizer: whose groups' "lr" is written.
        mode: "min" or "max": whether lower or higher is better.
        factor: below 1.
        patience: how many steps without improvement are borne.
        threshold: how much better counts as better.
        threshold_mode: "rel" (a share of the best) or "abs".
        cooldown: steps after a reduction that are not counted.
        min_lr: the rate is not reduced below it.
        eps: smaller reductions are left out.

    Raises:
        SettingError: an unknown mode, or a factor of 1 or more.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0,
        eps: float = 1e-8,
    ) -> None:
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs") or not 0 <= factor < 1:
            raise SettingError(
                f'ReduceLROnPlateau: mode={mode!r} ("min" or "max"), threshold_mode={threshold_mode!r} ("rel" or '
                f'"abs"), factor={factor!r} (from 0 to below 1)'
            )
        self.optimizer = optimizer
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.min_lr, self.eps = cooldown, min_lr, eps
        self.best = float("inf") if mode == "min" else float("-inf")
        self.num_bad_epochs = self.cooldown_counter = 0
        optimizer.schedules.append(weakref.ref(self))

    def step(self, metrics: Any) -> None:
        """Take note of the metric of this step: a number, or a tensor of one element such as the loss."""
        metric = float(metrics.item() if isinstance(metrics, Tensor) else metrics)
        if self._better(metric):
            self.best, self.num_bad_epochs = metric, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _better(self, metric: float) -> bool:
        sign = -1.0 if self.mode == "min" else 1.0
        if self.threshold_mode == "rel":
            # at the start best is infinite, and so is any share of it
            return sign * metric > sign * self.best * (1.0 + sign * self.threshold)
        return sign * metric > sign * self.best + self.threshold

    def _reduce(self) -> None:
        for group in self.optimizer.param_groups:
            new = max(group["lr"] * self.factor, self.min_lr)
            if group["lr"] - new > self.eps:
                group["lr"] = new

    def get_last_lr(self) -> list[float]:
        """The present rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on later; the rates are the optimizer's."""
        return {name: getattr(self, name) for name in ("best", "num_bad_epochs", "cooldown_counter")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            StateDictError: something is missing; nothing is changed.
        """
        own = self.state_dict()
        if not own.keys() <= state_dict.keys():
            raise StateDictError(
                f"ReduceLROnPlateau: the state_dict needs {', '.join(own)}, not {state_dict!r}"
            )
        for name in own:
            setattr(self, name, state_dict[name])


def _require_positive(name: str, **settings: float) -> None:
    for setting, value in settings.items():
        if not value > 0:
            raise SettingError(f"{name}: {setting}={value!r} must be above 0")
