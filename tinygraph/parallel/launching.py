"""Starting the processes of a program by MPI's launcher, and starting them again when one was killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tinygraph.errors import ParallelError

RESTART = "TINYGRAPH_RESTART"  # tells the processes how often they were started before

# How `mpiexec` ends when a process was killed, and not when it raised: with the signal's number, or 128 more.
_KILLED = {number.value for number in signal.Signals if number.name not in ("SIGINT", "SIGHUP")} - {1, 2}


def run_all(
    command: Sequence[str],
    count: int,
    *,
    hosts: str | None = None,
    restarts: int = 0,
    say: Callable[[str], None] = print,
) -> int:
    """Run a Python script in several processes; an error in one ends all.

    Args:
        command: the script and its arguments.
        count: how many processes.
        hosts: the machines, with commas between; this one by default.
        restarts: how often all are started again when one of them is killed.
        say: where it is told that they are.

    Returns:
        the exit status.

    Raises:
        ParallelError: there is no such script, no mpi4py or no `mpiexec`.
    """
    if not Path(command[0]).is_file():
        raise ParallelError(f"there is no script {command[0]}")
    full = [
        *_mpiexec(),
        "-n",
        str(count),
        *(["-hosts", hosts] if hosts else []),
        sys.executable,
        "-m",
        "mpi4py",
    ]
    environment = dict(os.environ)
    if hosts is None:  # the processes share this machine's processors
        each = str(max(len(os.sched_getaffinity(0)) // count, 1) if hasattr(os, "sched_getaffinity") else 1)
        for name in ("TINYGRAPH_THREADS", "OMP_NUM_THREADS"):
            environment.setdefault(name, each)
    for start in range(restarts + 1):
        status = _run([*full, *command], environment | {RESTART: str(start)})
        if status not in _KILLED and status - 128 not in _KILLED:
            return status
        killed = signal.Signals(status if status in _KILLED else status - 128).name
        if start < restarts:
            say(f"a process was killed ({killed}); all start again ({start + 1} of {restarts})")
        else:
            say(f"a process was killed ({killed})" + (", and no restart is left" if restarts else ""))
    return status


def _mpiexec() -> list[str]:
    """The launcher of the MPI that mpi4py uses: the one that lies beside this Python, as wheels put it.

    Raises:
        ParallelError: there is none.
    """
    try:
        import mpi4py  # noqa: F401 - whether it is there
    except ImportError as error:
        raise ParallelError(
            f'several processes need mpi4py and an MPI: pip install "tinygraph-autodiff[dist]" ({error})'
        ) from error
    beside = str(Path(sys.executable).parent)
    found = shutil.which("mpiexec", path=beside) or shutil.which("mpiexec")
    if found is None:
        raise ParallelError('there is no `mpiexec`: pip install "tinygraph-autodiff[dist]" brings one')
    return [found]


def _run(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run to the end; Ctrl-C reaches the launcher and its processes, which are waited for."""
    process = subprocess.Popen(command, env=environment)
    interrupted = False
    while True:
        try:
            status = process.wait()
        except KeyboardInterrupt:
            interrupted = True
            continue
        if interrupted:
            raise KeyboardInterrupt
        return -status if status < 0 else status
