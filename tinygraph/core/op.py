"""Ops: what one operation is, the rules attached under it, and what those rules ask a node to keep.

An `Op` is declared with `@op`; its derivative rules, type rule, NumPy forms, expansion and kernels are attached by
decorators that check a rule's parameter names against the op's signature at once. A rule's parameters are its
contract: `g` (or `t`), operands by name, `out`, `<operand>_type`, settings. What no live rule names is not kept.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple, overload
from weakref import WeakKeyDictionary

import numpy as np

from tinygraph.core.apply import apply
from tinygraph.core.doors import doors
from tinygraph.core.modes import CompositeName, modes, scope
from tinygraph.core.registry import ENTRY_POINT_GROUP, registry
from tinygraph.core.source import is_library, is_of_ops
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import FAMILIES, array_type, forward_types, type_of
from tinygraph.core.unwatched import unwatched
from tinygraph.errors import RuleError

if TYPE_CHECKING:
    from tinygraph.core.batching import BatchRule, Family
    from tinygraph.core.numeric import Numeric

KINDS = (
    "elementwise", "comparison", "reduction", "contraction", "convolution", "pooling", "normalization", "shape",
    "indexing", "loss", "random", "collective", "control", "composite", "other",
)  # fmt: skip
RESERVED = ("g", "t", "out", "wanted")
FACTS = (
    "cheap",
    "neutral",
    "decisive",
    "involution",
    "identity_on_same_type",
    "form",
    "join",
    "behind",
    "moves",
    "converts",
    "spreads",
    "permutation",
    "transposed_product",
    "program",
    "read_only",
    "body",
    "subgraphs",
    "extends",
    "unfolds",
    "parts",
    "summand",
    "reduction",
    "number",
    "onnx",
    "straight_through",
    "joined",
)


class Operand(NamedTuple):
    """One positional parameter of an op."""

    name: str
    optional: bool
    variadic: bool


class Signature(NamedTuple):
    """An op's operands and its settings with their defaults (`inspect.Parameter.empty`: required)."""

    operands: tuple[Operand, ...]
    settings: dict[str, Any]

    def positions(self, name: str, count: int) -> tuple[int, ...]:
        """Where the operand `name` stands among `count` inputs: several places if variadic, none if left out."""
        for i, operand in enumerate(self.operands):
            if operand.name == name:
                return tuple(range(i, count)) if operand.variadic else (i,) if i < count else ()
        raise KeyError(name)

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Signature:
        """Read the signature of a forward function.

        Raises:
            RuleError: a parameter of a kind or name that ops cannot have.
        """
        operands, settings = [], {}
        for name, parameter in inspect.signature(function).parameters.items():
            if name in RESERVED or name.endswith("_type"):
                raise RuleError(
                    f"{function.__name__}: parameter name {name!r} is reserved for derivative rules"
                )
            if parameter.kind is parameter.KEYWORD_ONLY:
                settings[name] = parameter.default
            elif parameter.kind is parameter.VAR_KEYWORD:
                raise RuleError(f"{function.__name__}: settings must be named one by one, not **{name}")
            else:
                optional = parameter.default is not parameter.empty
                if optional and parameter.default is not None:
                    raise RuleError(
                        f"{function.__name__}: operand {name!r} has the default {parameter.default!r}; arrays are "
                        f"positional with no default but None, settings are keyword-only (put a * before {name!r})"
                    )
                operands.append(Operand(name, optional, parameter.kind is parameter.VAR_POSITIONAL))
        return cls(tuple(operands), settings)


class Rule(NamedTuple):
    """A derivative rule: which operands it serves, and the names it asks for after `g` or `t`; see `Op.adds`."""

    function: Callable[..., Any]
    serves: tuple[str, ...]
    asks: tuple[str, ...]
    adds: Callable[..., None] | None = None


class Wanted:
    """Stands for the places in a joint rule's result that somebody wants, which the rule asks for as `wanted`."""


WANTED = Wanted()


_array_class = np.ndarray


class LiveRule(NamedTuple):
    """One rule that is live.

    `serves` pairs an input's position with its place in the rule's result (None: the result itself). Each of
    `arguments` is a place in the saved values (an int; a tuple of them for a variadic operand), a setting's name, None
    for an operand left out, or WANTED; `simple` if they are all ints. `position` is the input's, if the rule serves
    that one alone. `adds` adds what the rule makes to an array in place (see `Op.adds`).
    """

    function: Callable[..., Any] | None
    serves: tuple[tuple[int, int | None], ...]
    arguments: tuple[int | tuple[int, ...] | str | Wanted | None, ...]
    simple: bool
    position: int | None
    adds: Callable[..., None] | None = None


