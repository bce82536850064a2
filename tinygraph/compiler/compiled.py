"""`tg.compile`: a function that captures itself for each new kind of arguments and runs a plan from then on."""

from __future__ import annotations

import contextlib
import copy
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from types import MethodType
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from tinygraph.compiler.passes import PASSES, Pass, Stage, run_passes
from tinygraph.compiler.passes.fuse_elementwise import fuse_elementwise
from tinygraph.compiler.passes.recompute import recompute, recompute_cheap
from tinygraph.compiler.passes.schedule import schedule
from tinygraph.compiler.plan import Plan
from tinygraph.compiler.profile import Profile, check_repeats
from tinygraph.core.graph import Graph
from tinygraph.core.modes import modes
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import flatten
from tinygraph.core.types import ArrayType, type_of
from tinygraph.errors import DTypeError, RecordingError, SettingError
from tinygraph.tracing.trace import Trace, capture_with

COMPILE_PASSES: tuple[Pass, ...] = (*PASSES, fuse_elementwise, schedule, recompute_cheap)
# Captures kept for one kind of arguments: in training and in evaluation mode, with gradients to add to and without ...
MOST_ENTRIES = 8
Accuracy = Literal["fast", "exact"]
_PLAIN = frozenset((np.ndarray, Tensor, int, float))  # arguments that are surely no containers


class Entry(NamedTuple):
    """One captured version of a function."""

    graph: Graph
    trace: Trace
    stages: list[Stage]
    plan: Plan


