"""DOT text to SVG, PNG, PDF or Graphviz's "plain" coordinates, and the quoting of labels.

Knows no graphs or ops. Graphviz comes inside pygraphviz's wheel and runs in a worker process, because a
layout under way can only be killed. Where that wheel does not exist, a `dot` on the PATH does the work.

What is guaranteed, for one version of pygraphviz:
- SVG and plain are the same bytes on every machine. Text is measured by the metrics of DejaVu Sans compiled
  into Graphviz, not by installed fonts; locale, home folder and fontconfig's settings have no influence.
  Browsers draw it in DejaVu Sans, else in Verdana of the same widths, else in a mostly narrower sans-serif.
- PNG and PDF carry letters, so they need a font: DejaVu Sans as shipped by matplotlib if that is installed
  (then Latin and Greek text looks alike everywhere but on macOS), else the system's fonts, else an error that
  says so. They are laid out by the font they are painted with, so boxes may differ a little from the SVG's.
A system `dot` guarantees none of this.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import html
import importlib.util
import json
import logging
import math
import numbers
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Literal, get_args

from tinygraph.errors import DrawingError, SettingError, TinygraphWarning

Format = Literal["svg", "png", "pdf", "plain"]
# Not sfdp: the Graphviz in the wheel is built without the triangulation that it needs.
Engine = Literal["dot", "neato", "fdp", "circo", "twopi", "nop2"]

FONT = "DejaVu Sans"
MANY_ARROWS = 1000  # from which on a layout takes a second or more
FONT_STACK = f"{FONT},Verdana,sans-serif"
SERIF_STACK = "Times New Roman,Times,Liberation Serif,Nimbus Roman,DejaVu Serif Condensed,serif"
PIXELS_PER_INCH = 96.0
START_LIMIT_SECONDS = 60.0
LONGEST_SECONDS = 1e6  # timers take no more than the system's largest wait
INSTALL_HINT = (
    "`pip install pygraphviz` (its wheels carry Graphviz), or install Graphviz from your system so that "
    "`dot` is on the PATH. The DOT text and the HTML page work without it"
)

_log = logging.getLogger(__name__)


class RenderError(DrawingError):
    """Graphviz is missing, or could not draw the DOT text it was given."""


class LayoutTimeout(RenderError, TimeoutError):
    """Graphviz needed longer than the time limit; nothing of it is left running."""


class _WorkerDied(Exception):
    """The worker's pipe closed in the middle of a conversation."""


class _NoWorker(Exception):
    """pygraphviz is not installed, or cannot be used; the text says why."""


def render(
    dot: str,
    format: Format,
    *,
    engine: Engine = "dot",
    time_limit: float = 20.0,
    scale: float = 2.0,
    images: Mapping[str, bytes] | None = None,
    painted: bool = False,
) -> bytes:
    """Lays out DOT text and returns the picture, as a file's content.

    `scale` multiplies the pixels of a PNG: 1 is 96 pixels an inch, 2 looks sharp on most screens. "plain" is
    Graphviz's text format of coordinates, in inches. `images` are the PNG files that the text refers to, by name; they
    become part of the picture. `painted` makes "plain" say where things are in a PNG.

    Safe to call from several threads, which take turns.

    Raises `SettingError` for an unknown format or engine or an impossible number, `LayoutTimeout` after
    `time_limit` seconds, and `RenderError` with Graphviz's own words for DOT text that it cannot draw.

        >>> render("digraph { a -> b }", "svg")[:4]
        b'<svg'
    """
    _check_settings(dot, format, engine, time_limit, scale)
    time_limit, scale = min(float(time_limit), LONGEST_SECONDS), float(scale)
    request: dict[str, object] = {
        "format": format,
        "engine": engine,
        "dpi": PIXELS_PER_INCH * scale,
        "time_limit": time_limit,
        "painted": painted,
    }
    with _image_folder(images or {}) as folder:
        request["folder"] = folder

        def drawn(text: str) -> bytes:
            try:
                return _worker.draw({**request, "dot": text}, time_limit)
            except _NoWorker as reason:
                return _draw_by_system(text, format, engine, time_limit, scale, str(reason), folder)

        picture = _with_repairs(drawn, dot)
    tidy = _TIDY.get(format, bytes)(picture)
    return _with_images(tidy, images or {}) if format == "svg" else tidy


def _with_repairs(drawn: Callable[[str], bytes], dot: str) -> bytes:
    """What is drawn of DOT text, or of text without what Graphviz stumbles over."""
    try:
        return drawn(dot)
    except RenderError as error:
        repaired = _repaired(dot, str(error))
        if repaired == dot:
            raise
    return _with_repairs(drawn, repaired)


