"""`tg.compile`: a function that captures itself for each new kind of arguments and runs a plan from then on."""

from __future__ import annotations

import contextlib
import copy
import functools
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from threading import get_ident
from types import MethodType
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from tinygraph import kernels
from tinygraph.compiler.building import build_plan
from tinygraph.compiler.passes import PASSES, Pass, Stage, run_passes
from tinygraph.compiler.passes.fuse_elementwise import fuse_elementwise
from tinygraph.compiler.passes.fuse_epilogues import fuse_epilogues
from tinygraph.compiler.passes.join_ops import join_ops
from tinygraph.compiler.passes.look_through import facts_inside, look_through
from tinygraph.compiler.passes.recompute import recompute, recompute_cheap
from tinygraph.compiler.passes.roll import roll
from tinygraph.compiler.passes.schedule import schedule
from tinygraph.compiler.passes.sum_parts import sum_parts
from tinygraph.compiler.plan import NODE_BYTES, Plan, check_repeats
from tinygraph.compiler.plan_memory import PlanMemory
from tinygraph.compiler.profile import Profile
from tinygraph.compiler.recorded_call import Recorder
from tinygraph.compiler.short_calls import ShortCall, short_call
from tinygraph.compiler.static_arguments import Static, StaticArguments, unmarked
from tinygraph.core.graph import Graph
from tinygraph.core.locks import Lock
from tinygraph.core.modes import modes
from tinygraph.core.node import edge_node
from tinygraph.core.tensor import Tensor, left_behind
from tinygraph.core.trees import flatten
from tinygraph.core.types import ArrayType, type_of
from tinygraph.errors import CaptureError, DTypeError, RecordingError, SettingError, TinygraphWarning
from tinygraph.kernels.recent import Recent
from tinygraph.tracing.collector import collection_paused
from tinygraph.tracing.facts import Fixed
from tinygraph.tracing.trace import PYTHON_NUMBERS, Trace, capture_with

COMPILE_PASSES: tuple[Pass, ...] = (
    *PASSES,
    sum_parts,
    roll,
    join_ops,
    fuse_elementwise,
    fuse_epilogues,
    schedule,
    recompute_cheap,
)
# Captures kept for one kind of arguments: in training and in evaluation mode, with gradients to add to and without ...
MOST_ENTRIES = 8
Accuracy = Literal["fast", "exact"]
PLAN_BYTES = 2**30  # what the plans of a function may take together, by default
MOST_REASONS = 1000  # for captures, remembered
_VERSION_BYTES = 50_000  # of what is known of a capture, about; measured
_NUMBERS = (int, float, np.float64, np.float32, np.int64, np.bool_)
_PLAIN = frozenset((np.ndarray, Tensor, *_NUMBERS))  # arguments that are surely no containers
_SAID: dict[Any, Any] = {}  # warnings that were given, once a line


class CapturedVersion(NamedTuple):
    """One captured version of a function; `short` is for calls that need little, if there can be any."""

    graph: Graph
    trace: Trace
    stages: list[Stage]
    plan: Plan
    recorder: Recorder
    short: ShortCall | None

    def with_closed(self, values: list[Any], wanted: int) -> int:
        """Add the values of tensors that it closes over to those of its arguments.

        Returns:
            which of them all require a gradient, as bits.
        """
        for tensor, _ in (self.trace.closed or {}).values():
            wanted |= (tensor._edge is not None) << len(values)
            values.append(tensor._value)
        return wanted

    @property
    def nbytes(self) -> int:
        """What it takes, about; what passes made on the way shares most of its nodes with the first and the last."""
        plans = sum(plan.nbytes for plan in (self.plan, *self.recorder.plans))
        nodes = len(self.stages[0].graph.nodes) + len(self.stages[-1].graph.nodes)
        return plans + _VERSION_BYTES + NODE_BYTES * nodes


class Versions(list[CapturedVersion]):
    """The captured versions for one kind of arguments, the latest first."""

    @property
    def nbytes(self) -> int:
        """What they take together, about."""
        return sum(entry.nbytes for entry in self)


