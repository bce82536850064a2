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
import itertools
import os
import platform
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.core.types import Array
from tinygraph.kernels.lowering import Check
from tinygraph.kernels.machine_code import Bound, Kernel, MachineCode, assemble

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
declare ptr @memmove(ptr, ptr, i64)
declare i32 @memcmp(ptr, ptr, i64)
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

; a table again and again, as long as a condition holds that another one finds; pointers in the blocks move on each time
define void @repeat_table(ptr %team, ptr %table, i64 %rows, i64 %threads, ptr %moves, i64 %count, i64 %steps,
                    ptr %conditions, i64 %asked, ptr %flag, ptr %done) {{
entry:
  %single = icmp eq i64 %threads, 1
  %always = icmp eq i64 %asked, 0
  br label %head
head:
  %i = phi i64 [0, %entry], [%following, %moved]
  %more = icmp slt i64 %i, %steps
  br i1 %more, label %question, label %out
question:
  br i1 %always, label %step, label %ask
ask:
  br i1 %single, label %ask_alone, label %ask_all
ask_alone:
  %n2 = call i64 @run(ptr %team, ptr %conditions, i64 %asked, i64 1, i64 0)
  br label %answer
ask_all:
  %n3 = call i64 @together(ptr %team, ptr %conditions, i64 %asked, i64 %threads)
  br label %answer
answer:
  %truth = load i8, ptr %flag, align 1
  %holds = icmp ne i8 %truth, 0
  br i1 %holds, label %step, label %out
step:
  br i1 %single, label %alone, label %all
alone:
  %n4 = call i64 @run(ptr %team, ptr %table, i64 %rows, i64 1, i64 0)
  br label %ran
all:
  %n5 = call i64 @together(ptr %team, ptr %table, i64 %rows, i64 %threads)
  br label %ran
ran:
  br label %moving
moving:
  %k = phi i64 [0, %ran], [%k1, %move]
  %left = icmp slt i64 %k, %count
  br i1 %left, label %move, label %moved
move:
  %twice = mul i64 %k, 2
  %pair = getelementptr i64, ptr %moves, i64 %twice
  %place = load i64, ptr %pair, align 8
  %cell = inttoptr i64 %place to ptr
  %second = getelementptr i64, ptr %pair, i64 1
  %stride = load i64, ptr %second, align 8
  %before = load i64, ptr %cell, align 8
  %after = add i64 %before, %stride
  store i64 %after, ptr %cell, align 8
  %k1 = add i64 %k, 1
  br label %moving
moved:
  %following = add i64 %i, 1
  br label %head
out:
  store i64 %i, ptr %done, align 8
  ret void
}}

; a loop within a loop, on one thread: the block holds two tables, each with its rows - for before and after the loop -
; then what `repeat_table` takes; pointers that moved go back
define i64 @nested(ptr %block) {{
entry:
{words[12]}
  %before = load ptr, ptr %block, align 8
  %first = load i64, ptr %p1, align 8
  %after = load ptr, ptr %p2, align 8
  %last = load i64, ptr %p3, align 8
  %table = load ptr, ptr %p4, align 8
  %rows = load i64, ptr %p5, align 8
  %moves = load ptr, ptr %p6, align 8
  %count = load i64, ptr %p7, align 8
  %steps = load i64, ptr %p8, align 8
  %conditions = load ptr, ptr %p9, align 8
  %asked = load i64, ptr %p10, align 8
  %flag = load ptr, ptr %p11, align 8
  %done = load ptr, ptr %p12, align 8
  %n1 = call i64 @run(ptr null, ptr %before, i64 %first, i64 1, i64 0)
  call void @repeat_table(ptr null, ptr %table, i64 %rows, i64 1, ptr %moves, i64 %count, i64 %steps,
                          ptr %conditions, i64 %asked, ptr %flag, ptr %done)
  %made = load i64, ptr %done, align 8
  br label %moving
moving:
  %k = phi i64 [0, %entry], [%k1, %move]
  %left = icmp slt i64 %k, %count
  br i1 %left, label %move, label %moved
move:
  %twice = mul i64 %k, 2
  %pair = getelementptr i64, ptr %moves, i64 %twice
  %place = load i64, ptr %pair, align 8
  %cell = inttoptr i64 %place to ptr
  %second = getelementptr i64, ptr %pair, i64 1
  %stride = load i64, ptr %second, align 8
  %way = mul i64 %stride, %made
  %there = load i64, ptr %cell, align 8
  %here = sub i64 %there, %way
  store i64 %here, ptr %cell, align 8
  %k1 = add i64 %k, 1
  br label %moving
moved:
  %n2 = call i64 @run(ptr null, ptr %after, i64 %last, i64 1, i64 0)
  ret i64 0
}}

