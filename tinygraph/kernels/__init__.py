"""The kernel language: kernels generated for the shapes at hand, over llvmlite (the extra `fast`).

Everything is explicit: a kernel's author writes loops, tiles and vectors, with shapes and strides as constants; LLVM
selects instructions and registers, and its optimisation passes stay off. The same source serves AVX-512, AVX2, NEON and
plain 16-byte vectors (`cpu.py`; the environment variable `TINYGRAPH_CPU` restricts it).

    program, planes      what is to be computed, and layouts, as data; nothing is generated and llvmlite is not needed
    cpu, builder         the CPU; functions, loops, vectors, memory
    mathematics          exp, log, tanh, erf ... for vectors
    emission             how what an op emits (`Op.emit`, open to plugins) is applied to operands
    machine_code         compile, bind to arrays, join bound kernels into one call
    disk_cache, requests what was compiled, kept on disk from one process to the next
    elementwise          family: fused chains of elementwise ops of any strides, with reductions at the end
    scalars              family: programs of many single numbers
    segments             family: one elementwise program over many arrays of any sizes
    gemm, contractions   family: matrix products of any strides, with epilogues; einsum's labels as matrix products
    losses               family: cross entropy with class indices, and its gradient; `position_losses`: classes apart
    gather, cumulative   family: reading by index arrays and adding up where they point; cumulative sums and products
    images               families of images: convolutions (direct, in groups, Winograd's) over planes (NHWC and halo),
                         changes of layout, pooling; and their lowerings on arrays in any layout

A kernel is compiled once for equal arguments, then bound to arrays; a bound kernel is called without arguments and
keeps its arrays alive. Bound arrays must not move. The cheapest callable is its `run`:

>>> import numpy as np
>>> from tinygraph import kernels
>>> if kernels.available():
...     from tinygraph.kernels import elementwise
...     from tinygraph.core.registry import ops
...     from tinygraph.kernels.program import ProgramBuilder
...     build = ProgramBuilder()
...     x, y = build.input("float32"), build.input("float32")
...     program = build.program(build.step(ops.tanh, build.step(ops.multiply, x, y)))
...     a, b = np.ones((4, 3), np.float32), np.arange(3, dtype=np.float32)
...     total = np.empty(3, np.float32)
...     run = elementwise.bind(program, [a, b], [total], reductions=["sum"], axes=[0]).run
...     run()
...     print(total.round(3))
... else:
...     print("[0.    3.046 3.856]")
[0.    3.046 3.856]

Kernels neither check nor copy: arrays that a kernel is bound to have the layout that it was made for. Outputs may be
the memory of an input only where a family says so. Kernels of one plan may run in threads on different arrays; the
interpreter's lock is released while they run.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib.util
import time
from collections.abc import Iterator

IMPORTED = time.time()  # files of the library that are newer are not what is running


def available() -> bool:
    """Whether kernels can be generated: llvmlite is installed. Most modules of this package import it."""
    return not _numpy_only.get() and importlib.util.find_spec("llvmlite") is not None


@contextlib.contextmanager
def numpy_only() -> Iterator[None]:
    """Within it no kernels can be generated: what runs without llvmlite, where that is there."""
    before = _numpy_only.set(True)
    try:
        yield
    finally:
        _numpy_only.reset(before)


_numpy_only: contextvars.ContextVar[bool] = contextvars.ContextVar("numpy_only", default=False)
