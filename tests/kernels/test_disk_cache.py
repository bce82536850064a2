"""The cache on disk: found again by another process, and damage, strangers, full disks and races never show."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import SettingError, TinygraphWarning
from tinygraph.kernels import machine_code, requests
from tinygraph.kernels.cpu import this_cpu
from tinygraph.kernels.disk_cache import DiskCache, digest, shared_cache
from tinygraph.kernels.program import ProgramBuilder
from tinygraph.plugin import op, ops

KEY, OTHER = digest(b"key"), digest(b"other")
POSIX = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")


@pytest.fixture
def cache(tmp_path):
    return DiskCache(tmp_path / "kernels", 2**20)


def _file(cache, key=KEY):
    return cache.folder / f"{key}.kernel"


def _program(environment, text, *, count=1):
    """Run a program in processes of its own at the same time; what each prints, as JSON."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", text], env={**os.environ, **environment}, stdout=subprocess.PIPE
        )
        for _ in range(count)
    ]
    printed = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0] * count
    return [json.loads(one) for one in printed]


STEP = """
import json, numpy as np, tinygraph as tg
from tinygraph.kernels import code_generation
emitted, before = [], code_generation._emit
def emit(text, cpu):
    emitted.append(cpu)
    return before(text, cpu)
code_generation._emit = emit
f = tg.compile(lambda x: np.tanh(np.exp(x) * 0.5).sum())
print(json.dumps([float(f(np.arange(6.0))), len(emitted)]))
"""
RIGHT = float(np.tanh(np.exp(np.arange(6.0)) * 0.5).sum())


def test_the_next_process_compiles_nothing(tmp_path):
    environment = {"TINYGRAPH_CACHE_DIR": str(tmp_path)}
    ((first, compiled),) = _program(environment, STEP)
    ((second, again),) = _program(environment, STEP)
    assert first == second == pytest.approx(RIGHT, rel=1e-14)
    assert compiled > 1
    assert again == 0
    (_, without) = _program({"TINYGRAPH_CACHE_BYTES": "0", "TINYGRAPH_CACHE_DIR": str(tmp_path)}, STEP)[0]
    assert without == compiled


def test_several_processes_at_once_and_all_entries_damaged_between(tmp_path):
    environment = {"TINYGRAPH_CACHE_DIR": str(tmp_path)}
    for result, _ in _program(environment, STEP, count=2):
        assert result == pytest.approx(RIGHT, rel=1e-14)
    files = sorted((tmp_path / "kernels").iterdir())
    assert all(path.suffix == ".kernel" for path in files)  # nothing unfinished is left
    for i, path in enumerate(files):  # a flipped bit in the middle, a cut, another's contents
        text = path.read_bytes()
        half = len(text) // 2
        wrong = [
            text[:half] + bytes([text[half] ^ 1]) + text[half + 1 :],
            text[:half],
            files[i - 1].read_bytes(),
        ]
        path.write_bytes(wrong[i % 3])
    ((result, compiled),) = _program(environment, STEP)
    assert result == pytest.approx(RIGHT, rel=1e-14)
    assert compiled > 1


def test_every_bit_counts(cache):
    cache.put(KEY, b"machine code")
    whole = _file(cache).read_bytes()
    assert cache.get(KEY) == b"machine code"
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        _file(cache).write_bytes(damaged)
        assert cache.get(KEY) is None, bit
        assert not _file(cache).exists()  # made anew instead
    for length in range(len(whole)):
        _file(cache).write_bytes(whole[:length])
        assert cache.get(KEY) is None, length
    _file(cache).write_bytes(whole + b"!")
    assert cache.get(KEY) is None
    _file(cache, OTHER).write_bytes(whole)  # under another name
    assert cache.get(OTHER) is None


@POSIX
def test_files_are_private_and_others_are_not_believed(cache, tmp_path):
    cache.put(KEY, b"mine")
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert _file(cache).stat().st_mode & 0o777 == 0o600
    _file(cache).chmod(0o622)
    assert cache.get(KEY) is None
    _file(cache).chmod(0o600)
    assert cache.get(KEY) == b"mine"
    _file(cache).rename(tmp_path / "elsewhere")
    _file(cache).symlink_to(tmp_path / "elsewhere")
    assert cache.get(KEY) is None
    _file(cache).unlink()
    _file(cache).mkdir()
    assert cache.get(KEY) is None
    os.mkfifo(_file(cache, OTHER))
    assert cache.get(OTHER) is None
    cache.folder.chmod(0o777)
    again = DiskCache(cache.folder, 2**20)
    with pytest.warns(TinygraphWarning, match="others can write"):
        assert again.get(KEY) is None
    again.put(OTHER, b"no")  # said once


@POSIX
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(cache):
    cache.put(KEY, b"there already")
    cache.folder.chmod(0o500)
    try:
        cache.put(OTHER, b"no")
        assert cache.get(OTHER) is None
        assert cache.get(KEY) == b"there already"
    finally:
        cache.folder.chmod(0o700)


