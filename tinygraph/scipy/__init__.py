"""SciPy's functions on tensors, in modules of SciPy's names: `tg.scipy.special.logsumexp`, `tg.scipy.linalg.expm` ...

SciPy has no protocol as NumPy has: only its ufuncs take tensors by themselves. SciPy itself is the extra `scipy`, and
is imported by what needs it.
"""

import importlib
from types import ModuleType

_MODULES = ("integrate", "linalg", "signal", "special", "stats")


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return importlib.import_module(f"tinygraph.scipy.{name}")
    raise AttributeError(f"module 'tinygraph.scipy' has no attribute {name!r}; it has {', '.join(_MODULES)}")


def __dir__() -> list[str]:
    return list(_MODULES)
