"""Logs of a training, a line or event an epoch: CSV, JSON lines, and TensorBoard's event files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygraph.core.process_group import processes
from tinygraph.errors import FileFormatError
from tinygraph.interop.atomic_files import replace_file
from tinygraph.training.callbacks import Callback

if TYPE_CHECKING:
    from tinygraph.training.history import Epoch
    from tinygraph.training.run import Run


def _numbers(epoch: Epoch) -> dict[str, Any]:
    """An epoch's numbers by name, those that there are."""
    found = {name: value for name, value in asdict(epoch).items() if name != "metrics" and value is not None}
    return found | epoch.metrics


class _Log(Callback):
    """Writes each epoch, and of several processes in one of them."""

    def on_epoch_end(self, run: Run) -> None:
        if processes().rank == 0:
            self.write(run.history.epochs)

    def write(self, epochs: list[Epoch]) -> None:
        raise NotImplementedError


class JSONLog(_Log):
    """A file of JSON lines, an epoch a line. A training that goes on from a checkpoint goes on with its file.

    >>> import tempfile
    >>> from tinygraph.training import Epoch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     JSONLog(f"{folder}/log.jsonl").write([Epoch(1, 0.5, None, None, None, 0.1, 2.0)])
    ...     Path(f"{folder}/log.jsonl").read_text()
    '{"number": 1, "loss": 0.5, "rate": 0.1, "seconds": 2.0}\\n'
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def write(self, epochs: list[Epoch]) -> None:
        lines = [json.dumps(_numbers(epoch)) for epoch in epochs]
        _replace(self.path, "".join(f"{line}\n" for line in lines))


class CSVLog(_Log):
    """A table with a header, an epoch a row."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def write(self, epochs: list[Epoch]) -> None:
        rows = [_numbers(epoch) for epoch in epochs]
        text = io.StringIO()
        table = csv.DictWriter(
            text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n"
        )
        table.writeheader()
        table.writerows(rows)
        _replace(self.path, text.getvalue())


class TensorBoardLog(_Log):
    """Event files for TensorBoard, by its own package (the extra `logs`); `tensorboard --logdir FOLDER` shows them.

    Raises:
        FileFormatError: the package is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from tensorboard.summary import Writer
        except ImportError as error:
            raise FileFormatError(
                'TensorBoard\'s event files need its package: pip install "tinygraph-autodiff[logs]"'
            ) from error
        make: Any = Writer
        self._make: Callable[[], Any] = lambda: make(str(folder))
        self.writer: Any = None

    def write(self, epochs: list[Epoch]) -> None:
        self.writer = self.writer or self._make()  # in one process alone: each makes a file when it begins
        last = epochs[-1]
        for name, value in _numbers(last).items():
            if name != "number":
                self.writer.add_scalar(name, value, last.number)
        self.writer.flush()

    def on_train_end(self, run: Run) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None


def _replace(path: Path, text: str) -> None:
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))
