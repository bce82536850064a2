"""The processes that run one program together: who this one is, and what they exchange.

A program that was started alone is one process of one, and every exchange gives it back its own. What connects it to
others - MPI - lives in a room above the core and is reached through a door when somebody first asks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tinygraph.core.doors import doors
from tinygraph.core.locks import Lock
from tinygraph.core.modes import modes
from tinygraph.core.state import buffer, read
from tinygraph.core.tensor import Tensor
from tinygraph.errors import CaptureError

if TYPE_CHECKING:
    from tinygraph.core.types import Array

# What launchers tell each process of how many there are: MPICH and Intel MPI, Open MPI, Slurm's PMIx.
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_SIZE")


class Pending(Protocol):
    """An exchange under way."""

    def wait(self) -> Array:
        """The result, once it is there."""


class Processes(Protocol):
    """This process among those that run the program together.

    Attributes:
        rank: its number, from zero.
        size: how many there are.
    """

    rank: int
    size: int

    def all_reduce(self, x: Array, reduction: str) -> Array:
        """The sum (mean, maximum, minimum) of everybody's array, for everybody."""

    def start_all_reduce(self, x: Array, reduction: str) -> Pending:
        """The same, under way while this process goes on; `x` must not be written before it is there."""

    def all_gather(self, x: Array, axis: int) -> Array:
        """Everybody's arrays in the order of ranks, one after another along an axis, for everybody."""

    def reduce_scatter(self, x: Array, axis: int) -> Array:
        """The sum of everybody's array, of which each gets its part along an axis."""

    def broadcast(self, x: Array, root: int) -> Array:
        """The array of one of them, for everybody."""

    def gather_texts(self, text: str) -> list[str]:
        """Everybody's text in the order of ranks, for everybody."""

    def barrier(self) -> None:
        """Wait until everybody is here."""


class Done:
    """An exchange that is over."""

    def __init__(self, result: Array) -> None:
        self._result = result

    def wait(self) -> Array:
        return self._result


class Alone:
    """One process of one."""

    rank = 0
    size = 1

    def all_reduce(self, x: Array, reduction: str) -> Array:
        return np.array(x)

    def start_all_reduce(self, x: Array, reduction: str) -> Pending:
        return Done(np.array(x))

    def all_gather(self, x: Array, axis: int) -> Array:
        return np.array(x)

    def reduce_scatter(self, x: Array, axis: int) -> Array:
        return np.array(x)

    def broadcast(self, x: Array, root: int) -> Array:
        return np.array(x)

    def gather_texts(self, text: str) -> list[str]:
        return [text]

    def barrier(self) -> None:
        pass


_lock = Lock()
_processes: Processes | None = None


def processes() -> Processes:
    """The processes of this program; connected to the others when first asked.

    >>> processes().rank, processes().size
    (0, 1)
    """
    global _processes
    if _processes is None:
        with _lock.held:
            if _processes is None:
                _processes = doors.connect() if launched_with() > 1 else Alone()
    return _processes


@contextmanager
def stand_in(among: Processes) -> Iterator[None]:
    """Context manager: let others stand for the processes of this program, such as ones that note what they do."""
    global _processes
    before = processes()
    _processes = among
    try:
        yield
    finally:
        _processes = before


def exchanging() -> Processes:
    """The processes, for an exchange that is made now.

    Raises:
        CaptureError: a program is being captured, whose later calls would repeat what this one found.
    """
    among = processes()
    if among.size > 1 and modes.current.capture is not None:
        raise CaptureError(
            "processes would exchange an array once, while this program is captured, and every call would repeat the "
            "result: make the array an argument of the compiled function, or exchange it outside"
        )
    return among


def of_each_call(x: Any) -> Any:
    """An operand of an exchange: in a captured program a constant becomes a value that each call reads.

    So every call makes the exchange, as the other processes do, and none repeats what the capture found.
    """
    capture = modes.current.capture
    if capture is None or (isinstance(x, Tensor) and x._value is None):
        return x
    return read(buffer(x.detach().numpy() if isinstance(x, Tensor) else x))


def launched_with() -> int:
    """How many processes the launcher of this one started, as it tells in the environment; 1 without a launcher."""
    told: list[Any] = [os.environ.get(name, "") for name in _SIZES]
    return max((int(size) for size in told if size.isdecimal()), default=1)