class Compiled:
    """A compiled function; see `compile`.

    Results are fresh arrays, and stay as they are. The tensors in `.grad` belong to the compiled function, which fills
    them again in its next call: copy what is to be kept. What Python code read during a capture is watched: variables,
    attributes, the contents of containers and arrays, modes and settings, in every function that ran. When it has
    changed, the next call captures again.

    Attributes:
        function: the function as written.
        passes: the passes its graphs go through.
        accuracy: "fast" or "exact".
        tune: whether kernels are chosen by measuring.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        passes: Sequence[Pass],
        plan_bytes: int = PLAN_BYTES,
        accuracy: Accuracy = "fast",
        tune: bool = False,
        static: StaticArguments | None = None,
    ) -> None:
        self.function = function
        self._static = static
        self._captured = function if static is None else unmarked(function)
        self.passes = tuple(passes)
        self.accuracy, self.tune = accuracy, tune
        self._lock = Lock()
        self._owner = 0  # the thread that has the lock
        self._memory = PlanMemory()  # of all its plans, of which one runs at a time
        self._entries = Recent(plan_bytes, self._memory.count_bytes)
        self._last_known: tuple[Any, Versions] = (None, Versions())  # of the latest call
        self._reasons: deque[str] = deque(maxlen=MOST_REASONS)
        self._captures = 0
        self._changed: set[str] = set()  # what captures changed of what they read
        self._served_once: Any = None  # the kinds of the arguments of a capture that did
        self._latest: CapturedVersion | None = None
        self._short: ShortCall | None = None  # of the latest version
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: object, **kwargs: object) -> Any:
        short = self._short
        if short is not None and not kwargs:
            found = short(args)
            if found is not None:
                return found[0]
        mode = modes.current
        if self._static is not None:
            args, kwargs = self._static.marked(args, kwargs)
        if mode.capture is not None:  # inside another capture it is part of that graph
            return self._inlined(args, kwargs)
        key, values, tensors, wanted = self._read(args, kwargs)
        me = get_ident()
        _waiting[me] = self
        if self._owner and self._in_circle(
            me
        ):  # of two that begin to wait for each other, the last one sees it
            del _waiting[me]
            return self._captured(*args, **kwargs)
        call = edges = None
        with self._lock.held:  # what is decided when an entry is chosen must hold until its plan has run
            self._owner = me
            del _waiting[me]
            try:
                entry = self._entry(key, args, kwargs, values)
                closed = entry.trace.closed
                if closed:
                    wanted = entry.with_closed(values, wanted)
                if mode.recording:
                    call, edges = entry.recorder.found.get(wanted) or entry.recorder.recording(wanted)
                if call is None:
                    out: list[Any] = entry.plan.run(values)
                else:
                    given = _inputs(args, kwargs)
                    out = call([*given, *(one for one, _ in closed.values())] if closed else given)
                if entry.trace.attached and mode.recording:
                    entry.recorder.attach()
            finally:
                self._owner = 0
                modes.current = mode  # even where Ctrl-C came between a block and its leaving
        if edges is not None:
            out = list(map(Tensor, out, edges))
        elif call is None and (tensors or entry.trace.with_tensors):
            out = list(map(Tensor, out))
        result = entry.graph.result
        return result.build(out) if result is not None else out

    def _in_circle(self, me: int) -> bool:
        """Whether the thread that runs the function waits for this one, perhaps through others.

        An op in a plan may call another compiled function, whose plan another thread runs, which calls this one.

        Raises:
            RecordingError: it is this thread itself.
        """
        owner = self._owner
        if owner == me:
            del _waiting[me]
            raise self._calls_itself()
        seen: set[int] = set()
        while owner and owner not in seen:
            seen.add(owner)
            wanted = _waiting.get(owner)
            if wanted is None:
                return False
            owner = wanted._owner
            if owner == me:
                return True
        return False

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """The function to oneself.

        Raises:
            RecordingError: this thread runs it, or another one that waits for this one.
        """
        me = get_ident()
        _waiting[me] = self
        if self._owner and self._in_circle(me):
            del _waiting[me]
            raise RecordingError(
                f"the compiled function {self._name!r} is run by another thread, which waits for a compiled function "
                f"that this one runs: wait for it outside of compiled functions"
            )
        with self._lock.held:
            self._owner = me
            del _waiting[me]
            try:
                yield
            finally:
                self._owner = 0

    def _inlined(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call as part of a capture; one inside itself with arguments of the same kinds would never end."""
        leaves, tree = flatten((args, kwargs))
        kinds = [
            leaf.type
            if isinstance(leaf, Tensor)
            else (type(leaf), leaf)
            if isinstance(leaf, int | float | complex | str)
            else id(leaf)
            for leaf in leaves
        ]
        call = (id(self), repr(tree), tuple(kinds))
        if call in _inlined.calls:
            raise self._calls_itself()
        _inlined.calls.append(call)
        try:
            return self._captured(*args, **kwargs)
        finally:
            _inlined.calls.remove(call)

    def __get__(self, instance: object, owner: object = None) -> Any:
        """As a method: a compiled function in a class is called with the instance first."""
        return self if instance is None else MethodType(self, instance)

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled:
        """Compiled anew: a copy of a model has parameters of its own."""
        function = copy.deepcopy(self.function, memo)
        return Compiled(function, self.passes, self._entries.limit, self.accuracy, self.tune, self._static)

    def _read(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[Any], bool, int]:
        """What decides which captured graph serves, the values of its inputs, whether tensors are among them, and which
        of the inputs require a gradient (bit i: input i).
        """
        leaves: Sequence[Any] = args
        shape: object = len(args)
        if not _are_plain(args, kwargs):
            leaves, tree = flatten((args, kwargs))
            shape = tree
        kinds: list[Any] = []
        values: list[Any] = []
        tensors = False
        wanted = 0
        for leaf in leaves:
            if type(leaf) is np.ndarray:
                kinds.append((leaf.shape, leaf.dtype))
                values.append(leaf)
            elif isinstance(leaf, Tensor):
                if leaf._value is None:
                    raise left_behind(f"the compiled function {self._name!r}", leaf)
                tensors = True
                kinds.append(leaf.type)
                if leaf._edge is not None and leaf.requires_grad:
                    wanted |= 1 << len(values)
                    kinds.append("requiring a gradient")
                values.append(leaf._value)
            else:
                kinds.append(_kind(leaf))
                if _varies(leaf):
                    values.append(leaf)
        return (shape, tuple(kinds)), values, tensors, wanted

    def _entry(
        self, key: object, args: tuple[Any, ...], kwargs: dict[str, Any], values: list[Any]
    ) -> CapturedVersion:
        last, known = self._last_known  # of many calls in a row the arguments are of one kind
        if last != key:
            known = self._known(key)
        for entry in known:
            trace = entry.trace
            if (not trace.asked or trace.serves(values)) and trace.broken() is None and entry.plan.fits():
                self._latest = entry
                self._short = entry.short if self._static is None else None
                return entry
        return self._captured_version(key, args, kwargs, values, known)

    @collection_paused()  # one collection behind all of it, not one behind each part
    def _captured_version(
        self, key: object, args: tuple[Any, ...], kwargs: dict[str, Any], values: list[Any], known: Versions
    ) -> CapturedVersion:
        """Capture the function, and plan what was captured."""
        self._short = None
        self._note(key, known[0] if known else None, values)
        leaves, tree = flatten((args, kwargs))
        args, kwargs = tree.unflatten(leaves)  # containers of its own, which it may change
        graph, trace = capture_with(self._captured, args, kwargs, wanting=True)
        self._check_draws(graph, trace)
        self._check_effects(trace)
        stages = run_passes(graph, self.passes)
        if look_through in self.passes:
            for inside in facts_inside(graph):
                trace.rely_as(inside)
        exact = self.accuracy == "exact"
        read = list(trace.gradients_read.values())
        plan = build_plan(stages[-1].graph, read, exact=exact, measured=self.tune, shared=self._memory)
        recorder = Recorder(graph, trace, self.passes, self._name, exact, self.tune)
        if self._latest is not None:  # what passes made on the way is kept of the latest version alone
            del self._latest.stages[1:-1]
        short = short_call(graph, trace, plan, args, kwargs)
        self._latest = CapturedVersion(graph, trace, stages, plan, recorder, short)
        if trace.effects:  # what it changed, only Python changes again: this plan serves for this call alone
            self._served_once = key
            return self._latest
        usable = [entry for entry in known if entry.plan.fits()]
        self._keep(key, Versions([self._latest, *usable][:MOST_ENTRIES]))
        return self._latest

    def _check_draws(self, graph: Graph, trace: Trace) -> None:
        """Refuse random numbers that nothing reads: a graph leaves them out, and all later draws would be others."""
        listed = set(map(id, graph.nodes))
        for edge in trace.draws:
            node = edge_node(edge)
            if id(node) not in listed:
                raise CaptureError(
                    f"nothing reads the random numbers that are drawn{f' at {node.source}' if node.source else ''} in "
                    f"the compiled function {self._name!r}: a plan would not draw them, and all later ones would be "
                    f"other numbers than eagerly. Leave the draw out, or return what is made of it"
                )

    def _known(self, key: object) -> Versions:
        """The versions for arguments of these kinds, which are the latest used now."""
        known: Versions | None = self._entries.get(key)
        if known is None:
            return Versions()
        self._last_known = (key, known)
        return known

    def _keep(self, key: object, versions: Versions) -> None:
        """Keep versions; those of other kinds of arguments that were used least recently go where memory runs out."""
        for dropped in self._entries.put(key, versions):
            for entry in dropped:
                entry.recorder.release()
        self._last_known = (key, versions)

    def _check_effects(self, trace: Trace) -> None:
        """Refuse a program that counts or keeps a log; say so if one changes the same thing time after time."""
        for effect in trace.effects:
            if effect.refused:
                raise CaptureError(
                    f"{effect.words} at {effect.line} while {self._name!r} was captured: a plan runs without Python, "
                    f"and later calls would not do that. Return the value and keep it outside of the compiled "
                    f"function, or make it a state, such as a tensor that is written with +="
                )
            if effect.what in self._changed:
                warnings.warn(
                    f"{self._name!r} is captured again and again, since it changes what it reads: {effect.words} at "
                    f"{effect.line}. Return the value and keep it outside of the compiled function",
                    TinygraphWarning,
                    stacklevel=4,
                )
            self._changed.add(effect.what)
        for file, line, words in trace.printed:
            warnings.warn_explicit(
                f"{words} prints or logs while {self._name!r} is captured: a plan runs without Python, and later calls "
                f"will not do that. Return the value and print it outside of the compiled function",
                TinygraphWarning,
                file,
                line,
                registry=_SAID,
            )

    def _note(self, key: Any, entry: CapturedVersion | None, values: list[Any]) -> None:
        """Remember why a capture was needed."""
        if entry is not None:
            reason = entry.trace.broken() or "a parameter or buffer was replaced or changed its dtype"
            if not entry.trace.serves(values):
                reason = (
                    "an argument lies in memory in another way, or is another number, which decides a dtype"
                )
        elif key == self._served_once:
            reason = "the capture before changed what it read (something made when first asked for), so it served once"
        else:
            kinds = ", ".join(str(ArrayType(*kind) if isinstance(kind, tuple) else kind) for kind in key[1])
            known = self._captures > 0
            reason = (
                f"new argument types: {kinds}" if known else f"the first call, with {kinds or 'no arguments'}"
            )
        self._captures += 1
        self._reasons.append(reason)

    def _calls_itself(self) -> RecordingError:
        return RecordingError(
            f"the compiled function {self._name!r} calls itself: it is called, with arguments of the same kinds, by "
            f"what runs inside it, which would never end. Compile the function that does not call itself, and give a "
            f"recursion an argument that ends it"
        )

    @property
    def _name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def _last(self) -> CapturedVersion:
        if self._latest is None:
            raise RecordingError(
                f"the compiled function {self._name!r} has not been called yet: call it once first"
            )
        return self._latest

    @property
    def stages(self) -> list[Stage]:
        """The graph of the latest call after each pass, as captured first."""
        latest = self._last()
        if len(latest.stages) <= len(self.passes):  # passes make the same again
            latest.stages[1:-1] = run_passes(latest.graph, self.passes)[1:-1]
        return latest.stages

    @property
    def plan(self) -> Plan:
        """The plan of the latest call."""
        return self._last().plan

    def explain_recapture(self) -> str:
        """Why the function was captured, each time it was (of many, the latest thousand)."""
        first = self._captures - len(self._reasons) + 1
        return (
            "\n".join(f"capture {first + i}: {reason}" for i, reason in enumerate(self._reasons))
            or "never captured"
        )

    def profile(self, *args: object, repeats: int = 10, **kwargs: object) -> Profile:
        """Where the time goes on the given arguments; parameters, states and generators stay as they are.

        Args:
            args, kwargs: what to call the function with.
            repeats: how often each step is run; its time is the median.

        Raises:
            SettingError: `repeats` is no positive whole number.
        """
        check_repeats(repeats)
        if self._static is not None:
            args, kwargs = self._static.marked(args, kwargs)
        key, values, _, wanted = self._read(args, kwargs)
        with self._held():
            entry = self._entry(key, args, kwargs, values)
            entry.with_closed(values, wanted)
            with _generators_kept(entry.graph):
                seconds = entry.plan.profile(values, repeats)
            inside = entry.plan.inside()
        return Profile(entry.plan, seconds, repeats, self._name, inside)

    def release(self) -> None:
        """Give back the memory of all plans, and machine code that only they used; the next call captures again.

        Waits for a call that is running in another thread. Results that were recorded keep what their backward pass
        needs, and plan it again when it runs.
        """
        self._forget()
        if kernels.available():
            from tinygraph.kernels.machine_code import release_unused

            release_unused()

    def _forget(self) -> None:
        with self._held():
            for versions in self._entries.clear():
                for entry in versions:
                    entry.recorder.release()
            self._last_known = (None, Versions())
            self._latest = self._short = None
            self._memory.release()

    @property
    def nbytes(self) -> int:
        """What the plans take together, about, their machine code included."""
        return self._entries.nbytes

    def __repr__(self) -> str:
        return f"<compiled {self._name}: {self._entries.count} plan(s)>"