def _repaired(dot: str, reason: str) -> str:
    """The text after the next repair that changes it; of a large graph, which takes long, after the next two."""
    attempts = 2 if dot.count(" -> ") > MANY_ARROWS else 1
    for sign, repair in _REPAIRS:
        repaired = repair(dot, reason) if sign in reason and attempts else dot
        attempts -= repaired != dot
        dot = repaired
    return dot


_LOOSE_LABEL = re.compile(r"(?m)^(\s*(\S+ -> \S+) \[)(label=.*constraint=false)")


def _named_labels_last(dot: str, reason: str) -> str:
    lost = set(re.findall(r"\S+ -> [^\s,]+", reason))
    return _LOOSE_LABEL.sub(lambda found: f"{found[1]}x{found[3]}" if found[2] in lost else found[0], dot)


def _labels_last(dot: str, reason: str) -> str:
    return _LOOSE_LABEL.sub(r"\1x\3", dot)


def _straight(dot: str, reason: str) -> str:
    return dot if "{ splines=line;" in dot else dot.replace("{", "{ splines=line;", 1)


# What Graphviz says, or its worker -> what is drawn instead, in the order in which it is tried. It loses its way, or
# crashes, over the labels of arrows within a row of boxes, or leaves them in a box, unless they are put in their places
# last; and where it finds no way to bend an arrow around the boxes it would leave the arrow out, but straight ones
# never fail.
_REPAIRS: tuple[tuple[str, Callable[[str, str], str]], ...] = (
    ("labels lie in boxes", _named_labels_last),
    ("routesplines", _labels_last),
    ("init_rank", _labels_last),
    ("crashed", _labels_last),
    ("routesplines", _straight),
)


@contextlib.contextmanager
def _image_folder(images: Mapping[str, bytes]) -> Iterator[str]:
    """A folder with the images, for as long as a layout takes; "" if there are none."""
    if not images:
        yield ""
        return
    with tempfile.TemporaryDirectory(prefix="tinygraph-") as folder:
        for name, content in images.items():
            (Path(folder) / name).write_bytes(content)
        yield folder


def _with_images(svg: bytes, images: Mapping[str, bytes]) -> bytes:
    """The SVG with its images inside; elements of a tensor keep their edges when enlarged."""
    for name, content in images.items():
        data = base64.b64encode(content)
        svg = svg.replace(
            f'<image xlink:href="{name}"'.encode(),
            b'<image style="image-rendering:pixelated" xlink:href="data:image/png;base64,' + data + b'"',
        )
    return svg


def _check_settings(dot: str, format: str, engine: str, time_limit: object, scale: object) -> None:
    if format not in get_args(Format):
        raise SettingError(f"cannot draw as {format!r}: the formats are {', '.join(get_args(Format))}")
    if engine not in get_args(Engine):
        raise SettingError(f"unknown layout engine {engine!r}: the engines are {', '.join(get_args(Engine))}")
    for name, number in (("time_limit", time_limit), ("scale", scale)):
        if not isinstance(number, numbers.Real) or not 0 < float(number) < math.inf:
            raise SettingError(f"{name} must be a positive finite number, got {number!r}")
    if "\0" in dot:
        raise RenderError("the DOT text contains a NUL character, which would end it; use quote() for labels")


def quote(text: str) -> str:
    r"""A DOT string, quotes included, whose label reads literally `text`; not for record shapes.

    Escapes like `\N` and entities like `&lt;` stay as written, lines are centred, control characters become
    visible stand-ins (NUL is shown as ␀).

        >>> print(quote('a "b" \\N'))
        "a \"b\" \\N"
    """
    escaped = _printable(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n") + '"'


def escape_html(text: str) -> str:
    r"""Text for an HTML-like label, to be read literally; lines are separated by `<BR/>`.

    >>> escape_html("a < b\n\\N")
    'a &lt; b<BR/>\\\\N'
    """
    # Graphviz replaces \N and its like in HTML labels too.
    return html.escape(_printable(text).replace("\\", "\\\\")).replace("\n", "<BR/>")


# Control characters have pictures in Unicode; what XML cannot hold, or what has no picture, becomes U+FFFD.
_STAND_INS = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
_STAND_INS |= dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF], "\ufffd")
_STAND_INS |= {ord("\n"): "\n", ord("\t"): " "}


def _printable(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_STAND_INS)


