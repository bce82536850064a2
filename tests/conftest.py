"""What holds for the whole suite: what its processes compile, machine code and modules, is shared for one run."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "/usr/lib/chromium/chromium")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
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


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One for the process: a second loop of events beside the first is refused."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (the extra `test`)")
    path = next((found for found in map(shutil.which, CHROMIUM) if found), None)
    if path is None:
        pytest.skip("needs a Chromium: Debian's package `chromium`, or Chrome")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=path, args=list(FLAGS))
        yield opened
        opened.close()
