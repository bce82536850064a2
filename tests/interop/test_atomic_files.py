"""Replacing a file: the old one or the whole new one, its permissions, through links, and nothing left behind."""

import errno
import json
import os
import stat
import subprocess
import sys

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import interop
from tinygraph.errors import DrawingError
from tinygraph.interop.atomic_files import replace_file
from tinygraph.scaffold.request import Request
from tinygraph.scaffold.writing import write_package

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions and links as POSIX has them")


def doubled():
    return tg.capture(lambda x: x * 2.0, np.ones(2))


LAYER = tg.nn.Linear(1, 1)
WRITERS = {
    "g.json": lambda path: doubled().save(path),
    "g.safetensors": lambda path: doubled().save(path),
    "s.npz": lambda path: interop.save_state({"w": np.ones(2)}, path),
    "s.safetensors": lambda path: interop.save_state({"w": np.ones(2)}, path),
    "d.svg": lambda path: tg.draw(doubled(), path),
    "d.dot": lambda path: tg.draw(doubled(), path),
    "d.html": lambda path: tg.draw(doubled(), path),
    "c.npz": lambda path: tg.training.save_checkpoint(path, LAYER),
}


@pytest.fixture(autouse=True)
def usual_mask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def permissions(path):
    return oct(stat.S_IMODE(path.stat().st_mode))


@pytest.mark.parametrize("name", WRITERS)
def test_permissions_and_links_stay(name, tmp_path):
    target, link = tmp_path / "there" / name, tmp_path / name
    target.parent.mkdir()
    link.symlink_to(target)
    WRITERS[name](link)  # through a link that leads nowhere yet
    assert permissions(target) == "0o644"
    assert link.is_symlink()
    first = target.read_bytes()
    target.write_bytes(b"old")
    for mode in (0o600, 0o664, 0o640):
        target.chmod(mode)
        WRITERS[name](link)
        assert permissions(target) == oct(mode)
        assert target.read_bytes() == first
        assert link.is_symlink()
    assert [one.name for one in target.parent.iterdir()] == [name]
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(["there", name])


def test_the_mask_of_the_user_decides_about_new_files(tmp_path):
    os.umask(0o077)
    doubled().save(tmp_path / "g.safetensors")
    assert permissions(tmp_path / "g.safetensors") == "0o600"
    os.umask(0o027)
    write_package(Request("wobbly"), tmp_path / "package")
    assert permissions(tmp_path / "package") == "0o750"
    assert permissions(tmp_path / "package" / "README.md") == "0o640"


def test_file_and_folder_are_synced_in_this_order(tmp_path, monkeypatch):
    events = []
    real = os.fsync

    def fsync(handle):
        events.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        assert (tmp_path / "a").exists() is (events[-1] == "folder")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    replace_file(tmp_path / "a", lambda part: part.write_text("new"))
    assert events == ["file", "folder"]


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("where", ["write", "fsync", "chmod", "replace"])
@pytest.mark.parametrize("fault", [full, interrupted])
def test_what_goes_wrong_leaves_the_old_file_alone(where, fault, tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")
    places = {"fsync": "os.fsync", "chmod": "pathlib.Path.chmod", "replace": "pathlib.Path.replace"}
    if where != "write":
        monkeypatch.setattr(places[where], fault)

    def write(part):
        part.write_text("half of the new")
        if where == "write":
            fault()

    with pytest.raises((OSError, KeyboardInterrupt)) as caught:
        replace_file(path, write)
    monkeypatch.undo()
    if fault is full:
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]


def test_a_disk_that_is_full_in_earnest(tmp_path):
    path = tmp_path / "state.npz"
    interop.save_state({"w": np.ones(3)}, path)
    before = path.read_bytes()
    program = (
        "import resource, signal, sys, numpy as np, tinygraph as tg\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try:\n"
        "    tg.interop.save_state({'w': np.ones(100_000)}, sys.argv[1])\n"
        "except OSError as error:\n"
        "    print(error.filename == sys.argv[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["state.npz"]


def test_what_is_no_file_is_not_replaced(tmp_path):
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(IsADirectoryError, match=r"a folder stands where the file belongs: .*folder\.json"):
        doubled().save(tmp_path / "folder.json")
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(OSError, match=r"no regular file.*pipe\.json"):
        doubled().save(tmp_path / "pipe.json")
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    with pytest.raises(OSError, match=r"loop\.json"):
        doubled().save(tmp_path / "loop.json")
    with pytest.raises(FileNotFoundError, match=r"none/g\.json"):
        doubled().save(tmp_path / "none" / "g.json")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(DrawingError, match=r"folder\.svg.*folder stands"):
        tg.draw(doubled(), tmp_path / "folder.svg")
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "folder.json",
        "folder.svg",
        "loop.json",
        "pipe.json",
    ]


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="the superuser may write everything")
def test_what_may_not_be_written_is_not_replaced(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(PermissionError, match=r"a\.json"):
        doubled().save(path)
    path.chmod(0o644)
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError, match=r"a\.json"):
        doubled().save(path)
    tmp_path.chmod(0o755)
    assert path.read_text() == "old"


def test_the_longest_name_has_a_temporary_one(tmp_path):
    path = tmp_path / ("é" * 125 + ".json")  # 255 bytes
    doubled().save(path)
    assert json.loads(path.read_text())["format"] == "tinygraph-graph"
