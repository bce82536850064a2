"""Optimizer state shared out: each process updates its part of the parameters and gives them to the others.

This is the first stage of ZeRO (Rajbhandari, Rasley, Ruwase and He, 2020, "ZeRO: memory optimizations toward training
trillion parameter models").
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.core.modes import modes
from tinygraph.core.process_group import processes
from tinygraph.core.tensor import Tensor
from tinygraph.errors import CaptureError
from tinygraph.parallel.shared_states import give


class ShardedState:
    """Which process updates which parameter: the largest first, each by whoever has fewest elements so far."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        among = processes()
        loads = [0] * among.size
        owner: dict[int, int] = {}
        for i in sorted(range(len(parameters)), key=lambda i: (-parameters[i].size, i)):
            rank = loads.index(min(loads))
            loads[rank] += parameters[i].size
            owner[i] = rank
        self._parameters = list(parameters)
        self._owners = [owner[i] for i in range(len(parameters))]
        self._mine = {
            id(one) for one, rank in zip(parameters, self._owners, strict=True) if rank == among.rank
        }

    def updates(self, parameter: Tensor) -> bool:
        """Whether this process updates a parameter.

        Raises:
            CaptureError: a program is being captured, which would be another one in each process.
        """
        if modes.current.capture is not None:
            raise CaptureError(
                "an optimizer with shard_state=True updates other parameters in each process, which one captured "
                "program cannot say: compile the loss and its gradients, and call optimizer.step() outside of it"
            )
        return id(parameter) in self._mine

    def finish(self) -> None:
        """Give all processes the parameters that each has updated."""
        give(self._parameters, self._owners)

    def keeps(self, number: int) -> bool:
        """Whether this process keeps the state of a parameter, by its number."""
        return self._owners[number] == processes().rank

    def gathered(self, slots: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
        """The state of all parameters, by their numbers, from what each process has."""
        among = processes()
        own = [
            (number, name, value.dtype.str, list(value.shape))
            for number, one in slots.items()
            for name, value in one.items()
        ]
        found: dict[int, dict[str, Any]] = {}
        for rank, text in enumerate(among.gather_texts(json.dumps(own))):
            for number, name, dtype, shape in json.loads(text):
                held = slots[number][name] if rank == among.rank else np.zeros(shape, dtype)
                found.setdefault(number, {})[name] = among.broadcast(held, rank)
        return dict(sorted(found.items()))
