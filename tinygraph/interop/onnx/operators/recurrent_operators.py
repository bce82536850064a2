"""Recurrent operators: RNN, GRU and LSTM, each direction one `scan` over the steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.core.subgraphs import Subgraph
from tinygraph.core.types import ArrayType
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.operators.operator_table import Call, Operand, dtype, operator, shape

Function = Callable[[Any], Any]
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_USUAL = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}


def _activation(name: str, alpha: float | None, beta: float | None) -> Function:
    """One of the functions that gates may have."""

    def of(value: float | None, usual: float) -> float:
        return usual if value is None else value

    known: dict[str, Function] = {
        "relu": lambda x: ops.relu(x), "tanh": np.tanh, "sigmoid": lambda x: ops.sigmoid(x),
        "softsign": lambda x: x / (1 + np.abs(x)), "softplus": lambda x: ops.softplus(x, threshold=np.inf),
        "affine": lambda x: x * of(alpha, 1.0) + of(beta, 0.0),
        "leakyrelu": lambda x: ops.leaky_relu(x, negative_slope=of(alpha, 0.01)),
        "thresholdedrelu": lambda x: np.where(np.greater(x, of(alpha, 1.0)), x, 0 * x),
        "scaledtanh": lambda x: np.tanh(x * of(beta, 1.0)) * of(alpha, 1.0),
        "hardsigmoid": lambda x: np.clip(x * of(alpha, 0.2) + of(beta, 0.5), 0.0, 1.0),
        "elu": lambda x: ops.elu(x, alpha=of(alpha, 1.0)),
    }  # fmt: skip
    if name.lower() not in known:
        raise FileFormatError(f"the activation {name!r:.60} is not known")
    return known[name.lower()]


@operator("RNN", "GRU", "LSTM")
def _recurrent(
    call: Call,
    x: Operand,
    w: Operand,
    r: Operand,
    b: Operand = None,
    lengths: Operand = None,
    h: Operand = None,
    c: Operand = None,
    p: Operand = None,
) -> Any:
    """All steps' outputs, and the last states. Steps beyond a sequence's length leave the state, and give zeros."""
    x = np.swapaxes(x, 0, 1) if call.get("layout", 0) else x
    if call.get("layout", 0):
        h, c = (None if one is None else np.swapaxes(one, 0, 1) for one in (h, c))
    direction = call.get("direction", "forward")
    count = 2 if direction == "bidirectional" else 1
    parts = [
        _direction(call, d, direction == "reverse" or d == 1, x, w, r, b, lengths, h, c, p)
        for d in range(count)
    ]
    steps = np.stack([one[0] for one in parts], axis=1)
    last = [np.stack([one[i] for one in parts], axis=0) for i in range(1, len(parts[0]))]
    if call.get("layout", 0):
        return np.transpose(steps, (2, 0, 1, 3)), *(np.swapaxes(one, 0, 1) for one in last)
    return steps, *last


def _direction(
    call: Call,
    d: int,
    reverse: bool,
    x: Operand,
    w: Operand,
    r: Operand,
    b: Operand,
    lengths: Operand,
    h: Operand,
    c: Operand,
    p: Operand,
) -> tuple[Any, ...]:
    """The outputs of all steps, and the last states, of one direction."""
    kind, hidden = call.op_type, shape(r)[-1]
    length, batch = shape(x)[:2]
    gates, names = _GATES[kind], call.get("activations") or _USUAL[kind] * 2
    each = len(_USUAL[kind])
    alphas, betas = call.get("activation_alpha", ()), call.get("activation_beta", ())
    functions = [
        _activation(names[i], *(values[i] if i < len(values) else None for values in (alphas, betas)))
        for i in range(d * each, (d + 1) * each)
    ]
    zero = np.zeros((batch, hidden), dtype(x))
    carries = [zero if one is None else one[d] for one in ((h, c) if kind == "LSTM" else (h,))]
    bias = b[d] if b is not None else np.zeros(2 * gates * hidden, dtype(x))
    of_input, of_state = bias[: gates * hidden], bias[gates * hidden :]
    read = [np.transpose(r[d]), of_state, *([p[d]] if p is not None else [])]
    projected = np.matmul(x, np.transpose(w[d])) + of_input
    cell = _cell(call, functions, hidden)
    slices = [projected]
    if lengths is not None:
        slices.append(np.less(np.arange(length)[:, None], lengths)[..., None])

    def step(*operands: Operand) -> list[Any]:
        state, inputs = list(operands[: len(carries)]), operands[len(carries) :]
        new = cell(state, inputs[0], inputs[len(slices) :])
        if lengths is not None:
            new = [np.where(inputs[1], one, old) for one, old in zip(new, state, strict=True)]
        shown = np.where(inputs[1], new[0], 0 * new[0]) if lengths is not None else new[0]
        return [*new, shown]

    types = [_type(one) for one in carries]
    types += [ArrayType(shape(one)[1:], dtype(one)) for one in slices] + [_type(one) for one in read]
    if not any(hasattr(one, "_edge") for one in (*carries, *slices, *read)):
        return tuple(_folded(step, carries, slices, read, length, reverse))
    body = Subgraph.of(step, types, kind)
    found = ops.scan(
        *carries,
        *slices,
        *read,
        body=body,
        carries=len(carries),
        slices=len(slices),
        length=length,
        reverse=reverse,
    )
    return (found[-1], *found[:-1])


def _folded(
    step: Operand, carries: list[Any], slices: list[Any], read: list[Any], length: int, reverse: bool
) -> Any:
    """All is known: the steps are run while the file is read."""
    made: list[Any] = [None] * length
    for t in reversed(range(length)) if reverse else range(length):
        *carries, made[t] = step(*carries, *(one[t] for one in slices), *read)
    return np.stack(made), *carries


def _type(x: Operand) -> ArrayType:
    return ArrayType(shape(x), dtype(x))


def _cell(
    call: Call, functions: Sequence[Function], hidden: int
) -> Callable[[list[Any], Any, Sequence[Any]], list[Any]]:
    """One step: states and the projected input to new states."""
    bound = call.get("clip")
    f, *others = functions

    def clipped(x: Operand) -> Any:
        return x if bound is None else np.clip(x, -bound, bound)

    def part(x: Operand, i: int) -> Any:
        return x[:, i * hidden : (i + 1) * hidden]

    def rnn(state: list[Any], x: Operand, read: Sequence[Any]) -> list[Any]:
        return [f(clipped(x + np.matmul(state[0], read[0]) + read[1]))]

    def gru(state: list[Any], x: Operand, read: Sequence[Any]) -> list[Any]:
        (h,), (weight, bias), (g,) = state, read[:2], others
        both = np.matmul(h, weight[:, : 2 * hidden]) + bias[: 2 * hidden]
        z = f(clipped(part(x, 0) + part(both, 0)))
        reset = f(clipped(part(x, 1) + part(both, 1)))
        last, of_state = weight[:, 2 * hidden :], bias[2 * hidden :]
        if call.get("linear_before_reset", 0):
            new = g(clipped(part(x, 2) + reset * (np.matmul(h, last) + of_state)))
        else:
            new = g(clipped(part(x, 2) + np.matmul(reset * h, last) + of_state))
        return [(1 - z) * new + z * h]

    def lstm(state: list[Any], x: Operand, read: Sequence[Any]) -> list[Any]:
        h, c = state
        g, shown = others
        both = x + np.matmul(h, read[0]) + read[1]
        peep = [read[2][i * hidden : (i + 1) * hidden] for i in range(3)] if len(read) > 2 else [None] * 3

        def gate(i: int, look: Operand, cell: Operand) -> Any:
            sums = part(both, i) if look is None else part(both, i) + look * cell
            return f(clipped(sums))

        into = gate(0, peep[0], c)
        forget = (1 - into) if call.get("input_forget", 0) else gate(2, peep[2], c)
        new = forget * c + into * g(clipped(part(both, 3)))
        return [gate(1, peep[1], new) * shown(new), new]

    return {"RNN": rnn, "GRU": gru, "LSTM": lstm}[call.op_type]