; one of several tables: the block holds where a number of 1, 4 or 8 bytes says which, its bytes, how many tables there
; are, then each with its rows
define i64 @one_of(ptr %block) {{
entry:
  %place = load ptr, ptr %block, align 8
  %p1 = getelementptr i64, ptr %block, i64 1
  %bytes = load i64, ptr %p1, align 8
  %p2 = getelementptr i64, ptr %block, i64 2
  %count = load i64, ptr %p2, align 8
  switch i64 %bytes, label %eight [ i64 1, label %one
                                    i64 4, label %four ]
one:
  %v1 = load i8, ptr %place, align 1
  %i1 = zext i8 %v1 to i64
  br label %found
four:
  %v4 = load i32, ptr %place, align 4
  %i4 = sext i32 %v4 to i64
  br label %found
eight:
  %i8 = load i64, ptr %place, align 8
  br label %found
found:
  %index = phi i64 [%i1, %one], [%i4, %four], [%i8, %eight]
  %most = sub i64 %count, 1
  %below = icmp slt i64 %index, 0
  %low = select i1 %below, i64 0, i64 %index
  %above = icmp sgt i64 %low, %most
  %which = select i1 %above, i64 %most, i64 %low
  %twice = mul i64 %which, 2
  %at = add i64 %twice, 3
  %pair = getelementptr i64, ptr %block, i64 %at
  %table = load ptr, ptr %pair, align 8
  %second = getelementptr i64, ptr %pair, i64 1
  %rows = load i64, ptr %second, align 8
  %n = call i64 @run(ptr null, ptr %table, i64 %rows, i64 1, i64 0)
  ret i64 0
}}

; a table, unless what it reads is as it was when it ran last: the block holds where that lies, a copy of it, its bytes,
; the place of the number of who made the copy and wrote what the table writes, this one's number, the table, its rows
define void @unless_same(ptr %block) {{
entry:
{words[6]}
  %source = load ptr, ptr %block, align 8
  %copy = load ptr, ptr %p1, align 8
  %bytes = load i64, ptr %p2, align 8
  %maker = load ptr, ptr %p3, align 8
  %me = load i64, ptr %p4, align 8
  %table = load ptr, ptr %p5, align 8
  %rows = load i64, ptr %p6, align 8
  %who = load i64, ptr %maker, align 8
  %mine = icmp eq i64 %who, %me
  br i1 %mine, label %compare, label %make
compare:
  %differs = call i32 @memcmp(ptr %source, ptr %copy, i64 %bytes)
  %same = icmp eq i32 %differs, 0
  br i1 %same, label %out, label %make
make:
  store i64 0, ptr %maker, align 8
  %ignored = call ptr @memmove(ptr %copy, ptr %source, i64 %bytes)
  %n = call i64 @run(ptr null, ptr %table, i64 %rows, i64 1, i64 0)
  store i64 %me, ptr %maker, align 8
  br label %out
out:
  ret void
}}

