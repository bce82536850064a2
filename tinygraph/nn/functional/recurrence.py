"""Recurrences: the steps of RNN, LSTM and GRU, and layers of them in one or both directions, given their weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tinygraph.core.registry import ops
from tinygraph.nn.functional.linear import linear
from tinygraph.nn.functional.normalization import dropout
from tinygraph.transforms import scan

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

Step = Callable[[tuple[Any, ...], Any, Any], tuple[Any, ...]]


def _rnn_step(state: tuple[Any, ...], from_input: Any, from_state: Any, activation: str) -> tuple[Any, ...]:
    """h' = tanh(x's part + h's part), or relu."""
    total = from_input + from_state
    return (ops.tanh(total) if activation == "tanh" else ops.relu(total),)


def _lstm_step(state: tuple[Any, ...], from_input: Any, from_state: Any, activation: str) -> tuple[Any, ...]:
    """c' = f c + i g and h' = o tanh(c'), with gates in the order i, f, g, o  (Hochreiter and Schmidhuber, 1997)."""
    i, f, g, o = ops.split(from_input + from_state, sections=4, axis=-1)
    cell = ops.sigmoid(f) * state[1] + ops.sigmoid(i) * ops.tanh(g)
    return ops.sigmoid(o) * ops.tanh(cell), cell


def _gru_step(state: tuple[Any, ...], from_input: Any, from_state: Any, activation: str) -> tuple[Any, ...]:
    """h' = (1 - z) n + z h, with n = tanh(x's part + r * h's part), gates in the order r, z, n  (Cho et al., 2014)."""
    (ri, zi, ni), (rh, zh, nh) = (ops.split(part, sections=3, axis=-1) for part in (from_input, from_state))
    r, z = ops.sigmoid(ri + rh), ops.sigmoid(zi + zh)
    return ((1 - z) * ops.tanh(ni + r * nh) + z * state[0],)


STEPS = {"RNN": (_rnn_step, 1, 1), "LSTM": (_lstm_step, 4, 2), "GRU": (_gru_step, 3, 1)}  # gates, states


def recurrent(
    step: Step,
    input: Numeric,
    states: Sequence[Any],
    weights: Sequence[tuple[Any, ...]],
    bidirectional: bool = False,
    dropout_p: float = 0.0,
) -> tuple[Any, tuple[Any, ...]]:
    """Layers of a recurrence, each on the output of the one before.

    Args:
        step: from (state, the input's part, the state's part) to the next state, whose first part is the output.
        input: (steps, batch, width).
        states: the first states, each (layers * directions, batch, width).
        weights: for each layer and direction (weight_ih, weight_hh, bias_ih, bias_hh); biases may be None.
        dropout_p: the probability of dropping an element between layers.

    Returns:
        The output (steps, batch, directions * width), and the states after the last step.
    """
    directions = 2 if bidirectional else 1
    ends: list[tuple[Any, ...]] = []
    x: Any = input
    for layer in range(len(weights) // directions):
        outputs = []
        for direction in range(directions):
            row = len(ends)
            last, output = _scanned(step, x, tuple(one[row] for one in states), weights[row], direction == 1)
            ends.append(last)
            outputs.append(output)
        x = outputs[0] if directions == 1 else ops.concatenate(*outputs, axis=-1)
        if layer < len(weights) // directions - 1:
            x = dropout(x, dropout_p)
    return x, tuple(ops.stack(*[end[i] for end in ends], axis=0) for i in range(len(states)))


def _scanned(
    step: Step, x: Any, first: tuple[Any, ...], weights: tuple[Any, ...], reverse: bool
) -> tuple[tuple[Any, ...], Any]:
    """One layer in one direction: its last states and its output at each step."""
    inputs = linear(x, weights[0], weights[2])  # of all steps at once

    def body(state: tuple[Any, ...], from_input: Any) -> tuple[tuple[Any, ...], Any]:
        new = step(state, from_input, linear(state[0], weights[1], weights[3]))
        return new, new[0]

    return scan(body, first, inputs, reverse=reverse)
