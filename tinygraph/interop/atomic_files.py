"""Files that are either the old one or the whole new one: written beside their place, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def replace_file(path: str | Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file in the same folder, then put it in the place of `path`.

    Raises:
        OSError: the folder is missing or cannot be written; nothing is left behind.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        write(part)
        part.chmod(_usual_permissions())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _usual_permissions() -> int:
    """What a file opened for writing would get: temporary files are made private."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
