"""Worker processes that make batches ahead of time, in the order in which they are asked for.

Worker k makes the batches k, k + n, k + 2n ...; so the order, and what is in a batch, do not depend on how many there
are. A worker that raises, dies or hangs is named with the sample it was at.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from tinygraph.errors import DataError

_LOOK = 0.2  # seconds between two looks at whether the other side still lives

Task = tuple[Any, list[int]]  # the epoch, and the samples of a batch
Make = Callable[[Task, Callable[[int], None]], Any]  # makes a batch; tells of each sample before it is read


class _DataWorker(NamedTuple):
    process: multiprocessing.process.BaseProcess
    tasks: Connection
    results: Connection
    at: Any  # the sample it reads, in memory that both processes see


class _Failed(NamedTuple):
    """What a worker sends in the place of a batch."""

    sample: int
    error: str
    trace: str


def made_ahead(make: Make, tasks: Iterable[Task], count: int, ahead: int, timeout: float) -> Iterator[Any]:
    """The batches of tasks, in order, made by worker processes.

    Args:
        make: makes a batch in a worker; reached by fork where there is fork, else pickled.
        tasks: what the batches hold.
        count: how many workers.
        ahead: how many batches each makes before they are asked for.
        timeout: seconds that a batch may take once it is waited for; 0 for ever.

    Raises:
        DataError: a worker raised, died or took too long: which, and at which sample.
    """
    context = multiprocessing.get_context(
        "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    )
    workers = [_start(context, make) for _ in range(count)]
    under_way: deque[tuple[int, Task]] = deque()
    number = 0
    try:
        for task in tasks:
            if len(under_way) == count * ahead:
                yield _result(workers, *under_way.popleft(), timeout)
            _send(workers, number % count, task)
            under_way.append((number % count, task))
            number += 1
        while under_way:
            yield _result(workers, *under_way.popleft(), timeout)
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join()
            worker.tasks.close()
            worker.results.close()


def _start(context: Any, make: Make) -> _DataWorker:
    tasks_here, tasks_there = context.Pipe()
    results_here, results_there = context.Pipe()
    at = context.RawValue("q", -1)
    process = context.Process(
        target=_work, args=(make, tasks_there, results_there, at, os.getpid()), daemon=True
    )
    process.start()
    tasks_there.close()
    results_there.close()
    return _DataWorker(process, tasks_here, results_here, at)


def _work(make: Make, tasks: Connection, results: Connection, at: Any, parent: int) -> None:
    """What a worker does until it is ended, or until the process that wants its batches is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that wants the batches

    def tell(sample: int) -> None:
        at.value = sample

    while True:
        while not tasks.poll(_LOOK):
            if os.getppid() != parent:
                os._exit(1)
        try:
            task = tasks.recv()
        except EOFError:
            return
        try:
            results.send(make(task, tell))
        except Exception as error:  # noqa: BLE001 - of the user's dataset: it is raised where the batch is waited for
            words = f"{type(error).__name__}: {error}"
            results.send(_Failed(at.value, words, traceback.format_exc()))


def _send(workers: list[_DataWorker], which: int, task: Task) -> None:
    with suppress(OSError):  # it is dead, which is said when its batch is waited for
        workers[which].tasks.send(task)


def _result(workers: list[_DataWorker], which: int, task: Task, timeout: float) -> Any:
    worker, began = workers[which], time.monotonic()
    while True:
        try:
            if worker.results.poll(_LOOK):
                found = worker.results.recv()
                break
        except (EOFError, OSError):
            raise _dead(worker, which, task) from None
        if not worker.process.is_alive() and not worker.results.poll(0):
            raise _dead(worker, which, task)
        if timeout and time.monotonic() - began > timeout:
            raise DataError(
                f"worker process {which} has taken more than {timeout:g} s; it is at sample {worker.at.value} of the "
                f"dataset. Give the DataLoader a longer timeout, or look at what reading that sample waits for"
            )
    if isinstance(found, _Failed):
        raise DataError(
            f"sample {found.sample} of the dataset cannot be read: {found.error}\nIn worker process {which}:\n"
            f"{found.trace}"
        )
    return found


def _dead(worker: _DataWorker, which: int, task: Task) -> DataError:
    worker.process.join(1)
    code = worker.process.exitcode or 0
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
    return DataError(
        f"worker process {which} died ({how}) at sample {worker.at.value} of the dataset, while it made the batch of "
        f"samples {_shown(task[1])}"
    )


def _shown(samples: list[int]) -> str:
    return str(samples) if len(samples) <= 10 else f"{str(samples[:10])[:-1]}, ...]"
