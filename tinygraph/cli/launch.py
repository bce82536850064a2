"""`tinygraph launch`: a script in several processes; what starts and watches them is in `tinygraph.parallel`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

Count = Annotated[int, Parameter(validator=Number(gte=1))]
Restarts = Annotated[int, Parameter(validator=Number(gte=0))]


def launch(
    script: Path,
    /,
    *arguments: Annotated[str, Parameter(allow_leading_hyphen=True)],
    processes: Annotated[Count, Parameter(name=("--processes", "-n"))] = 2,
    hosts: str | None = None,
    restarts: Restarts = 0,
) -> int:
    """Run a script in several processes that train one model together, over MPI.

    An error in one process ends all, and is shown. Options stand before the script; what follows it is the script's.

    Parameters
    ----------
    script
        A Python file; `tg.parallel.rank()` tells each process who it is.
    arguments
        Arguments of the script.
    processes
        How many.
    hosts
        Machines to run on, with commas between; this one by default. The same environment and files must be there.
    restarts
        How often all are started again when one is killed or a machine dies. A script that gives `fit` a `checkpoint`
        goes on from it.
    """
    from tinygraph.cli.terminal import errors
    from tinygraph.parallel.launching import run_all

    def say(text: str) -> None:
        errors.print(text, markup=False, soft_wrap=True)

    return run_all([str(script), *arguments], processes, hosts=hosts, restarts=restarts, say=say)