def test_a_full_disk_and_a_folder_that_is_read_only(cache, monkeypatch):
    for number in (errno.ENOSPC, errno.EROFS):
        full = DiskCache(cache.folder, 2**20)
        full.put(KEY, b"before")
        tried = []

        def fail(*args, number=number, tried=tried, **kwargs):
            tried.append(args)
            raise OSError(number, "no")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdopen" if number == errno.ENOSPC else "open", fail)
            full.put(OTHER, b"half")
            full.put(OTHER, b"half")
        assert len(tried) == 1  # not tried again
        assert sorted(path.name for path in cache.folder.iterdir()) == [_file(cache).name]
        assert full.get(KEY) == b"before"


def test_a_place_where_no_folder_can_be(tmp_path):
    (tmp_path / "file").write_text("")
    cache = DiskCache(tmp_path / "file" / "kernels", 2**20)
    cache.put(KEY, b"no")
    assert cache.get(KEY) is None
    assert cache.nbytes == 0


def test_the_least_recently_used_go_first(tmp_path):
    cache = DiskCache(tmp_path, 64 * 4096)
    keys = [digest(bytes([i])) for i in range(100)]
    for i, key in enumerate(keys):
        cache.put(key, bytes(3000))
        os.utime(tmp_path / f"{key}.kernel", (time.time() - 10000 + i, time.time() - 10000 + i))
        if i == 40:
            assert cache.get(keys[0]) is not None  # which is a use
    assert cache.nbytes <= 64 * 4096
    kept = [key for key in keys if cache.get(key) is not None]
    assert kept[0] == keys[0]
    assert kept[1:] == keys[100 - len(kept) + 1 :]
    assert len(kept) > 50
    cache.put(digest(b"large"), bytes(65 * 4096))  # more than there is room for
    assert cache.get(digest(b"large")) is None
    (tmp_path / "old.part").write_bytes(b"")
    os.utime(tmp_path / "old.part", (0, 0))
    cache.clear()
    assert list(tmp_path.iterdir()) == []


def test_the_bound_and_the_switch_are_read_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYGRAPH_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TINYGRAPH_CACHE_BYTES", "12345678")
    found = shared_cache()
    assert (found.folder, found.limit) == (tmp_path / "kernels", 12345678)
    monkeypatch.setenv("TINYGRAPH_CACHE_BYTES", "0")
    assert shared_cache() is None
    monkeypatch.setenv("TINYGRAPH_CACHE_BYTES", "much")
    with pytest.raises(SettingError, match="TINYGRAPH_CACHE_BYTES is 'much'"):
        shared_cache()
    monkeypatch.setenv("TINYGRAPH_CACHE_BYTES", "")
    monkeypatch.setenv("TINYGRAPH_CACHE_DIR", "")
    if sys.platform.startswith("linux"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        from tinygraph.kernels import disk_cache

        assert disk_cache._platform_folder() == tmp_path / "xdg" / "tinygraph"
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the standard
        assert disk_cache._platform_folder() == Path.home() / ".cache" / "tinygraph"


def _request(value):
    return requests.request_key(machine_code.kept, (value,), {})


def test_requests_that_differ_have_different_keys(monkeypatch):
    monkeypatch.setattr(requests, "library_code", lambda: b"code")
    build = ProgramBuilder()
    x = build.input("float32")
    values = [
        *(
            None,
            0,
            1,
            True,
            False,
            0.0,
            -0.0,
            1.0,
            "1",
            b"1",
            "",
            (),
            (1,),
            ((1,),),
            (1, 1),
            ((1, 1),),
            ((1,), 1),
        ),
        *(np.dtype("f4"), np.dtype("f8"), np.dtype(">f4"), float("nan"), float("inf"), 2**70),
        *(ops.add, ops.multiply, this_cpu(), this_cpu()._replace(exact=True), tuple(this_cpu())),
        build.program(build.step(ops.add, x, x)),
        build.program(build.step(ops.multiply, x, x)),
    ]
    keys = [_request(value) for value in values]
    assert None not in keys
    assert len(set(keys)) == len(values)
    assert keys == [_request(value) for value in values]


def test_what_may_be_another_thing_tomorrow_is_no_request(monkeypatch):
    monkeypatch.setattr(requests, "library_code", lambda: b"code")

    @op(kind="elementwise", samples=[])
    def cached_thrice(x):
        """3 x"""
        return 3 * x

    @cached_thrice.emit
    def emitted(code, x):
        return code.multiply(x, code.constant(3, x))

    for value in (cached_thrice, object(), len, [1], {}, np.ones(3), (1, object()), ops.matmul):
        assert _request(value) is None, value
    assert requests.request_key(test_what_may_be_another_thing_tomorrow_is_no_request, (1,), {}) is None
    # and its kernels are right all the same, after its rule was changed
    x = np.arange(4, dtype=np.float32)
    assert tg.compile(lambda x: cached_thrice(x) + 1)(x).tolist() == [1, 4, 7, 10]


def test_a_file_that_was_edited_since_it_was_imported_makes_no_keys(monkeypatch):
    assert requests.library_code.__wrapped__() is not None
    monkeypatch.setattr(requests, "IMPORTED", 0.0)
    assert requests.library_code.__wrapped__() is None
