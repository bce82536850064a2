"""What kernels took long to make, kept on disk from one process to the next: object code, by the hash of its source.

A folder of small files, private to the user, within a number of bytes: the least recently used go first. Each file
carries a hash of its key and contents, and is believed only if that is right, so that damaged, cut and foreign files
are as good as absent. Nothing read here is ever unpickled, and nothing that goes wrong here stops a program.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import secrets
import stat
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tinygraph.errors import SettingError, TinygraphWarning

FOLDER, BYTES = "TINYGRAPH_CACHE_DIR", "TINYGRAPH_CACHE_BYTES"
DEFAULT_BYTES = 256 * 2**20
MOST_ENTRY_BYTES = 64 * 2**20  # of one file: no kernel comes near it
_MAGIC = b"tinygraph cache 1\n"
_SUFFIX, _PART = ".kernel", ".part"
_DIGEST = 32
_BLOCK = 4096  # what the smallest file takes on a disk
_TOUCH_SECONDS = 3600.0  # a use is written down once in so long
_STALE_SECONDS = 3600.0  # a file still unfinished after that belongs to a process that ended
# after these, writing is not tried again in this process
_FINAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
_READING = os.O_RDONLY  # no link, no pipe that waits for a writer
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
    _READING |= getattr(os, _name, 0)


def digest(*parts: bytes) -> str:
    """A key: the hash of some byte strings, in which their borders count."""
    made = hashlib.blake2b(digest_size=_DIGEST)
    for part in parts:
        made.update(len(part).to_bytes(8, "little") + part)
    return made.hexdigest()


class DiskCache:
    """Byte strings by key, in a folder that several processes may use at once.

    Args:
        folder: made when something is first kept, together with those above it.
        limit: bytes that the files may take, about: each process looks again after it wrote a sixteenth of it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = DiskCache(Path(folder) / "kernels", 2**20)
    ...     cache.put(digest(b"sum"), b"machine code")
    ...     cache.get(digest(b"sum")), cache.get(digest(b"product"))
    (b'machine code', None)
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._trusted: bool | None = None  # not looked yet
        self._writes = True
        self._unseen: int | None = None  # bytes written since the folder was last gone through

    def get(self, key: str) -> bytes | None:
        """What was kept under a key, or None."""
        if not self._trusts():
            return None
        path = self._path(key)
        try:
            handle = os.open(path, _READING)
        except OSError:
            return None
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or not _is_private(status):
                return None
            with os.fdopen(handle, "rb", closefd=False) as file:
                text = file.read(MOST_ENTRY_BYTES)
        except OSError:
            return None
        finally:
            os.close(handle)
        head = len(_MAGIC) + _DIGEST
        contents = text[head:]
        if text[:head] != _MAGIC + _seal(key, contents):
            with suppress(OSError):
                path.unlink()
            return None
        if time.time() - status.st_mtime > _TOUCH_SECONDS:
            with suppress(OSError):
                os.utime(path)
        return contents

    def put(self, key: str, contents: bytes) -> None:
        """Keep something, where that is possible; whoever reads sees the whole of it or nothing."""
        if not self._writes or len(contents) + _BLOCK > min(MOST_ENTRY_BYTES, self.limit):
            return
        try:
            if self._trusted is None:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._trusts():
                return
            self._write(self._path(key), _MAGIC + _seal(key, contents) + contents)
            self._account(len(contents))
        except OSError as error:
            if error.errno in _FINAL:
                self._writes = False

    def clear(self) -> None:
        """Remove all entries."""
        for _, _, path in self._entries():
            with suppress(OSError):
                path.unlink()

    @property
    def nbytes(self) -> int:
        """What the files take."""
        return sum(size for _, size, _ in self._entries())

    def _path(self, key: str) -> Path:
        return self.folder / (key + _SUFFIX)

    def _write(self, path: Path, text: bytes) -> None:
        """A file beside its place, then renamed. Not synced: what a power cut leaves has no right hash."""
        part = path.with_name(f"{path.stem[:16]}.{secrets.token_hex(8)}{_PART}")
        try:
            handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(text)
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise

    def _trusts(self) -> bool:
        """Whether the folder is there and nobody else can put files into it; looked up once."""
        if self._trusted is None:
            try:
                status = self.folder.stat()
            except OSError:
                return False
            self._trusted = stat.S_ISDIR(status.st_mode) and _is_private(status)
            if not self._trusted:
                warnings.warn(
                    f"machine code is not kept in {self.folder}: it is no folder of your own, or others can write in "
                    f"it. Set {FOLDER} to a private folder, or {BYTES}=0",
                    TinygraphWarning,
                    stacklevel=2,
                )
        return self._trusted

    def _account(self, written: int) -> None:
        """Make room after so many bytes were written, once enough came together."""
        if self._unseen is not None:
            self._unseen += max(written, _BLOCK)
            if self._unseen < self.limit / 16:
                return
        self._unseen = 0
        entries = sorted(self._entries())
        excess = sum(size for _, size, _ in entries) - self.limit * 15 // 16
        for _, size, path in entries:
            if excess <= 0:
                break
            with suppress(OSError):
                path.unlink()
            excess -= size

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """When each entry was last used, its bytes and its place; what a process left unfinished is removed."""
        with suppress(OSError), os.scandir(self.folder) as listed:
            for entry in listed:
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if entry.name.endswith(_SUFFIX):
                        yield status.st_mtime, -(-status.st_size // _BLOCK) * _BLOCK, Path(entry.path)
                    elif entry.name.endswith(_PART) and time.time() - status.st_mtime > _STALE_SECONDS:
                        os.unlink(entry.path)


def shared_cache() -> DiskCache | None:
    """The cache of this user, or None where it is switched off or there is no place for it.

    `TINYGRAPH_CACHE_DIR` is its folder, by default the platform's; `TINYGRAPH_CACHE_BYTES` what it may take, by
    default 256 MiB, and 0 switches it off.

    Raises:
        SettingError: `TINYGRAPH_CACHE_BYTES` is no whole number.
    """
    return _cache(os.environ.get(FOLDER, ""), os.environ.get(BYTES, ""))


@functools.cache
def _cache(folder: str, limit: str) -> DiskCache | None:
    if limit and not limit.isdecimal():
        raise SettingError(f"{BYTES} is {limit!r}; it must be a number of bytes, 0 for no cache on disk")
    size = int(limit) if limit else DEFAULT_BYTES
    place = Path(folder).absolute() if folder else _platform_folder()
    return DiskCache(place / "kernels", size) if size and place is not None else None


def _platform_folder() -> Path | None:
    """Where programs of this platform keep what they can make again: platformdirs' rule, in three lines."""
    try:
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA", "")
            return Path(local) / "tinygraph" / "Cache" if local else None
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "tinygraph"
        given = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return (given if given.is_absolute() else Path.home() / ".cache") / "tinygraph"
    except RuntimeError:  # no home
        return None


def _seal(key: str, contents: bytes) -> bytes:
    return bytes.fromhex(digest(_MAGIC, key.encode(), contents))


def _is_private(status: os.stat_result) -> bool:
    """Whether a file or folder is the user's own, and nobody else can write it. Windows' profile folders are."""
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022