class LiveRules:
    """Which rules are live for one pattern of wanted inputs, and what they keep.

    Attributes:
        values, types: positions of the inputs whose value, or type alone, is kept.
        out: whether the output is kept.
        only_value: the position of the one value kept, if nothing else is.
        slots: for each kept thing, an input's position, -1 for the output, or None for a type.
        backward, forward: the live rules of reverse and of forward mode.
        careful: whether the reverse ones are all of the ops that come with tinygraph, tested to write into nothing.
    """

    __slots__ = (
        "backward",
        "careful",
        "forward",
        "mask",
        "only_value",
        "out",
        "slots",
        "types",
        "value_mask",
        "values",
    )

    def __init__(self, op: Op, mask: int, count: int, tangents: bool) -> None:
        self.mask = mask
        wanted = [i for i in range(count) if mask >> i & 1]
        reverse = _live_rules(op, op.reverse_rule, wanted, count)
        forward = _live_rules(op, op.tangent_rules.get, wanted, count) if tangents else []
        asked: dict[tuple[str, int], None] = {}
        for rule, _ in reverse + forward:
            for name in rule.asks if rule is not None else ():
                asked.update(dict.fromkeys(_kept(op, name, count)))
        self.values = tuple(i for what, i in asked if what == "value")
        self.types = tuple(i for what, i in asked if what == "type")
        self.out = ("out", -1) in asked
        self.only_value = self.values[0] if len(asked) == len(self.values) == 1 else None
        self.value_mask = sum(1 << i for i in self.values)
        keys = (
            [("value", i) for i in self.values] + [("out", -1)] * self.out + [("type", i) for i in self.types]
        )
        self.slots = tuple(None if what == "type" else i for what, i in keys)
        places = {key: k for k, key in enumerate(keys)}
        self.backward = tuple(_live_rule(op, rule, serves, places, count) for rule, serves in reverse)
        self.forward = tuple(_live_rule(op, rule, serves, places, count) for rule, serves in forward)
        self.careful = all(
            is_of_ops(getattr(getattr(rule.function, "__code__", None), "co_filename", ""))
            for rule in self.backward
        )

    def save(self, values: Sequence[Any], out: Numeric) -> tuple[Any, ...]:
        """What the live rules asked for, in the order of `slots`."""
        saved = []
        for i in self.values:
            saved.append(values[i])  # noqa: PERF401 - a comprehension costs a call of its own
        if self.out:
            saved.append(out)
        for i in self.types:
            value = values[i]
            if value.__class__ is _array_class:
                saved.append(array_type((value.shape, value.dtype)))
            else:
                saved.append(None if value is None else type_of(value))
        return tuple(saved)


def _live_rules(
    op: Op, rules: Callable[[str], Rule | None], wanted: list[int], count: int
) -> list[tuple[Rule | None, tuple[tuple[int, int | None], ...]]]:
    """The rules that serve the wanted inputs, each once, with the operands that it serves."""
    found: dict[int, tuple[Rule | None, list[tuple[int, int | None]]]] = {}
    for position in wanted:
        operand = op.operand_at(position)
        if operand.name in op.nondifferentiable:
            continue
        rule = rules(operand.name)
        place: int | None = None
        if rule is not None and operand.variadic:
            place = position - op.signature.positions(operand.name, count)[0]
        elif rule is not None and len(rule.serves) > 1:
            place = rule.serves.index(operand.name)
        key = id(rule) if rule is not None else -1 - position
        found.setdefault(key, (rule, []))[1].append((position, place))
    return [(rule, tuple(serves)) for rule, serves in found.values()]


def _kept(op: Op, name: str, count: int) -> list[tuple[str, int]]:
    """What must be kept for a rule that asks for `name`."""
    if name == "out":
        return [("out", -1)]
    if name == "wanted":
        return []
    if name in op.signature.settings:
        return []
    what, operand = ("type", name.removesuffix("_type")) if name.endswith("_type") else ("value", name)
    return [(what, i) for i in op.signature.positions(operand, count)]


def _live_rule(
    op: Op,
    rule: Rule | None,
    serves: tuple[tuple[int, int | None], ...],
    places: dict[tuple[str, int], int],
    count: int,
) -> LiveRule:
    if rule is None:
        return LiveRule(None, serves, (), False, None)
    arguments: list[int | tuple[int, ...] | str | Wanted | None] = []
    for name in rule.asks:
        if name == "wanted":
            arguments.append(WANTED)
            continue
        kept = tuple(places[key] for key in _kept(op, name, count) if key in places)
        if name in op.signature.settings:
            arguments.append(name)
        elif name != "out" and op.is_variadic(name.removesuffix("_type")):
            arguments.append(kept)
        else:
            arguments.append(kept[0] if kept else None)
    simple = all(isinstance(argument, int) for argument in arguments)
    position, place = serves[0]
    alone = position if place is None else None
    return LiveRule(rule.function, serves, tuple(arguments), simple, alone, rule.adds)


