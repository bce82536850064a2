"""`tinygraph view`: a page server on the loopback, for this machine's browser alone; files are dropped onto the page.

Nothing leaves the machine: the server listens on 127.0.0.1, answers requests that name it so and carry its secret, and
its pages may load nothing from elsewhere.
"""

from __future__ import annotations

import secrets
import tempfile
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

from cyclopts import Parameter

from tinygraph.cli.terminal import say
from tinygraph.errors import TinygraphError, printable

MOST_BYTES = 2_000_000_000  # of a file dropped onto the page
MOST_PAGES = 20  # that are kept
KINDS = ".onnx, .safetensors, .json, .svg, .html, .pt2, .pt, .npz, .toml"
_DROP = """<style>
#tg-drop{position:fixed;inset:0;display:none;align-items:center;justify-content:center;z-index:99999;
background:#101820cc;color:#fff;font:600 22px system-ui,sans-serif;text-align:center;padding:2em}
#tg-drop.on{display:flex}</style>
<div id="tg-drop" role="status"></div>
<script>(()=>{
const box=document.getElementById("tg-drop");
const show=text=>{box.textContent=text;box.classList.toggle("on",!!text)};
const send=async file=>{show("opening "+file.name+" …");
 try{const answer=await fetch("open?name="+encodeURIComponent(file.name),{method:"POST",body:file});
  const text=await answer.text();
  if(answer.ok)location.href=text;else{show(text);box.onclick=()=>show("")}}
 catch(error){show("the server has ended: start tinygraph view again")}};
addEventListener("dragover",event=>{event.preventDefault();show("drop the file to open it")});
addEventListener("dragleave",event=>{if(!event.relatedTarget)show("")});
addEventListener("drop",event=>{event.preventDefault();const file=event.dataTransfer.files[0];
 if(file)send(file);else show("")});
const chosen=document.getElementById("tg-file");
if(chosen)chosen.onchange=()=>chosen.files[0]&&send(chosen.files[0]);
})()</script>"""
_START = """<!doctype html><html lang="en"><meta charset="utf-8"><title>tinygraph view</title>
<style>body{font:18px/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;place-content:center;
text-align:center;color:#1d2733;background:#f6f8fa}label{display:inline-block;padding:.6em 1.2em;border-radius:8px;
background:#2457c5;color:#fff;cursor:pointer}label:focus-within{outline:3px solid #8fb0ff}
input{position:absolute;opacity:0;width:1px}p{color:#57606a}</style>
<main><h1>Drop a model here</h1><p>%s</p><label>or choose a file<input id="tg-file" type="file"></label>
<p>It is read on this machine and goes nowhere.</p></main><body>%s</body></html>"""


def view(
    file: Path | None = None,
    /,
    *,
    port: int = 0,
    browser: Annotated[bool, Parameter(negative="--no-browser")] = True,
) -> None:
    """Show a model in the browser as a page that zooms; drop another file onto the page to open that.

    Parameters
    ----------
    file
        A graph, drawing, ONNX model, exported program (.pt2), model file or weight file. Without one the page waits
        for a file to be dropped.
    port
        Of the server on 127.0.0.1; 0 lets the system choose.
    browser
        Whether to open the browser; otherwise the address is printed only.
    """
    server = PageServer(port)
    try:
        start = server.add(page_of(file)) if file is not None else server.address
        say(f"{file or 'a page to drop files on'} is at {start}")
        say("Ctrl-C ends the server; nothing leaves this machine.")
        if browser:
            webbrowser.open(start)
        server.serve_forever()
    finally:
        server.server_close()


def page_of(file: Path) -> str:
    """The text of the page of what is in a file."""
    import tinygraph as tg
    from tinygraph.cli.draw import opened_for_drawing

    target, inputs = opened_for_drawing(file, (), False)
    drawing = tg.draw(target, inputs=inputs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        drawing.html(path)
        return path.read_text()


class PageServer(ThreadingHTTPServer):
    """Serves the pages that were made, below a secret path.

    Attributes:
        address: of the page that waits for files.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.secret = secrets.token_urlsafe(16)
        self.address = f"http://127.0.0.1:{self.server_address[1]}/{self.secret}/"
        self.pages: dict[int, str] = {}
        self.count = 0
        self.lock = Lock()

    def add(self, text: str) -> str:
        """Keep a page, and return its address."""
        before, found, after = text.rpartition("</body>")
        page = f"{before}{_DROP}{found}{after}" if found else text + _DROP
        with self.lock:
            self.count += 1
            self.pages[self.count] = page
            while len(self.pages) > MOST_PAGES:
                self.pages.pop(min(self.pages))
            return f"{self.address}{self.count}"


class _Handler(BaseHTTPRequestHandler):
    """Answers this machine's browser."""

    server: PageServer
    server_version, sys_version = "tinygraph", ""

    def do_GET(self) -> None:
        path = self._path()
        if path is None:
            return
        if path == "":
            self._answer(200, _START % (KINDS, _DROP))
        elif path.isdigit() and int(path) in self.server.pages:
            self._answer(200, self.server.pages[int(path)])
        else:
            self._answer(404, "there is no such page any more", "text/plain")

    def do_POST(self) -> None:
        path = self._path()
        if path is None:
            return
        origin = self.headers.get("Origin", self.server.address.rstrip("/"))
        length = self.headers.get("Content-Length", "")
        name = parse_qs(urlsplit(self.path).query).get("name", [""])[0]
        if path != "open" or not self.server.address.startswith(f"{origin}/") or not length.isdigit():
            self._answer(403, "no", "text/plain")
        elif int(length) > MOST_BYTES:
            self._answer(413, f"{name:.100} is longer than {MOST_BYTES} bytes", "text/plain")
        else:
            self._open(Path(name).name[:200] or "file", int(length))

    def _open(self, name: str, length: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"dropped{Path(name).suffix}"
            with file.open("wb") as written:
                while length > 0:
                    part = self.rfile.read(min(length, 2**20))
                    if not part:
                        break
                    length -= len(part)
                    written.write(part)
            try:
                address = self.server.add(page_of(file))
            except (TinygraphError, OSError, ImportError) as error:
                self._answer(422, printable(str(error)).replace(file.name, name), "text/plain")
                return
        self._answer(200, address, "text/plain")

    def _path(self) -> str | None:
        """What is asked for, behind the secret; None, and refused, if somebody else asks."""
        host = self.headers.get("Host", "")
        base = f"/{self.server.secret}/"
        asked = urlsplit(self.path).path
        if host not in (f"127.0.0.1:{self.server.server_address[1]}",) or not asked.startswith(base):
            self._answer(403, "this server answers the browser that tinygraph view opened", "text/plain")
            return None
        return asked.removeprefix(base)

    def _answer(self, status: int, text: str, kind: str = "text/html") -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        policy = "default-src 'none'; script-src 'unsafe-inline' blob:; worker-src blob:; style-src 'unsafe-inline'; "
        self.send_header(
            "Content-Security-Policy", policy + "img-src data: blob:; connect-src 'self' data: blob:"
        )
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is the user's."""
