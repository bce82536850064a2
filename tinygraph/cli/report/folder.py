"""The folder a report is written to: whether it can be, and its files, each written beside its place, then renamed.

What stands in the files is made in `page` and `pictures`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tinygraph.cli.report import page, pictures
from tinygraph.cli.report.pictures import TitledGrid
from tinygraph.cli.report.story import Story
from tinygraph.interop.atomic_files import replace_file

KERNELS_IN_A_ROW = 8


def prepare(folder: Path) -> None:
    """Make the folder, and make sure that files can be written there: asked before hours of training.

    Raises:
        OSError: they cannot, with the reason and what to do.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            f"the report cannot be written to {folder}: {reason}; choose a folder with --out"
        ) from error


def write(story: Story, folder: Path) -> Path:
    """Write every file but the model, the page last, and return the page's path."""
    for name, text in _texts(story):
        _write(folder / name, text)
    index = folder / "index.html"
    _write(index, page.page(story))
    return index


def _write(path: Path, text: str) -> None:
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))


def _texts(story: Story) -> Iterator[tuple[str, str]]:
    yield from story.drawings.items()
    yield "gradient.txt", story.gradient.text + "\n"
    yield "gradient.svg", pictures.standalone(_gradient_sheet(story))
    yield "kernels.svg", pictures.standalone(_kernel_sheet(story))
    confusion = pictures.confusion_svg(story.confusion, story.classes, "Confusion matrix")
    yield "confusion.svg", pictures.standalone(confusion)


def _gradient_sheet(story: Story) -> str:
    gradient = story.gradient
    tiles = [
        TitledGrid("local derivatives", gradient.local),
        TitledGrid("cotangents", gradient.cotangent),
        TitledGrid("contributions", gradient.contribution),
    ]
    return pictures.sheet(tiles, "One kernel element's gradient, output pixel by output pixel", columns=3)


def _kernel_sheet(story: Story) -> str:
    pairs = page.kernel_pairs(story.kernels_before, story.kernels_after)
    limit = max(float(np.abs(plane).max()) for _, *planes in pairs for plane in planes)
    tiles: list[TitledGrid] = []
    for start in range(0, len(pairs), KERNELS_IN_A_ROW):
        row = pairs[start : start + KERNELS_IN_A_ROW]
        tiles += [TitledGrid(f"{name} before", before) for name, before, _ in row]
        tiles += [TitledGrid(f"{name} after", after) for name, _, after in row]
    columns = min(len(pairs), KERNELS_IN_A_ROW)
    return pictures.sheet(
        tiles, "The first convolution's kernels, before and after", columns=columns, limit=limit
    )
