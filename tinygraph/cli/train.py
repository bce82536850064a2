"""`tinygraph train`: the main job on a user's own images, with options that a TOML file may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from tinygraph.cli.options import Options

DEFAULT_FOLDER = Path("tinygraph-report")
Share = Annotated[float, Parameter(validator=Number(gt=0, lt=1))]


def train(
    data: Path,
    /,
    *,
    options: Annotated[Options | None, Parameter(name="*")] = None,
    out: Path = DEFAULT_FOLDER,
    test: Share = 0.2,
    validation: Share = 0.1,
    open_it: Annotated[bool, Parameter(name="--open", negative="")] = False,
) -> None:
    """Train a small convolutional network on images of your own and write a report about how it learns.

    Parameters
    ----------
    data
        An NPZ archive with images `x`, of shape (count, rows, columns) or (count, channels, rows, columns), and labels
        `y`, numbers or words; or with `x_train`, `y_train`, `x_test` and `y_test`, as Keras names them; or a folder
        with the four IDX files of MNIST's names.
    out
        Folder for the report; index.html in it shows everything.
    test
        Share of the images set aside for testing; a folder of IDX files has its own test images.
    validation
        Share of the other images set aside to watch the training.
    open_it
        Open the report in a browser.
    """
    from tinygraph.cli.experiment import run
    from tinygraph.cli.report import folder
    from tinygraph.cli.terminal import open_for_user, say

    options = options or Options()
    folder.prepare(out)
    say(f"Reading {data}.")
    task = _read(data, test=test, validation=validation, seed=options.seed)
    page = run(task, options, out, command=f"tinygraph train {data.name} {options.as_flags()}")
    if open_it:
        open_for_user(page)


def _read(data: Path, *, test: float, validation: float, seed: int) -> Any:
    from tinygraph.cli.task import make_task
    from tinygraph.data import read_idx_folder, read_npz
    from tinygraph.interop.reading import names_in_archive

    subject = f"the images of {data.name}"
    if data.is_dir():
        training, tested = read_idx_folder(data)
        images, labels = tested.arrays
        return make_task(
            subject,
            *training.arrays,
            test_images=images,
            test_labels=labels,
            validation=validation,
            seed=seed,
        )
    held = set(names_in_archive(data))
    if {"x_train", "y_train"} <= held:
        own: dict[str, Any] = {"test": test}
        if {"x_test", "y_test"} <= held:
            images, labels = read_npz(data, x="x_test", y="y_test").arrays
            own = {"test_images": images, "test_labels": labels}
        training = read_npz(data, x="x_train", y="y_train")
        return make_task(subject, *training.arrays, **own, validation=validation, seed=seed)
    return make_task(subject, *read_npz(data).arrays, test=test, validation=validation, seed=seed)
