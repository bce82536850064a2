"""The user's line behind a node: found cheaply when the node is made, put into words only when somebody asks."""

from __future__ import annotations

import linecache
import os
import sys
from functools import lru_cache
from types import CodeType, FrameType
from typing import NamedTuple

import numpy as np

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_BUILTIN_OPS = os.sep + "tinygraph_ops" + os.sep
# Python's own modules stand between the user's line and ours: contextlib enters our context managers, functools and
# threading call for the user, statistics adds up. NumPy and SciPy call back as well.
_PYTHON = tuple(os.path.dirname(file) + os.sep for file in (os.__file__, os.path.realpath(os.__file__)))
_PACKAGES = tuple(os.sep + name + os.sep for name in ("site-packages", "dist-packages"))
_NUMPY = os.path.dirname(np.__file__) + os.sep
_SCIPY = os.path.join(os.path.dirname(os.path.dirname(_NUMPY)), "scipy") + os.sep


class _Library(dict[str, bool]):
    """File name -> whether no user's line is in it, worked out once for each file."""

    def __missing__(self, filename: str) -> bool:
        found = self[filename] = _is_library(filename)
        return found


def _is_library(filename: str) -> bool:
    if filename.startswith((_PACKAGE, _NUMPY, _SCIPY, "<frozen ", "<__array_function__")):
        return True
    python = filename.startswith(_PYTHON) and not any(one in filename for one in _PACKAGES)
    return python or _BUILTIN_OPS in filename


library = _Library()  # looked up by those who are watched call by call
is_library = library.__getitem__


def is_own(filename: str) -> bool:
    """Whether a file is tinygraph's, its ops included."""
    return filename.startswith(_PACKAGE) or _BUILTIN_OPS in filename


def is_of_ops(filename: str) -> bool:
    """Whether a file is one of the ops that come with tinygraph."""
    return _BUILTIN_OPS in filename


def user_frame(depth: int) -> FrameType | None:
    """The nearest frame, `depth` calls up or more, that is neither tinygraph's nor Python's or NumPy's own code."""
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and is_library(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


class SourceLine(NamedTuple):
    """A line of the user's program."""

    file: str
    line: int
    function: str
    saved_text: str | None = None  # of a graph read from a file, which keeps the line itself

    @property
    def text(self) -> str:
        """The line itself, stripped; empty when the file cannot be read."""
        return linecache.getline(self.file, self.line).strip() if self.saved_text is None else self.saved_text

    def __str__(self) -> str:
        return f"{_cell(self.file) or os.path.basename(self.file)}:{self.line}"


def _cell(file: str) -> str:
    """What a notebook calls the cell that a file stands for, such as "In[3]"; empty for other files."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    name = shell.compile.format_code_name(file) if shell is not None else None
    return name[1] if name else ""


def resolve(code: CodeType | SourceLine | None, offset: int) -> SourceLine | None:
    """The line of bytecode `offset` in `code`; a line that is known already stands for itself."""
    if code is None or isinstance(code, SourceLine):
        return code
    return _line(code, offset, code.co_filename)


@lru_cache(maxsize=4096)
def _line(code: CodeType, offset: int, file: str) -> SourceLine:
    """Remembered, because a training loop asks for the same few lines; equal code may stand in several files."""
    for start, end, line in code.co_lines():
        if start <= offset < end and line is not None:
            return SourceLine(file, line, code.co_name)
    return SourceLine(file, code.co_firstlineno, code.co_name)


def here(depth: int = 2) -> SourceLine | None:
    """The user's line that is running now."""
    frame: FrameType | None = sys._getframe(depth)  # `user_frame` and `resolve`, without their calls
    while frame is not None:
        code = frame.f_code
        if not is_library(code.co_filename):
            return _numbered(code.co_filename, frame.f_lineno or code.co_firstlineno, code.co_name)
        frame = frame.f_back
    return None


# remembered by names and numbers, whose hashes are known: that of code takes longer than all else
_numbered = lru_cache(maxsize=4096)(SourceLine)
