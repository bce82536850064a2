"""The process that runs Graphviz, so that a layout can be killed. Started by `render.py`, by file path.

It answers requests on standard input until that closes. It knows the C libraries that pygraphviz bundles and
nothing of tinygraph, so it starts fast. `render.py` decides how long it may take and what errors mean.
"""

from __future__ import annotations

import ctypes
import faulthandler
import functools
import glob
import json
import os
import re
import signal
import struct
import sys
from typing import Any, BinaryIO

FONT = "DejaVu Sans"
# More than the caller's own limit: this one only ends a layout whose caller died.
ORPHAN_GRACE_SECONDS = 5.0

# An arrow that ranks nothing and has a label, in DOT; a node and an edge in "plain".
LOOSE_LABEL = re.compile(r"(?m)^\s*(\S+) -> (\S+) \[label=.*constraint=false")
PLAIN_NODE = re.compile(r"(?m)^node \S+ (\S+) (\S+) (\S+) (\S+)")
PLAIN_EDGE = re.compile(r"(?m)^edge (\S+) (\S+) \d+ (.*)$")

GRAPH, NODE, EDGE = 0, 1, 2  # cgraph.h
SYSTEM_FONTS = 0  # fontconfig.h: FcSetSystem

# DejaVu Sans from the pinned folder wins over a system copy of another version; other fonts only lend the
# glyphs that it lacks. The user's own fontconfig settings (hinting, substitutions) are left out on purpose.
FONT_CONFIGURATION = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  {pinned}
  <dir>/usr/share/fonts</dir><dir>/usr/local/share/fonts</dir><dir prefix="xdg">fonts</dir><dir>~/.fonts</dir>
  <dir>WINDOWSFONTDIR</dir>
  <cachedir>/var/cache/fontconfig</cachedir><cachedir prefix="xdg">fontconfig</cachedir>
  <alias binding="same"><family>DejaVu Sans</family><accept>
    <family>Verdana</family><family>Liberation Sans</family><family>Arial</family><family>Noto Sans</family>
  </accept></alias>
  <alias binding="same"><family>Times</family><accept>
    <family>Times New Roman</family><family>Liberation Serif</family><family>STIXGeneral</family>
    <family>DejaVu Serif</family>
  </accept></alias>
  <match target="font">
    <edit name="antialias" mode="assign"><bool>true</bool></edit>
    <edit name="hinting" mode="assign"><bool>false</bool></edit>
    <edit name="rgba" mode="assign"><const>none</const></edit>
  </match>
