"""Laws about derivatives: right to second order in both modes, linear, closed, complete, and declared truly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.engine import conform
from tinygraph.core.op import Op
from tinygraph.core.types import type_of
from tinygraph.errors import RuleError
from tinygraph.testing.differences import Disagreement, disagreement, pulled_back, pushed_forward
from tinygraph.testing.law import DoesNotApply, Finding, LawBroken, apart, on_one_rule, on_op, on_samples
from tinygraph.testing.laws.values import same
from tinygraph.testing.likely_causes import likely_cause
from tinygraph.testing.trial import Trial, array_of
from tinygraph.transforms import jvp, vjp

if TYPE_CHECKING:
    from tinygraph.core.op import Sample
    from tinygraph.core.registry import AnyOp

TOLERANCE = 1e-7


@apart
@on_op
def rules_present(op: Op, sample: Sample) -> None:
    """Every operand that a sample shows to be real or complex has a VJP rule, or is declared nondifferentiable."""
    if not isinstance(op, Op):
        raise DoesNotApply("a composite has no rules of its own")
    missing = {
        op.operand_at(i).name
        for one in op.samples
        for i, x in enumerate(one.operands)
        if x is not None and x.dtype.kind in "fc"
    } - set(op.rules) - set(op.nondifferentiable)  # fmt: skip
    missing -= {
        name for name in missing if op.reverse_rule(name) is not None
    }  # other laws say whether it is right
    if missing and any(array_of(out).dtype.kind in "fc" for one in op.samples for out in _outputs(op, one)):
        name = min(missing)
        raise LawBroken(
            Finding(
                f"no VJP rule for {', '.join(sorted(missing))}",
                operand=name,
                cause=f"attach one with @{op.name}.vjp({name!r}), or declare nondifferentiable={name!r}",
            )
        )


@on_one_rule
@on_samples
def rule_shapes(op: Op, sample: Sample) -> None:
    """A rule returns the operand's shape, or one that the operand broadcasts to (the engine sums the rest)."""
    trial = Trial.smooth(op, sample)
    node = trial.node()
    for i, result in trial.rule_results(trial.weights()).items():
        if result is None or i not in trial.moving:
            continue
        try:
            conform(result, type_of(trial.operands[i]), node, i)
        except RuleError:
            stated, found = trial.operands[i], np.asarray(result)
            cause = likely_cause(found, stated)
            raise LawBroken(
                Finding(
                    "the rule's result cannot be the operand's gradient",
                    trial.name(i),
                    f"shape {stated.shape}",
                    f"shape {found.shape}",
                    cause,
                )
            ) from None


@on_one_rule
@on_samples
def first_derivatives(op: Op, sample: Sample) -> None:
    """Every VJP rule agrees with central differences of the forward."""
    trial = Trial.smooth(op, sample)
    weights = trial.weights()
    found = trial.gradient(weights)
    _compare(trial, trial.outputs, trial.values, weights, found, trial.scale(weights), "first derivative")


@on_samples
def second_derivatives(op: Op, sample: Sample) -> None:
    """The gradient, differentiated again by reverse mode, agrees with central differences of the gradient."""
    trial = Trial.smooth(op, sample)
    weights, directions = trial.weights(), trial.directions()
    count = len(trial.moving)

    def gradient(*values: object) -> tuple[Any, ...]:
        return trial.gradient(values[count:], *values[:count])

    values = [*trial.values, *weights]
    with np.errstate(all="ignore"):
        found = vjp(gradient, *values)[1](tuple(directions))
    scale = trial.scale(weights) + sum(
        np.sum(np.abs(d * g)) for d, g in zip(directions, gradient(*values), strict=True)
    )
    _compare(trial, gradient, values, directions, found, float(scale), "second derivative")


def _compare(
    trial: Trial,
    function: Callable[..., Sequence[Any]],
    values: list[Any],
    weights: list[Any],
    found: Sequence[Any],
    scale: float,
    what: str,
) -> None:
    """Compare what reverse mode found with differences, argument by argument."""
    findings = []
    for k, gradient in enumerate(found):

        def estimate(step: float, k: int = k) -> Any:
            return pulled_back(function, values, k, weights, step)

        off = disagreement(gradient, estimate, TOLERANCE, scale)
        if off is not None:
            findings.append(_finding(trial, function, values, weights, k, off, what))
    if findings:
        raise LawBroken(*findings)


def _finding(
    trial: Trial,
    function: Callable[..., Any],
    values: list[Any],
    weights: list[Any],
    k: int,
    off: Disagreement,
    what: str,
) -> Finding:
    second = what.startswith("second")
    if second and k >= len(trial.moving):
        what, operand = "the second derivative with respect to g, or the tangent, is wrong", "g"
    else:
        operand = trial.name(trial.moving[k])
        what = f"the {what} with respect to {operand} is wrong"
    others = {
        trial.name(i): pulled_back(function, values, j, weights) for j, i in enumerate(trial.moving) if j != k
    }
    cause = likely_cause(off.found, off.expected, others)
    if second:
        cause = f"the rule is not closed: it uses a constant or a detached value instead of a recorded one ({cause})"
    elif _one_sided(function, values, k, weights):
        cause = (
            "the sample lies at a kink (the slopes on its two sides differ): move it, or mark it smooth=False"
        )
    return Finding(what, operand, off.expected, off.found, cause)


