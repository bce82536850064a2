"""Machine code: compile functions of the kernel language, keep them alive, bind them to the memory of arrays."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from tinygraph.kernels.builder import Function
from tinygraph.kernels.cpu import Target, current_target

Array = np.ndarray[Any, Any]
# the C library's mathematics that kernels may call, each for float64 and, with an f behind, float32
LIBRARY_FUNCTIONS = (
    *("pow", "cbrt", "hypot", "sin", "cos", "tan", "asin", "acos", "atan", "atan2"),
    *("sinh", "cosh", "asinh", "acosh", "atanh"),
)
_lock = threading.Lock()
# for functions that make kernels: one kernel for equal arguments; those not used for long are dropped, unless bound
kept = functools.lru_cache(maxsize=2048)


class Kernel(NamedTuple):
    """A compiled function.

    Attributes:
        name: what it computes, for tables.
        address: where its machine code starts.
        pointers: how many pointers it takes; counts come after them.
        engine: the owner of the machine code.
    """

    name: str
    address: int
    pointers: int
    engine: Any

    def bind(self, *arrays: Array, counts: Sequence[int] = ()) -> Bound:
        """The kernel applied to the memory of these arrays, of which it reads and writes whatever it was made for.

        The arrays must stay where they are; the bound kernel keeps them alive.
        """
        if len(arrays) != self.pointers:
            raise TypeError(f"kernel {self.name} takes {self.pointers} arrays, not {len(arrays)}")
        pointers = tuple(array.ctypes.data for array in arrays)
        return Bound(self.name, self.address, pointers, tuple(counts), (arrays, self.engine))


class Bound:
    """A kernel with its arguments; call it to run it.

    Attributes:
        name: what it computes, for tables.
        run: the cheapest callable that runs it.
    """

    __slots__ = ("_function", "address", "counts", "name", "pointers", "run")

    def __init__(
        self, name: str, address: int, pointers: tuple[int, ...], counts: tuple[int, ...], alive: Any
    ) -> None:
        self.name, self.address, self.pointers, self.counts = name, address, pointers, counts
        arguments = [ctypes.c_void_p(p) for p in pointers] + [ctypes.c_int64(n) for n in counts]
        function: Any = ctypes.CFUNCTYPE(None)(address)
        function.argtypes = None  # the arguments are converted already, here and once
        function.alive = alive  # whoever holds `run` holds the arrays and the machine code
        self.run: Callable[[], Any] = functools.partial(function, *arguments) if arguments else function
        self._function = function

    def holding(self, *objects: Any) -> Bound:
        """The same, keeping more objects alive."""
        self._function.alive = (self._function.alive, objects)
        return self

    def __call__(self) -> None:
        """Run the kernel."""
        self.run()

    def __repr__(self) -> str:
        return f"<bound kernel {self.name}>"


def compile_kernel(
    name: str,
    pointers: Sequence[str],
    write: Callable[[Function], None],
    *,
    counts: Sequence[str] = (),
    distinct: bool = False,
    target: Target | None = None,
) -> Kernel:
    """Compile one function whose body `write` emits.

    Args:
        name: what it computes, for tables and profilers.
        pointers: names of the pointer arguments.
        write: gets the `Function` under construction.
        counts: names of the integer arguments.
        distinct: promise that no two pointers reach the same memory.
        target: the CPU; by default this one.
    """
    module = ir.Module(name)
    code = Function(module, "kernel", pointers, counts, distinct=distinct)
    write(code)
    code.finish()
    engine = compile_text(str(module), target)
    return Kernel(name, engine.get_function_address("kernel"), len(pointers), engine)


def compile_text(text: str, target: Target | None = None) -> Any:
    """An execution engine that owns the machine code of a module in LLVM's assembly language.

    LLVM's optimisation passes over the IR are left out: they rewrite hand-scheduled vector code for the worse.
    """
    machine = (target or current_target()).machine()
    _offer_library()
    parsed = llvm.parse_assembly(text)
    parsed.triple = machine.triple
    parsed.verify()
    with _lock:
        engine = llvm.create_mcjit_compiler(parsed, machine)
        engine.finalize_object()
    return engine


@functools.cache
def _offer_library() -> None:
    """Tell LLVM where the C library's mathematics are, wherever this platform keeps them."""
    library = ctypes.CDLL(ctypes.util.find_library("m") if sys.platform != "win32" else "ucrtbase")
    for name in LIBRARY_FUNCTIONS:
        for symbol in (name, name + "f"):
            address = ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value
            llvm.add_symbol(symbol, address)


def sequence(name: str, kernels: Sequence[Bound]) -> Bound:
    """Bound kernels as one native function without arguments: a call costs less than 0.1 microseconds.

    Compiling it takes some milliseconds, so it is worth it for what runs many times.
    """
    calls = []
    for kernel in kernels:
        arguments = [f"ptr inttoptr (i64 {pointer} to ptr)" for pointer in kernel.pointers]
        arguments += [f"i64 {count}" for count in kernel.counts]
        calls.append(f"call void inttoptr (i64 {kernel.address} to ptr)({', '.join(arguments)})\n")
    engine = compile_text(f"define void @sequence() {{\n{''.join(calls)}ret void\n}}\n")
    return Bound(name, engine.get_function_address("sequence"), (), (), (tuple(kernels), engine))
