"""Several threads for a sequence of kernels: a team of workers that wait in machine code, and barriers in between.

Kernels that split do their units of work in equal parts, one a thread, always the same: for one number of threads a
program gives the same bits in every run. A worker that has nothing to do spins for some ten microseconds, then sleeps
until it is woken; one that waits at a barrier gives its processor away to others after a while. Where two programs run
at the same time, one has the team and the other does all parts itself, with the same result.

The loops over kernels and the waiting are a few lines of LLVM's assembly language below: workers never hold the
interpreter's lock. Without POSIX threads (Windows) everything runs on the calling thread.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.kernels.lowering import Check
from tinygraph.kernels.machine_code import Bound, assemble

_CELL = 8  # 64-bit integers from one shared number to the next: a cache line each
_CELLS = (
    "generation",
    "done",
    "table",
    "rows",
    "stop",
    "sleeping",
    "arrived",
    "turn",
    "mutex",
    "more",
    "condition",
)
_SPINS = 3000  # before a worker sleeps: about 50 microseconds
_PATIENCE = 400  # before one who waits at a barrier offers its processor to others
_FEWEST_BYTES = 100_000  # that kernels read and write: below, waking others takes longer than the work

_TEXT = """
declare i32 @sched_yield()
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
{pause_declaration}

; return as soon as *place is no longer `old`
define internal void @await(ptr %place, i64 %old) {{
entry:
  br label %look
look:
  %spins = phi i64 [0, %entry], [%next, %again], [0, %offer]
  %value = load atomic i64, ptr %place acquire, align 8
  %changed = icmp ne i64 %value, %old
  br i1 %changed, label %out, label %rest
rest:
  {pause}
  %next = add i64 %spins, 1
  %tired = icmp ugt i64 %next, {patience}
  br i1 %tired, label %offer, label %again
again:
  br label %look
offer:
  %ignored = call i32 @sched_yield()
  br label %look
out:
  ret void
}}

; all threads of a team meet
define internal void @barrier(ptr %team, i64 %threads) {{
  %arrived = getelementptr i64, ptr %team, i64 {arrived}
  %turn = getelementptr i64, ptr %team, i64 {turn}
  %now = load atomic i64, ptr %turn acquire, align 8
  %before = atomicrmw add ptr %arrived, i64 1 acq_rel
  %last = sub i64 %threads, 1
  %all = icmp eq i64 %before, %last
  br i1 %all, label %release, label %wait
release:
  store atomic i64 0, ptr %arrived monotonic, align 8
  %then = add i64 %now, 1
  store atomic i64 %then, ptr %turn release, align 8
  ret void
wait:
  call void @await(ptr %turn, i64 %now)
  ret void
}}

; one thread's part of each row: an entry, whether a barrier follows, and a block of arguments for each thread. A row
; without an entry is a check: where its flag is set, all threads stop there. Returns how many rows were begun then,
; or 0
define i64 @run(ptr %team, ptr %table, i64 %rows, i64 %threads, i64 %me) {{
entry:
  %width = add i64 %threads, 2
  %column = add i64 %me, 2
  br label %head
head:
  %i = phi i64 [0, %entry], [%following, %met]
  %more = icmp slt i64 %i, %rows
  br i1 %more, label %row, label %out
row:
  %offset = mul i64 %i, %width
  %start = getelementptr i64, ptr %table, i64 %offset
  %address = load i64, ptr %start, align 8
  %checks = icmp eq i64 %address, 0
  br i1 %checks, label %check, label %kernels
check:
  %flags = getelementptr i64, ptr %start, i64 2
  %where = load i64, ptr %flags, align 8
  %flagged = inttoptr i64 %where to ptr
  %wrong = load i64, ptr %flagged, align 8
  %stops = icmp ne i64 %wrong, 0
  br i1 %stops, label %stopped, label %met
stopped:
  %begun = add i64 %i, 1
  ret i64 %begun
kernels:
  %place = getelementptr i64, ptr %start, i64 %column
  %block = load i64, ptr %place, align 8
  %mine = icmp ne i64 %block, 0
  br i1 %mine, label %work, label %worked
work:
  %kernel = inttoptr i64 %address to ptr
  %arguments = inttoptr i64 %block to ptr
  call void %kernel(ptr %arguments)
  br label %worked
worked:
  %flag = getelementptr i64, ptr %start, i64 1
  %wanted = load i64, ptr %flag, align 8
  %meet = icmp ne i64 %wanted, 0
  br i1 %meet, label %meeting, label %met
meeting:
  call void @barrier(ptr %team, i64 %threads)
  br label %met
met:
  %following = add i64 %i, 1
  br label %head
out:
  ret i64 0
}}

; the same on one thread: a table and its rows
define i64 @single(ptr %block) {{
  %table = load ptr, ptr %block, align 8
  %second = getelementptr i64, ptr %block, i64 1
  %rows = load i64, ptr %second, align 8
  %stopped = call i64 @run(ptr null, ptr %table, i64 %rows, i64 1, i64 0)
  ret i64 %stopped
}}