def _tidy_svg(svg: bytes) -> bytes:
    """Without what changes between versions or repeats node names; with fonts that every browser has.

    Labels are XML-escaped, so none of these patterns can occur inside one. Tooltips are attributes, and stay.
    """
    svg = svg[svg.index(b"<svg") :]
    svg = re.sub(rb"<!--.*?-->\n?", b"", svg, flags=re.DOTALL)
    svg = re.sub(rb"<title>.*?</title>\n?", b"", svg, flags=re.DOTALL)
    svg = re.sub(rb'font-family="Times(?:,serif)?"', f'font-family="{SERIF_STACK}"'.encode(), svg)
    return svg.replace(f'font-family="{FONT}"'.encode(), f'font-family="{FONT_STACK}"'.encode())


def _tidy_pdf(pdf: bytes) -> bytes:
    """Without the time of its making; blanked, since a PDF holds the positions of its own bytes."""
    return re.sub(rb"/CreationDate \(D:[^)]*\)", lambda date: b" " * len(date[0]), pdf)


_TIDY = {"svg": _tidy_svg, "pdf": _tidy_pdf}


def _timeout(time_limit: float, size: tuple[int, int] | None) -> LayoutTimeout:
    what = f"{size[0]} nodes and {size[1]} edges" if size else "this graph"
    return LayoutTimeout(
        f"Graphviz could not lay out {what} within {time_limit:g} s. Draw less of it at once, "
        'for example with zoom="module", or give it longer with a larger time_limit'
    )


def _judge(messages: str, reason: str = "") -> None:
    """Graphviz goes on after many errors and draws something else, so its words decide, not its status."""
    lines = [line for line in messages.splitlines() if line.strip()]
    if reason or any(line.startswith("Error") for line in lines):
        raise RenderError("\n  ".join([reason or "Graphviz reported errors", *lines[:20]]))
    for line in lines:
        _log.debug("Graphviz: %s", line)
        if "too large" in line:
            advice = "Draw it as SVG or PDF, or less of it at once"
            said = line.removeprefix("(null): ")
            warnings.warn(f"the picture was made smaller: {said}. {advice}", TinygraphWarning, stacklevel=2)