; rows of memory from one place to another: destination, source, bytes of a row, rows, and from one row to the next
define void @copy_rows(ptr %block) {{
entry:
  %to = load ptr, ptr %block, align 8
  %second = getelementptr i64, ptr %block, i64 1
  %from = load ptr, ptr %second, align 8
  %third = getelementptr i64, ptr %block, i64 2
  %bytes = load i64, ptr %third, align 8
  %fourth = getelementptr i64, ptr %block, i64 3
  %rows = load i64, ptr %fourth, align 8
  %fifth = getelementptr i64, ptr %block, i64 4
  %apart = load i64, ptr %fifth, align 8
  %sixth = getelementptr i64, ptr %block, i64 5
  %aside = load i64, ptr %sixth, align 8
  br label %head
head:
  %i = phi i64 [0, %entry], [%next, %row]
  %more = icmp slt i64 %i, %rows
  br i1 %more, label %row, label %out
row:
  %forth = mul i64 %i, %apart
  %back = mul i64 %i, %aside
  %there = getelementptr i8, ptr %to, i64 %forth
  %here = getelementptr i8, ptr %from, i64 %back
  %ignored = call ptr @memmove(ptr %there, ptr %here, i64 %bytes)
  %next = add i64 %i, 1
  br label %head
out:
  ret void
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
        together: whether it takes so long that all threads share it.
        run_single: runs it on this thread.
        cannot_stop: whether that is all a call does, since nothing in it checks.
    """

    def __init__(self, kernels: Sequence[Bound | Check], threads: int) -> None:
        self.kernels, self.threads = tuple(kernels), threads
        self.stopped: int | None = None
        shared = sum(map(_bytes, self.kernels)) if any(map(_is_divided, self.kernels)) else 0
        self.together = threads > 1 and shared > _FEWEST_BYTES
        rows = np.zeros((len(self.kernels), threads + 2), np.int64)
        for i, kernel in enumerate(self.kernels):
            rows[i, 1] = threads > 1 and self._meets(i)
            if isinstance(kernel, Check):
                rows[i, 2] = kernel.flag.ctypes.data
                continue
            rows[i, 0] = kernel.address
            rows[i, 2:] = [kernel.block(thread, threads) for thread in range(threads)]
        self._rows = rows
        self._shared = (rows.ctypes.data, len(rows))  # asking for an address takes a microsecond
        # the same for one thread: each part is a row
        parts = [(i, part) for i, row in enumerate(rows.tolist()) for part in row[2:] if part]
        self._numbers = [i for i, _ in parts]
        self._alone = np.array([[rows[i, 0], 0, part] for i, part in parts], np.int64)
        self._block = np.array([self._alone.ctypes.data, len(parts)], np.int64)
        self.run_single = functools.partial(_functions()["single"], ctypes.c_void_p(self._block.ctypes.data))
        self.cannot_stop = not self.together and not any(isinstance(one, Check) for one in self.kernels)

    def rows(self, together: bool) -> tuple[int, int]:
        """Where its rows lie in memory, and how many there are: for all threads, or for one."""
        return self._shared if together else (self._alone.ctypes.data, len(self._alone))

    def _meets(self, i: int) -> bool:
        """Whether all threads meet after a row: what follows reads what others wrote."""
        kernel, following = self.kernels[i], self.kernels[i + 1 : i + 2]
        if not following or isinstance(kernel, Check):
            return False
        return isinstance(following[0], Check) or not (kernel.span is None and following[0].span is None)

    def __call__(self) -> None:
        """Run all kernels; raises what a check raises, and then those behind it did not run."""
        self.stopped = None
        team = team_of(self.threads) if self.together else None
        if team is not None and team.lock.acquire(blocking=False):
            try:
                stopped = team.together(*self._shared)
            finally:
                team.lock.release()
        else:
            stopped = self.run_single()
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


def _is_divided(kernel: Bound | Check) -> bool:
    return not isinstance(kernel, Check) and kernel.span is not None


def _bytes(kernel: Bound | Check) -> int:
    return 0 if isinstance(kernel, Check) else kernel.nbytes


class NativeLoop:
    """Tables run again and again in one call.

    Args:
        kernels: one step.
        moves: pointers that move on after each step: a kernel, which of its pointers, and by how many bytes.
        condition: kernels that run before each step.
        flag: where these leave a boolean; where it is false the loop ends.

    Attributes:
        done: how many steps the latest run made.
    """

    def __init__(
        self,
        kernels: Sequence[Bound],
        moves: Sequence[tuple[Bound, int, int]],
        threads: int,
        condition: Sequence[Bound] = (),
        flag: np.ndarray[Any, Any] | None = None,
    ) -> None:
        self._table, self._condition = Table(kernels, threads), Table(condition, threads)
        self._flag, self._threads = flag, threads if self._table.together else 1
        cells = [(kernel.block(0, threads) + 8 * pointer, stride) for kernel, pointer, stride in moves]
        self._moves = np.array(cells, np.int64).reshape(-1, 2)
        self._blocks = [(kernel.cells(threads), pointer) for kernel, pointer, _ in moves]
        self._before: list[int] = []
        self._done = np.zeros(1, np.int64)
        self.done = self._done.reshape(())

    def start(self) -> None:
        """Note where the pointers stand, for `end`."""
        self._before = [int(block[pointer]) for block, pointer in self._blocks]

    def end(self) -> None:
        """Put the pointers back."""
        for (block, pointer), before in zip(self._blocks, self._before, strict=True):
            block[pointer] = before

    def __call__(self, steps: int) -> int:
        """Go on for so many steps at most; returns how many there were."""
        team = team_of(self._threads) if self._threads > 1 else None
        if team is not None and team.lock.acquire(blocking=False):
            try:
                self._repeat(team.address, self._threads, steps)
            finally:
                team.lock.release()
        else:
            self._repeat(0, 1, steps)
        return int(self._done[0])

    def _repeat(self, team: int, threads: int, steps: int) -> None:
        table, rows = self._table.rows(threads > 1)
        condition, asked = self._condition.rows(threads > 1)
        flag = 0 if self._flag is None else self._flag.ctypes.data
        moves = self._moves
        _functions()["repeat_table"](
            *_pointers(team, table, rows, threads, moves.ctypes.data, len(moves), steps),
            *_pointers(condition, asked, flag, self._done.ctypes.data),
        )

    def nested(self, steps: int, before: Sequence[Bound], after: Sequence[Bound]) -> Bound:
        """The loop, of so many steps at most, as one kernel on one thread: for the body of another loop.

        Args:
            before, after: kernels that run once before and after it.
        """
        first, last = Table(before, 1), Table(after, 1)
        flag = 0 if self._flag is None else self._flag.ctypes.data
        numbers = (
            *first.rows(False), *last.rows(False), *self._table.rows(False), self._moves.ctypes.data,
            len(self._moves), steps, *self._condition.rows(False), flag, self._done.ctypes.data,
        )  # fmt: skip
        return _kernel("loop", "nested").bind(counts=numbers).holding(self, first, last)


def one_of(index: np.ndarray[Any, Any], choices: Sequence[Sequence[Bound]]) -> Bound | None:
    """A kernel that runs one of several rows of kernels, on one thread: the one an integer or boolean says.

    A number beyond them means the nearest. None for an integer of another size than 4 or 8 bytes.
    """
    if index.dtype.char not in "?ilq":
        return None
    tables = [Table(kernels, 1) for kernels in choices]
    places = [number for table in tables for number in table.rows(False)]
    numbers = (index.ctypes.data, index.itemsize, len(tables), *places)
    return _kernel("choice", "one_of").bind(counts=numbers).holding(index, tables)


_makers = itertools.count(1)


def unless_same(source: Array, copy: Array, maker: Array, kernels: Sequence[Bound]) -> Bound:
    """A kernel that runs others unless the bytes that these read are those of its latest run; on one thread.

    Args:
        source: what they read, in rows; every write to it is noticed, by whomever.
        copy: bytes, as many as `source` has.
        maker: an int64, at first 0: others that write to the memory of `kernels` and `copy` note it there as well.
        kernels: what they write lies still until the next run.
    """
    table = Table(kernels, 1)
    rows = table.rows(False)
    numbers = (source.ctypes.data, copy.ctypes.data, source.nbytes, maker.ctypes.data, next(_makers), *rows)
    found = _kernel("prepared weights", "unless_same").bind(counts=numbers)
    return found.holding(table, source, copy, maker, reached=[source, copy])


def _kernel(name: str, entry: str, pointers: int = 0) -> Kernel:
    """One of the native functions as a kernel."""
    _functions()
    return Kernel(name, entry, pointers, 0, _machine_code[0])


def copying(to: np.ndarray[Any, Any], source: np.ndarray[Any, Any]) -> Bound | None:
    """A kernel that copies one array to another of its type; its two pointers may move.

    None where the two do not lie in rows at equal distances.
    """
    if to.shape != source.shape or to.dtype != source.dtype or to.dtype.hasobject or not to.size:
        return None
    length, rows, apart, aside = to.itemsize, 1, 0, 0
    for size, there, here in zip(to.shape[::-1], to.strides[::-1], source.strides[::-1], strict=True):
        if size == 1:
            continue
        if rows == 1 and there == here == length:
            length *= size
        elif rows == 1:
            rows, apart, aside = size, there, here
        elif there == rows * apart and here == rows * aside:
            rows *= size
        else:
            return None
    return _kernel("copied rows", "copy_rows", 2).bind(to, source, counts=(length, rows, apart, aside))


class Team:
    """Workers that wait for tables of kernels.

    Attributes:
        threads: how many threads work together, the calling one included.
        lock: held by who has the team.
        address: of what they share.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.lock = threading.Lock()
        self._cells = np.zeros(_CELL * (len(_CELLS) + 8), np.int64)
        address = self.address = self._cells.ctypes.data
        for me in range(1, threads):
            work = functools.partial(_functions()["work"], *_pointers(address, threads, me))
            threading.Thread(target=work, name=f"tinygraph worker {me}", daemon=True).start()

    def together(self, rows: int, count: int) -> int:
        """Run a table, whose rows lie at an address, on all threads; returns when it is done: 0, or how many rows were
        begun when a check ended it.
        """
        stopped: int = _functions()["together"](*_pointers(self.address, rows, count, self.threads))
        return stopped

    def stop(self) -> None:
        """Send the workers home."""
        self._cells[_CELL * _CELLS.index("stop")] = 1
        _functions()["wake"](*_pointers(self.address))


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


_machine_code: list[MachineCode] = []


def _words(count: int) -> str:
    """Places of the words behind the first of a block, as %p1, %p2 ..., in LLVM's language."""
    return "\n".join(f"  %p{i} = getelementptr i64, ptr %block, i64 {i}" for i in range(1, count + 1))


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
        words={n: _words(n) for n in (6, 12)},
        pause="call void @llvm.x86.sse2.pause()" if x86 else "fence acquire",
        pause_declaration="declare void @llvm.x86.sse2.pause()" if x86 else "",
        spins=_SPINS,
        patience=_PATIENCE,
        **{name: _CELL * i for i, name in enumerate(_CELLS)},
    )
    names = (
        "single",
        "work",
        "together",
        "wake",
        "repeat_table",
        "nested",
        "one_of",
        "unless_same",
        "copy_rows",
    )
    code = assemble(text, functions=names, imports=symbols)
    _machine_code[:] = [code]
    found = {}
    for name in names:
        function: Any = ctypes.CFUNCTYPE(ctypes.c_int64)(code.addresses[name])
        function.argtypes = None
        function.alive = code
        found[name] = function
    return found


_POSIX = (
    *("sched_yield", "pthread_mutex_lock", "pthread_mutex_unlock"),
    *("pthread_cond_wait", "pthread_cond_broadcast", "memmove", "memcmp"),
)


def _pointers(*numbers: int) -> tuple[Any, ...]:
    return tuple(map(ctypes.c_void_p, numbers))
