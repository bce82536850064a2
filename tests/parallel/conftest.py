"""Programs of several processes: run by `mpiexec` from the wheels of the extra `dist`, skipped without them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.fixture
def ranks(tmp_path):
    """A function that runs a program of this folder in so many processes and gives what it printed."""
    pytest.importorskip("mpi4py", exc_type=ImportError)
    mpiexec = shutil.which(
        "mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    if mpiexec is None:
        pytest.skip("no mpiexec: pip install 'tinygraph-autodiff[dist]'")

    def run(program: str, count: int, *arguments: object, fails: bool = False, **environment: str) -> str:
        command = [mpiexec, "-n", str(count), sys.executable, str(FOLDER / program), *map(str, arguments)]
        done = subprocess.run(
            command,
            env=os.environ | {"TINYGRAPH_THREADS": "1", "OMP_NUM_THREADS": "1"} | environment,
            capture_output=True,
            text=True,
            timeout=240,
            cwd=tmp_path,
        )
        said = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, said
        return said

    return run
