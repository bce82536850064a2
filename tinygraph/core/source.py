"""The user's line behind a node: found cheaply when the node is made, put into words only when somebody asks."""

from __future__ import annotations

import linecache
import os
import sys
from functools import lru_cache
from types import CodeType, FrameType
from typing import NamedTuple

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_BUILTIN_OPS = os.sep + "tinygraph_ops" + os.sep


class _Library(dict[str, bool]):
    """File name -> whether it is ours, worked out once for each file."""

    def __missing__(self, filename: str) -> bool:
        found = self[filename] = filename.startswith(_PACKAGE) or _BUILTIN_OPS in filename
        return found


is_library = _Library().__getitem__


def user_frame(depth: int) -> FrameType | None:
    """The nearest frame, `depth` calls up or more, that is not tinygraph's own code."""
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
        return f"{os.path.basename(self.file)}:{self.line}"


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
    frame = user_frame(depth)
    return resolve(frame.f_code, frame.f_lasti) if frame is not None else None
