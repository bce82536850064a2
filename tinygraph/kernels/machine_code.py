"""Machine code: compile functions of the kernel language, keep them alive, bind them to the memory of arrays.

What was compiled is kept in memory, and on disk for the next process (`disk_cache.py`): object code under the hash of
its source in LLVM's language, and beside it which source a request for a kernel leads to (`requests.py`).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import itertools
import json
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, ParamSpec

import llvmlite
import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numpy.lib.array_utils import byte_bounds

from tinygraph.core.locks import Lock
from tinygraph.core.types import Array
from tinygraph.kernels.array_facts import address_of
from tinygraph.kernels.code_generation import ObjectCode, soon
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.disk_cache import digest, shared_cache
from tinygraph.kernels.emission import Code
from tinygraph.kernels.recent import Recent
from tinygraph.kernels.requests import request_key

P = ParamSpec("P")
# the C library's mathematics that kernels may call, each for float64 and, with an f behind, float32
LIBRARY_FUNCTIONS = (
    *("pow", "cbrt", "hypot", "sin", "cos", "tan", "asin", "acos", "atan", "atan2"),
    *("sinh", "cosh", "asinh", "acosh", "atanh"),
    "fma",  # which LLVM's own calls where the CPU has no instruction for it
)
ENTRY = "kernel"  # the name of the function in a module
_CODE_OVERHEAD = 80_000  # bytes besides the machine code: pages, symbols, the kernel's description; measured
_numbers = itertools.count()
_lock = Lock()
# by the arguments of functions that make kernels; those not used for long are dropped, unless bound
kernels = Recent(256 * 2**20, steady=True)


class Private(NamedTuple):
    """An argument of which each thread has its own: scratch memory, partial sums. The first serves a single thread."""

    arrays: Sequence[Array]


class Kernel(NamedTuple):
    """A compiled function of one pointer, to a block of arguments: pointers, then counts, as 64-bit integers.

    Attributes:
        name: what it computes, for tables.
        entry: the name of its function.
        pointers: how many pointers it takes.
        splits: units of work for each of `span` things (images, rows) it is bound to, which may be done at the same
            time; its last counts are the range of units to do, and the span. 0: the work cannot be divided.
        code: the owner of the machine code.
    """

    name: str
    entry: str
    pointers: int
    splits: int
    code: MachineCode

    @property
    def address(self) -> int:
        """Where its machine code starts, which is there from then on."""
        return self.code.addresses[self.entry]

    @property
    def nbytes(self) -> int:
        """What its machine code takes."""
        return self.code.nbytes

    def bind(
        self,
        *arrays: Array | Private,
        counts: Sequence[int] = (),
        span: int | None = None,
        divided: bool = True,
    ) -> Bound:
        """The kernel applied to the memory of these arrays, of which it reads and writes whatever it was made for.

        The arrays must stay where they are; the bound kernel keeps them alive.

        Args:
            arrays: as many as the kernel has pointers.
            counts: its counts, without the range.
            span: how many things there are to work on, for a kernel that splits.
            divided: whether its work is divided among threads; not where meeting them takes as long as doing it.
        """
        if len(arrays) != self.pointers:
            raise TypeError(f"kernel {self.name} takes {self.pointers} arrays, not {len(arrays)}")
        if bool(self.splits) != (span is not None):
            raise TypeError(f"kernel {self.name} {'needs a' if self.splits else 'takes no'} span")
        if span is not None and not divided:
            counts, span = (*counts, 0, span * self.splits, span), None
        bound = Bound(self, arrays, tuple(counts), span)
        self.code.bound[id(bound.alive)] = bound.alive
        return bound


class _Alive(list[object]):
    """What must stay where it is as long as a bound kernel may run."""

    __slots__ = ("__weakref__",)


class Bound:
    """A kernel with its arguments; call it to run it on the calling thread.

    Attributes:
        name: what it computes, for tables.
        span: how many things it works on, or None for a kernel that does not split.
        alive: the arrays and machine code that it needs.
    """

    __slots__ = ("_arrays", "_blocks", "_counts", "_reached", "_run", "alive", "kernel", "span")

    def __init__(
        self,
        kernel: Kernel,
        arrays: tuple[Array | Private, ...],
        counts: tuple[int, ...],
        span: int | None,
    ) -> None:
        self.kernel, self.span, self._arrays, self._counts = kernel, span, arrays, counts
        self._blocks: dict[tuple[int, int], Array] = {}
        self._reached: list[Array] = []
        self._run: Callable[[], Any] | None = None
        self.alive = _Alive([arrays, kernel.code, self._blocks])

    @property
    def run(self) -> Callable[[], Any]:
        """The cheapest callable that runs it; whoever holds it holds what it needs."""
        if self._run is None:
            function: Any = ctypes.CFUNCTYPE(None)(self.address)
            function.argtypes = None  # the argument is converted already, here and once
            function.alive = self.alive
            # with partial sums of each thread all parts must be done, by whomever
            threads = max((len(one.arrays) for one in self._arrays if isinstance(one, Private)), default=1)
            blocks = [ctypes.c_void_p(self.block(thread, threads)) for thread in range(threads)]
            self._run = functools.partial(function, blocks[0])
            if threads > 1:
                self._run = functools.partial(_each, function, blocks)
        return self._run

    @property
    def name(self) -> str:
        """What it computes, for tables."""
        return self.kernel.name

    @property
    def address(self) -> int:
        """Where the machine code starts; it takes the address of a block of arguments."""
        return self.kernel.address

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays it is bound to."""
        return sum(one.nbytes for one in (*self._reached, *self.arrays))

    @property
    def arrays(self) -> list[Array]:
        """The arrays that its pointers point to."""
        return [part for one in self._arrays for part in (one.arrays if isinstance(one, Private) else (one,))]

    def block(self, thread: int, threads: int) -> int:
        """The address of the arguments for one of some threads that share the work; 0 where there is none for it."""
        if self.span is None and thread:
            return 0
        return address_of(self._block(thread, threads))

    def pointers_into(self, low: int, high: int) -> list[tuple[Array, int, int]] | None:
        """Its pointers into a range of addresses: the block of arguments, the place in it, and the pointer.

        None where one of its arrays lies partly in the range, or one that it finds otherwise.
        """
        if any(begin < high and low < end for begin, end in map(byte_bounds, self._reached)):
            return None
        for part in self.arrays:
            begin, end = byte_bounds(part)
            if begin < high and low < end and not low <= begin < end <= high:
                return None
        return [
            (block, i, int(block[i]))
            for block in self._blocks.values()
            for i in range(len(self._arrays))
            if low <= int(block[i]) < high
        ]

    def cells(self, threads: int) -> Array:
        """The arguments of the first of some threads, where they lie: pointers first."""
        return self._block(0, threads)

    def _block(self, thread: int, threads: int) -> Array:
        if (thread, threads) not in self._blocks:
            own = [one.arrays[thread] if isinstance(one, Private) else one for one in self._arrays]
            numbers = [address_of(array) for array in own] + list(self._counts)
            if self.span is not None:
                units = self.span * self.kernel.splits
                numbers += [units * thread // threads, units * (thread + 1) // threads, self.span]
            self._blocks[thread, threads] = np.array(numbers or [0], np.int64)
        return self._blocks[thread, threads]

    def arguments(self, thread: int, threads: int) -> Array:
        """The block of arguments for one of some threads; empty where there is none for it."""
        return self._block(thread, threads) if self.block(thread, threads) else np.empty(0, np.int64)

    def place_arguments(self, thread: int, threads: int, memory: Array, begin: int) -> int:
        """Have that block at a place in memory that holds the same numbers already; returns where it ends there.

        Whoever writes them there changes what a table of kernels does that is made later, not what `run` does.
        """
        if not self.block(thread, threads):
            return begin
        before = self._block(thread, threads)
        self.alive.append(before)
        self._blocks[thread, threads] = memory[begin : begin + len(before)]
        return begin + len(before)

    def holding(self, *objects: object, reached: Sequence[Array] = ()) -> Bound:
        """The same, keeping more objects alive; the arrays `reached` it finds by addresses of its own."""
        self.alive.append((objects, reached))
        self._reached += reached
        return self

    def __call__(self) -> None:
        """Run the kernel."""
        self.run()

    def __repr__(self) -> str:
        return f"<bound kernel {self.name}>"


def _each(function: Callable[..., Any], blocks: Sequence[Any]) -> None:
    for block in blocks:
        function(block)


def compile_kernel(
    name: str,
    pointers: Sequence[str],
    write: Callable[[Code], None],
    *,
    counts: Sequence[str] = (),
    splits: int = 0,
    distinct: bool = False,
    cpu: Cpu | None = None,
) -> Kernel:
    """Compile one function whose body `write` emits.

    Args:
        name: what it computes, for tables and profilers.
        pointers: names of the pointer arguments.
        write: gets the function under construction.
        counts: names of the integer arguments.
        splits: how many units of work there are for each thing that the kernel is bound to. Adds the counts "first",
            "last" and "span": the function does the units in that range, and others may do others at the same time.
        distinct: promise that no two pointers reach the same memory.
        cpu: the CPU; by default this one.
    """
    module = ir.Module(name)
    names = [*counts, *(("first", "last", "span") if splits else ())]
    code = Code(module, "body", pointers, names, distinct=distinct)
    write(code)
    code.finish()
    code.add_entry(ENTRY)
    made = assemble(str(module), cpu)
    return Kernel(name, ENTRY, len(pointers), splits, made)


def kept(make: Callable[P, Kernel]) -> Callable[P, Kernel]:
    """A function that makes a kernel once for equal arguments: as long as it is kept in memory, or on disk."""

    @functools.wraps(make)
    def remembered(*args: P.args, **kwargs: P.kwargs) -> Kernel:
        key = (make, args, tuple(sorted(kwargs.items())))
        found: Kernel | None = kernels.get(key)
        if found is None:
            found = _found_or_made(make, args, kwargs)
            kernels.put(key, found)
        return found

    return remembered


def _found_or_made(make: Callable[..., Kernel], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Kernel:
    cache = shared_cache()
    request = request_key(make, args, kwargs) if cache is not None else None
    if cache is None or request is None:
        return make(*args, **kwargs)
    request = digest(versions(), request.encode())
    found = cache.get(request)
    if found is not None:
        name, pointers, splits, source = json.loads(found)
        code = _stored(source)
        if code is not None:
            return Kernel(name, ENTRY, pointers, splits, code)
    made = make(*args, **kwargs)
    cache.put(request, json.dumps([made.name, made.pointers, made.splits, made.code.source]).encode())
    return made


class MachineCode:
    """The machine code of one module, in memory of its own that is given back with this object.

    Args:
        image: object code, or where it will be.
        functions: those that it defines.
        symbols: where the functions are that it calls.
        source: the hash of what it was compiled from.

    Attributes:
        bound: what keeps kernels bound to memory that run it.
    """

    def __init__(
        self, image: bytes | ObjectCode, functions: Sequence[str], symbols: Mapping[str, int], source: str
    ) -> None:
        self.source = source
        self.bound: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._image = image
        self._addresses: dict[str, int] | None = None
        self._functions, self._symbols = tuple(functions), dict(symbols)
        self._lock = Lock()
        self._size = len(image) if isinstance(image, bytes) else 0

    @property
    def nbytes(self) -> int:
        """What it takes, about."""
        waiting = self._image
        return _CODE_OVERHEAD + (waiting.nbytes if isinstance(waiting, ObjectCode) else self._size)

    @property
    def addresses(self) -> dict[str, int]:
        """Where its functions start, by name; linked when first asked for."""
        if self._addresses is None:
            with self._lock.held:
                if self._addresses is None:
                    self._addresses = self._linked()
        return self._addresses

    def _linked(self) -> dict[str, int]:
        image = self._image.image() if isinstance(self._image, ObjectCode) else self._image
        with _lock.held:
            library = llvm.JITLibraryBuilder().add_object_img(image)
            for function in self._functions:
                library.export_symbol(function)
            for symbol, address in self._symbols.items():
                library.import_symbol(symbol, address)
            self._tracker = library.link(_linker(), f"code {next(_numbers)}")
            found = {name: self._tracker[name] for name in self._functions}
        self._size, self._image = len(image), b""
        return found


def assemble(
    text: str,
    cpu: Cpu | None = None,
    *,
    functions: Sequence[str] = (ENTRY,),
    imports: Mapping[str, int] | None = None,
) -> MachineCode:
    """The machine code of a module in LLVM's assembly language that defines `functions`, and calls others.

    It is made soon, by another thread, and at the latest when its addresses are asked for.

    Args:
        text: the module.
        cpu: the CPU; by default this one.
        functions: names of what it defines.
        imports: where functions are that it calls, besides those of the C library's mathematics.
    """
    chosen = cpu or this_cpu()
    known = {**_library_functions(), **(imports or {})}
    symbols = {
        symbol: address
        for symbol, address in known.items()
        if f"@{symbol}(" in text or (symbol[:3] == "fma" and "@llvm.fma." in text)
    }
    source = digest(versions(), repr((chosen.cpu, chosen.features)).encode(), text.encode())
    same = _by_source.get(source)
    if same is not None:  # asked for in other words
        return same
    cache = shared_cache()
    found = cache.get(source) if cache is not None else None
    if found is not None:
        made = MachineCode(found.partition(b"\n")[2], functions, symbols, source)
    else:

        def keep(image: bytes) -> None:
            if cache is not None:
                cache.put(source, json.dumps(sorted(symbols)).encode() + b"\n" + image)

        waiting = ObjectCode(text, chosen, keep)
        soon(waiting)
        made = MachineCode(waiting, functions, symbols, source)
    _by_source[source] = made
    return made


_by_source: weakref.WeakValueDictionary[str, MachineCode] = weakref.WeakValueDictionary()


def _stored(source: str) -> MachineCode | None:
    """A kernel's machine code from the disk, if it is there and calls mathematics alone."""
    cache = shared_cache()
    found = cache.get(source) if cache is not None else None
    if found is None:
        return None
    called, _, image = found.partition(b"\n")
    known = _library_functions()
    try:
        symbols = {symbol: known[symbol] for symbol in json.loads(called)}
    except KeyError:
        return None
    return MachineCode(image, (ENTRY,), symbols, source)


@functools.cache
def versions() -> bytes:
    """What besides its source decides what a kernel becomes: versions, and the platform."""
    this_cpu()  # initializes LLVM
    target = llvm.Target.from_default_triple().triple
    return f"{llvmlite.__version__} {llvm.llvm_version_info} {target} {sys.byteorder}".encode()


@functools.cache
def _linker() -> Any:
    """What places machine code in memory."""
    return llvm.create_lljit_compiler(this_cpu().machine())


@functools.cache
def _library_functions() -> dict[str, int]:
    """Where the C library's mathematics are, wherever this platform keeps them."""
    names = [symbol for name in LIBRARY_FUNCTIONS for symbol in (name, name + "f")]
    library = ctypes.CDLL("ucrtbase") if sys.platform == "win32" else ctypes.CDLL(None)
    if not all(hasattr(library, symbol) for symbol in names):  # looking for a library starts programs
        library = ctypes.CDLL(ctypes.util.find_library("m"))
    addresses = (ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value for symbol in names)
    return {symbol: address for symbol, address in zip(names, addresses, strict=True) if address}


def release_unused() -> None:
    """Give back the machine code of kernels that are bound to no arrays any more."""
    kernels.drop(lambda kernel: not kernel.code.bound)
