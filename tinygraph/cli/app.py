"""The tree of commands, what holds for all of them (configuration, errors, exit codes), and `main`.

Nothing heavy is imported here: a command's file is loaded when that command runs or shows its help.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.config import Toml

from tinygraph.cli.terminal import errors, fail
from tinygraph.errors import TinygraphError
from tinygraph.packages.version import version

app = App(
    name="tinygraph",
    help="A program becomes a graph: differentiated, drawn, explained and shared.",
    version=version,
    error_console=errors,
    suppress_keyboard_interrupt=False,
)
app.command(
    "tinygraph.cli.demo:demo",
    name="demo",
    help="Train a small convolutional network on real digits and write a report about how it learns.",
)
app.command(
    "tinygraph.cli.train:train",
    name="train",
    help="Train a small convolutional network on images of your own.",
)
app.command(
    "tinygraph.cli.draw:draw",
    name="draw",
    help="Draw a saved graph, an ONNX model, a weight file or a model file; --open zooms into it.",
)
app.command(
    "tinygraph.cli.view:view",
    name="view",
    help="Show a model in the browser; drop other files onto the page.",
)
app.command(
    "tinygraph.cli.predict:predict",
    name="predict",
    help="Run a saved or ONNX model on arrays, images or IDX files.",
)
app.command(
    "tinygraph.cli.bench.command:bench",
    name="bench",
    help="Measure training steps on this machine, against PyTorch where it is installed.",
)
app.command(
    "tinygraph.cli.diff:diff",
    name="diff",
    help="Compare two models; the exit status is 0 if they are the same, 1 if not, 2 if one cannot be read.",
)
app.command(
    "tinygraph.cli.launch:launch",
    name="launch",
    help="Run a script in several processes that train one model together, over MPI.",
)

ops = App(name="ops", help="List, show, check and start ops.")
ops.command("tinygraph.cli.ops:list_ops", name="list", help="List every op, built-in or of a plugin.")
ops.command(
    "tinygraph.cli.ops:show", name="show", help="Show one op: formula, operands, settings, rules, samples."
)
ops.command(
    "tinygraph.cli.check_ops:check",
    name="check",
    help="Check ops against every law, and score their samples.",
)
ops.command(
    "tinygraph.cli.new_op:new", name="new", help="Start an op of your own: a package that passes its checks."
)
app.command(ops)


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Path | None = None,
    traceback: Annotated[bool, Parameter(negative="", env_var="TINYGRAPH_TRACEBACK")] = False,
) -> int:
    """A program becomes a graph: differentiated, drawn, explained and shared.

    Parameters
    ----------
    config
        TOML file with options, a table per command ([train], then epochs = 20); the command line wins.
    traceback
        Show Python's traceback where something fails.
    """
    if config is not None and not config.is_file():
        return fail(f"there is no configuration file {config}")
    app.config = () if config is None else (Toml(config),)
    try:
        status = app(tokens, result_action="return_value")
    except KeyboardInterrupt:
        errors.print("interrupted")
        return 130
    except (TinygraphError, OSError, ImportError) as error:
        if traceback:
            raise
        return fail(error)
    finally:
        app.config = ()
    return status if isinstance(status, int) else 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the `tinygraph` command and exit: 0 if all went well, 1 after an error, 2 for wrong usage.

    Args:
        arguments: those of the command line by default.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = app.meta(tokens, result_action="return_value")
        sys.stdout.flush()
    except (
        BrokenPipeError
    ):  # the reader of a pipe (`| head`) has gone; Python would complain again while exiting
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    sys.exit(status or 0)