def _one_sided(function: Callable[..., Any], values: list[Any], k: int, weights: list[Any]) -> bool:
    """Whether the slopes on the two sides of a point differ: then there is no derivative to find."""
    size = 1e-6
    with np.errstate(all="ignore"):
        here, up, down = (
            sum(
                float(np.sum(w * out).real)
                for w, out in zip(
                    weights, function(*values[:k], values[k] + move, *values[k + 1 :]), strict=True
                )
            )
            for move in (0.0, size, -size)
        )
    bend = abs(up - 2 * here + down) / size
    return bool(bend > 1e-2 * (abs(up - down) / size + 1e-3))


@on_one_rule
@on_samples
def linear_in_g(op: Op, sample: Sample) -> None:
    """A VJP rule is linear in its cotangent: rule(a g + b h) = a rule(g) + b rule(h)."""
    trial = Trial.smooth(op, sample)
    g, h = trial.weights(1), trial.weights(50)
    left = trial.gradient([0.75 * a - 2.5 * b for a, b in zip(g, h, strict=True)])
    for i, found, a, b in zip(trial.moving, left, trial.gradient(g), trial.gradient(h), strict=True):
        expected = np.asarray(0.75 * a - 2.5 * b)
        if not same(found, expected, 1e-8, trial.scale(g) + trial.scale(h)):
            cause = "g appears squared, inside another function, in a comparison, or with a constant added"
            raise LawBroken(
                Finding("the rule is not linear in g", trial.name(i), expected, np.asarray(found), cause)
            )


@on_samples
def closed(op: Op, sample: Sample) -> None:
    """A rule that is given recorded tensors returns recorded tensors, through which g can be differentiated again."""
    trial = Trial.smooth(op, sample)
    weights, directions = trial.weights(), trial.directions()
    gradients, pull = vjp(lambda *cotangents: trial.gradient(cotangents), *weights)
    # G is linear in g, so <dG/dg, g> is G itself; operand by operand, to name the rule
    for k, (i, gradient) in enumerate(zip(trial.moving, gradients, strict=True)):
        alone = [d if j == k else np.zeros_like(d) for j, d in enumerate(directions)]
        found = sum(np.sum(w * back).real for w, back in zip(weights, pull(tuple(alone)), strict=True))
        expected = np.sum(gradient * directions[k]).real
        if not same(found, expected, 1e-8, trial.scale(weights)):
            cause = "it calls NumPy on .numpy() or a detached value; write it with operators and ops"
            raise LawBroken(
                Finding(
                    "the rule drops the graph of g",
                    trial.name(i),
                    np.asarray(expected),
                    np.asarray(found),
                    cause,
                )
            )


@on_samples
def forward_mode(op: AnyOp, sample: Sample) -> None:
    """Tangents pushed forward agree with differences along them, and are the transpose of the VJP."""
    trial = Trial.smooth(op, sample)
    directions, weights = trial.directions(), trial.weights()
    for k in range(len(trial.moving)):
        alone = [t if j == k else np.zeros_like(t) for j, t in enumerate(directions)]
        _, pushed = jvp(trial.outputs, trial.values, tuple(alone))
        outputs = trial.outputs(*trial.values)
        for n, found in enumerate(pushed):

            def estimate(step: float, n: int = n, alone: list[Any] = alone) -> Any:
                return pushed_forward(trial.outputs, trial.values, alone, step)[n]

            off = disagreement(found, estimate, TOLERANCE, float(np.max(np.abs(outputs[n]), initial=0.0)))
            if off is not None:
                name = trial.name(trial.moving[k])
                own = isinstance(op, Op) and name in op.tangent_rules
                cause = likely_cause(off.found, off.expected)
                raise LawBroken(
                    Finding(
                        f"the tangent of output {n} is wrong, from {'its own rule' if own else 'the transposed VJP'}",
                        name, off.expected, off.found, cause,
                    )
                )  # fmt: skip
    _, pushed = jvp(trial.outputs, trial.values, tuple(directions))
    forward = sum(np.sum(w * t).real for w, t in zip(weights, pushed, strict=True))
    backward = sum(np.sum(t * d).real for t, d in zip(trial.gradient(weights), directions, strict=True))
    size = sum(np.sum(np.abs(w * t)) for w, t in zip(weights, pushed, strict=True))
    if abs(forward - backward) > 1e-10 * (size + abs(backward) + 1e-3 * trial.scale(weights)):
        raise LawBroken(
            Finding(
                "<forward(t), g> differs from <t, reverse(g)>",
                expected=np.asarray(backward),
                found=np.asarray(forward),
            )
        )


