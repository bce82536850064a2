"""Derivative rules of one's own on plain functions: `custom_vjp` and `custom_jvp`, with JAX's habits.

A call is one node, whose op is made for it: its forward runs the function, its rules are the user's. The function, as a
graph, is its body, so that drawings and files open it. Under `tg.vmap` the function and its rules are mapped, so that
the rules are kept.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from tinygraph.core.batching import batch_size, spread
from tinygraph.core.bodies import Inside
from tinygraph.core.engine import ancestors
from tinygraph.core.graph import evaluate
from tinygraph.core.modes import mode, modes
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, entry_type, is_recorded
from tinygraph.core.op import Op, op
from tinygraph.core.registry import ops
from tinygraph.core.tensor import CapturedNumber, Tensor
from tinygraph.core.trees import Tree, flatten, parts_of
from tinygraph.core.types import ArrayType, as_value, type_of
from tinygraph.errors import CaptureError, RuleError, SettingError, TinygraphError
from tinygraph.tracing.examples import Example
from tinygraph.transforms.primals import leaf_names
from tinygraph.transforms.reverse import vjp
from tinygraph.transforms.vmapping import vmap

_ARRAYS = (Tensor, np.ndarray, np.generic)
_NUMBERS = (*_ARRAYS, bool, int, float, complex)


class _Rule(NamedTuple):
    """A function with rules of its own, on flat lists of arrays.

    Attributes:
        run: from the operands to (results, what `back` reads besides).
        back: from what `run` gave besides, and a cotangent for each result, to a gradient (or None) for each operand.
        push: from the operands and a tangent for each, in one list, to a tangent for each result.
    """

    name: str
    run: Callable[..., tuple[list[Any], list[Any]]]
    back: Callable[[Sequence[Any], Sequence[Any]], list[Any]] | None
    push: Callable[..., list[Any]] | None

    def mapped(self, batched: Sequence[bool]) -> _Rule:
        """The same of many examples, which some operands have along their first axis."""
        axes = tuple(0 if one else None for one in batched)
        back, push = self.back, self.push
        many = None if push is None else vmap(push, (*axes, *(0,) * len(axes)))

        def mapped_back(kept: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
            missing: set[int] = set()

            def one(kept: list[Any], cotangents: list[Any]) -> list[Any]:
                assert back is not None
                found = back(kept, cotangents)
                missing.update(i for i, gradient in enumerate(found) if gradient is None)
                return [gradient for gradient in found if gradient is not None]

            given = iter(vmap(one)(list(kept), list(cotangents)))
            found = [None if i in missing else next(given) for i in range(len(axes))]
            return [
                gradient if gradient is None or own else ops.sum(gradient, axis=0)
                for gradient, own in zip(found, batched, strict=True)
            ]

        def mapped_push(*given: object) -> list[Any]:
            assert many is not None
            operands, tangents = given[: len(axes)], given[len(axes) :]
            size = batch_size(batched, operands)
            moved = [t if own else spread(t, size) for t, own in zip(tangents, batched, strict=True)]
            found: list[Any] = many(*operands, *moved)
            return found

        return _Rule(
            self.name,
            vmap(self.run, axes),
            None if back is None else mapped_back,
            None if push is None else mapped_push,
        )


class _RuledCall:
    """One call of a function with rules of its own, as an op.

    Attributes:
        count: how many of the op's outputs are results; the others are what the backward rule reads.
    """

    def __init__(self, rule: _Rule, operands: Sequence[Any]) -> None:
        self.rule = rule
        self.count = 0
        self._lost: Tensor | None = None  # a result that carries a gradient to something outside
        self._operands = tuple(x.type if isinstance(x, Tensor) else type_of(x) for x in operands)
        self._body: tuple[Inside, list[Node]] | None = None
        self._types: tuple[ArrayType, ...] | None = None

    def __call__(self, operands: Sequence[Any]) -> list[Any]:
        """The results and what the backward rule reads."""
        if modes.current.capture is not None:
            self._body = self._captured()
        found = self._op()(*operands)
        if self._lost is not None:
            self._constant(self._lost)
        return list(found) if isinstance(found, tuple) else [found]

    def _op(self) -> Op:
        def forward(*xs: object) -> Any:
            values = self._evaluated(xs) if self._body is not None else self._ran(xs)
            self._types = tuple(map(type_of, values))
            return tuple(values) if len(values) != 1 else values[0]

        forward.__doc__ = f"{self.rule.name}, with a derivative rule of its own."
        made = op(name=self.rule.name, kind="composite", declare=False)(forward)
        made.facts = _Facts(self)
        made.types(self._output_types)
        if self.rule.push is None:
            made.vjp("xs")(lambda g, xs, out: self._pulled(g, xs, out))
        else:
            made.jvp("xs")(lambda t, xs: self._pushed(t, xs))
            made.vjp("xs")(lambda g, xs: self._transposed(g, xs))

        def batching(
            op: Op, batched: Sequence[bool], operands: Sequence[Any], settings: dict[str, Any]
        ) -> Any:
            found = applied(self.rule.mapped(batched), operands)[0]
            return tuple(found) if len(found) != 1 else found[0]

        made.batching = batching
        return made

    # -- forward ---------------------------------------------------------------------------------------------------

    def _ran(self, xs: Sequence[Any]) -> list[Any]:
        with mode(recording=True):  # the operands carry no gradient: what does so here came from outside
            results, kept = self.rule.run(*map(Tensor, xs))
        self.count = len(results)
        found = (*results, *kept)
        self._lost = next((x for x in found if isinstance(x, Tensor) and x.requires_grad), None)
        return [x._value if isinstance(x, Tensor) else as_value(x) for x in found]

    def _evaluated(self, xs: Sequence[Any]) -> list[Any]:
        assert self._body is not None
        inside, nodes = self._body
        found = {id(leaf): x for leaf, x in zip(inside.operands, xs, strict=True)}
        with mode(recording=False):
            evaluate(nodes, found, keep=inside.ends)
        values = []
        for end in inside.ends:
            value = found[id(edge_node(end))] if is_recorded(end) else end
            values.append(value[edge_index(end)] if isinstance(value, tuple) else value)
        return [as_value(x._value if isinstance(x, Tensor) else x) for x in values]

    def _output_types(self, *operands: object) -> Any:
        if self._types is None:
            inside, _ = self._body if self._body is not None else self._captured()
            self._types = tuple(ArrayType(*(entry_type(end))) for end in inside.ends)
        return self._types if len(self._types) != 1 else self._types[0]

    @property
    def body(self) -> Inside | None:
        """What the op consists of; None where the function's Python asks for values, so that it is no graph."""
        if self._body is None:
            count = self.count
            try:
                with mode(recording=True):
                    self._body = self._captured()
            except TinygraphError:
                return None
            finally:
                self.count = count
        return self._body[0]

    def _captured(self) -> tuple[Inside, list[Node]]:
        """The nodes of the function, found by running it on types.

        Raises:
            CaptureError: it reads a tensor from outside whose gradient would be lost.
        """
        example = Example(self.rule.name)
        given = [example.stand_in(one, f"x{i}") for i, one in enumerate(self._operands)]
        with example.running():
            results, kept = self.rule.run(*given)
        self.count = len(results)
        ends = [x._edge if example.depends(x) else self._constant(x) for x in (*results, *kept)]
        nodes = ancestors(edge_node(end) for end in ends if is_recorded(end))
        for node in nodes:
            for x in example.operands.get(id(node), ()):
                if not example.depends(x):
                    self._constant(x)
        leaves = tuple(x._leaf for x in given if x._leaf is not None)
        return Inside(leaves, tuple(ends)), nodes

    def _constant(self, x: object) -> Any:
        if isinstance(x, Tensor) and (x.requires_grad or x._value is None):
            computed = x is self._lost and not isinstance(x._edge, Leaf)  # the result, not what was read
            read = "a tensor that requires a gradient" if computed else f"{x!r:.80}"
            raise CaptureError(
                f"{self.rule.name} has a derivative rule of its own and reads {read} from outside, whose gradient "
                f"the rule does not give: pass it as an argument, or read tensor.detach()"
            )
        return x._value if isinstance(x, Tensor) else x if x is None else as_value(x)

    # -- derivatives -----------------------------------------------------------------------------------------------

    def _pulled(self, g: object, xs: Sequence[Any], out: object) -> tuple[Any, ...]:
        """What the user's rule makes of the cotangents; those of what it reads flow through the function's own ops."""
        cotangents, outs = (x if isinstance(x, tuple) else (x,) for x in (g, out))
        total: list[Any] = [None] * len(xs)
        if any(one is not None for one in cotangents[: self.count]):
            assert self.rule.back is not None
            full = [
                np.zeros(np.shape(one), one.dtype) if cotangent is None else cotangent
                for one, cotangent in zip(outs[: self.count], cotangents[: self.count], strict=True)
            ]
            total = self.rule.back(outs[self.count :], full)
        besides = {i: one for i, one in enumerate(cotangents[self.count :]) if one is not None}
        if besides:
            smooth = [i for i, x in enumerate(xs) if x.dtype.kind in "fcO"]

            def kept(*moving: object) -> list[Any]:
                full = list(xs)
                for i, x in zip(smooth, moving, strict=True):
                    full[i] = x
                found = self.rule.run(*full)[1]
                return [found[i] for i in besides]

            gradients = vjp(kept, *(xs[i] for i in smooth))[1](list(besides.values()))
            for i, gradient in zip(smooth, gradients, strict=True):
                total[i] = gradient if total[i] is None else ops.add(total[i], gradient)
        return tuple(total)

    def _pushed(self, t: Sequence[Any], xs: Sequence[Any]) -> Any:
        assert self.rule.push is not None
        found = self.rule.push(*xs, *t)
        return tuple(found) if len(found) != 1 else found[0]

    def _transposed(self, g: object, xs: Sequence[Any]) -> tuple[Any, ...]:
        """The gradient by a forward rule, which is linear in the tangents."""
        assert self.rule.push is not None
        push = self.rule.push
        cotangents = g if isinstance(g, tuple) else (g,)
        smooth = [i for i, x in enumerate(xs) if x.dtype.kind in "fcO"]
        zeros = [np.zeros(np.shape(x), x.dtype) for x in xs]
        given = [i for i, one in enumerate(cotangents) if one is not None]

        def along(*moving: object) -> list[Any]:
            tangents: list[Any] = list(zeros)
            for i, t in zip(smooth, moving, strict=True):
                tangents[i] = t
            found = push(*xs, *tangents)
            return [found[i] for i in given]

        gradients = vjp(along, *(zeros[i] for i in smooth))[1]([cotangents[i] for i in given])
        found: list[Any] = [None] * len(xs)
        for i, gradient in zip(smooth, gradients, strict=True):
            found[i] = gradient
        return tuple(found)