class Emission(NamedTuple):
    """What an elementwise op does to one element, in the kernel language; see `Op.emit`.

    Attributes:
        rule: `rule(code, *operands, **settings)` -> the value that it makes.
        conditions: positions of the operands of which only the truth counts.
        bools: whether the rule holds for operands that are all bools; without it they become float64.
        integers: whether the rule holds for int64, beside which bools are cast to it.
        fits: operand types and settings to whether the rule holds for them, or None where it always does.
    """

    rule: Callable[..., Any]
    conditions: tuple[int, ...] = ()
    bools: bool = False
    integers: bool = False
    fits: Callable[..., bool] | None = None


@dataclass(frozen=True)
class Origin:
    """Where an op was declared."""

    module: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.module}:{self.line}"


class Sample:
    """Operands and settings that an op is tested with, and the literal result where it is known.

    Args:
        operands: lists or arrays; floats become float64. None stands for an absent optional operand.
        expected: the literal result (a tuple for several outputs), or None.
        smooth: False at a kink, where only values and types are checked.
        settings: the op's settings.

    >>> Sample([1.0, 4.0], expected=[1.0, 2.0]).operands[0].dtype
    dtype('float64')
    """

    def __init__(
        self, *operands: object, expected: object = None, smooth: bool = True, **settings: object
    ) -> None:
        self.operands = tuple(None if x is None else np.asarray(x) for x in operands)
        self.expected = expected
        self.smooth = smooth
        self.settings = settings

    def __repr__(self) -> str:
        shown = [
            " ".join(np.array2string(x, threshold=6, separator=", ").split()) if x is not None else "None"
            for x in self.operands
        ]
        shown += [f"{name}={value!r}" for name, value in self.settings.items()]
        return f"Sample({', '.join(shown)})"


class ErrorSample:
    """Operands and settings that an op must refuse.

    Args:
        error: the exception's class.
        match: words that its message must contain.
    """

    def __init__(
        self, *operands: object, error: type[Exception], match: str = "", **settings: object
    ) -> None:
        self.operands = tuple(None if x is None else np.asarray(x) for x in operands)
        self.error = error
        self.match = match
        self.settings = settings

    def __repr__(self) -> str:
        return f"ErrorSample({len(self.operands)} operands, {self.settings}, {self.error.__name__})"


