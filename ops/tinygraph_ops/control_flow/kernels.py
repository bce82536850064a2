"""How loops and choices run in a plan: bodies are planned once, each step runs on the same memory.

Where a step is generated kernels alone, the whole loop is one native call: slices and results are copied by kernels
whose pointers move on from step to step. Anything else is a loop of Python over calls that are bound already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygraph import kernels
from tinygraph.plugin import Layouts, Lowering, Planned, Subgraph, Types, Unfolding
from tinygraph_ops.control_flow.ops import scan, switch, while_loop

Array = np.ndarray[Any, Any]
Run = Callable[[], Any]
# Native steps between two looks at whether the user wants to interrupt.
MOST_AT_ONCE = 4096


@scan.lower
def scan_lowered(
    types: Types,
    layouts: Layouts,
    cpu: object,
    *,
    body: Subgraph,
    carries: int,
    slices: int,
    length: int,
    reverse: bool,
) -> Lowering:
    def bind(inputs: Sequence[Any], outputs: Sequence[Array], scratch: Sequence[Array]) -> Run:
        whole = _whole(Unfolding((body,), None, carries, slices, length, length, reverse), inputs, outputs)
        if whole is not None:
            return whole
        step = _Step(body.planned(_exact(cpu)), carries, inputs[carries : carries + slices], outputs, reverse)
        return _CountedLoop(step, inputs, outputs[:carries], length)

    return Lowering(bind, name=f"loop of {body.name}")


def _whole(how: Unfolding, inputs: Sequence[Any], outputs: Sequence[Array]) -> Run | None:
    """The whole loop as one kernel, where its body is small."""
    if not kernels.available():
        return None
    from tinygraph.kernels import small_loops

    return small_loops.bind(how, inputs, outputs)


def _exact(cpu: object) -> bool:
    return bool(getattr(cpu, "exact", False))


class _Step:
    """One step of a loop: a plan, and what is copied before and after it.

    Attributes:
        plan: of the body.
        before, after: pairs of places, and arrays along whose first axis the other side moves.
        carried: pairs of places, from one step to the next.
    """

    def __init__(
        self, plan: Planned, carries: int, xs: Sequence[Any], outputs: Sequence[Array], reverse: bool
    ) -> None:
        self.plan = plan
        flip = slice(None, None, -1) if reverse else slice(None)
        self.before = [
            (place, np.asarray(x)[flip]) for place, x in zip(plan.inputs[carries:], xs, strict=False)
        ]
        self.after = [
            (stack[flip], place)
            for stack, place in zip(outputs[carries:], plan.outputs[carries:], strict=True)
        ]
        self.carried = _carried(plan.inputs[:carries], plan.outputs[:carries])

    def native(self, length: int) -> Any:
        """All steps as one native call, or None where a step is more than generated kernels."""
        calls = _native(self.plan.calls)
        if calls is None or not length:
            return None
        from tinygraph.kernels.teams import NativeLoop

        before = _copies([(place, source[0, ...]) for place, source in self.before])
        after = _copies([(stack[0, ...], place) for stack, place in self.after])
        carried = _copies(self.carried)
        if before is None or after is None or carried is None:
            return None
        moves = [(one, 1, pair[1].strides[0]) for one, pair in zip(before, self.before, strict=True)]
        moves += [(one, 0, pair[0].strides[0]) for one, pair in zip(after, self.after, strict=True)]
        rows = [*before, *calls, *after, *carried]
        return NativeLoop(rows, moves, self.plan.threads)

    def __call__(self, t: int) -> None:
        """Step number t, in Python."""
        for place, source in self.before:
            np.copyto(place, source[t])
        for call in self.plan.calls:
            call()
        for stack, place in self.after:
            stack[t] = place
        for to, source in self.carried:
            np.copyto(to, source)


def _fixed_copies(pairs: Sequence[tuple[Array, Any]]) -> list[Any] | None:
    """The same, where the other side may be a constant."""
    return _copies(
        [(to, one if isinstance(one, np.ndarray) else np.asarray(one, to.dtype)) for to, one in pairs]
    )


def _copies(pairs: Sequence[tuple[Array, Array]]) -> list[Any] | None:
    """Kernels that copy one array of each pair from the other, or None where one is not for them."""
    found = [_copy(to, source) for to, source in pairs]
    return None if any(one is None for one in found) else found


def _copy(to: Array, source: Array) -> Any:
    from tinygraph.kernels import copies, teams

    found = teams.copying(to, source)
    if found is None:  # not in rows: transposed, say
        found = copies.copying(to, source)
    return found if found is None or found.span is None else None


def _native(calls: Sequence[Run]) -> list[Any] | None:
    """The generated kernels that some calls run, or None where one is none."""
    if not kernels.available():
        return None
    from tinygraph.kernels.machine_code import Bound
    from tinygraph.kernels.teams import Table

    found: list[Any] = []
    for call in calls:
        if isinstance(call, Table):
            found += call.kernels
        elif isinstance(call, Bound):
            found.append(call)
        else:
            inner = call.nested() if isinstance(call, _CountedLoop | _ConditionalLoop | _Choice) else None
            if inner is None:
                return None
            found.append(inner)
    return found


def _parts(*plans: Planned) -> list[tuple[str, Run]]:
    """The kernels of one step, each with its name: what a profile measures one by one."""
    found: list[tuple[str, Run]] = []
    for call in (call for plan in plans for call in plan.calls):
        kernels_inside = getattr(call, "kernels", None)
        if kernels_inside is None:
            found.append((_name(call), call))
        else:
            found += [(getattr(one, "name", "check"), one) for one in kernels_inside]
    return found


def _name(call: Run) -> str:
    if isinstance(call, partial):
        return (
            f"NumPy {getattr(call.args[0] if call.func.__name__ == '_copied' else call.func, '__name__', '')}"
        )
    return {"_Choice": "choice", "_CountedLoop": "loop", "_ConditionalLoop": "loop"}.get(
        type(call).__name__, "call"
    )


def _at_once(calls: Sequence[Run]) -> int:
    """Steps between two looks at the user's wishes, fewer the more steps each of them has inside."""
    return max(1, MOST_AT_ONCE // max(1, _steps_inside(calls)))


def _steps_inside(calls: Sequence[Run]) -> int:
    """Steps of loops within loops, at most."""
    return sum(call.most for call in calls if isinstance(call, _CountedLoop | _ConditionalLoop | _Choice))


def _carried(inputs: Sequence[Array], outputs: Sequence[Array]) -> list[tuple[Array, Array]]:
    """What is copied, in order, to make the results of a step the carries of the next.

    A result that lies where a carry lies is copied aside first.
    """
    aside: list[tuple[Array, Array]] = []
    pairs: list[tuple[Array, Array]] = []
    for i, (to, source) in enumerate(zip(inputs, outputs, strict=True)):
        if _same_place(to, source):
            continue
        if any(
            np.may_share_memory(source, other) for k, other in enumerate(inputs) if k != i
        ) or np.may_share_memory(source, to):
            copy = np.empty(source.shape, source.dtype)
            aside.append((copy, source))
            source = copy
        pairs.append((to, source))
    return aside + pairs


def _same_place(one: Array, other: Array) -> bool:
    return one.ctypes.data == other.ctypes.data and one.strides == other.strides and one.shape == other.shape


class _CountedLoop:
    """A loop of a known number of steps."""

    def __init__(self, step: _Step, inputs: Sequence[Any], outputs: Sequence[Array], length: int) -> None:
        carries, slices = len(outputs), len(step.before)
        plan = step.plan
        self._step, self._length = step, length
        self._given = list(zip(plan.inputs[:carries], inputs, strict=False))
        self._given += list(zip(plan.inputs[carries + slices :], inputs[carries + slices :], strict=True))
        self._results = list(zip(outputs, plan.inputs, strict=False))
        self._loop = step.native(length)
        self.most = length * max(1, _steps_inside(plan.calls))

    def inside(self) -> tuple[int, list[tuple[str, Run]]]:
        """How many steps the latest run made, and what each of them calls."""
        return self._length, _parts(self._step.plan)

    def nested(self) -> Any:
        """The loop as one kernel for the body of another, or None where it is more than generated kernels."""
        if self._loop is None or self._step.plan.prepared:
            return None
        before, after = _fixed_copies(self._given), _copies(self._results)
        return None if before is None or after is None else self._loop.nested(self._length, before, after)

    def __call__(self) -> None:
        for place, value in self._given:
            np.copyto(place, value, casting="unsafe")
        self._step.plan.prepare()
        if self._loop is None:
            for t in range(self._length):
                self._step(t)
        else:
            _in_pieces(self._loop, self._length, _at_once(self._step.plan.calls))
        for out, place in self._results:
            np.copyto(out, place)


def _in_pieces(loop: Any, length: int | None, at_once: int) -> int:
    """Run a native loop to its end, and let Python look at signals in between."""
    loop.start()
    done = 0
    try:
        while length is None or done < length:
            wanted = at_once if length is None else min(at_once, length - done)
            made = loop(wanted)
            done += made
            if made < wanted:
                break
    finally:
        loop.end()
    return done


@while_loop.lower
def while_lowered(
    types: Types,
    layouts: Layouts,
    cpu: object,
    *,
    condition: Subgraph,
    body: Subgraph,
    carries: int,
    max_steps: int | None,
) -> Lowering:
    def bind(inputs: Sequence[Any], outputs: Sequence[Array], scratch: Sequence[Array]) -> Run:
        whole = _whole(Unfolding((body,), condition, carries, most=max_steps), inputs, outputs)
        if whole is not None:
            return whole
        exact = _exact(cpu)
        step = _Step(body.planned(exact), carries, (), outputs[:carries], False)
        return _ConditionalLoop(step, condition.planned(exact), inputs, outputs, carries, max_steps)

    return Lowering(bind, name=f"loop of {body.name}")


class _ConditionalLoop:
    """A loop that ends where a condition no longer holds."""

    def __init__(
        self,
        step: _Step,
        condition: Planned,
        inputs: Sequence[Any],
        outputs: Sequence[Array],
        carries: int,
        max_steps: int | None,
    ) -> None:
        plan = step.plan
        self._step, self._condition, self._most = step, condition, max_steps
        self._given = list(zip(plan.inputs, inputs, strict=True))
        self._fixed = list(zip(condition.inputs[carries:], inputs[carries:], strict=True))
        self._asked = list(zip(condition.inputs[:carries], plan.inputs, strict=False))
        self._results = list(zip(outputs[:carries], plan.inputs, strict=False))
        self._steps = outputs[carries]
        self._loop = self._native()
        self.most = (max_steps or 0) * max(1, _steps_inside(plan.calls))

    def inside(self) -> tuple[int, list[tuple[str, Run]]]:
        """How many steps the latest run made, and what each of them calls."""
        return int(self._steps), _parts(self._condition, self._step.plan)

    def nested(self) -> Any:
        """The loop as one kernel for the body of another; None without a bound, or if it is more than kernels."""
        plans = (self._step.plan, self._condition)
        if self._loop is None or self._most is None or any(one.prepared for one in plans):
            return None
        before = _fixed_copies([*self._given, *self._fixed])
        after = _copies([*self._results, (self._steps, self._loop.done)])
        return None if before is None or after is None else self._loop.nested(self._most, before, after)

    def _native(self) -> Any:
        calls, asked = _native(self._step.plan.calls), _native(self._condition.calls)
        if calls is None or asked is None:
            return None
        from tinygraph.kernels.teams import NativeLoop

        first, last = _copies(self._asked), _copies(self._step.carried)
        if first is None or last is None:
            return None
        flag = self._condition.outputs[0]
        return NativeLoop([*calls, *last], (), self._step.plan.threads, [*first, *asked], flag)

    def __call__(self) -> None:
        for place, value in (*self._given, *self._fixed):
            np.copyto(place, value, casting="unsafe")
        self._step.plan.prepare()
        self._condition.prepare()
        if self._loop is None:
            steps = self._in_python()
        else:
            steps = _in_pieces(self._loop, self._most, _at_once(self._step.plan.calls))
        for out, place in self._results:
            np.copyto(out, place)
        self._steps[...] = steps

    def _in_python(self) -> int:
        steps = 0
        while self._most is None or steps < self._most:
            for place, value in self._asked:
                np.copyto(place, value)
            for call in self._condition.calls:
                call()
            if not self._condition.outputs[0]:
                break
            self._step(steps)
            steps += 1
        return steps


@switch.lower
def switch_lowered(
    types: Types, layouts: Layouts, cpu: object, *, branches: tuple[Subgraph, ...]
) -> Lowering:
    def bind(inputs: Sequence[Any], outputs: Sequence[Array], scratch: Sequence[Array]) -> Run:
        return _Choice([branch.planned(_exact(cpu)) for branch in branches], inputs, outputs)

    return Lowering(bind, name=f"one of {len(branches)} branches")


class _Choice:
    """One of several plans, on the same operands."""

    def __init__(self, plans: Sequence[Planned], inputs: Sequence[Any], outputs: Sequence[Array]) -> None:
        self._index, *operands = inputs
        self._plans = plans
        self._given = [list(zip(plan.inputs, operands, strict=True)) for plan in plans]
        self._results = [list(zip(outputs, plan.outputs, strict=True)) for plan in plans]
        self.most = max(_steps_inside(plan.calls) for plan in plans)

    def nested(self) -> Any:
        """The choice as one kernel for the body of a loop, or None where a branch is more than generated kernels."""
        if not isinstance(self._index, np.ndarray) or any(plan.prepared for plan in self._plans):
            return None
        rows = []
        for plan, given, results in zip(self._plans, self._given, self._results, strict=True):
            parts = _fixed_copies(given), _native(plan.calls), _copies(results)
            if any(one is None for one in parts):
                return None
            rows.append([kernel for one in parts for kernel in one or ()])
        from tinygraph.kernels.teams import one_of

        return one_of(self._index, rows)

    def __call__(self) -> None:
        which = min(max(int(np.asarray(self._index)), 0), len(self._plans) - 1)
        plan = self._plans[which]
        for place, value in self._given[which]:
            np.copyto(place, value, casting="unsafe")
        plan.prepare()
        for call in plan.calls:
            call()
        for out, place in self._results[which]:
            np.copyto(out, place)