@contextlib.contextmanager
def _generators_kept(graph: Graph) -> Iterator[None]:
    """Give the generators that a graph draws from their states back."""
    generators = [leaf.value for leaf in graph.leaves if leaf.kind == "generator"]
    before = [generator.state for generator in generators]
    try:
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.state = state


def _are_plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether arguments are surely no containers and have no names, so that they are their own leaves."""
    return not kwargs and _PLAIN.issuperset(map(type, args))


def _inputs(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The arguments that are inputs of the graph, in its order."""
    leaves = args if _are_plain(args, kwargs) else flatten((args, kwargs))[0]
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) or _varies(leaf)]


def _varies(leaf: object) -> bool:
    """Whether an argument other than a tensor is an input of the graph: arrays and Python numbers."""
    return isinstance(leaf, np.ndarray | np.generic) or type(leaf) in PYTHON_NUMBERS


class _Inlined(threading.local):
    """The compiled functions that are being run in a capture, with the kinds of their arguments."""

    def __init__(self) -> None:
        self.calls: list[Any] = []


_inlined = _Inlined()
_waiting: dict[int, Compiled] = {}  # what a thread is about to run, by the thread


@functools.cache
def _scalar_kind(dtype: np.dtype[Any]) -> str:
    """That of a number that NumPy made: the words take longer than a call."""
    return f"a scalar of NumPy's, {dtype}"


