"""The kernel language: kernels generated for the shapes at hand, over llvmlite (the extra `fast`)."""

from __future__ import annotations

import importlib.util


def available() -> bool:
    """Whether kernels can be generated: llvmlite is installed. The other modules of this package import it."""
    return importlib.util.find_spec("llvmlite") is not None
