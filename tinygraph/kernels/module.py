"""Machine code: compile functions of the kernel language, keep them alive, bind them to the memory of arrays."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import itertools
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from tinygraph.core.locks import Lock
from tinygraph.kernels.cpu import Target, current_target
from tinygraph.kernels.emission import Code
from tinygraph.kernels.recent import Recent

Array = np.ndarray[Any, Any]
# the C library's mathematics that kernels may call, each for float64 and, with an f behind, float32
LIBRARY_FUNCTIONS = (
    *("pow", "cbrt", "hypot", "sin", "cos", "tan", "asin", "acos", "atan", "atan2"),
    *("sinh", "cosh", "asinh", "acosh", "atanh"),
)
ENTRY = "kernel"  # the name of the function in a module
_CODE_OVERHEAD = 80_000  # bytes besides the machine code: pages, symbols, the kernel's description; measured
_numbers = itertools.count()
_lock = Lock()
# for functions that make kernels: one kernel for equal arguments; those not used for long are dropped, unless bound
kernels = Recent(256 * 2**20)
kept = kernels.kept


class Kernel(NamedTuple):
    """A compiled function.

    Attributes:
        name: what it computes, for tables.
        address: where its machine code starts.
        pointers: how many pointers it takes; counts come after them.
        code: the owner of the machine code.
    """

    name: str
    address: int
    pointers: int
    code: MachineCode

    @property
    def nbytes(self) -> int:
        """What its machine code takes."""
        return self.code.nbytes

    def bind(self, *arrays: Array, counts: Sequence[int] = ()) -> Bound:
        """The kernel applied to the memory of these arrays, of which it reads and writes whatever it was made for.

        The arrays must stay where they are; the bound kernel keeps them alive.
        """
        if len(arrays) != self.pointers:
            raise TypeError(f"kernel {self.name} takes {self.pointers} arrays, not {len(arrays)}")
        pointers = tuple(array.ctypes.data for array in arrays)
        bound = Bound(self.name, self.address, pointers, tuple(counts), (arrays, self.code))
        self.code.bound[id(bound.function)] = bound.function
        return bound


class Bound:
    """A kernel with its arguments; call it to run it.

    Attributes:
        name: what it computes, for tables.
        run: the cheapest callable that runs it.
        function: what `run` calls, which keeps arrays and machine code alive.
    """

    __slots__ = ("address", "counts", "function", "name", "pointers", "run")

    def __init__(
        self, name: str, address: int, pointers: tuple[int, ...], counts: tuple[int, ...], alive: Any
    ) -> None:
        self.name, self.address, self.pointers, self.counts = name, address, pointers, counts
        arguments = [ctypes.c_void_p(p) for p in pointers] + [ctypes.c_int64(n) for n in counts]
        function: Any = ctypes.CFUNCTYPE(None)(address)
        function.argtypes = None  # the arguments are converted already, here and once
        function.alive = alive  # whoever holds `run` holds the arrays and the machine code
        self.run: Callable[[], Any] = functools.partial(function, *arguments) if arguments else function
        self.function = function

    def holding(self, *objects: Any) -> Bound:
        """The same, keeping more objects alive."""
        self.function.alive = (self.function.alive, objects)
        return self

    def __call__(self) -> None:
        """Run the kernel."""
        self.run()

    def __repr__(self) -> str:
        return f"<bound kernel {self.name}>"


def compile_kernel(
    name: str,
    pointers: Sequence[str],
    write: Callable[[Code], None],
    *,
    counts: Sequence[str] = (),
    distinct: bool = False,
    target: Target | None = None,
) -> Kernel:
    """Compile one function whose body `write` emits.

    Args:
        name: what it computes, for tables and profilers.
        pointers: names of the pointer arguments.
        write: gets the function under construction.
        counts: names of the integer arguments.
        distinct: promise that no two pointers reach the same memory.
        target: the CPU; by default this one.
    """
    module = ir.Module(name)
    code = Code(module, ENTRY, pointers, counts, distinct=distinct)
    write(code)
    code.finish()
    made = MachineCode(str(module), target)
    return Kernel(name, made.address, len(pointers), made)


class MachineCode:
    """The machine code of one module, in memory of its own that is given back with this object.

    Attributes:
        nbytes: what it takes, about.
        bound: the bound kernels that run it.
    """

    def __init__(self, text: str, target: Target | None = None) -> None:
        """Compile a module in LLVM's assembly language.

        LLVM's optimisation passes over the IR are left out: they rewrite hand-scheduled vector code for the worse.
        """
        with _lock.held:
            machine, linker = _linker(target or current_target())
            parsed = llvm.parse_assembly(text, llvm.create_context())
            parsed.triple = machine.triple
            parsed.verify()
            image = machine.emit_object(parsed)
            library = llvm.JITLibraryBuilder().add_object_img(image).export_symbol(ENTRY)
            for symbol, address in _library_functions().items():
                if f"@{symbol}(" in text:
                    library.import_symbol(symbol, address)
            self._tracker = library.link(linker, f"code {next(_numbers)}")
        self.nbytes = len(image) + _CODE_OVERHEAD
        self.address: int = self._tracker[ENTRY]
        self.bound: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


@functools.cache
def _linker(target: Target) -> tuple[Any, Any]:
    """What makes machine code for a CPU, and what places it in memory: one each, since they take a megabyte."""
    return target.machine(), llvm.create_lljit_compiler(target.machine())


@functools.cache
def _library_functions() -> dict[str, int]:
    """Where the C library's mathematics are, wherever this platform keeps them."""
    library = ctypes.CDLL(ctypes.util.find_library("m") if sys.platform != "win32" else "ucrtbase")
    names = [symbol for name in LIBRARY_FUNCTIONS for symbol in (name, name + "f")]
    addresses = (ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value for symbol in names)
    return {symbol: address for symbol, address in zip(names, addresses, strict=True) if address}


def release_unused() -> None:
    """Give back the machine code of kernels that are bound to no arrays any more."""
    kernels.drop(lambda kernel: not kernel.code.bound)


def sequence(name: str, kernels: Sequence[Bound]) -> Bound:
    """Bound kernels as one native function without arguments: a call costs less than 0.1 microseconds.

    Compiling it takes some milliseconds, so it is worth it for what runs many times.
    """
    calls = []
    for kernel in kernels:
        arguments = [f"ptr inttoptr (i64 {pointer} to ptr)" for pointer in kernel.pointers]
        arguments += [f"i64 {count}" for count in kernel.counts]
        calls.append(f"call void inttoptr (i64 {kernel.address} to ptr)({', '.join(arguments)})\n")
    code = MachineCode(f"define void @{ENTRY}() {{\n{''.join(calls)}ret void\n}}\n")
    return Bound(name, code.address, (), (), (tuple(kernels), code))
