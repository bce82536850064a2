"""What a process exchanges while it computes, as a trace: which exchange was under way, and who waited for it.

A process is at any time in one of three states: it computes, it begins an exchange, or it waits for one. Between the
beginning of an exchange and the moment the program asks for it the exchange runs beside the computing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinygraph.core.process_group import Pending, Processes, processes, stand_in
from tinygraph.core.types import Array
from tinygraph.interop.atomic_files import replace_file


class TracedExchange(NamedTuple):
    """One exchange, in seconds since the trace began.

    Attributes:
        kind: its name.
        nbytes: of this process's array.
        begun, sent: when the program began it, and went on.
        asked, done: when the program asked for the result, and got it.
        order: how many exchanges this process had begun or asked for before it asked for this one.
    """

    kind: str
    nbytes: int
    begun: float
    sent: float
    asked: float
    done: float
    order: int

    @property
    def beside(self) -> float:
        """Seconds that it ran beside the program's computing."""
        return self.asked - self.sent

    @property
    def waiting(self) -> float:
        """Seconds that the program did nothing but wait for it."""
        return (self.sent - self.begun) + (self.done - self.asked)


class ExchangeTrace:
    """The exchanges of this process, in the order in which the program began them; what `trace()` gives.

    Attributes:
        rank: of this process.
        exchanges: those that are over.
        seconds: from the beginning of the trace to its end.
    """

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.exchanges: list[TracedExchange] = []
        self.seconds = 0.0
        self._start = time.perf_counter()
        self._moments = 0

    def now(self) -> float:
        return time.perf_counter() - self._start

    def moment(self) -> int:
        """The number of a moment at which an exchange was begun or asked for."""
        self._moments += 1
        return self._moments - 1

    def table(self) -> str:
        """The exchanges as text: bytes, when they began, how long they ran beside the computing, and the waiting."""
        lines = [f"{'exchange':<24}{'bytes':>12}{'begins':>12}{'beside':>12}{'waiting':>12}   (ms)"]
        for one in sorted(self.exchanges, key=lambda one: one.begun):
            times = "".join(f"{1e3 * value:>12.3f}" for value in (one.begun, one.beside, one.waiting))
            lines.append(f"{one.kind:<24}{one.nbytes:>12,}{times}")
        beside, waiting = (
            sum(getattr(one, name) for one in self.exchanges) for name in ("beside", "waiting")
        )
        share = waiting / self.seconds if self.seconds else 0.0
        lines.append(
            f"rank {self.rank}: {1e3 * self.seconds:.3f} ms, of which {share:.0%} waiting for exchanges"
        )
        lines.append(f"exchanges under way beside the computing: {1e3 * beside:.3f} ms in all")
        return "\n".join(lines)

    def events(self) -> list[dict[str, Any]]:
        """Events of the Trace Event Format: the program on one track, what is under way beside it on another."""
        track = {"pid": self.rank, "cat": "exchange"}
        made: list[dict[str, Any]] = [
            {"name": "process_name", "ph": "M", "pid": self.rank, "args": {"name": f"rank {self.rank}"}},
            {"name": "thread_name", "ph": "M", "pid": self.rank, "tid": 1, "args": {"name": "program"}},
        ]
        busy: list[tuple[float, float, str]] = []
        for number, one in enumerate(self.exchanges):
            named = {**track, "name": one.kind, "id": f"{self.rank}.{number}", "args": {"bytes": one.nbytes}}
            made.append({**named, "ph": "b", "ts": 1e6 * one.begun})
            made.append({**named, "ph": "e", "ts": 1e6 * one.done})
            busy += [
                (one.begun, one.sent, f"begin {one.kind}"),
                (one.asked, one.done, f"wait for {one.kind}"),
            ]
        at = 0.0
        for begin, end, name in [*sorted(busy), (self.seconds, self.seconds, "")]:
            if begin > at:
                made.append(self._slice("computing", at, begin))
            if end > begin:
                made.append(self._slice(name, begin, end))
            at = max(at, end)
        return made

    def _slice(self, name: str, begin: float, end: float) -> dict[str, Any]:
        return {
            "name": name,
            "ph": "X",
            "pid": self.rank,
            "tid": 1,
            "ts": 1e6 * begin,
            "dur": 1e6 * (end - begin),
        }


@contextmanager
def trace(path: str | Path | None = None) -> Iterator[ExchangeTrace]:
    """Context manager: note every exchange that this process makes inside, to see what runs beside the computing.

    Args:
        path: a trace of all processes for https://ui.perfetto.dev or chrome://tracing, which rank 0 writes at the end.
            All processes must then leave the block.

    >>> from tinygraph import parallel
    >>> with parallel.trace() as found:
    ...     total = parallel.all_reduce([1.0, 2.0])
    >>> [(one.kind, one.nbytes) for one in found.exchanges]
    [('all_reduce', 16)]
    """
    among = processes()
    found = ExchangeTrace(among.rank)
    with stand_in(_Traced(among, found)):
        yield found
    found.seconds = found.now()
    if path is None:
        return
    several = [event for text in among.gather_texts(json.dumps(found.events())) for event in json.loads(text)]
    if among.rank == 0:
        text = json.dumps({"traceEvents": several, "displayTimeUnit": "ms"})
        replace_file(Path(path), lambda part: part.write_text(text, encoding="utf-8"))


class _Traced:
    """The processes of a program, whose exchanges are noted."""

    def __init__(self, among: Processes, found: ExchangeTrace) -> None:
        self._among, self._found = among, found
        self.rank, self.size = among.rank, among.size

    def __getattr__(self, name: str) -> Any:
        return self._noted(name, getattr(self._among, name))

    def _noted(self, kind: str, exchange: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object) -> object:
            begun, order = self._found.now(), self._found.moment()
            result = exchange(*arguments)
            done = self._found.now()
            nbytes = arguments[0].nbytes if arguments and isinstance(arguments[0], np.ndarray) else 0
            self._found.exchanges.append(TracedExchange(kind, nbytes, begun, begun, begun, done, order))
            return result

        return run

    def start_all_reduce(self, x: Array, reduction: str) -> _Awaited:
        begun = self._found.now()
        self._found.moment()
        pending = self._among.start_all_reduce(x, reduction)
        kind = self.start_all_reduce.__name__.removeprefix("start_")
        return _Awaited(pending, self._found, kind, (x.nbytes, begun, self._found.now()))


class _Awaited:
    """An exchange under way that is noted when it is over."""

    def __init__(
        self, pending: Pending, found: ExchangeTrace, kind: str, known: tuple[int, float, float]
    ) -> None:
        self._pending, self._found, self._kind, self._known = pending, found, kind, known

    def wait(self) -> Array:
        asked, order = self._found.now(), self._found.moment()
        result = self._pending.wait()
        over = self._found.now()
        self._found.exchanges.append(TracedExchange(self._kind, *self._known, asked, over, order))
        return result