; the life of a worker
define void @work(ptr %team, i64 %threads, i64 %me) {{
entry:
  %generation = getelementptr i64, ptr %team, i64 {generation}
  %done = getelementptr i64, ptr %team, i64 {done}
  %tables = getelementptr i64, ptr %team, i64 {table}
  %counts = getelementptr i64, ptr %team, i64 {rows}
  %stop = getelementptr i64, ptr %team, i64 {stop}
  %sleeping = getelementptr i64, ptr %team, i64 {sleeping}
  %mutex = getelementptr i64, ptr %team, i64 {mutex}
  %condition = getelementptr i64, ptr %team, i64 {condition}
  br label %idle
idle:
  %seen = phi i64 [0, %entry], [%value, %finished]
  br label %look
look:
  %spins = phi i64 [0, %idle], [%next, %again]
  %value1 = load atomic i64, ptr %generation acquire, align 8
  %new = icmp ne i64 %value1, %seen
  br i1 %new, label %awake, label %rest
rest:
  {pause}
  %next = add i64 %spins, 1
  %tired = icmp ugt i64 %next, {spins}
  br i1 %tired, label %sleep, label %again
again:
  br label %look
sleep:
  %i1 = call i32 @pthread_mutex_lock(ptr %mutex)
  %i2 = atomicrmw add ptr %sleeping, i64 1 seq_cst
  br label %check
check:
  %value2 = load atomic i64, ptr %generation seq_cst, align 8
  %still = icmp eq i64 %value2, %seen
  br i1 %still, label %wait, label %woken
wait:
  %i3 = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %check
woken:
  %i4 = atomicrmw sub ptr %sleeping, i64 1 seq_cst
  %i5 = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %awake
awake:
  %value = load atomic i64, ptr %generation acquire, align 8
  %ended = load atomic i64, ptr %stop acquire, align 8
  %over = icmp ne i64 %ended, 0
  br i1 %over, label %out, label %busy
busy:
  %address = load i64, ptr %tables, align 8
  %rows = load i64, ptr %counts, align 8
  %table = inttoptr i64 %address to ptr
  %i7 = call i64 @run(ptr %team, ptr %table, i64 %rows, i64 %threads, i64 %me)
  br label %finished
finished:
  %i6 = atomicrmw add ptr %done, i64 1 acq_rel
  br label %idle
out:
  ret void
}}

; give a table to the workers, do one part, and wait for the others
define i64 @together(ptr %team, ptr %table, i64 %rows, i64 %threads) {{
  %generation = getelementptr i64, ptr %team, i64 {generation}
  %done = getelementptr i64, ptr %team, i64 {done}
  %tables = getelementptr i64, ptr %team, i64 {table}
  %counts = getelementptr i64, ptr %team, i64 {rows}
  %address = ptrtoint ptr %table to i64
  store i64 %address, ptr %tables, align 8
  store i64 %rows, ptr %counts, align 8
  store atomic i64 0, ptr %done release, align 8
  call void @wake(ptr %team)
  %stopped = call i64 @run(ptr %team, ptr %table, i64 %rows, i64 %threads, i64 0)
  br label %look
look:
  %count = load atomic i64, ptr %done acquire, align 8
  %others = sub i64 %threads, 1
  %all = icmp eq i64 %count, %others
  br i1 %all, label %out, label %wait
wait:
  call void @await(ptr %done, i64 %count)
  br label %look
out:
  ret i64 %stopped
}}

