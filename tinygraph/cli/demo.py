"""`tinygraph demo`: the main job on real data that needs no download, with a report to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

DEFAULT_FOLDER = Path("tinygraph-report")


def demo(
    *,
    out: Path = DEFAULT_FOLDER,
    epochs: Annotated[int, Parameter(validator=Number(gte=1))] = 30,
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    open_it: Annotated[bool, Parameter(name="--open", negative="")] = False,
) -> None:
    """Train a small convolutional network on real handwritten digits; write a story and a report about how it learns.

    The 1,797 digits of 8x8 pixels come with scikit-learn; nothing is downloaded.

    Parameters
    ----------
    out
        Folder for the story, story.html, and the report, index.html.
    epochs
        How often the network sees every training image.
    seed
        Decides the test images, the first parameters and the order of training.
    open_it
        Open the story in a browser.
    """
    from tinygraph.cli.experiment import run
    from tinygraph.cli.one_number.telling import tell
    from tinygraph.cli.options import Options
    from tinygraph.cli.report import folder
    from tinygraph.cli.task import make_task
    from tinygraph.cli.terminal import open_for_user, say
    from tinygraph.data import load_digits

    folder.prepare(out)
    say("Reading the 1,797 handwritten digits that come with scikit-learn.")
    training, test = load_digits(seed=seed)
    task = make_task(
        "real handwritten digits",
        *training.arrays,
        test_images=test.arrays[0],
        test_labels=test.arrays[1],
        seed=seed,
    )
    say("Following one number of one kernel through a training, image by image.")
    first = tell(task, out, seed, "index.html")
    page = run(
        task,
        Options(epochs=epochs, seed=seed),
        out,
        command=f"tinygraph demo --epochs {epochs} --seed {seed}",
        first=first,
    )
    say(f"How a kernel learns, by one of its numbers: {page.with_name(first)}")
    if open_it:
        open_for_user(page.with_name(first))