class _Worker:
    """One `graphviz_worker.py` process, started when first needed and again after it was killed or died.

    Messages go through pipes, each with its length in front. Unlike with multiprocessing nothing is pickled
    and the calling program is not imported again: notebooks and scripts without a `__main__` guard work.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._messages: IO[bytes] | None = None

    def draw(self, request: dict[str, object], time_limit: float) -> bytes:
        content = json.dumps(request).encode()
        with self._lock:
            try:
                return self._converse(content, time_limit)
            except _WorkerDied:
                self._end()  # it may have been killed since the last call, so this graph gets a second chance
            try:
                return self._converse(content, time_limit)
            except _WorkerDied as death:
                self._end()
                raise RenderError(f"Graphviz crashed on this graph: {death}") from None

    def _converse(self, content: bytes, time_limit: float) -> bytes:
        process = self._running()
        self._forget_messages()
        size: tuple[int, int] | None = None
        with self._killing_after(time_limit, process) as deadline:
            try:
                self._write(process, struct.pack("<Q", len(content)) + content)
                tag, answer = self._read(process)
                if tag == b"s":
                    nodes, edges = json.loads(answer)
                    size = nodes, edges
                    tag, answer = self._read(process)
            except _WorkerDied:
                if time.monotonic() < deadline:
                    raise
                self._end()
                raise _timeout(time_limit, size) from None
        _judge(self._written_messages(), answer.decode() if tag == b"e" else "")
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._start()
        assert self._process is not None
        return self._process

    def _start(self) -> None:
        pygraphviz = _package_folder("pygraphviz")
        if pygraphviz is None:
            raise _NoWorker("pygraphviz is not installed")
        matplotlib = _package_folder("matplotlib")
        fonts = str(matplotlib / "mpl-data" / "fonts" / "ttf") if matplotlib else ""
        script = Path(__file__).with_name("graphviz_worker.py")
        # What messages go to is a file, not a pipe, which nobody would empty during a layout.
        self._messages = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed in _end
        try:
            self._process = subprocess.Popen(
                # -P: no file beside the script may stand in for a standard module of the same name.
                [sys.executable, "-P", str(script), str(pygraphviz.parent), fonts],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._messages,
                bufsize=0,
                cwd=script.parent,
                env=_worker_environment(),
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
            with self._killing_after(START_LIMIT_SECONDS, self._process):
                tag, answer = self._read(self._process)
        except (OSError, _WorkerDied) as reason:
            self._end()
            raise _NoWorker(f"pygraphviz is installed, but its process does not start: {reason}") from None
        if tag == b"e":
            self._end()
            raise _NoWorker(f"pygraphviz is installed, but does not work: {answer.decode()}")

    @contextlib.contextmanager
    def _killing_after(self, seconds: float, process: subprocess.Popen[bytes]) -> Iterator[float]:
        """Kills the process in time, or at once when the wait is interrupted: its answer would come too late.

        Gives the deadline.
        """
        timer = threading.Timer(seconds, process.kill)
        timer.daemon = True
        deadline = time.monotonic() + seconds
        timer.start()
        try:
            yield deadline
        except BaseException:
            process.kill()
            process.wait()  # only then is it certain to be found dead by the next call
            raise
        finally:
            timer.cancel()

    def _write(self, process: subprocess.Popen[bytes], content: bytes) -> None:
        assert process.stdin is not None
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[process.stdin.write(rest) :]
        except OSError:
            raise self._death(process) from None

    def _read(self, process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
        header = self._read_exactly(process, 9)
        (length,) = struct.unpack("<Q", header[1:])
        return header[:1], self._read_exactly(process, length)

    def _read_exactly(self, process: subprocess.Popen[bytes], length: int) -> bytes:
        assert process.stdout is not None
        pieces = bytearray()
        while len(pieces) < length:
            piece = process.stdout.read(min(length - len(pieces), 1 << 20))
            if not piece:
                raise self._death(process)
            pieces += piece
        return bytes(pieces)

    def _death(self, process: subprocess.Popen[bytes]) -> _WorkerDied:
        status = process.wait()
        last_words = self._written_messages().strip().splitlines()[-3:]
        return _WorkerDied("; ".join([f"exit status {status}", *last_words]))

    def _forget_messages(self) -> None:
        # The position is shared with the worker, which writes on from here.
        if self._messages is not None:
            self._messages.seek(0)
            self._messages.truncate()

    def _written_messages(self) -> str:
        if self._messages is None:
            return ""
        self._messages.seek(0)
        return self._messages.read().decode(errors="replace")

    def end(self) -> None:
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._let_go()

    def _let_go(self) -> None:
        pipes = (self._process.stdin, self._process.stdout) if self._process else ()
        for stream in (*pipes, self._messages):
            if stream is not None:
                stream.close()
        self._process = self._messages = None

    def leave_to_parent(self) -> None:
        """After a fork the worker is the parent's; sharing it would mix up two conversations."""
        self._lock = threading.Lock()  # another thread of the parent may have held the old one
        if self._process is not None:
            self._process.returncode = 0  # this process cannot wait for it, and need not warn about it
        self._let_go()


def _package_folder(name: str) -> Path | None:
    """Where an installed package lies, without importing it."""
    specification = importlib.util.find_spec(name)
    if specification is None or specification.origin is None:
        return None
    return Path(specification.origin).resolve().parent


def _worker_environment() -> dict[str, str]:
    """The caller's environment, without what changes a picture: locale, time zone, text and font settings."""
    prefixes = ("LC_", "LANG", "PANGO", "FONTCONFIG", "FC_", "DOTFONT", "GDFONT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return kept | {"LC_ALL": "C", "PANGO_LANGUAGE": "en", "TZ": "UTC"}


def _draw_by_system(
    dot: str, format: str, engine: str, time_limit: float, scale: float, reason: str, folder: str
) -> bytes:
    program = shutil.which("dot")
    if program is None:
        lacking = f"{reason}, and there is no `dot`"
        raise RenderError(f"drawing as {format} needs Graphviz: {lacking}. {INSTALL_HINT}")
    fonts = [f"-{kind}fontname={FONT}" for kind in "GNE"]
    resolution = [f"-Gdpi={PIXELS_PER_INCH * scale:g}"] if format == "png" else []
    images = [f"-Gimagepath={folder}"] if folder else []
    try:
        done = subprocess.run(
            [program, f"-K{engine}", f"-T{format}", *fonts, *resolution, *images],
            input=dot.encode(),
            capture_output=True,
            timeout=time_limit,
            env=_worker_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _timeout(time_limit, None) from None
    except OSError as failure:
        raise RenderError(f"{program} cannot be run: {failure}. {INSTALL_HINT}") from failure
    status = done.returncode
    _judge(done.stderr.decode(errors="replace"), f"`dot` ended with status {status}" if status else "")
    return done.stdout


_worker = _Worker()
atexit.register(_worker.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_worker.leave_to_parent)
