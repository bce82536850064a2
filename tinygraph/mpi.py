"""Exchanges between processes over MPI, by mpi4py (the extra `dist`). mpi4py is imported when a program connects."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.process_group import Pending, launched_with
from tinygraph.errors import ParallelError

if TYPE_CHECKING:
    from tinygraph.core.types import Array

_HEARD = 1.0  # seconds: the launcher passes on what was said before it ends all
CHECKED = "TINYGRAPH_CHECK_COLLECTIVES"  # 0 leaves out the comparison before each exchange


def connect() -> Mpi:
    """The processes that an MPI launcher started together.

    Raises:
        ParallelError: mpi4py is not installed, or another MPI than the launcher's.
    """
    count = launched_with()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise ParallelError(
            f"this process is one of {count} that an MPI launcher started, and mpi4py cannot be used here ({error}): "
            f'pip install "tinygraph-autodiff[dist]", or start the program alone'
        ) from error
    if MPI.COMM_WORLD.Get_size() != count:
        raise ParallelError(
            f"the launcher started {count} processes, and mpi4py sees {MPI.COMM_WORLD.Get_size()}: it belongs to "
            f"another MPI than the `mpiexec` on the PATH. Use the one of the environment, as `tinygraph launch` does"
        )
    _abort_all_on_an_error(MPI.COMM_WORLD)
    return Mpi(MPI)


def _abort_all_on_an_error(world: Any) -> None:
    """Let an exception that ends this process end all: the others would wait for it for ever."""
    usual = sys.excepthook

    def ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        print(f"rank {world.Get_rank()} of {world.Get_size()} ended by an error; ending all", file=sys.stderr)
        usual(kind, error, trace)
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(_HEARD)
        if not issubclass(kind, SystemExit):
            world.Abort(1)

    sys.excepthook = ended


class Mpi:
    """This process among those of MPI's world."""

    def __init__(self, mpi: Any) -> None:
        # a communicator of one's own: messages of the user's program on the world's cannot be taken for these
        self._world = mpi.COMM_WORLD.Dup()
        self._mpi = mpi
        self._how = {"sum": mpi.SUM, "mean": mpi.SUM, "max": mpi.MAX, "min": mpi.MIN}
        self._checked = os.environ.get(CHECKED, "1") != "0"
        self._begun: _Started | None = None  # whose comparison is under way
        self.rank: int = self._world.Get_rank()
        self.size: int = self._world.Get_size()

    def all_reduce(self, x: Array, reduction: str) -> Array:
        self._agree("all_reduce", x, reduction)
        out = np.array(x, order="C")
        self._world.Allreduce(self._mpi.IN_PLACE, out, self._how[reduction])
        return self._meant(out, reduction)

    def start_all_reduce(self, x: Array, reduction: str) -> Pending:
        self._advance()
        started = self._begun = _Started(self, x, reduction)
        if not self._checked:
            self._advance()
        return started

    def all_gather(self, x: Array, axis: int) -> Array:
        self._agree("all_gather", x, axis)
        parts = np.empty((self.size, *x.shape), x.dtype)
        self._world.Allgather(np.ascontiguousarray(x), parts)
        return np.concatenate(list(parts), axis=axis)

    def reduce_scatter(self, x: Array, axis: int) -> Array:
        self._agree("reduce_scatter", x, axis)
        parts = np.ascontiguousarray(np.stack(np.split(x, self.size, axis=axis)))
        out = np.empty(parts.shape[1:], x.dtype)
        self._world.Reduce_scatter_block(parts, out, self._mpi.SUM)
        return out

    def broadcast(self, x: Array, root: int) -> Array:
        self._agree("broadcast", x, root)
        out = np.array(x, order="C")
        self._world.Bcast(out, root)
        return out

    def gather_texts(self, text: str) -> list[str]:
        self._advance()
        own = np.frombuffer(text.encode(), np.uint8)
        lengths = np.empty(self.size, np.int64)
        self._world.Allgather(np.array([own.size], np.int64), lengths)
        padded = np.zeros(max(int(lengths.max()), 1), np.uint8)
        padded[: own.size] = own
        everything = np.empty((self.size, padded.size), np.uint8)
        self._world.Allgather(padded, everything)
        return [bytes(row[:n]).decode() for row, n in zip(everything, lengths, strict=True)]

    def barrier(self) -> None:
        self._advance()
        self._world.Barrier()

    def _meant(self, total: Array, reduction: str) -> Array:
        return np.asarray(total / self.size, total.dtype) if reduction == "mean" else total

    def _advance(self) -> None:
        """Let an exchange that was begun go on to its data."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.go_on()

    def _agree(self, exchange: str, x: Array, how: object) -> None:
        """Compare what everybody is about to do, before MPI would wait for ever or mix up memory.

        Raises:
            ParallelError: they differ; on every rank, with what each was about to do.
        """
        self._advance()
        if self._checked:
            words, span = _summed_up(exchange, x, how)
            self._world.Allreduce(self._mpi.IN_PLACE, span, self._mpi.MAX)
            self._compare(words, span)

    def _compare(self, words: str, span: Array) -> None:
        if span[0] == -span[1]:
            return
        told = "\n".join(f"  rank {rank}: {text}" for rank, text in enumerate(self.gather_texts(words)))
        raise ParallelError(
            f"the processes do not agree on what to exchange:\n{told}\nEach must make the same exchanges in the same "
            f"order, with arrays of one shape and dtype: look for a branch that asks for the rank, or for batches of "
            f"different sizes"
        )


def _summed_up(exchange: str, x: Array, how: object) -> tuple[str, Array]:
    """What is about to be exchanged, in words, and a number for it with its negative: equal maxima mean equal words."""
    words = f"{exchange} of {x.dtype}{list(x.shape)}, {how}"
    number = int.from_bytes(hashlib.blake2b(words.encode(), digest_size=7).digest(), "big")
    return words, np.array([number, -number], np.int64)


class _Started:
    """A sum under way: first the comparison, without waiting for anybody, then the data."""

    def __init__(self, among: Mpi, x: Array, reduction: str) -> None:
        self._among, self._reduction = among, reduction
        self._out = np.array(x, order="C")
        self._words, self._span = _summed_up("all_reduce", x, reduction)
        self._request: Any = None
        self._comparison: Any = None
        if among._checked:
            mpi = among._mpi
            self._comparison = among._world.Iallreduce(mpi.IN_PLACE, self._span, mpi.MAX)

    def go_on(self) -> None:
        """Begin with the data: when the next exchange comes, or this one is waited for."""
        among = self._among
        if self._comparison is not None:
            self._comparison.Wait()
            among._compare(self._words, self._span)
        how = among._how[self._reduction]
        self._request = among._world.Iallreduce(among._mpi.IN_PLACE, self._out, how)

    def wait(self) -> Array:
        if self._request is None:
            self._among._advance()
        self._request.Wait()
        return self._among._meant(self._out, self._reduction)