class Compiled:
    """A compiled function; see `compile`.

    Attributes:
        function: the function as written.
        passes: the passes its graphs go through.
        accuracy: "fast" or "exact".
    """

    def __init__(
        self, function: Callable[..., Any], passes: Sequence[Pass], accuracy: Accuracy = "fast"
    ) -> None:
        self.function = function
        self.passes = tuple(passes)
        self.accuracy = accuracy
        self._lock = threading.Lock()
        self._entries: dict[Any, list[Entry]] = {}  # the latest first
        self._reasons: list[str] = []
        self._latest: Entry | None = None
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if modes.current.capture is not None:  # inside another capture it is part of that graph
            return self.function(*args, **kwargs)
        key, values, tensors = self._read(args, kwargs)
        with self._lock:  # what is decided when an entry is chosen must hold until its plan has run
            entry = self._entry(key, args, kwargs)
            results = entry.plan(values)
        out = list(map(Tensor, results)) if tensors or entry.trace.with_tensors else results
        result = entry.graph.result
        return result.unflatten(out) if result is not None else out

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: a compiled function in a class is called with the instance first."""
        return self if instance is None else MethodType(self, instance)

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled:
        """Compiled anew: a copy of a model has parameters of its own."""
        return Compiled(copy.deepcopy(self.function, memo), self.passes, self.accuracy)

    def _read(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[Any], bool]:
        """What decides which captured graph serves, the values of its inputs, and whether tensors are among them."""
        leaves: Sequence[Any] = args
        shape: Any = len(args)
        if kwargs or not _PLAIN.issuperset(map(type, args)):
            leaves, tree = flatten((args, kwargs))
            shape = repr(tree)
        kinds: list[Any] = []
        values: list[Any] = []
        tensors = False
        for i, leaf in enumerate(leaves):
            if type(leaf) is np.ndarray:
                kinds.append((leaf.shape, leaf.dtype))
                values.append(leaf)
            elif isinstance(leaf, Tensor):
                if leaf._edge is not None:
                    raise RecordingError(
                        f"argument {i} of the compiled function {self._name!r} requires a gradient, which a compiled "
                        f"call cannot pass on: put the backward pass inside the function, or pass tensor.detach()"
                    )
                tensors = True
                kinds.append(leaf.type)
                values.append(leaf._value)
            else:
                kinds.append(_kind(leaf))
                if _varies(leaf):
                    values.append(leaf)
        return (shape, tuple(kinds)), values, tensors

    def _entry(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry:
        known = self._entries.get(key, [])
        for entry in known:
            if entry.trace.broken() is None and entry.plan.fits():
                self._latest = entry
                return entry
        self._note(key, known[0] if known else None)
        leaves, tree = flatten((args, kwargs))
        args, kwargs = tree.unflatten(leaves)  # containers of its own, which it may change
        graph, trace = capture_with(self.function, args, kwargs)
        stages = run_passes(graph, self.passes)
        plan = Plan(stages[-1].graph, list(trace.gradients_read.values()), exact=self.accuracy == "exact")
        self._latest = Entry(graph, trace, stages, plan)
        usable = [entry for entry in known if entry.plan.fits()]
        self._entries[key] = [self._latest, *usable][:MOST_ENTRIES]
        return self._latest

    def _note(self, key: Any, entry: Entry | None) -> None:
        """Remember why a capture was needed."""
        if entry is not None:
            reason = entry.trace.broken() or "a parameter or buffer was replaced or changed its dtype"
        else:
            kinds = ", ".join(str(ArrayType(*kind) if isinstance(kind, tuple) else kind) for kind in key[1])
            known = bool(self._entries)
            reason = (
                f"new argument types: {kinds}" if known else f"the first call, with {kinds or 'no arguments'}"
            )
        self._reasons.append(reason)

    @property
    def _name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def _last(self) -> Entry:
        if self._latest is None:
            raise RecordingError(
                f"the compiled function {self._name!r} has not been called yet: call it once first"
            )
        return self._latest

    @property
    def stages(self) -> list[Stage]:
        """The graph of the latest call after each pass, as captured first."""
        return self._last().stages

    @property
    def plan(self) -> Plan:
        """The plan of the latest call."""
        return self._last().plan

    def explain_recapture(self) -> str:
        """Why the function was captured, each time it was."""
        return (
            "\n".join(f"capture {i + 1}: {reason}" for i, reason in enumerate(self._reasons))
            or "never captured"
        )

    def profile(self, *args: Any, repeats: int = 10, **kwargs: Any) -> Profile:
        """Where the time goes on the given arguments; parameters, states and generators stay as they are.

        Args:
            args, kwargs: what to call the function with.
            repeats: how often each step is run; its time is the median.

        Raises:
            SettingError: `repeats` is no positive whole number.
        """
        check_repeats(repeats)
        key, values, _ = self._read(args, kwargs)
        with self._lock:
            entry = self._entry(key, args, kwargs)
            with _generators_kept(entry.graph):
                seconds = entry.plan.profile(values, repeats)
        return Profile(entry.plan, seconds, repeats, self._name)

    def release(self) -> None:
        """Give back the memory of all plans; the next call captures again."""
        self._entries.clear()
        self._latest = None

    def __repr__(self) -> str:
        return f"<compiled {self._name}: {sum(map(len, self._entries.values()))} plan(s)>"


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


def _varies(leaf: Any) -> bool:
    """Whether an argument other than a tensor is an input of the graph: arrays and Python numbers."""
    return isinstance(leaf, np.ndarray | np.generic | int | float | complex) and not isinstance(leaf, bool)


def _kind(leaf: Any) -> Any:
    """What of an argument other than a tensor decides whether a captured graph can serve again."""
    if isinstance(leaf, np.ndarray | np.generic):
        return type_of(leaf)
    if isinstance(leaf, int | float | complex) and not isinstance(leaf, bool):
        return f"a Python {type(leaf).__name__}"
    try:
        hash(leaf)
    except TypeError:
        raise DTypeError(
            f"an argument of a compiled function is a {type(leaf).__name__}, whose contents may change unnoticed: pass "
            f"arrays, numbers, strings and containers of them, something hashable (a frozenset), or close over it"
        ) from None
    return leaf


def compile(
    function: Callable[..., Any],
    *,
    passes: Sequence[Pass] = COMPILE_PASSES,
    memory_budget: int | None = None,
    accuracy: Accuracy = "fast",
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
        accuracy: "fast" lets 3x3 convolutions of float32 run by Winograd's algorithm, with a third of the
            multiplications and rounding errors below 3e-5 of the largest result; "exact" leaves it out: errors are
            those of sums in another order (2e-6). float64 is exact in either.

    Returns:
        A `Compiled`: call it like the function; `.plan`, `.stages`, `.profile(...)` and `.explain_recapture()` show it.

    Results are fresh arrays, and stay as they are. The tensors in `.grad` belong to the compiled function, which fills
    them again in its next call: copy what is to be kept. Python code that a capture relied on (settings of modules and
    optimizers, variables that `function` closes over) is watched; the contents of lists, dicts and arrays are not.

    Raises:
        CaptureError: at the user's line, where Python code asks for a value.
        DTypeError: an argument that is neither numeric nor hashable.
        SettingError: the memory budget is no positive integer, or the accuracy none of the two.

    Warns:
        TinygraphWarning: the memory budget cannot be met; what takes how much instead.

    >>> import numpy as np
    >>> square = compile(lambda x: np.sin(x) ** 2)
    >>> square(np.array([0.0, np.pi / 2]))
    array([0., 1.])
    """
    if memory_budget is not None:  # last, since passes that merge what is computed twice would undo it
        passes = (*(one for one in passes if one is not recompute_cheap), recompute(memory_budget))
    if accuracy not in get_args(Accuracy):
        raise SettingError(f"accuracy is {accuracy!r}; it can be 'fast' or 'exact'")
    return Compiled(function, passes, accuracy)
