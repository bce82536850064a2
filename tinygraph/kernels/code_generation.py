"""Object code from LLVM's assembly language, on other threads while Python writes the next kernel.

LLVM takes longer for a kernel than Python took to write it, and needs no interpreter meanwhile. What is asked for
waits in a queue that short-lived threads empty, as many as compiled functions may run on besides the calling one;
whoever needs the code before it is there makes it, or waits for the thread that does.
"""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from tinygraph.core.locks import Lock, at_fork
from tinygraph.kernels.cpu import Cpu
from tinygraph.kernels.threads import get_threads

_MOST_WORKERS = 8


class ObjectCode:
    """The object code of a module, made when a thread is free for it, at the latest when it is asked for.

    Args:
        text: the module in LLVM's assembly language.
        cpu: what it is for.
        made: called with the code, by whoever made it.
    """

    def __init__(self, text: str, cpu: Cpu, made: Callable[[bytes], object]) -> None:
        self._text, self._cpu, self._made = text, cpu, made
        self._image: bytes | None = None
        self._lock = Lock()  # new in the child of a fork, where the thread that held it is not

    @property
    def nbytes(self) -> int:
        """What it takes; a guess until it is made."""
        return len(self._image) if self._image is not None else len(self._text) // 8

    def image(self) -> bytes:
        """The object code; raises what LLVM says of a module that is wrong."""
        with self._lock.held:
            if self._image is None:
                self._image = _emit(self._text, self._cpu)
                self._text = ""
                self._made(self._image)
            return self._image


def soon(code: ObjectCode) -> None:
    """Have code made by another thread, if compiled functions may use any."""
    if get_threads() == 1:
        return
    _waiting.append(code)
    with _lock.held:
        _workers[:] = [one for one in _workers if one.is_alive()]
        if len(_workers) < min(get_threads() - 1, _MOST_WORKERS):
            worker = threading.Thread(target=_work, name="tinygraph code generation")
            worker.start()
            _workers.append(worker)


def _work() -> None:
    while True:
        try:
            code = _waiting.popleft()
        except IndexError:
            return
        with suppress(Exception):  # whoever needs it makes it again, and is told
            code.image()


_waiting: deque[ObjectCode] = deque()
_workers: list[threading.Thread] = []
_machines: list[tuple[Cpu, Any]] = []  # those that no thread uses: a machine serves one thread at a time
_lock = Lock()

at_fork(after_in_child=_workers.clear)


def _emit(text: str, cpu: Cpu) -> bytes:
    """LLVM's optimisation passes over the IR are left out: they rewrite hand-scheduled vector code for the worse."""
    with _lock.held:
        free = next((pair for pair in _machines if pair[0] == cpu), None)
        if free is not None:
            _machines.remove(free)
    machine = free[1] if free is not None else cpu.machine()
    parsed = llvm.parse_assembly(text, llvm.create_context())
    parsed.triple = machine.triple
    parsed.verify()
    image = _emit_unlocked(machine, parsed)
    with _lock.held:
        _machines.append((cpu, machine))
    return image


def _emit_unlocked(machine: Any, module: Any) -> bytes:
    """`machine.emit_object(module)` without the lock that llvmlite holds meanwhile.

    LLVM works on several modules at once as long as each has a context and a machine of its own, as here. Where
    llvmlite keeps the function elsewhere, its own way is as right, and slower.
    """
    function = getattr(ffi.lib.LLVMPY_TargetMachineEmitToMemory, "_cfn", None)
    if function is None:
        made: bytes = machine.emit_object(module)
        return made
    with ffi.OutputString() as error:
        buffer = function(machine, module, 1, error)
        if not buffer:
            raise RuntimeError(str(error))
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)