@on_samples
def derivatives_of_tangents(op: AnyOp, sample: Sample) -> None:
    """A tangent from a forward-mode rule, differentiated by reverse mode, agrees with central differences of it."""
    trial = Trial.smooth(op, sample)
    if not (isinstance(op, Op) and op.tangent_rules):
        raise DoesNotApply("forward mode is derived from the VJP rules")
    count = len(trial.moving)

    def tangents(*values: object) -> tuple[Any, ...]:
        return tuple(jvp(trial.outputs, values[:count], values[count:])[1])

    values, weights = [*trial.values, *trial.directions()], trial.weights()
    with np.errstate(all="ignore"):
        found = vjp(tangents, *values)[1](tuple(weights))
    scale = trial.scale(weights) + sum(
        np.sum(np.abs(w * t)) for w, t in zip(weights, tangents(*values), strict=True)
    )
    _compare(trial, tangents, values, weights, found, float(scale), "second derivative")


@on_samples
def several_outputs(op: Op, sample: Sample) -> None:
    """Each output of several can be used alone, and the parts add up."""
    trial = Trial.smooth(op, sample)
    weights = trial.weights()
    if len(weights) < 2:
        raise DoesNotApply("the op has one differentiable output")
    parts = []
    for n, weight in enumerate(weights):
        _, pull = vjp(lambda *values, n=n: trial.outputs(*values)[n], *trial.values)
        parts.append(pull(weight))
    for i, expected, *alone in zip(trial.moving, trial.gradient(weights), *parts, strict=True):
        found = sum(alone[1:], start=alone[0])
        if not same(found, expected, 1e-9, trial.scale(weights)):
            cause = (
                "the rule treats the zeros that stand for an unused output's cotangent in a way of its own"
            )
            what = "the gradients through each output alone do not add up to the gradient through all"
            raise LawBroken(Finding(what, trial.name(i), np.asarray(expected), np.asarray(found), cause))


@apart
@on_samples
def declared_linear(op: AnyOp, sample: Sample) -> None:
    """Operands declared linear are: f(a x + (1-a) y) = a f(x) + (1-a) f(y), the other operands fixed."""
    if not isinstance(op, Op) or not op.linear:
        raise DoesNotApply("the op declares no operand linear")
    trial = Trial.of(op, sample)
    for i, x in enumerate(trial.operands):
        if x is None or x.dtype.kind not in "fc" or trial.name(i) not in op.linear:
            continue
        y = 0.9 - 1.7 * x
        mixed, first, second = (_outputs_with(trial, i, value) for value in (0.3 * x + 0.7 * y, x, y))
        for found, a, b in zip(mixed, first, second, strict=True):
            expected = np.asarray(0.3 * a + 0.7 * b)
            if not same(found, expected, 1e-4 if found.dtype in (np.float32, np.complex64) else 1e-9, 1e3):
                cause = f"take {trial.name(i)!r} out of linear=, by which explanations trace what an element can reach"
                raise LawBroken(Finding("not linear", trial.name(i), expected, np.asarray(found), cause))


@apart
@on_samples
def declared_nondifferentiable(op: AnyOp, sample: Any) -> None:
    """Real operands declared nondifferentiable have no influence to first order, away from kinks."""
    if not isinstance(op, Op) or not sample.smooth:
        raise DoesNotApply("a composite, or a sample at a kink")
    trial = Trial.of(op, sample)
    for i, x in enumerate(trial.operands):
        if x is None or x.dtype.kind not in "fc" or trial.name(i) not in op.nondifferentiable:
            continue

        def function(value: object, i: int = i) -> tuple[Any, ...]:
            return tuple(_outputs_with(trial, i, value))

        outputs = function(x)
        if not outputs:
            continue
        weights = [np.ones_like(out) for out in outputs]
        near, far = (pulled_back(function, [x], 0, weights, step) for step in (1e-4, 1e-3))
        slope = np.where(np.isclose(near, far, rtol=1e-2), near, 0.0)  # at a jump they differ tenfold
        if np.any(np.abs(slope) > 1e-6):
            cause = "its gradient would be silently zero: give it a rule instead"
            raise LawBroken(
                Finding("the operand does have a derivative", trial.name(i), slope, np.zeros_like(x), cause)
            )


def _outputs_with(trial: Trial, position: int, value: object) -> list[Any]:
    operands = list(trial.operands)
    operands[position] = value
    out = trial.run(*operands)
    return [one for one in (out if isinstance(out, tuple) else (out,)) if np.asarray(one).dtype.kind in "fc"]


def _outputs(op: Op, sample: Sample) -> Sequence[Any]:
    out = Trial.of(op, sample).run()
    return out if isinstance(out, tuple) else (out,)
