"""What commands say: the two consoles, the form of an error, opening a file for the user. Decides nothing."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from tinygraph.errors import printable


class PrintableConsole(Console):
    """A console that shows the control characters in names instead of obeying them."""

    def render(self, *given: Any, **options: Any) -> Iterable[Segment]:
        for text, style, control in super().render(*given, **options):
            yield Segment(text if control else printable(text), style, control)


console = PrintableConsole(highlight=False)
errors = PrintableConsole(stderr=True, highlight=False)


def say(text: str) -> None:
    """Print one plain sentence; square brackets in it are no markup."""
    console.print(printable(text), markup=False, soft_wrap=True)


def fail(error: object) -> int:
    """Print an error's message and notes, and return the exit status that goes with it."""
    notes = getattr(error, "__notes__", [])
    message = "\n".join([_words(error) or type(error).__name__, *notes])
    errors.print(Text.assemble(("error: ", "bold red"), printable(message)), soft_wrap=True)
    return 1


def _words(error: object) -> str:
    """What an error says; of a file that cannot be used, without the system's number for it."""
    if not isinstance(error, OSError) or error.filename is None:
        return str(error)
    if isinstance(error, FileNotFoundError):
        return f"there is no file or folder {error.filename!r}"
    if isinstance(error, IsADirectoryError):
        return f"{error.filename!r} is a folder, not a file"
    return f"{error.filename!r} cannot be used: {error.strerror}"


def open_for_user(path: Path) -> None:
    """Open a file in the browser; where there is none, say where the file is."""
    if not webbrowser.open(path.resolve().as_uri()):
        say(f"no browser could be opened; the file is {path}")