; a new generation of work
define void @wake(ptr %team) {{
  %generation = getelementptr i64, ptr %team, i64 {generation}
  %sleeping = getelementptr i64, ptr %team, i64 {sleeping}
  %mutex = getelementptr i64, ptr %team, i64 {mutex}
  %condition = getelementptr i64, ptr %team, i64 {condition}
  %i1 = atomicrmw add ptr %generation, i64 1 seq_cst
  %asleep = load atomic i64, ptr %sleeping seq_cst, align 8
  %any = icmp ne i64 %asleep, 0
  br i1 %any, label %call, label %out
call:
  %i2 = call i32 @pthread_mutex_lock(ptr %mutex)
  %i3 = call i32 @pthread_cond_broadcast(ptr %condition)
  %i4 = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %out
out:
  ret void
}}
"""


class Table:
    """Bound kernels as one call: in order, on so many threads, with checks in between that may end it.

    A call costs less than a microsecond, and a barrier about 0.2. What takes less than meeting other threads, the
    calling thread does alone: the same parts, so the same numbers.

    Args:
        kernels: what runs, and checks of what ran before them.
        threads: on how many threads.

    Attributes:
        stopped: the number of the check that ended the latest call, if one did.
    """

    def __init__(self, kernels: Sequence[Bound | Check], threads: int) -> None:
        self.kernels, self.threads = tuple(kernels), threads
        self.stopped: int | None = None
        self._together = threads > 1 and sum(map(_bytes, self.kernels)) > _FEWEST_BYTES
        rows = np.zeros((len(self.kernels), threads + 2), np.int64)
        for i, kernel in enumerate(self.kernels):
            rows[i, 1] = threads > 1 and self._meets(i)
            if isinstance(kernel, Check):
                rows[i, 2] = kernel.flag.ctypes.data
                continue
            rows[i, 0] = kernel.address
            rows[i, 2:] = [kernel.block(thread, threads) for thread in range(threads)]
        self._rows = rows
        # the same for one thread: each part is a row
        parts = [(i, part) for i, row in enumerate(rows.tolist()) for part in row[2:] if part]
        self._numbers = [i for i, _ in parts]
        self._alone = np.array([[rows[i, 0], 0, part] for i, part in parts], np.int64)
        self._block = np.array([self._alone.ctypes.data, len(parts)], np.int64)
        self._single = functools.partial(_functions()["single"], ctypes.c_void_p(self._block.ctypes.data))

    def _meets(self, i: int) -> bool:
        """Whether all threads meet after a row: what follows reads what others wrote."""
        kernel, following = self.kernels[i], self.kernels[i + 1 : i + 2]
        if not following or isinstance(kernel, Check):
            return False
        return isinstance(following[0], Check) or not (kernel.span is None and following[0].span is None)

    def __call__(self) -> None:
        """Run all kernels; raises what a check raises, and then those behind it did not run."""
        self.stopped = None
        team = team_of(self.threads) if self._together else None
        if team is not None and team.lock.acquire(blocking=False):
            try:
                stopped = team.together(self._rows)
            finally:
                team.lock.release()
        else:
            stopped = self._single()
            if stopped:
                stopped = self._numbers[stopped - 1] + 1
        if stopped:
            self.stopped = stopped - 1
            self.kernels[stopped - 1]()
            self._go_on(stopped)  # it found nothing to say

    def _go_on(self, first: int) -> None:
        """The rows from one on, on this thread; checks that are set are passed."""
        for i, row in zip(self._numbers, self._alone, strict=True):
            if i >= first and row[0]:
                block = np.array([row.ctypes.data, 1], np.int64)
                _functions()["single"](ctypes.c_void_p(block.ctypes.data))
        for one in self.kernels[first:]:
            if isinstance(one, Check):
                one()


def _bytes(kernel: Bound | Check) -> int:
    return 0 if isinstance(kernel, Check) else kernel.nbytes


class Team:
    """Workers that wait for tables of kernels.

    Attributes:
        threads: how many threads work together, the calling one included.
        lock: held by who has the team.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.lock = threading.Lock()
        self._cells = np.zeros(_CELL * (len(_CELLS) + 8), np.int64)
        address = self._cells.ctypes.data
        for me in range(1, threads):
            work = functools.partial(_functions()["work"], *_pointers(address, threads, me))
            threading.Thread(target=work, name=f"tinygraph worker {me}", daemon=True).start()

    def together(self, rows: np.ndarray[Any, Any]) -> int:
        """Run a table on all threads; returns when it is done: 0, or how many rows were begun when a check ended it."""
        stopped: int = _functions()["together"](
            *_pointers(self._cells.ctypes.data, rows.ctypes.data, len(rows), self.threads)
        )
        return stopped

    def stop(self) -> None:
        """Send the workers home."""
        self._cells[_CELL * _CELLS.index("stop")] = 1
        _functions()["wake"](*_pointers(self._cells.ctypes.data))


_lock = threading.Lock()
_teams: dict[int, Team] = {}


def team_of(threads: int) -> Team:
    """The team of so many threads, made when first needed."""
    with _lock:
        team = _teams.get(threads)
        if team is None:
            for other in _teams.values():  # of another size: it would only wait
                other.stop()
            _teams.clear()
            team = _teams[threads] = Team(threads)
        return team


def _forget() -> None:
    """After a fork there are no workers in the child, and nobody holds a lock."""
    global _lock
    _lock = threading.Lock()
    _teams.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@functools.cache
def _functions() -> dict[str, Any]:
    """The native functions, by name; they take 64-bit integers."""
    library = ctypes.CDLL(None)
    symbols = {}
    for name in _POSIX:
        address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
        if address:
            symbols[name] = address
    x86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
    text = _TEXT.format(
        pause="call void @llvm.x86.sse2.pause()" if x86 else "fence acquire",
        pause_declaration="declare void @llvm.x86.sse2.pause()" if x86 else "",
        spins=_SPINS,
        patience=_PATIENCE,
        **{name: _CELL * i for i, name in enumerate(_CELLS)},
    )
    names = ("single", "work", "together", "wake")
    code = assemble(text, functions=names, imports=symbols)
    found = {}
    for name in names:
        function: Any = ctypes.CFUNCTYPE(ctypes.c_int64)(code.addresses[name])
        function.argtypes = None
        function.alive = code
        found[name] = function
    return found


_POSIX = (
    *("sched_yield", "pthread_mutex_lock", "pthread_mutex_unlock"),
    *("pthread_cond_wait", "pthread_cond_broadcast"),
)


def _pointers(*numbers: int) -> tuple[Any, ...]:
    return tuple(map(ctypes.c_void_p, numbers))
