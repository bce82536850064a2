"""From a task to the story's files: its page, the page that zooms, and the GIF where Pillow is there to write it."""

from __future__ import annotations

from pathlib import Path

from tinygraph.cli.one_number.film import film
from tinygraph.cli.one_number.following import follow, zooming_page
from tinygraph.cli.one_number.page import page
from tinygraph.cli.task import Task
from tinygraph.cli.terminal import say
from tinygraph.interop.atomic_files import replace_file
from tinygraph.packages.version import version

PAGE, ZOOM, FILM = "story.html", "story-zoom.html", "story.gif"


def tell(task: Task, out: Path, seed: int, report: str) -> str:
    """Write the story into a folder, and return the name of its page.

    Args:
        report: the name of the page to go on with.
    """
    followed = follow(task, seed)
    links = {"zoom": ZOOM, "report": report}
    _write(out / ZOOM, zooming_page(followed).encode())
    try:
        _write(out / FILM, film(followed))
        links["film"] = FILM
    except ImportError:
        say(f"{FILM} was not made: it needs Pillow (pip install pillow)")
    text = page(followed, subject=task.subject, links=links, version=version())
    _write(out / PAGE, text.encode())
    return PAGE


def _write(path: Path, content: bytes) -> None:
    replace_file(path, lambda part: part.write_bytes(content))