def _kind(leaf: object) -> Any:
    """What of an argument other than a tensor decides whether a captured graph can serve again."""
    if isinstance(leaf, np.ndarray):
        return type_of(leaf)
    if isinstance(leaf, Static):
        return leaf
    if isinstance(leaf, np.generic):
        return _scalar_kind(leaf.dtype)
    if type(leaf) in PYTHON_NUMBERS:
        return f"a Python {type(leaf).__name__}"
    try:
        hash(leaf)
    except TypeError:
        raise DTypeError(
            f"an argument of a compiled function is a {type(leaf).__name__}, whose contents may change unnoticed: pass "
            f"arrays, numbers, strings and containers of them, something hashable (a frozenset), or close over it"
        ) from None
    return Fixed(leaf)


def compile(
    function: Callable[..., Any],
    *,
    passes: Sequence[Pass] = COMPILE_PASSES,
    memory_budget: int | None = None,
    accuracy: Accuracy = "fast",
    plan_bytes: int = PLAN_BYTES,
    tune: bool = False,
    deterministic: bool = False,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Sequence[str] | None = None,
) -> Compiled:
    """A function with the same results and effects that runs from a plan instead of Python.

    The first call with arguments of new types captures the function: it runs once on types alone, and what it reads
    and updates (parameters, optimizer state, running statistics, generators) becomes part of the graph. Later calls
    run the plan. A whole training step may be compiled: zero_grad, forward, backward and the optimizer's step.

    Args:
        function: takes arrays, tensors, numbers and containers of them. Python code in it must not depend on values.
        passes: the graph passes to run; leave one out to see what it does.
        memory_budget: the most bytes that intermediate values shall take at once, such as `64 * 2**20`; None for no
            limit. Where keeping them for the backward pass takes more, they are computed again: the results stay the
            same bit for bit, a step takes longer. Parameters, states, gradients in `.grad`, inputs and the scratch
            memory of kernels do not count; `.plan.arena_bytes` says what the plan takes. The pass `recompute` stands in
            the place of `recompute_cheap` then, which looks for what is worth it without a budget.
        accuracy: "fast" lets 3x3 convolutions of float32 run by Winograd's algorithm, with rounding errors below 3e-5
            of the largest result; "exact" leaves it out (2e-6). float64 is exact in either.
        plan_bytes: what plans for all kinds of arguments may take together, their machine code included: 1 GiB. Those
            that were used least recently are dropped, the latest never; `.nbytes` says what they take. Machine code
            that no plan uses any more is kept for later ones, 256 MiB of it in the whole process.
        tune: measure at the first call which kernels are fastest, for each op that has several: some ten milliseconds
            each. What won is remembered on disk, and `.plan` shows by how much. Without it shapes decide.
        deterministic: the same bits in every run, process and machine of this kind: refuses `tune`.
        static_argnums, static_argnames: arguments that are no inputs, by position or name: sizes, axes, flags. They
            are Python values in the function, which may branch on them; each value (hashable) is captured for itself.

    Returns:
        A `Compiled`: call it like the function; `.plan`, `.stages`, `.profile(...)` and `.explain_recapture()` show it.
        Its results are fresh arrays; the tensors in `.grad` it fills again in its next call.

    The call is part of the program around it: where parameters, closures or arguments require a gradient, it is
    recorded as one node, and gradients of every order flow through it as through the function itself. A tensor that was
    computed before and is closed over is an argument in all but name: each call reads it as it is then. Under
    `tg.no_grad()` nothing is recorded, which is faster. The results of a function that runs a backward pass of its own
    refuse another.

    Raises:
        CaptureError: at the user's line, where Python code asks for a value, draws a random number that is not
            tinygraph's, reads a clock, counts or keeps a log.
        DTypeError: an argument that is neither numeric nor hashable.
        SettingError: the memory budget is no positive integer, `plan_bytes` no number of bytes, the accuracy none
            of the two, or `tune` asked for together with `deterministic`.
        RecordingError: the function calls itself while its plan runs, or runs a backward pass of its own although an
            argument requires a gradient.

    Warns:
        TinygraphWarning: the memory budget cannot be met; what takes how much instead. Or the function changes what
            it reads time after time, so that calls capture again; or it prints or logs, which later calls do not.

    >>> import numpy as np
    >>> square = compile(lambda x: np.sin(x) ** 2)
    >>> square(np.array([0.0, np.pi / 2]))
    array([0., 1.])
    """
    if memory_budget is not None:  # last, since passes that merge what is computed twice would undo it
        passes = (*(one for one in passes if one is not recompute_cheap), recompute(memory_budget))
    if accuracy not in get_args(Accuracy):
        raise SettingError(f"accuracy is {accuracy!r}; it can be 'fast' or 'exact'")
    if tune and deterministic:
        raise SettingError(
            "tune=True lets measured times choose kernels, which may round differently from machine to machine and "
            "from one measurement to the next, and deterministic=True forbids that: leave one of them out"
        )
    static = None
    if static_argnums is not None or static_argnames is not None:
        static = StaticArguments(function, static_argnums, static_argnames)
    return Compiled(function, passes, plan_bytes, accuracy, tune, static)
