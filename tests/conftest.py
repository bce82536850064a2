"""What holds for the whole suite: machine code is kept on disk for one run, and shared by its processes."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest

_FOLDER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """A cache of this run's own: nothing of an earlier run is believed; kernels are compiled once for all workers."""
    if not hasattr(config, "workerinput"):  # workers inherit it
        config.stash[_FOLDER] = os.environ["TINYGRAPH_CACHE_DIR"] = tempfile.mkdtemp(
            prefix="tinygraph-tests-"
        )


def pytest_unconfigure(config: pytest.Config) -> None:
    folder = config.stash.get(_FOLDER, None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
