"""Plans: a graph as a flat schedule of bound kernels over places that are chosen once, and how it runs.

A plan does not change once it is built (`building.py`). A run copies the inputs in, calls the kernels in order and
copies the results out; parameters and states are written where they live, some of them when all else is done.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygraph import kernels
from tinygraph.analysis.arena import Lifetime
from tinygraph.analysis.memory import Memory
from tinygraph.compiler.choosing import BoundKernel
from tinygraph.compiler.moving import FEWEST_BYTES, CopiesIn, Pointer, point_at, point_back
from tinygraph.core.graph import Graph
from tinygraph.core.locks import Lock, leaf_lock
from tinygraph.core.node import Key, Leaf, Node
from tinygraph.core.regions import present
from tinygraph.core.source import here
from tinygraph.core.tensor import Tensor, tensor_of
from tinygraph.core.types import Array
from tinygraph.errors import MatrixError, OpError, RecordingError, SettingError, ShapeError
from tinygraph.kernels.blas import blas_on_one_thread
from tinygraph.kernels.lowering import Layout
from tinygraph.kernels.threads import get_threads

if TYPE_CHECKING:
    from tinygraph.kernels.machine_code import MachineCode

# What a step takes besides its arrays, machine code and the objects around it; and a node with its place. Measured.
_PLAN_BYTES, _STEP_BYTES, NODE_BYTES = 80_000, 2_000, 500


class Step(NamedTuple):
    """One kernel call of a plan.

    Attributes:
        node: what it is done for.
        kernel: what is called.
        outputs: the arrays that it writes.
        nodes: those that it computes: one, or a run of scalar ones; none where it only prepares memory.
    """

    node: Node
    kernel: BoundKernel
    outputs: tuple[Array, ...]
    nodes: tuple[Node, ...] = ()


class Update(NamedTuple):
    """A state that gets its new value at the end of a run.

    Attributes:
        leaf: the state.
        value: where the new value is then.
        among_states: whether that is another state's memory, which may get a new value itself.
    """

    leaf: Leaf
    value: Array
    among_states: bool


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Plan:
    """An executable schedule of a graph.

    Attributes:
        graph: what it computes.
        layouts: of the values that do not lie in rows, by their keys.
        steps: the kernel calls, in order.
        arrays: where each value lies, by its key.
        arena: the memory of all intermediate values and of the kernels' scratch; `arena_bytes` of it are used.
        scratch: what kernels asked for besides, each for as long as its node runs.
        elsewhere: arrays outside the arena that steps write: states, and gradients that `.grad` holds.
        inputs: where the graph's inputs are copied to.
        states: the other leaves, each with the array that it lives in.
        gradients_read: leaves whose `.grad` is read, each with the tensor that it is copied to.
        numbers_read: Python numbers in the dtype that they are met in, each after the number itself.
        outputs: where the results are.
        written: states that a step writes where they live, each with the number of that step.
        updates: the other states that get new values.
        gradients: what `.grad`s become.
        threads: how many it was built for.
        calls: what a run calls, each with the numbers of its steps.
        own_bytes: of memory that it shares with no other plan.
        lock: held while it runs; plans that share memory share it.
        inputs_elsewhere: inputs that kernels can read where the caller has them, by number (`moving.py`).
        outputs_elsewhere: results that they can write where these stay.
    """

    graph: Graph
    layouts: Mapping[Key, Layout]
    steps: tuple[Step, ...]
    arrays: Mapping[Key, Array]
    arena: Array
    arena_bytes: int
    scratch: tuple[Lifetime, ...]
    elsewhere: tuple[Array, ...]
    inputs: tuple[Array, ...]
    states: tuple[tuple[Leaf, Array], ...]
    gradients_read: tuple[tuple[Leaf, Tensor], ...]
    numbers_read: tuple[tuple[Array, Array], ...]
    outputs: tuple[Array, ...]
    written: tuple[tuple[int, Leaf], ...]
    updates: tuple[Update, ...]
    gradients: tuple[tuple[Leaf, Gradient | None], ...]
    threads: int
    calls: tuple[tuple[Sequence[int], Callable[[], Any]], ...]
    own_bytes: int
    lock: Lock
    inputs_elsewhere: Mapping[int, Sequence[Pointer]]
    outputs_elsewhere: Mapping[int, Sequence[Pointer]]

    @functools.cached_property
    def _is_without_blas(self) -> bool:
        """Whether a run is generated kernels and ufuncs alone, which call no library with threads of its own."""
        return all(
            hasattr(run, "stopped") or isinstance(getattr(run, "func", None), np.ufunc)
            for _, run in self.calls
        )

    @functools.cached_property
    def changes_nothing(self) -> bool:
        """Whether a run reads no more than inputs, states and constants, and calls no code but kernels."""
        return (
            self._is_without_blas
            and not (self._changed or self.gradients or self.gradients_read or self.numbers_read)
            and all(leaf.kind != "generator" for leaf in self.graph.leaves)
        )

    @functools.cached_property
    def _copies_in(self) -> CopiesIn:
        return CopiesIn(generates=any(hasattr(run, "stopped") for _, run in self.calls))

    @functools.cached_property
    def _given(self) -> list[tuple[Leaf, Tensor | None, Any, Array | None]]:
        """What `.grad`s become: a leaf, the gradient's tensor, its array, and what fills that, if not in place."""
        return [
            (leaf, None, None, None) if one is None else (leaf, one.tensor, one.value, one.source)
            for leaf, one in self.gradients
        ]

    @functools.cached_property
    def _changed(self) -> list[Leaf]:
        """The states that a run writes."""
        return [leaf for leaf, _, _ in self.updates] + [leaf for _, leaf in self.written]

    # -- running ---------------------------------------------------------------------------------------------------

    def __call__(self, inputs: Sequence[Any], *more: object) -> list[Any]:
        """Run the schedule on the values of the graph's inputs; returns fresh arrays and updates states in place.

        Raises:
            ShapeError, DTypeError: the number, shapes or dtypes of the values do not fit.
            RecordingError: this thread runs the plan already, or one that shares its memory.
        """
        return self.run(self._checked(inputs, *more))

    def _checked(self, inputs: object, *more: object) -> list[Any]:
        """The values of the inputs, each of its type."""
        if more or not isinstance(inputs, list | tuple):
            names = ", ".join(leaf.name or "?" for leaf in self.graph.inputs)
            given = f"{1 + len(more)} arguments" if more else f"a value of {type(inputs).__name__}"
            raise ShapeError(
                f"a plan takes the values of all inputs of its graph as one list, plan([{names}]), but got {given}"
            )
        bound = self.graph.bound(tuple(inputs)) if inputs or self.inputs else ()
        return [value._value if isinstance(value, Tensor) else value for _, value in bound]

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """The same for values that are known to fit: arrays and numbers of the types that the plan was built for."""
        if self.lock.is_mine:
            raise _runs_already()
        with self.lock.held:
            if present.region is not None:
                for leaf in self._changed:
                    present.region.note_write(tensor_of(leaf))
            if self.inputs_elsewhere or self.outputs_elsewhere:
                return self._run_elsewhere(inputs)
            self._fill(inputs)
            if self._is_without_blas:
                self._execute()
            else:
                with blas_on_one_thread():
                    self._execute()
            return self._finish()

    def short_run(self) -> Callable[[Sequence[Any]], list[Any]]:
        """What runs a plan that `changes_nothing`: on small arrays it takes little more than the kernels.

        The plan does not keep it, since it refers to the plan.
        """
        if self.inputs_elsewhere or self.outputs_elsewhere:
            return self.run
        lock, places, execute = self.lock, self.inputs, self._execute
        small = not self.states and all(array.nbytes < FEWEST_BYTES for array in places)
        only: Any = self.calls[0][1] if len(self.calls) == 1 else None
        if getattr(only, "cannot_stop", False):
            execute = only.run_single
        takes = [out.copy if out.ndim else functools.partial(out.__getitem__, ()) for out in self.outputs]
        take = takes[0] if len(takes) == 1 else None

        def run(inputs: Sequence[Any]) -> list[Any]:
            held = lock.held
            if held._is_owned():  # type: ignore[attr-defined]  # a property would be a call more
                raise _runs_already()
            with held:
                if small:
                    for array, value in zip(places, inputs):  # noqa: B905 - the keyword takes longer than the rest
                        array[...] = value
                else:
                    self._fill(inputs)
                execute()
                return [take()] if take is not None else [one() for one in takes]

        return run

    def _run_elsewhere(self, inputs: Sequence[Any]) -> list[Any]:
        """A run on the caller's arrays; the plan changes nothing else."""
        used: list[Sequence[Pointer]] = []
        place: dict[int, Array] = {}
        try:
            for i, pointers in self.inputs_elsewhere.items():
                value = inputs[i]
                if value.__class__ is np.ndarray and value.dtype == self.inputs[i].dtype:
                    flags = value.flags
                    if flags.c_contiguous and flags.aligned:
                        used.append(pointers)
                        place[i] = value
                        point_at(pointers, value)
            if self.states or len(place) < len(self.inputs):
                self._fill(inputs, place)
            results: list[Any] = [None] * len(self.outputs)
            for i, pointers in self.outputs_elsewhere.items():
                out = self.outputs[i]
                made = results[i] = np.empty(out.shape, out.dtype)
                used.append(pointers)
                point_at(pointers, made)
            self._execute()
            for i, made in enumerate(results):
                if made is None:
                    results[i] = self.outputs[i].copy("C")[()]
            return results
        finally:
            for pointers in used:
                point_back(pointers)

    def _fill(self, inputs: Sequence[Any], elsewhere: Container[int] = ()) -> None:
        for i, array in enumerate(self.inputs):
            if i in elsewhere:
                continue
            value = inputs[i]
            small = array.nbytes < FEWEST_BYTES or value.__class__ is not np.ndarray
            alike = small or (value.flags.c_contiguous and array.flags.c_contiguous)
            if alike or not self._copies_in(i, array, value):
                array[...] = value
        for leaf, held in self.gradients_read:
            if leaf.grad is None:
                continue
            if isinstance(held._value, np.ndarray):
                np.copyto(held._value, leaf.grad._value)
            else:  # a number, which its place is filled from below
                held._value = held._own_leaf().value = np.asarray(leaf.grad._value)[()]
        for leaf, home in self.states:
            if leaf.value is not home:
                home[...] = leaf.value
        for narrow, wide in self.numbers_read:
            np.copyto(narrow, wide, casting="unsafe")

    def _execute(self) -> None:
        numbers: Sequence[int] = (0,)
        run: Any = None
        try:
            for numbers, run in self.calls:  # noqa: B007 - read when a step raises
                run()
        except BaseException as error:
            if not isinstance(error, Exception):  # Ctrl-C, perhaps within a row of kernels that are one call
                self._note_writes([leaf for step, leaf in self.written if step <= numbers[-1]], 4)
                raise
            position = numbers[
                getattr(run, "stopped", None) or 0
            ]  # one in a row of kernels says which it was
            written = [(leaf, step == position) for step, leaf in self.written if step <= position]
            self._note_writes([leaf for leaf, _ in written], 4)
            names = ", ".join(leaf.describe() + " (perhaps in part)" * torn for leaf, torn in written)
            raise self._failure(
                position, error, f"Already updated: {names}; no other" if written else "No"
            ) from error

    def _failure(self, position: int, error: Exception, which: str) -> OpError:
        node = self.steps[position].node
        lent = any(gradient is not None and gradient.lent for _, gradient in self.gradients)
        kind = MatrixError if isinstance(error, np.linalg.LinAlgError) else OpError
        return kind(
            f"step {position} of the compiled plan failed: {node.describe()}: {type(error).__name__}: {error}. "
            f"{which} parameter or state was changed"
            + " (what this function left in .grad before may be)"
            * lent
        )

    def _finish(self) -> list[Any]:
        results = [out.copy() if out.ndim else out[()] for out in self.outputs]
        for leaf, tensor, value, source in self._given:
            if source is not None:
                np.copyto(value, source)
            if tensor is not None:
                tensor._value = value  # whoever wrote the tensor gave it an array of its own
            if leaf._grad is not tensor:  # from the second call on it mostly is
                leaf.grad = tensor
        if self._changed:
            # an update may be another state's old value, or a view of it
            values = [
                (leaf, value.copy() if among_states else value) for leaf, value, among_states in self.updates
            ]
            # noted first: a write that Ctrl-C interrupts is noticed as well
            self._note_writes(self._changed, 4)
            for leaf, value in values:
                _set_value(leaf, value)
        return results

    def _note_writes(self, leaves: Sequence[Leaf], depth: int) -> None:
        """Count the writes, and remember the line that asked for them."""
        changed_at = here(depth)
        with leaf_lock.held:
            for leaf in leaves:
                leaf.version += 1
                leaf.changed_at = changed_at

    @property
    def nbytes(self) -> int:
        """The memory that it takes, about: arrays of its own, the schedule, and its part of the machine code.

        Machine code that many plans run counts in each by how often it is bound there.
        """
        own = self.own_bytes + sum(home.nbytes for _, home in self.states if home.ndim == 0)
        code = sum(one.nbytes // max(len(one.bound), 1) for one in self._codes)
        return own + code + _PLAN_BYTES + _STEP_BYTES * len(self.steps) + NODE_BYTES * len(self.graph.nodes)

    @functools.cached_property
    def _codes(self) -> tuple[MachineCode, ...]:
        """The machine code of each step that is a kernel bound to its arrays."""
        if not kernels.available():
            return ()
        from tinygraph.kernels.machine_code import Bound

        return tuple(step.kernel.run.kernel.code for step in self.steps if isinstance(step.kernel.run, Bound))

    def fits(self) -> bool:
        """Whether the states still live where the plan reads them (a changed dtype moves them), for as many threads."""
        if self.threads != get_threads():
            return False
        for leaf, home in self.states:
            if leaf.value is not home and (
                home.ndim or getattr(leaf.value, "ndim", 0) or leaf.types.dtype != home.dtype
            ):
                return False
        return True

    @property
    def memory(self) -> Memory:
        """Which values share memory and until when they need it, as the plan was built; found again, not kept."""
        return Memory(self.graph, self.layouts)

    # -- reading ---------------------------------------------------------------------------------------------------

    def profile(self, inputs: Sequence[Any], repeats: int = 10) -> list[float]:
        """Seconds per step, the median of some runs; states stay as they are, also where a step fails.

        Raises:
            ShapeError, DTypeError: the number, shapes or dtypes of the values do not fit.
            SettingError: `repeats` is no positive whole number.
        """
        check_repeats(repeats)
        inputs = self._checked(inputs)
        times = np.empty((repeats, len(self.steps)))
        with self.lock.held:
            before = [(array, array.copy()) for array in self.elsewhere]
            for row in times:
                self._fill(inputs)
                try:
                    self._measure(row)
                finally:
                    for array, value in before:
                        np.copyto(array, value)
        return [float(seconds) for seconds in np.median(times, axis=0)]

    def inside(self) -> dict[int, Iteration]:
        """What one iteration of each loop takes, kernel by kernel, by the number of the loop's step.

        It is measured on what the latest run left in the memory of the loops' bodies, which is theirs alone.
        """
        found: dict[int, Iteration] = {}
        with self.lock.held:
            for i, step in enumerate(self.steps):
                ask = getattr(step.kernel.run, "inside", None)
                if ask is not None:
                    count, parts = ask()
                    found[i] = Iteration(count, tuple((name, _seconds(run)) for name, run in parts))
        return found

    def _measure(self, seconds: Array) -> None:
        for i, step in enumerate(self.steps):
            begin = time.perf_counter()
            try:
                step.kernel.run()
            except Exception as error:
                raise self._failure(i, error, "No") from error
            seconds[i] = time.perf_counter() - begin

    def table(self, *, width: int | None = None) -> str:
        """The schedule as text: step, op, phase, kernel, shapes, bytes moved, operations, and where the results are.

        Args:
            width: in characters; by default the terminal's.
        """
        from tinygraph.compiler.tables import text_table

        return text_table(self, width=width)

    def __repr__(self) -> str:
        return f"<Plan of {len(self.steps)} steps, arena of {self.arena_bytes:,} bytes>"

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        from tinygraph.compiler.tables import html_table

        return html_table(self)


class Iteration(NamedTuple):
    """One iteration of a loop.

    Attributes:
        steps: how many the latest run made.
        kernels: of an iteration, in order: a name, and seconds.
    """

    steps: int
    kernels: tuple[tuple[str, float], ...]


def _seconds(run: Callable[[], Any], repeats: int = 20) -> float:
    """The least that a call takes of some."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)


def _runs_already() -> RecordingError:
    return RecordingError(
        "a plan is asked to run while this thread runs it, or another one in the same memory: by a signal handler, a "
        "finalizer (__del__) or a profiler that came in between, or by an op of its own. Its values would be written "
        "over. Let a handler set a flag, and call where the run has ended"
    )


def check_repeats(repeats: object) -> None:
    """Raise unless a number of runs is one."""
    if not isinstance(repeats, int) or repeats < 1:
        raise SettingError(f"profile: repeats={repeats!r} must be how often to run each step, 1 or more")


class Gradient:
    """The tensor that a plan puts in `.grad`: lent the gradient's own place, or filled from it in each run.

    Attributes:
        lent: whether its array is the gradient's place.
        source: the gradient's place, if not.
        value: its array.
        tensor: which holds it.
    """

    def __init__(self, source: Array, lent: bool) -> None:
        self.lent = lent
        self.source = None if lent else source
        self.value = source if lent else np.zeros(source.shape, source.dtype)
        self.tensor = Tensor(self.value)


def _set_value(leaf: Leaf, value: Array) -> None:
    if isinstance(leaf.value, np.ndarray) and leaf.value.flags.writeable:
        np.copyto(leaf.value, value, casting="same_kind")
    else:
        holder = tensor_of(leaf)
        holder._value = leaf.value = value.astype(leaf.types.dtype)[()]