</fontconfig>"""
PINNED_FOLDER = """<dir>{}</dir><selectfont><rejectfont>
    <glob>/usr/*DejaVu*</glob><glob>*/.fonts/*DejaVu*</glob><glob>*/share/fonts/*DejaVu*</glob>
  </rejectfont></selectfont>"""


class Refused(Exception):
    """A request that Graphviz did not fulfil; the details are on standard error."""


class _BuiltinPlugin(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("address", ctypes.c_void_p)]


class Graphviz:
    """The C functions of the Graphviz in pygraphviz's wheel, and two contexts to run them in.

    pygraphviz's own wrapper always measures text with the platform's fonts. A context without a text plugin
    instead uses the metrics of DejaVu Sans compiled into Graphviz, which are the same on every machine.
    """

    def __init__(self, font_folder: str) -> None:
        from pygraphviz import _graphviz

        folder = os.path.dirname(_graphviz.__file__)
        # Elsewhere than on Windows a search in the extension also finds what it is linked to.
        linked = glob.glob(os.path.join(folder, "..", "pygraphviz.libs", "*.dll"))
        self._libraries = [ctypes.CDLL(path) for path in (_graphviz.__file__, *sorted(linked))]
        self._font_folder = font_folder
        self._estimating = self._context("dot_layout", "neato_layout", "core")
        self._read = self._function("agmemread", ctypes.c_void_p, ctypes.c_char_p)
        set_default = self._function(
            "agattr", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p
        )
        for kind in (GRAPH, NODE, EDGE):
            set_default(None, kind, b"fontname", FONT.encode())

    def _library(self, name: str) -> ctypes.CDLL | None:
        return next((library for library in self._libraries if hasattr(library, name)), None)

    def _function(self, name: str, result: object, *arguments: object) -> Any:
        library = self._library(name)
        if library is None:
            raise ImportError(f"the installed pygraphviz offers no {name}")
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
        return function

    def _context(self, *plugins: str) -> int:
        listed = (_BuiltinPlugin * (len(plugins) + 1))()
        for entry, plugin in zip(listed, plugins, strict=False):
            name = f"gvplugin_{plugin}_LTX_library"
            library = self._library(name)
            if library is None:
                raise ImportError(f"the installed pygraphviz offers no {name}")
            entry.name = name.encode()
            entry.address = ctypes.addressof(ctypes.c_char.in_dll(library, name))
        make = self._function("gvContextPlugins", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
        self._kept = (*getattr(self, "_kept", ()), listed)  # Graphviz keeps the pointers
        context: int = make(listed, 0)
        return context

    @functools.cached_property
    def _painting(self) -> int:
        """The context that measures and paints with real fonts: Quartz on macOS, else pango and cairo."""
        if sys.platform == "darwin":
            return self._context("dot_layout", "neato_layout", "core", "quartz")
        self._configure_fonts()
        return self._context("dot_layout", "neato_layout", "core", "gd", "pango")

    def _configure_fonts(self) -> None:
        from xml.sax.saxutils import escape

        pinned = PINNED_FOLDER.format(escape(self._font_folder)) if self._font_folder else ""
        text = FONT_CONFIGURATION.format(pinned=pinned).encode()
        configuration = self._function("FcConfigCreate", ctypes.c_void_p)()
        pointer, flag = ctypes.c_void_p, ctypes.c_int
        load = self._function("FcConfigParseAndLoadFromMemory", flag, pointer, ctypes.c_char_p, flag)
        load(configuration, text, 1)
        self._function("FcConfigBuildFonts", flag, pointer)(configuration)
        self._function("FcConfigSetCurrent", flag, pointer)(configuration)
        fonts = self._function("FcConfigGetFonts", ctypes.POINTER(ctypes.c_int), pointer, flag)
        found = fonts(configuration, SYSTEM_FONTS)  # a struct that opens with the number of fonts
        if not found or found[0] == 0:
            raise Refused(
                "no font is installed, so letters would come out as boxes; `pip install matplotlib` brings "
                "one, or install one on the system (SVG needs none)"
            )

    def read(self, dot: str) -> int:
        graph: int | None = self._read(dot.encode())
        if not graph:
            raise Refused("Graphviz cannot read this DOT text")
        return graph

    def size(self, graph: int) -> tuple[int, int]:
        nodes: int = self._function("agnnodes", ctypes.c_int, ctypes.c_void_p)(graph)
        edges: int = self._function("agnedges", ctypes.c_int, ctypes.c_void_p)(graph)
        return nodes, edges

    def render(
        self, graph: int, dot: str, format: str, engine: str, dpi: float, folder: str, painted: bool
    ) -> bytes:
        pointer, string = ctypes.c_void_p, ctypes.c_char_p
        context = (
            self._estimating if format == "svg" or (format == "plain" and not painted) else self._painting
        )
        set_value = self._function("agsafeset", ctypes.c_int, pointer, string, string, string)
        if format == "png":
            set_value(graph, b"dpi", str(dpi).encode(), b"")
        if folder:  # where images are
            set_value(graph, b"imagepath", os.fsencode(folder), b"")
        layout = self._function("gvLayout", ctypes.c_int, pointer, pointer, string)
        if layout(context, graph, engine.encode()):
            raise Refused(f"Graphviz's engine {engine!r} cannot lay this graph out")
        loose = set(LOOSE_LABEL.findall(dot))
        lost = labels_in_boxes(self._write(context, graph, "plain").decode(), loose) if loose else []
        if lost:
            raise Refused(f"labels lie in boxes: {', '.join(f'{tail} -> {head}' for tail, head in lost)}")
        content = self._write(context, graph, format)
        self._function("gvFreeLayout", ctypes.c_int, pointer, pointer)(context, graph)
        return content

    def _write(self, context: int, graph: int, format: str) -> bytes:
        pointer, string = ctypes.c_void_p, ctypes.c_char_p
        data, size = ctypes.c_void_p(), ctypes.c_size_t()
        write = self._function("gvRenderData", ctypes.c_int, pointer, pointer, string, pointer, pointer)
        failed = write(context, graph, format.encode(), ctypes.byref(data), ctypes.byref(size))
        if failed or not data.value:
            raise Refused(f"Graphviz cannot write this graph as {format}")
        content = ctypes.string_at(data.value, size.value)
        self._function("gvFreeRenderData", None, pointer)(data)
        return content

    def close(self, graph: int) -> None:
        self._function("agclose", ctypes.c_int, ctypes.c_void_p)(graph)


def labels_in_boxes(plain: str, arrows: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of some arrows whose label Graphviz has put into a box, as a drawing in the format "plain" says."""
    boxes = [[float(number) for number in found] for found in PLAIN_NODE.findall(plain)]
    found = []
    for tail, head, rest in PLAIN_EDGE.findall(plain):
        words = rest.split()
        if (tail, head) in arrows and len(words) > 4:  # ... label x y style colour
            x, y = float(words[-4]), float(words[-3])
            if any(
                abs(x - left) < width / 2 and abs(y - top) < height / 2 for left, top, width, height in boxes
            ):
                found.append((tail, head))
    return found


def send(stream: BinaryIO, tag: bytes, content: bytes) -> None:
    stream.write(tag + struct.pack("<Q", len(content)) + content)
    stream.flush()


def answer(graphviz: Graphviz, request: dict[str, Any], out: BinaryIO) -> None:
    """Sends the graph's size as soon as it is read, then the picture or the reason why there is none."""
    try:
        graph = graphviz.read(request["dot"])
        try:
            send(out, b"s", json.dumps(graphviz.size(graph)).encode())
            picture = graphviz.render(
                graph,
                request["dot"],
                request["format"],
                request["engine"],
                request["dpi"],
                request["folder"],
                request["painted"],
            )
        finally:
            graphviz.close(graph)
    except Refused as reason:
        send(out, b"e", str(reason).encode())
    else:
        send(out, b"p", picture)


def main(package_folder: str, font_folder: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's business
    # A library that prints must not garble the answers.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.path.append(package_folder)
    try:
        graphviz = Graphviz(font_folder)
    except (ImportError, OSError) as reason:
        send(out, b"e", str(reason).encode())
        return
    send(out, b"r", b"")
    while header := sys.stdin.buffer.read(8):
        request = json.loads(sys.stdin.buffer.read(struct.unpack("<Q", header)[0]))
        faulthandler.dump_traceback_later(request["time_limit"] + ORPHAN_GRACE_SECONDS, exit=True)
        answer(graphviz, request, out)
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main(*sys.argv[1:])
