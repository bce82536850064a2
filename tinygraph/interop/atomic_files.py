"""Files that are either the old one or the whole new one: written beside their place, synced, then renamed.

What replaces a file keeps its permissions; a link stays a link, and the file that it names is replaced. Every file
that tinygraph writes goes through here.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def replace_file(path: str | Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file in the same folder, then put it in the place of `path`.

    The new file has the permissions of the one that it replaces; a file that was not there gets the usual ones. Before
    it takes its place it is on the disk, and so is its name afterwards.

    Raises:
        OSError: naming `path`: the folder is missing or cannot be written, a folder or a device stands in the place,
            the file there may not be written, the disk is full. Nothing is left behind, and the old file is as it was.
    """
    path = Path(path)
    permissions = _permissions(path)
    place = Path(os.path.realpath(path)) if path.is_symlink() else path
    # 40 letters are at most 160 bytes, so that the longest name still has a temporary one
    part = place.with_name(f".{place.name[:40]}.{secrets.token_hex(8)}.part")
    try:
        try:
            usual = _make(part, 0o666 if permissions is None else 0o600)
            write(part)  # some writers replace the file that they are given, permissions and all
            part.chmod(usual if permissions is None else permissions)
            _sync(part)
            part.replace(place)
        except OSError as error:
            if error.errno is None or error.filename not in (None, str(part), part):
                raise
            raise OSError(error.errno, error.strerror, str(path)) from None
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # elsewhere folders cannot be opened, and need no syncing
        with suppress(OSError):  # the file is in its place; some file systems cannot sync a folder
            _sync(place.parent)


def _permissions(path: Path) -> int | None:
    """The permissions of the file in a place; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder stands where the file belongs", str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "what stands there is no regular file and is not replaced", str(path))
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "the file there may not be written", str(path))
    return stat.S_IMODE(found.st_mode)


def _make(path: Path, permissions: int) -> int:
    """Make an empty file and return the permissions that the user's mask leaves it."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, permissions)
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
