"""Which machine code is generated for: CPU, instruction set, width and number of its vector registers.

`TINYGRAPH_CPU` restricts it: `avx2` on a machine with AVX-512, or `generic` for the 16-byte vectors every CPU has.
"""

from __future__ import annotations

import functools
import os
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import DTypeLike

from tinygraph.errors import SettingError


class Cpu(NamedTuple):
    """A CPU as the kernel language sees it.

    Attributes:
        name: "avx512", "avx2", "neon" or "generic".
        cpu: LLVM's name of the CPU.
        features: LLVM's list of its features.
        vector_bytes: the size of a vector register.
        registers: how many vector registers there are.
        exact: leave algorithms out that round more than sums do (Winograd's).
        foreign: a library's function, such as a product of BLAS, may stand for a kernel.
        measured: what is fastest is measured, among what `lower` rules answer for several targets.
    """

    name: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    exact: bool = False
    foreign: bool = True
    measured: bool = False

    def lanes(self, dtype: DTypeLike) -> int:
        """How many elements of a dtype one vector holds."""
        return self.vector_bytes // int(np.dtype(dtype).itemsize)

    def machine(self) -> Any:
        """LLVM's code generator for this cpu; the fastest code it knows."""
        _initialize()
        return llvm.Target.from_default_triple().create_target_machine(
            cpu=self.cpu, features=self.features, opt=3, reloc="pic", jit=True
        )


def this_cpu() -> Cpu:
    """The machine this runs on, restricted by the environment variable `TINYGRAPH_CPU`.

    Raises:
        SettingError: the variable names no cpu, or one that this CPU cannot run.
    """
    return _restricted(os.environ.get("TINYGRAPH_CPU", ""))


@functools.cache
def _restricted(name: str) -> Cpu:
    _initialize()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features()
    # LLVM prefers narrow vectors on many AVX-512 machines, for the sake of code that only sometimes uses them
    flat = features.flatten() + ",-prefer-256-bit"
    choices = []
    if features.get("avx512f") and features.get("avx512vl"):
        choices.append(Cpu("avx512", cpu, flat, 64, 32))
    if features.get("avx2") and features.get("fma"):
        choices.append(Cpu("avx2", "haswell", "", 32, 16))
    if features.get("neon"):
        choices.append(Cpu("neon", cpu, flat, 16, 32))
    # without fused multiply-add or wide registers, or on a machine not listed above
    choices.append(Cpu("generic", "generic", "", 16, 16))
    for choice in choices:
        if name in ("", choice.name):
            return choice
    possible = ", ".join(choice.name for choice in choices)
    raise SettingError(f"TINYGRAPH_CPU is {name!r}; this machine can run: {possible}")


@functools.cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