class _Facts(Mapping[str, Any]):
    """The facts of the op of a call: that it has a body, found when somebody asks for it, and a rule of its own."""

    def __init__(self, call: _RuledCall) -> None:
        self._call = call

    def __getitem__(self, name: str) -> Any:
        if name == "own_rule":
            return True
        if name != "body":
            raise KeyError(name)
        return self._call.body

    def __iter__(self) -> Iterator[str]:
        return iter(("body", "own_rule"))

    def __len__(self) -> int:
        return 2


def applied(rule: _Rule, operands: Sequence[Any]) -> tuple[list[Any], int]:
    """What a function with rules of its own gives, and how many of it are results: one node where it is recorded."""
    captured = modes.current.capture is not None
    if any(isinstance(x, Tensor) and (captured or x._edge is not None) for x in operands) and (
        captured or modes.current.recording
    ):
        call = _RuledCall(rule, operands)
        found = call(operands)
        return found, call.count
    results, kept = rule.run(*operands)
    return [*results, *kept], len(results)


# -- on plain functions ------------------------------------------------------------------------------------------------


class _Custom:
    """A function with a derivative rule of its own."""

    _what = "custom_vjp"

    def __init__(self, function: Callable[..., Any], nondiff_argnums: int | Sequence[int] = ()) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)
        self.nondiff_argnums = (
            (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)
        )

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """The function's result, whose derivative is that of the rule."""
        given = self._positional(args, kwargs)
        fixed = {i % len(given) for i in self.nondiff_argnums if -len(given) <= i < len(given)}
        arguments = _Arguments(self.name, given, fixed)
        if not any(isinstance(x, Tensor) for x in arguments.operands):
            return self.function(*given)
        state: dict[str, Tree] = {}
        found, count = applied(self._rule(arguments, state), arguments.operands)
        return state["result"].unflatten(found[:count])

    def _positional(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        if not kwargs:
            return list(args)
        bound = inspect.signature(self.function).bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise SettingError(
                f"{self.name} has a derivative rule of its own, which takes arguments by position: it cannot take "
                f"{', '.join(bound.kwargs)} by keyword"
            )
        return list(bound.args)

    def _rule(self, arguments: _Arguments, state: dict[str, Tree]) -> _Rule:
        raise NotImplementedError

    def _results(self, result: object, state: dict[str, Tree]) -> list[Any]:
        leaves, state["result"] = flatten(result)
        for leaf in leaves:
            if not isinstance(leaf, _NUMBERS):
                raise RuleError(
                    f"{self.name} must return arrays, or containers of them, not {type(leaf).__name__}"
                )
        return leaves

    def _missing(self, how: str) -> RuleError:
        return RuleError(f"{self.name} is a {self._what} without a rule: give it one with {self.name}.{how}")


class _Arguments:
    """The arguments of one call: which are differentiated, and the arrays in them.

    Attributes:
        operands: the arrays among the leaves of those that are differentiated.
        fixed: the others, in order.
        names: what messages call the operands.
    """

    def __init__(self, name: str, given: Sequence[Any], fixed: set[int]) -> None:
        self._given, self._fixed = list(given), fixed
        self.chosen = [i for i in range(len(given)) if i not in fixed]
        self.fixed = [given[i] for i in sorted(fixed)]
        for i in sorted(fixed):
            if any(isinstance(x, Tensor) and x.requires_grad for x in flatten(given[i])[0]):
                raise SettingError(
                    f"{name}: argument {i} is one of nondiff_argnums, and got a tensor that requires a gradient, which "
                    f"would be lost: differentiate it, or pass tensor.detach()"
                )
        self._leaves, self.tree = flatten(tuple(given[i] for i in self.chosen))
        numbers = [isinstance(x, CapturedNumber) for x in self._leaves]
        self.places = [i for i, x in enumerate(self._leaves) if isinstance(x, _ARRAYS) or numbers[i]]
        self.operands = [self._leaves[i] for i in self.places]
        names = leaf_names(self.tree, [f"argument {i}" for i in self.chosen])
        self.names = [names[i] for i in self.places]

    def differentiated(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments that are differentiated, with other arrays in the place of the operands."""
        leaves = list(self._leaves)
        for i, value in zip(self.places, values, strict=True):
            leaves[i] = value
        found: tuple[Any, ...] = self.tree.unflatten(leaves)
        return found

    def all(self, values: Sequence[Any]) -> list[Any]:
        """All arguments, with other arrays in the place of the operands."""
        full = list(self._given)
        for i, value in zip(self.chosen, self.differentiated(values), strict=True):
            full[i] = value
        return full

    def parts(self, given: object, what: str, types: Sequence[ArrayType]) -> list[Any]:
        """What a rule returned for the arguments that are differentiated, as one entry for each operand.

        Raises:
            RuleError: it has another structure, or another shape, naming the argument.
        """
        if not isinstance(given, tuple | list) or len(given) != len(self.chosen):
            shown = (
                f"{len(given)} values" if isinstance(given, tuple | list) else f"one {type(given).__name__}"
            )
            raise RuleError(
                f"{what} must return a tuple with a gradient for each of the {len(self.chosen)} argument(s) that are "
                f"differentiated (None where nothing flows); it returned {shown}"
            )
        found: list[Any] = []
        for number, one, child in zip(self.chosen, given, self.tree.children, strict=True):
            leaves = _like(one, child)
            if leaves is None:
                raise RuleError(
                    f"{what} returned {flatten(one)[1]} as the gradient of argument {number}, which has the structure "
                    f"{child}"
                )
            found += leaves
        found = [found[i] for i in self.places]
        for gradient, types_of, name in zip(found, types, self.names, strict=True):
            if gradient is not None and types_of.differentiable and np.shape(gradient) != types_of.shape:
                raise RuleError(
                    f"{what} returned shape {np.shape(gradient)} as the gradient of {name}, which is {types_of}"
                )
        return found


def _like(given: object, tree: Tree) -> list[Any] | None:
    """The leaves of what a rule returned for a container, None where nothing flows; None if it is built otherwise."""
    if given is None:
        return [None] * tree.count
    parts = parts_of(given)
    if not tree.children:
        return [given] if tree.count and parts is None else [] if not tree.count and not parts else None
    if parts is None or len(parts) != len(tree.children):
        return None
    if isinstance(given, dict):
        if set(given) != set(tree.keys):
            return None
        parts = [given[key] for key in tree.keys]
    found: list[Any] = []
    for part, child in zip(parts, tree.children, strict=True):
        leaves = _like(part, child)
        if leaves is None:
            return None
        found += leaves
    return found


class custom_vjp(_Custom):
    """A function with a backward rule of its own, as a decorator.

    Args:
        function: takes arguments by position: arrays, containers of them, and others; returns arrays or a container.
        nondiff_argnums: positions of arguments that are not differentiated.

    Give the rule with `defvjp(fwd, bwd)`. `fwd` takes the arguments of the function and returns its result and what
    `bwd` needs of them; `bwd(*nondiff, residuals, cotangent)` returns a tuple with a gradient for each argument that is
    differentiated, None where nothing flows. A call is one node, is captured and compiled, can be differentiated again,
    and keeps its rule under `tg.vmap`. What the function reads from outside gets no gradient, and must need none. Files
    hold no rules of Python's: saving a graph with such a call is refused.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> @custom_vjp
    ... def clipped(x):
    ...     return x
    >>> clipped.defvjp(lambda x: (x, None), lambda kept, g: (np.clip(g, -1.0, 1.0),))
    >>> float(tg.grad(lambda x: 10 * clipped(x))(2.0))
    1.0
    """

    _forward: Callable[..., Any] | None = None
    _backward: Callable[..., Any] | None = None
    _inside: ContextVar[bool]

    def __init__(self, function: Callable[..., Any], nondiff_argnums: int | Sequence[int] = ()) -> None:
        super().__init__(function, nondiff_argnums)
        self._inside = ContextVar(f"inside the fwd of {self.name}", default=False)

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Give the rule; see the class."""
        self._forward, self._backward = fwd, bwd

    def _rule(self, arguments: _Arguments, state: dict[str, Tree]) -> _Rule:
        backward = self._backward
        if self._forward is None or backward is None:
            raise self._missing("defvjp(fwd, bwd)")
        types = [x.type if isinstance(x, Tensor) else type_of(x) for x in arguments.operands]
        plain: list[Any] = []  # what is kept and no array

        def run(*values: object) -> tuple[list[Any], list[Any]]:
            found = self._forwarded(arguments.all(values))
            if not isinstance(found, tuple) or len(found) != 2:
                raise RuleError(
                    f"the fwd of {self.name} must return (result, what bwd needs), not {flatten(found)[1]}"
                )
            kept, state["kept"] = flatten(found[1])
            plain[:] = [None if isinstance(x, _ARRAYS) else x for x in kept]
            return self._results(found[0], state), [x for x in kept if isinstance(x, _ARRAYS)]

        def back(kept: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
            arrays = iter(kept)
            residuals = [next(arrays) if x is None else x for x in plain]
            found = backward(
                *arguments.fixed,
                state["kept"].unflatten(residuals),
                state["result"].unflatten(list(cotangents)),
            )
            return arguments.parts(found, f"the bwd of {self.name}", types)

        def run_inside(*values: object) -> tuple[list[Any], list[Any]]:
            return self._results(self.function(*arguments.all(values)), state), list(values)

        def back_inside(kept: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
            return back(run(*kept)[1], cotangents)

        if self._inside.get():  # fwd calls the function itself: what it keeps is found when it is asked for
            return _Rule(self.name, run_inside, back_inside, None)
        return _Rule(self.name, run, back, None)

    def _forwarded(self, given: Sequence[Any]) -> Any:
        """What fwd gives; a call of the function in there runs the function."""
        assert self._forward is not None
        before = self._inside.set(True)
        try:
            return self._forward(*given)
        finally:
            self._inside.reset(before)


class custom_jvp(_Custom):
    """A function with a forward rule of its own, as a decorator; the backward rule is its transpose.

    Args:
        function, nondiff_argnums: as for `custom_vjp`.

    Give the rule with `@f.defjvp`: `rule(*nondiff, primals, tangents)` returns the function's result and its tangent,
    which must be linear in the tangents; or with `f.defjvps(*rules)`, one for each argument,
    `rule(t, out, *arguments)`, None where nothing flows.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> @custom_jvp
    ... def safe_log(x):
    ...     return np.log(x)
    >>> @safe_log.defjvp
    ... def safe_log_along(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return safe_log(x), t / np.maximum(x, 0.1)
    >>> float(tg.grad(safe_log)(0.01))
    10.0
    """

    _what = "custom_jvp"
    _along: Callable[..., Any] | None = None

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Give the rule; see the class."""
        self._along = rule
        return rule

    def defjvps(self, *rules: Callable[..., Any] | None) -> None:
        """Give a rule for each argument; see the class."""

        def along(*given: Any) -> Any:
            *fixed, primals, tangents = given
            if fixed or len(rules) != len(primals):
                raise RuleError(f"{self.name}.defjvps needs a rule for each argument, and no nondiff_argnums")
            out = self(*primals)
            parts = [
                rule(t, out, *primals) for rule, t in zip(rules, tangents, strict=True) if rule is not None
            ]
            return out, functools.reduce(ops.add, parts) if parts else ops.multiply(out, 0)

        self._along = along

    def _rule(self, arguments: _Arguments, state: dict[str, Tree]) -> _Rule:
        along = self._along
        if along is None:
            raise self._missing("defjvp(rule)")

        def run(*values: object) -> tuple[list[Any], list[Any]]:
            return self._results(self.function(*arguments.all(values)), state), []

        def push(*given: object) -> list[Any]:
            count = len(arguments.places)
            primals = arguments.differentiated(given[:count])
            found = along(*arguments.fixed, primals, arguments.differentiated(given[count:]))
            if not isinstance(found, tuple) or len(found) != 2:
                raise RuleError(
                    f"the jvp rule of {self.name} must return (result, tangent), not {flatten(found)[1]}"
                )
            results, tangents = (flatten(one)[0] for one in found)
            if len(results) != len(tangents):
                raise RuleError(
                    f"the jvp rule of {self.name} returned a tangent of the structure {flatten(found[1])[1]} for a "
                    f"result of {flatten(found[0])[1]}"
                )
            for out, tangent in zip(results, tangents, strict=True):
                if np.shape(out) != np.shape(tangent):
                    raise RuleError(
                        f"the jvp rule of {self.name} returned a tangent of shape {np.shape(tangent)} for a result of "
                        f"shape {np.shape(out)}"
                    )
            return tangents

        return _Rule(self.name, run, None, push)