@dataclass(eq=False)
class Op:
    """One operation. Call it on arrays (a plain NumPy function) or tensors (recorded).

    Attributes:
        name: its name in `tg.ops`.
        forward: the NumPy function: arrays positional, settings keyword-only.
        kind: one of `KINDS`; drawings and derived forward mode go by it.
        signature: operands and settings, read from `forward`.
        rules: vector-Jacobian rules by operand name.
        tangent_rules: forward-mode rules by operand name; what is missing is derived from `rules`.
        numpy_twin: the NumPy function that takes the operands and settings just as the op does, if there is one.
        type_rule: operand types to output types, without running the forward.
        entered: whether it is in the registry: a plugin's op, not one under test or made for a call.
        batching: what the op does to many examples at once, see `batching.py`.
        put: for an op whose result lies in its first operand's memory: what that becomes when the result is written.
        typed: whether the op gave that rule itself (else it is found by running the forward on stand-ins).
        linear: operands in which the op is linear, others fixed: their reach is structural.
        nondifferentiable: operands through which no gradient flows, by nature (indices, masks, piecewise constants).
        facts: what passes may rely on, by name:
            "cheap": True; on large arrays it takes no longer than reading the operands and writing the result.
            "neutral": {operand: number}; with that number there, the result is the other operand, signs of zeros too.
            "decisive": {operand: integer}; a Python number there makes another dtype than all others do.
            "involution": True; applied twice it gives its operand back.
            "identity_on_same_type": True; it is its first operand when the type stays the same.
            "form": f(x type, result type, settings) -> (op, settings); the application of another op that it is.
            "join": f(first, then, x type) -> the settings of one application that does what `first` and `then` do in a
            row on an operand of that type; None if together they do nothing, NotImplemented if no one application does.
            "behind": {place: (op, both)}; where that operand is a result of `op`, the two are the op `both`, on the
            operands of `op` in its place and with the settings of the two; made for plans, where its kernel serves.
            "moves": True; the result has the elements of its operand, each once, in other places.
            "converts": True; it changes the dtype of each element, and nothing else.
            "spreads": True; the result is its operand, repeated up to the setting `shape`.
            "permutation": f(settings, ndim) -> the order in which it puts the axes of an operand.
            "transposed_product": True; its result with the last two axes exchanged is what it makes of its operands,
            each so exchanged, in reverse order.
            "read_only": True; its result may lie in its operand's memory, and must not be written.
            "program": what an op that the compiler made computes, in the kernel language.
            "body": what an op consists of whose body is a graph, see `bodies.py`.
            "joined": a node and the loop behind it that it stands for, of compiled graphs; its kernels are theirs.
            "subgraphs": True; its settings hold graphs (`subgraphs.py`) that it runs once, many times or not at all.
            "extends": name of a setting; its body may return more at its end, and the op then has more results there.
            "unfolds": f(settings) -> `Unfolding`; how it runs them, for pictures and reports.
            "parts": f(x type, output types, settings) -> for each output an op and settings that make it alone.
            "summand": (op, f); a sum of results of this op, and of a whole array, is `op` on the whole array, if there
            is one, and the operands of each; f([(settings, number of operands) of each], whether there is) -> settings.
            "reduction": "sum", "mean", "prod", "max" or "min"; what a reduction of floating-point numbers does, so that
            a generated loop may end with it.
            "onnx": "domain::Name"; the operator of ONNX's that it is, the settings being its attributes.
            "straight_through": True; its gradient is that of what it rounds, by convention, not the slope, which is 0.
            "number": f(number) -> number; what Python itself makes of a number, where NumPy's function differs.
    """

    name: str
    forward: Callable[..., Any]
    kind: str
    signature: Signature
    package: str
    origin: Origin
    type_rule: Callable[..., Any]
    typed: bool
    linear: tuple[str, ...] = ()
    nondifferentiable: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    error_samples: tuple[ErrorSample, ...] = ()
    rules: dict[str, Rule] = field(default_factory=dict)
    tangent_rules: dict[str, Rule] = field(default_factory=dict)
    numpy_functions: tuple[Any, ...] = ()
    numpy_twin: Any = None
    expansion: Callable[..., Any] | None = None
    lowering: Callable[..., Any] | None = None
    emission: Emission | None = None
    cost_rule: Callable[..., int] | None = None
    put: Callable[..., Any] | None = None
    batching: BatchRule | None = None
    entered: bool = False
    # by the mask of recorded operands, topped by a bit that tells how many operands there are
    known_rules: dict[int, LiveRules] = field(default_factory=dict, repr=False)
    known_tangent_rules: dict[int, LiveRules] = field(default_factory=dict, repr=False)
    _derived: dict[str, Rule] | None = field(default=None, repr=False)

    __call__ = apply

    def __post_init__(self) -> None:
        self.__doc__ = self.forward.__doc__
        self.__name__ = self.name

    # -- reading ---------------------------------------------------------------------------------------------------

    @property
    def identity(self) -> Any:
        """What makes two ops the same where programs are compared, hashable: never the name alone.

        It is the object, or else the place of its declaration and what its forward closes over.
        """
        try:
            key = (
                self.name,
                self.package,
                self.origin,
                tuple(cell.cell_contents for cell in self.forward.__closure__ or ()),
            )
            hash(key)
        except (TypeError, ValueError):  # something unhashable, or not assigned yet
            return self
        return key

    @property
    def formula(self) -> str:
        """The first line of the docstring."""
        return (self.forward.__doc__ or "").strip().partition("\n")[0]

    @property
    def repeatable(self) -> bool:
        """Whether running it again on the same operands gives the same and touches nothing else."""
        return self.kind not in ("random", "collective")

    def operand_at(self, position: int) -> Operand:
        """The operand that the input at `position` belongs to."""
        operands = self.signature.operands
        return operands[min(position, len(operands) - 1)]

    def reverse_rule(self, name: str) -> Rule | None:
        """The vector-Jacobian rule for an operand: its own, or, for a plugin's op that has none at all, a derived one.

        A derived rule looks through the forward when it runs, and raises where that is not made of ops.
        """
        if name in self.rules or self.rules or not self.entered or name in self.nondifferentiable:
            return self.rules.get(name)
        if self._derived is None:
            self._derived = {}
        found = self._derived.get(name)
        if found is None:
            found = self._derived[name] = doors.derived_rule(self, name)
        return found

    def is_variadic(self, name: str) -> bool:
        return any(operand.variadic for operand in self.signature.operands if operand.name == name)

    def of_numbers(self, *numbers: object, **settings: object) -> Any:
        """What Python makes of Python numbers, where the result is a number of Python's again."""
        result = self.facts.get("number", self.forward)(*numbers, **settings)
        return result.item() if isinstance(result, np.generic) else result

    def setting(self, settings: dict[str, Any], name: str) -> Any:
        """A setting's value, or its default."""
        return settings[name] if name in settings else self.signature.settings[name]

    def live_rules(self, mask: int, count: int, tangents: bool) -> LiveRules:
        """The live rules for the inputs in `mask`, worked out once."""
        known = self.known_tangent_rules if tangents else self.known_rules
        key = mask | 1 << count
        found = known.get(key)
        if found is None:
            found = known[key] = LiveRules(self, mask, count, tangents)
        return found

    @property
    def distribution(self) -> str:
        """What to install for this op."""
        return distribution_of(self.package)

    # -- attaching rules -------------------------------------------------------------------------------------------

    def vjp(self, *operands: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Attach the vector-Jacobian rule for an operand: `rule(g, ...)` returns the operand's cotangent.

        Given several operands, or a variadic one, the rule returns a tuple, None where nothing flows; it may ask for
        `wanted`, the places in it that somebody wants.
        """
        return self._attach(self.rules, operands, "g")

    def jvp(self, operand: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Attach a forward-mode rule: `rule(t, ...)` returns what a tangent `t` of the operand makes of the output.

        For a variadic operand `t` is a tuple, with zeros for what does not move (None, of ops with
        subgraphs).
        """
        return self._attach(self.tangent_rules, (operand,), "t")

    def adds(self, operand: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
        """Attach how the vector-Jacobian rule of an operand adds its result to an array: `rule(total, g, ...)`.

        It asks for what that rule asks for, in the same order, and adds to `total`, of the operand's type, in place.
        An eager pass then has one array for the gradients of all uses of a tensor, where the rule would make one of
        mostly zeros for each: of a slice, of an element.
        """
        rule = self.rules.get(operand)
        if rule is None or len(rule.serves) > 1:
            raise RuleError(
                f"op {self.name!r} has no rule for operand {operand!r} alone, whose result could be added"
            )

        def attach(function: Callable[..., None]) -> Callable[..., None]:
            asked = tuple(inspect.signature(function).parameters)
            if asked[2:] != rule.asks:
                raise RuleError(
                    f"{function.__name__!r} of op {self.name!r} must take (total, g, {', '.join(rule.asks)}), as its "
                    f"rule for {operand!r} does; it takes ({', '.join(asked)})"
                )
            self.rules[operand] = rule._replace(adds=function)
            self.known_rules.clear()
            return function

        return attach

    def pushes(self, *operands: str) -> None:
        """Say that the op itself is the forward-mode rule of operands: applied to the tangent and the other operands.

        So it is where the op is linear in an operand and adds nothing that does not depend on it.

        >>> @op(kind="shape", linear="x", declare=False)
        ... def mirrored(x):
        ...     return x[::-1]
        >>> mirrored.pushes("x")
        """
        for name in operands:
            self.jvp(name)(self._itself(name))

    def _itself(self, name: str) -> Callable[..., Any]:
        """The op as a rule of a tangent, of its other operands and its settings."""
        others = [one.name for one in self.signature.operands if one.name != name]
        asked = [*others, *self.signature.settings]

        def along(t: Numeric, *asked_for: Any) -> Any:
            found = dict(zip(asked, asked_for, strict=True)) | {name: t}
            operands: list[Any] = []
            for one in self.signature.operands:
                given = found.pop(one.name)
                operands += given if one.variadic else [given]
            return self(*operands, **found)

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        along.__signature__ = inspect.Signature([inspect.Parameter(one, kind) for one in ("t", *asked)])  # type: ignore[attr-defined]
        return along

    def _attach(
        self, rules: dict[str, Rule], operands: tuple[str, ...], first: str
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        known = [operand.name for operand in self.signature.operands]
        for operand in operands or ("",):
            if operand not in known:
                raise RuleError(
                    f"op {self.name!r} has no operand {operand!r} to attach a rule to; its operands are "
                    f"{', '.join(known)}"
                )
            if operand in rules:
                raise RuleError(f"op {self.name!r} already has a rule for operand {operand!r}")

        def attach(function: Callable[..., Any]) -> Callable[..., Any]:
            positional, asks = self._positional(function, first)
            rules.update(dict.fromkeys(operands, Rule(positional, operands, asks)))
            self.known_rules.clear()
            self.known_tangent_rules.clear()
            return function

        return attach

    def _positional(
        self, function: Callable[..., Any], first: str
    ) -> tuple[Callable[..., Any], tuple[str, ...]]:
        """The rule as a positional function, and the names it asks for after `first`."""
        parameters = list(inspect.signature(function).parameters.values())
        names = [parameter.name for parameter in parameters]
        operands = [operand.name for operand in self.signature.operands]
        allowed = [
            "out",
            "wanted",
            *operands,
            *(f"{name}_type" for name in operands),
            *self.signature.settings,
        ]
        where = f"rule {function.__name__!r} of op {self.name!r}"
        if not names or names[0] != first:
            meaning = "the output's cotangent" if first == "g" else "the operand's tangent"
            raise RuleError(f"{where} must take {first!r} first ({meaning}); it takes ({', '.join(names)})")
        for name in names[1:]:
            if name not in allowed:
                raise RuleError(
                    f"{where} asks for {name!r}, which the op does not have; a rule may ask for {', '.join(allowed)}"
                )
        keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        if not keywords:
            return function, tuple(names[1:])
        split = len(names) - len(keywords)

        def positional(*arguments: object) -> Any:
            return function(*arguments[:split], **dict(zip(keywords, arguments[split:], strict=True)))

        positional.__name__ = function.__name__
        positional.__wrapped__ = function  # type: ignore[attr-defined]  # where its source is
        return positional, tuple(names[1:])

    def types(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Attach the type rule: operand `ArrayType`s and settings to the output's `ArrayType` (or a tuple)."""
        self.type_rule, self.typed = function, True
        return function

    def expand(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Attach the expansion: operand `ArrayType`s and settings to an `Expansion`, or None where there is none.

        It says which elements of the operands make an element of the output, for drawings that zoom in that far.
        """
        self.expansion = function
        return function

    def lower(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Attach the door to compiled kernels: `lower(types, layouts, cpu)`."""
        self.lowering = function
        return function

    def view(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Attach the rule of a write to a view: `rule(value, x, ...)` returns x with `value` where the result lies.

        For ops that do not compute but show their first operand's memory, as NumPy's slices and transposes do.
        After `value` and the first operand it asks for settings by name; `output` is the number of the output that is
        written, for ops with several.

        >>> @op(kind="shape", declare=False)
        ... def backwards(x):
        ...     return x[::-1]
        >>> @backwards.view
        ... def backwards_put(value, x):
        ...     return ops.flip(value, axis=0)
        """
        names = list(inspect.signature(function).parameters)
        first = self.signature.operands[0].name
        allowed = (*self.signature.settings, "output")
        if names[:2] != ["value", first] or not set(names[2:]) <= set(allowed):
            raise RuleError(
                f"rule {function.__name__!r} of op {self.name!r} must take 'value' and {first!r} first, then any of "
                f"{', '.join(allowed)}; it takes ({', '.join(names)})"
            )

        def put(value: object, x: object, settings: dict[str, Any], output: int | None) -> Any:
            given = [output if name == "output" else self.setting(settings, name) for name in names[2:]]
            return function(value, x, *given)

        self.put = put
        return function

    @overload
    def emit(self, function: Callable[..., Any], /) -> Callable[..., Any]: ...

    @overload
    def emit(
        self,
        /,
        *,
        conditions: str | Sequence[str] = ...,
        bools: bool = ...,
        integers: bool = ...,
        fits: Callable[..., bool] | None = ...,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...

    def emit(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        conditions: str | Sequence[str] = (),
        bools: bool = False,
        integers: bool = False,
        fits: Callable[..., bool] | None = None,
    ) -> Callable[..., Any]:
        """Attach what an elementwise op emits in the kernel language: `rule(code, *operands, **settings)` -> value.

        The op then becomes part of generated loops. A rule holds for scalars and vectors, float32 and float64 alike;
        its operands have one dtype, into which bools are cast (float64, if all are). It gets all settings.

        Args:
            conditions: operands of which only the truth counts; the rule gets them as bools.
            bools: whether the rule also holds for operands that are all bools.
            integers: whether it also holds for int64, as single numbers are: of arrays of integers NumPy computes.
            fits: operand types and settings to whether the rule holds for them; for all of them by default.

        Raises:
            RuleError: a condition that is no operand, or a second rule.

        >>> @op(kind="elementwise", declare=False)
        ... def tripled(x):
        ...     return 3 * x
        >>> @tripled.emit
        ... def tripled_emitted(code, x):
        ...     return code.multiply(x, code.constant(3, x))
        """
        names = [operand.name for operand in self.signature.operands]
        for one in _names(conditions):
            if one not in names:
                raise RuleError(
                    f"op {self.name!r}: conditions={one!r} is no operand; they are {', '.join(names)}"
                )
        if self.emission is not None:
            raise RuleError(f"op {self.name!r} already has a rule for what it emits")

        def attach(function: Callable[..., Any]) -> Callable[..., Any]:
            places = tuple(map(names.index, _names(conditions)))
            self.emission = Emission(function, places, bools, integers, fits)
            return function

        return attach if function is None else attach(function)

    def batch(self, rule: Family | Callable[..., Any]) -> Any:
        """Attach what the op does to many examples at once, for `tg.vmap`: `rule(batched, *operands, **settings)`.

        `batched` says of each operand whether it has a batch axis, which is then in front; the results must have it in
        front. All settings are given. Elementwise ops and reductions need no rule; instead of one of its own an op may
        take that of a family: `op.batch(along("axis"))`, `op.batch(leading)`, `op.batch(joined)`, `op.batch(stacked)`.

        >>> @op(kind="shape", declare=False)
        ... def reversed_rows(x):
        ...     return x[..., ::-1]
        >>> @reversed_rows.batch
        ... def reversed_rows_batched(batched, x):
        ...     return reversed_rows(x)
        """
        from tinygraph.core.batching import Family

        if isinstance(rule, Family):
            self.batching = rule.rule
            return rule
        names = list(inspect.signature(rule).parameters)
        if names[:1] != ["batched"]:
            raise RuleError(
                f"rule {rule.__name__!r} of op {self.name!r} must take 'batched' first, which says of each operand "
                f"whether it has a batch axis; it takes ({', '.join(names)})"
            )

        def batching(
            op: Op, batched: Sequence[bool], operands: Sequence[Any], settings: dict[str, Any]
        ) -> Any:
            return rule(tuple(batched), *operands, **settings)

        self.batching = batching
        return rule

    def cost(self, function: Callable[..., int]) -> Callable[..., int]:
        """Attach the number of floating-point operations: operand `ArrayType`s and settings to an int.

        Only needed where it does not follow from the expansion or the kind. The docstring says it in words.
        """
        self.cost_rule = function
        return function

    def numpy(self, *functions: object) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Attach a form with NumPy's own arguments, for the NumPy functions this op stands for."""

        def attach(adapter: Callable[..., Any]) -> Callable[..., Any]:
            for function in functions:
                registry.stand_for(function, self, adapter)
            self.numpy_functions += functions
            return adapter

        return attach

    def __repr__(self) -> str:
        return f"<op {self.name}: {self.formula}>" if self.formula else f"<op {self.name}>"


@overload
def op(function: Callable[..., Any], /) -> Op: ...


@overload
def op(
    *,
    kind: str = ...,
    name: str | None = ...,
    numpy: object = ...,
    types: str | None = ...,
    linear: str | Sequence[str] = ...,
    nondifferentiable: str | Sequence[str] = ...,
    facts: Mapping[str, Any] = ...,
    samples: Sequence[Sample] = ...,
    error_samples: Sequence[ErrorSample] = ...,
    declare: bool = ...,
) -> Callable[[Callable[..., Any]], Op]: ...


def op(
    function: Callable[..., Any] | None = None,
    /,
    *,
    kind: str = "other",
    name: str | None = None,
    numpy: object = None,
    types: str | None = None,
    linear: str | Sequence[str] = (),
    nondifferentiable: str | Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
    samples: Sequence[Sample] = (),
    error_samples: Sequence[ErrorSample] = (),
    declare: bool = True,
) -> Op | Callable[[Callable[..., Any]], Op]:
    """Declare an op: decorate its NumPy forward function.

    Args:
        kind: one of `KINDS`. "elementwise" ops broadcast, and their forward mode follows from the VJP directly.
        name: the op's name; the function's by default.
        numpy: the NumPy function, or several, with the same operands that this op stands for.
        types: a family of type rules ("elementwise", "reduction", "like_first"); follows from `kind` where it can.
        linear, nondifferentiable: operand names, see `Op`.
        facts: see `Op`.
        samples, error_samples: what the op is tested with.
        declare: False for an op that is not entered in the registry (made for one call, or under test).

    Raises:
        RuleError: a malformed signature or option.
        PluginError: the name is taken.

    >>> import numpy as np
    >>> @op(kind="elementwise", samples=[Sample([0.0, 2.0], expected=[0.0, 8.0])])
    ... def cubed(x):
    ...     return x**3
    >>> @cubed.vjp("x")
    ... def cubed_wrt_x(g, x):
    ...     return g * 3 * x**2
    """

    def make(function: Callable[..., Any]) -> Op:
        declared = _described(
            function,
            name=name or function.__name__,
            kind=kind,
            family=types,
            linear=_names(linear),
            nondifferentiable=_names(nondifferentiable),
            facts=dict(facts or {}),
            samples=tuple(samples),
            error_samples=tuple(error_samples),
        )
        if declare:
            declared.entered = True
            registry.declare(declared)
            for stood_for in numpy if isinstance(numpy, tuple | list) else () if numpy is None else (numpy,):
                registry.stand_for(stood_for, declared)
                declared.numpy_functions += (stood_for,)
                declared.numpy_twin = declared.numpy_twin or stood_for
        return declared

    return make if function is None else make(function)


def _described(
    function: Callable[..., Any],
    *,
    name: str,
    kind: str,
    family: str | None,
    linear: tuple[str, ...],
    nondifferentiable: tuple[str, ...],
    facts: dict[str, Any],
    samples: tuple[Sample, ...],
    error_samples: tuple[ErrorSample, ...],
) -> Op:
    """The op that a forward and its options describe, once they are checked; the registry does not know it yet."""
    if kind not in KINDS:
        raise RuleError(f"op {name!r}: kind {kind!r} is none of {', '.join(KINDS)}")
    signature, origin = _read(function)
    known = [operand.name for operand in signature.operands]
    for option, names in (("linear", linear), ("nondifferentiable", nondifferentiable)):
        for one in names:
            if one not in known:
                raise RuleError(f"op {name!r}: {option}={one!r} is no operand; they are {', '.join(known)}")
    for fact in facts:
        if fact not in FACTS:
            raise RuleError(f"op {name!r}: fact {fact!r} is none of {', '.join(FACTS)}")
    if family is not None and family not in FAMILIES:
        raise RuleError(f"op {name!r}: types={family!r} is none of {', '.join(FAMILIES)}")
    family = family or {"comparison": "elementwise"}.get(kind, kind)
    typed = family in FAMILIES
    return Op(
        name=name,
        forward=function,
        kind=kind,
        signature=signature,
        package=function.__module__.partition(".")[0],
        origin=origin,
        type_rule=FAMILIES[family](function) if typed else forward_types(function),
        typed=typed,
        linear=linear,
        nondifferentiable=nondifferentiable,
        facts=facts,
        samples=samples,
        error_samples=error_samples,
    )


def _read(function: Callable[..., Any]) -> tuple[Signature, Origin]:
    """What a forward's signature says, and where it stands: read once for the many ops that passes make of one."""
    code = function.__code__
    plain = not (function.__defaults__ or code.co_kwonlyargcount or vars(function))
    found = _known_forwards.get(code) if plain else None
    # code is equal where it does the same; where it stands may differ
    if found is None or (found[1].module, found[1].file) != (function.__module__, code.co_filename):
        origin = Origin(function.__module__, code.co_filename, code.co_firstlineno)
        found = Signature.of(function), origin
        if plain:
            _known_forwards[code] = found
    return found


# of forwards without defaults, whose code says all
_known_forwards: WeakKeyDictionary[CodeType, tuple[Signature, Origin]] = WeakKeyDictionary()


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


@dataclass(eq=False)
class Composite:
    """A named composition of ops: recorded op by op, shown as one group that a drawing can open."""

    name: str
    function: Callable[..., Any]
    package: str
    origin: Origin
    samples: tuple[Sample, ...] = ()
    error_samples: tuple[ErrorSample, ...] = ()
    numpy_functions: tuple[Any, ...] = ()
    kind: str = "composite"

    def __post_init__(self) -> None:
        self.__doc__ = self.function.__doc__
        self.__name__ = self.name
        self.__wrapped__ = self.function

    def __call__(self, *operands: object, **settings: object) -> Any:
        if not any(isinstance(x, Tensor) for x in operands):
            return self.function(*operands, **settings)
        own = modes.current.capture is not None and is_library(self.origin.file)
        with scope(CompositeName(self.name)), unwatched() if own else nullcontext():
            return self.function(*operands, **settings)

    def numpy(self, *functions: object) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Attach a form with NumPy's own arguments, for the NumPy functions this composite stands for."""

        def attach(adapter: Callable[..., Any]) -> Callable[..., Any]:
            for function in functions:
                registry.stand_for(function, self, adapter)
            self.numpy_functions += functions
            return adapter

        return attach

    @property
    def distribution(self) -> str:
        """What to install for this composite."""
        return distribution_of(self.package)

    @property
    def formula(self) -> str:
        """The first line of the docstring."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]

    def __repr__(self) -> str:
        return f"<composite {self.name}: {self.formula}>"


@overload
def composite(function: Callable[..., Any], /) -> Composite: ...


@overload
def composite(
    *,
    name: str | None = ...,
    numpy: object = ...,
    samples: Sequence[Sample] = ...,
    error_samples: Sequence[ErrorSample] = ...,
) -> Callable[[Callable[..., Any]], Composite]: ...


def composite(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    numpy: object = None,
    samples: Sequence[Sample] = (),
    error_samples: Sequence[ErrorSample] = (),
) -> Composite | Callable[[Callable[..., Any]], Composite]:
    """Declare a composition of ops under one name.

    `numpy` names a NumPy function with the same arguments as this one. Raises PluginError if the name is taken.
    """

    def declare(function: Callable[..., Any]) -> Composite:
        package = function.__module__.partition(".")[0]
        code = function.__code__
        declared = Composite(
            name=name or function.__name__,
            function=function,
            package=package,
            origin=Origin(function.__module__, code.co_filename, code.co_firstlineno),
            samples=tuple(samples),
            error_samples=tuple(error_samples),
        )
        registry.declare(declared)
        for stood_for in numpy if isinstance(numpy, tuple | list) else () if numpy is None else (numpy,):
            declared.numpy(stood_for)(declared)
        return declared

    return declare if function is None else declare(function)


@cache
def distribution_of(package: str) -> str:
    """The name to install for an import package: its distribution, or the package's own name."""
    from importlib import metadata  # 20 ms, and only asked for in reports

    # the entry point first: of an editable installation nothing else tells which packages it has
    for point in metadata.entry_points(group=ENTRY_POINT_GROUP):
        if point.value.partition(":")[0].partition(".")[0] == package and point.dist is not None:
            return point.dist.name
    found = metadata.packages_distributions().get(package)
    return found[0] if found else package
