"""Recurrent layers: RNN, LSTM and GRU of several layers and both directions, and their cells, laid out as in PyTorch.

A layer is a scan over its steps (`tg.scan`): one node when captured, which compiles to a loop; step by step when eager.
"""

from __future__ import annotations

from functools import partial
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.registry import ops
from tinygraph.errors import SettingError, ShapeError
from tinygraph.nn import functional, init
from tinygraph.nn.functional.recurrence import STEPS
from tinygraph.nn.module import Module
from tinygraph.nn.parameter import Parameter, zeros_parameter

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class _Gated(Module):
    """What layers and cells share: which step they take, and how their parameters begin."""

    kind: ClassVar[str]
    hidden_size: int

    def reset_parameters(self) -> None:
        """Draw new initial values, uniform up to 1 / sqrt(hidden_size)."""
        bound = 1.0 / sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)


class _Recurrent(_Gated):
    """What RNN, LSTM and GRU share.

    Shapes: input (steps, batch, input_size), (batch, steps, input_size) with `batch_first`, or (steps, input_size) of
    one sample; states (layers * directions, batch, hidden_size); output like the input, directions * hidden_size wide.

    Args:
        input_size, hidden_size: widths of the input and of a state.
        num_layers: how many layers, each on the output of the one before.
        bias: whether there are biases.
        batch_first: whether the batch is the first axis of input and output (not of states).
        dropout: the probability of dropping an element between layers, in training.
        bidirectional: whether a second row of states goes from the end to the start.
        dtype: of the parameters, float32 by default.
    """

    _whole = True
    activation: str = "tanh"
    proj_size: int = 0  # the width that an LSTM's first state is projected to

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: object = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        if not 0 <= dropout <= 1:
            raise SettingError(f"{self.kind}: dropout={dropout!r}; a probability is from 0 to 1")
        if min(input_size, hidden_size, num_layers) < 1:
            raise SettingError(
                f"{self.kind}: input_size={input_size}, hidden_size={hidden_size} and num_layers={num_layers} must be "
                f"at least 1"
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = (
            bias,
            batch_first,
            dropout,
            bidirectional,
        )
        directions = 2 if bidirectional else 1
        rows, first = STEPS[self.kind][1] * hidden_size, self.proj_size or hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else directions * first
            for suffix in self._suffixes(layer):
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, width), "weight_hh": (rows, first)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if self.proj_size:
                    shapes["weight_hr"] = (first, hidden_size)
                for name, shape in shapes.items():
                    setattr(self, f"{name}_{suffix}", zeros_parameter(shape, dtype, device))
        self.reset_parameters()

    def flatten_parameters(self) -> None:
        """Nothing: there is no memory to arrange."""

    def _suffixes(self, layer: int) -> list[str]:
        return [f"l{layer}", f"l{layer}_reverse"] if self.bidirectional else [f"l{layer}"]

    def _run(self, input: Any, states: tuple[Any, ...] | None) -> tuple[Any, tuple[Any, ...]]:
        """The output, and the states after the last step."""
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            raise ShapeError(
                f"{self.kind}({self.input_size}, {self.hidden_size}) takes (steps, batch, {self.input_size}) or "
                f"(steps, {self.input_size}), not {input.shape}"
            )
        single = input.ndim == 2
        x = ops.expand_dims(input, axis=1) if single else input
        if self.batch_first and not single:
            x = ops.swapaxes(x, axis1=0, axis2=1)
        count = STEPS[self.kind][2]
        rows = self.num_layers * (2 if self.bidirectional else 1)
        widths = (self.proj_size or self.hidden_size, self.hidden_size)[:count]
        shapes = [(rows, x.shape[1], width) for width in widths]
        if states is None:
            states = tuple(np.zeros(shape, x.dtype) for shape in shapes)
        else:
            states = tuple(ops.expand_dims(one, axis=1) if single else one for one in states)
            for one, shape in zip(states, shapes, strict=True):
                if one.shape != shape:
                    raise ShapeError(f"{self.kind}: a first state has shape {one.shape}; it needs {shape}")
        suffixes = [suffix for layer in range(self.num_layers) for suffix in self._suffixes(layer)]
        weights = [tuple(getattr(self, f"{name}_{suffix}", None) for name in _NAMES) for suffix in suffixes]
        step = partial(STEPS[self.kind][0], activation=self.activation)
        dropped = self.dropout if self.training else 0.0
        x, final = functional.recurrent(step, x, states, weights, self.bidirectional, dropped)
        if single:
            return x[:, 0], tuple(one[:, 0] for one in final)
        return (ops.swapaxes(x, axis1=0, axis2=1) if self.batch_first else x), final

    def extra_repr(self) -> str:
        shown = [f"{self.input_size}, {self.hidden_size}"]
        for name, usual in (
            ("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0.0), ("bidirectional", False),
        ):  # fmt: skip
            if getattr(self, name) != usual:
                shown.append(f"{name}={getattr(self, name)}")
        return ", ".join(shown)


_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


class RNN(_Recurrent):
    """h' = tanh(W x + b + U h + c) at each step, or relu with nonlinearity="relu"  (Elman, 1990).

    >>> output, last = RNN(4, 3)(np.ones((5, 2, 4), np.float32))
    >>> output.shape, last.shape
    ((5, 2, 3), (1, 2, 3))
    """

    kind = "RNN"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        **kwargs: Any,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise SettingError(f'RNN: nonlinearity={nonlinearity!r} must be "tanh" or "relu"')
        self.activation = nonlinearity
        super().__init__(input_size, hidden_size, num_layers, **kwargs)

    def forward(self, input: Numeric, hx: Numeric | None = None) -> tuple[Any, Any]:
        output, (last,) = self._run(input, None if hx is None else (hx,))
        return output, last


class GRU(_Recurrent):
    """Gated recurrent units (Cho et al., 2014), with the reset gate behind the product, as in PyTorch."""

    kind = "GRU"

    def forward(self, input: Numeric, hx: Numeric | None = None) -> tuple[Any, Any]:
        output, (last,) = self._run(input, None if hx is None else (hx,))
        return output, last


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997). The state is a pair: (h, c).

    With `proj_size` h is multiplied with a matrix to that width (Sak, Senior and Beaufays, 2014).

    >>> output, (h, c) = LSTM(4, 3, num_layers=2)(np.ones((5, 2, 4), np.float32))
    >>> output.shape, h.shape, c.shape
    ((5, 2, 3), (2, 2, 3), (2, 2, 3))
    """

    kind = "LSTM"

    def __init__(self, *args: Any, proj_size: int = 0, **kwargs: Any) -> None:
        self.proj_size = proj_size
        super().__init__(*args, **kwargs)

    def forward(
        self, input: Numeric, hx: tuple[Numeric, Numeric] | None = None
    ) -> tuple[Any, tuple[Any, Any]]:
        output, (hidden, cell) = self._run(input, hx)
        return output, (hidden, cell)


class _Cell(_Gated):
    """One step of a recurrent layer: input (batch, input_size) or (input_size,), states (batch, hidden_size)."""

    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: object = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = STEPS[self.kind][1] * hidden_size
        self.weight_ih = zeros_parameter((rows, input_size), dtype, device)
        self.weight_hh = zeros_parameter((rows, hidden_size), dtype, device)
        self.bias_ih = zeros_parameter(rows, dtype, device) if bias else None
        self.bias_hh = zeros_parameter(rows, dtype, device) if bias else None
        self.reset_parameters()

    def _stepped(
        self, input: Any, state: tuple[Any, ...] | None, activation: str = "tanh"
    ) -> tuple[Any, ...]:
        if input.shape[-1] != self.input_size:
            raise ShapeError(
                f"{type(self).__name__}: input has shape {input.shape}; its width must be {self.input_size}"
            )
        step, _, count = STEPS[self.kind]
        if state is None:
            state = tuple(np.zeros((*input.shape[:-1], self.hidden_size), input.dtype) for _ in range(count))
        from_input = functional.linear(input, self.weight_ih, self.bias_ih)
        return step(state, from_input, functional.linear(state[0], self.weight_hh, self.bias_hh), activation)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}{'' if self.bias else ', bias=False'}"


class RNNCell(_Cell):
    """One step of an `RNN`."""

    kind = "RNN"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: object = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise SettingError(f'RNNCell: nonlinearity={nonlinearity!r} must be "tanh" or "relu"')
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def forward(self, input: Numeric, hx: Numeric | None = None) -> Any:
        return self._stepped(input, None if hx is None else (hx,), self.nonlinearity)[0]


class GRUCell(_Cell):
    """One step of a `GRU`."""

    kind = "GRU"

    def forward(self, input: Numeric, hx: Numeric | None = None) -> Any:
        return self._stepped(input, None if hx is None else (hx,))[0]


class LSTMCell(_Cell):
    """One step of an `LSTM`: the new (h, c)."""

    kind = "LSTM"

    def forward(self, input: Numeric, hx: tuple[Numeric, Numeric] | None = None) -> tuple[Any, Any]:
        hidden, cell = self._stepped(input, hx)
        return hidden, cell
