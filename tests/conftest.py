"""What holds for the whole suite: what its processes compile, machine code and modules, is shared for one run."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile

import pytest

from tests.browsing import browser, usual_page, visit  # noqa: F401 - fixtures of every folder

SHARED = "TINYGRAPH_TESTS_FOLDER"  # where several runs on one tree share what they compile
_FOLDER = pytest.StashKey[str]()


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests of the page mostly wait for a browser, which stands still between moves."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (cores or 1) + 1


def pytest_configure(config: pytest.Config) -> None:
    """A cache of this run's own: nothing of an earlier run is believed; kernels are compiled once for all workers."""
    if (
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):  # a shell's background jobs; tests of Ctrl-C send it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.fsync = _not_synced
    if hasattr(config, "workerinput"):  # workers inherit the rest
        return
    folder = os.environ.get(SHARED)
    if folder is None:
        folder = config.stash[_FOLDER] = tempfile.mkdtemp(prefix="tinygraph-tests-")
    os.environ["TINYGRAPH_CACHE_DIR"] = os.path.join(folder, "kernels")
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        # beside the sources nothing is to be written; without a place each of many processes would compile them all
        os.environ.setdefault("PYTHONPYCACHEPREFIX", os.path.join(folder, "modules"))


def _not_synced(handle: int) -> None:
    """What tests write need not outlive a loss of power, which waits for the disk thousands of times."""


def pytest_collection_finish() -> None:
    """What is alive now stays to the end: no collection of a test that counts garbage looks at it again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    folder = config.stash.get(_FOLDER, None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
