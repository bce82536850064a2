"""A trial: one op on one sample, seen as a function of the operands through which gradients flow.

Laws are written in terms of trials. Every call gets fresh copies, so an op that writes into its operands spoils
nothing but its own result.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.core.engine import fetch, part_of
from tinygraph.core.node import Leaf, Node, edge_node
from tinygraph.core.op import Composite, Op, Sample
from tinygraph.core.state import default_generator
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import flatten
from tinygraph.core.types import Array, ArrayType, type_of
from tinygraph.testing.law import DoesNotApply
from tinygraph.transforms import vjp


class Trial:
    """One op, with operands and settings.

    Attributes:
        moving: positions of the real and complex operands that have a derivative rule (for a composite: all of them).
    """

    def __init__(self, op: Op | Composite, operands: Sequence[Any], settings: dict[str, Any]) -> None:
        self.op = op
        self.operands = tuple(operands)
        self.settings = settings
        self.moving = tuple(i for i, x in enumerate(self.operands) if _is_smooth(x) and _has_rule(op, i))
        # an op that draws random numbers draws the same ones in every call of a trial
        self._generator = default_generator.state

    @classmethod
    def of(cls, op: Op | Composite, sample: Sample) -> Trial:
        return cls(op, sample.operands, sample.settings)

    @classmethod
    def smooth(cls, op: Op | Composite, sample: Sample) -> Trial:
        """A trial for laws about derivatives.

        Raises:
            DoesNotApply: the sample lies at a kink, or no gradient flows through the op.
        """
        if not sample.smooth:
            raise DoesNotApply("the sample lies at a kink")
        return cls.of(op, sample).differentiable()

    def differentiable(self) -> Trial:
        """This trial, if any gradient flows through it."""
        if not self.moving:
            raise DoesNotApply("no operand of the sample has a derivative")
        if not self.outputs(*self.values):
            raise DoesNotApply("no output is real or complex")
        return self

    def changed(self, change: Callable[[Array], Any]) -> Trial:
        """The same trial with each operand replaced by `change(operand)`."""
        return Trial(self.op, [None if x is None else change(x) for x in self.operands], self.settings)

    def name(self, position: int) -> str:
        """What the operand at a position is called."""
        if isinstance(self.op, Op):
            return self.op.operand_at(position).name
        names = list(inspect.signature(self.op.function).parameters)
        return names[min(position, len(names) - 1)]

    # -- running ---------------------------------------------------------------------------------------------------

    @property
    def values(self) -> list[Array]:
        """Fresh copies of the moving operands."""
        return [_copy(self.operands[i]) for i in self.moving]

    def run(self, *operands: object) -> Any:
        """The op on the given operands, or on copies of its own."""
        chosen = operands or [None if x is None else _copy(x) for x in self.operands]
        default_generator.state = self._generator
        return self.op(*chosen, **self.settings)

    def results(self, *moving: object) -> list[Any]:
        """All outputs, with the moving operands replaced."""
        operands = [None if x is None else _copy(x) for x in self.operands]
        for i, value in zip(self.moving, moving, strict=True):
            operands[i] = value
        return flatten(self.run(*operands))[0]

    def outputs(self, *moving: object) -> tuple[Any, ...]:
        """The real and complex outputs, with the moving operands replaced."""
        return tuple(out for out in self.results(*moving) if _is_smooth(out))

    def gradient(self, weights: Sequence[Any], *moving: object) -> tuple[Any, ...]:
        """What reverse mode pulls the cotangents `weights` of the outputs back to."""
        _, pull = vjp(self.outputs, *(moving or self.values))
        found: tuple[Any, ...] = pull(tuple(weights))
        return found

    def weights(self, seed: int = 0) -> list[Array]:
        """Random cotangents for the outputs, none of them near zero."""
        return [random_like(out, seed + i) for i, out in enumerate(self.outputs(*self.values))]

    def scale(self, weights: Sequence[Any]) -> float:
        """The size of <weights, outputs>: results far below it are rounding."""
        return float(
            sum(np.sum(np.abs(w * out)) for w, out in zip(weights, self.outputs(*self.values), strict=True))
        )

    def directions(self, seed: int = 100) -> list[Array]:
        """Random tangents for the moving operands."""
        return [random_like(x, seed + i) for i, x in enumerate(self.values)]

    # -- looking inside --------------------------------------------------------------------------------------------

    def node(self) -> Node:
        """The node that the op records.

        Raises:
            DoesNotApply: it records none of its own: a composite, or nothing to differentiate.
        """
        if not isinstance(self.op, Op):
            raise DoesNotApply("a composite has no node of its own")
        made = [out for out in self.results(*map(leaf_tensor, self.values)) if isinstance(out, Tensor)]
        if not made or made[0]._edge is None:
            raise DoesNotApply("nothing is recorded for this sample")
        return edge_node(made[0]._edge)

    def cotangent(self, weights: Sequence[Any]) -> Any:
        """Cotangents of the real outputs as rules get them: a tuple if there are several outputs."""
        types, parts = self.node().types, iter(weights)
        if isinstance(types, ArrayType):
            return next(parts)
        return tuple(next(parts) if one.differentiable else None for one in types)

    def rule_results(self, weights: Sequence[Any]) -> dict[int, Any]:
        """What each derivative rule itself returns, by operand position, before the engine conforms it."""
        node, cotangent = self.node(), self.cotangent(weights)
        found = {}
        for rule in node.live_rules.backward:
            if rule.function is not None:
                result = rule.function(cotangent, *fetch(node, rule, node.saved))
                found.update(
                    {position: part_of(node, result, place, rule) for position, place in rule.serves}
                )
        return found


def leaf_tensor(value: object) -> Tensor:
    """A tensor that requires a gradient and holds the very array it is given."""
    leaf = Leaf(value, requires_grad=True)
    return Tensor(value, leaf, leaf)


def random_like(value: object, seed: int) -> Array:
    """Random numbers of a value's shape and dtype, of magnitude 0.5 to 1.5."""
    rng = np.random.default_rng(seed)
    types = type_of(value) if not isinstance(value, Tensor) else value.type
    made = rng.uniform(0.5, 1.5, types.shape) * rng.choice([-1.0, 1.0], types.shape)
    if types.dtype.kind == "c":
        made = made * np.exp(2j * np.pi * rng.uniform(size=types.shape))
    return np.asarray(made, types.dtype)


def array_of(value: object) -> Array:
    """A result as an array, whether it is one, a NumPy scalar or a tensor."""
    return np.asarray(value._value if isinstance(value, Tensor) else value)


def _copy(x: Any) -> Any:
    """A copy; but read-only and strided arrays are there to be tested as they are."""
    as_it_is = not isinstance(x, np.ndarray) or not x.flags.writeable or not x.flags.c_contiguous
    return x if as_it_is else x.copy()


def _is_smooth(x: object) -> bool:
    return hasattr(x, "dtype") and x.dtype.kind in "fc"  # Python numbers have none


def _has_rule(op: Op | Composite, position: int) -> bool:
    if not isinstance(op, Op):
        return True
    name = op.operand_at(position).name
    return name not in op.nondifferentiable and name in op.rules
