"""Firefox for tests, over Marionette: the protocol that it speaks itself, so that nothing else need be installed."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FIREFOX = ("firefox-esr", "firefox")
PATIENCE = 60  # seconds until it answers


class Firefox:
    """A window of a Firefox that runs; see https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._stream = connection.makefile("rb")
        self._number = 0
        self._read()  # its greeting
        self.ask("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {"acceptInsecureCerts": True}}})

    def ask(self, command: str, values: dict[str, Any] | None = None) -> Any:
        """What it answers to a command of WebDriver's."""
        self._number += 1
        text = json.dumps([0, self._number, command, values or {}])
        self._connection.sendall(f"{len(text.encode())}:{text}".encode())
        _, _, error, found = self._read()
        if error is not None:
            raise RuntimeError(f"{command}: {error['error']}: {error['message']}")
        return found["value"] if isinstance(found, dict) and set(found) == {"value"} else found

    def _read(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            length += self._stream.read(1)
        return json.loads(self._stream.read(int(length[:-1])))

    def go(self, address: str) -> None:
        self.ask("WebDriver:Navigate", {"url": address})

    def run(self, script: str, *given: Any) -> Any:
        """What a function's body returns in the page."""
        return self.ask("WebDriver:ExecuteScript", {"script": script, "args": list(given), "sandbox": None})

    def wait(self, condition: str, seconds: float = 20.0) -> None:
        """Until an expression is true in the page."""
        end = time.monotonic() + seconds
        while not self.run(f"return !!({condition})"):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds:g} s: {condition}")
            time.sleep(0.05)

    def type(self, *keys: str) -> None:
        """Press keys where the focus is, by their letters or by names such as "Enter"."""
        codes = {"Enter": "\ue007", "Escape": "\ue00c", "ArrowDown": "\ue015", "ArrowRight": "\ue014"}
        for key in keys:
            code = codes.get(key, key)
            strokes = [{"type": kind, "value": code} for kind in ("keyDown", "keyUp")]
            self.ask(
                "WebDriver:PerformActions", {"actions": [{"type": "key", "id": "k", "actions": strokes}]}
            )

    def wheel(self, x: int, y: int, delta: int) -> None:
        turn = {"type": "scroll", "x": x, "y": y, "deltaX": 0, "deltaY": delta, "origin": "viewport"}
        self.ask("WebDriver:PerformActions", {"actions": [{"type": "wheel", "id": "w", "actions": [turn]}]})

    def click(self, x: float, y: float) -> None:
        actions = [
            {"type": "pointerMove", "x": round(x), "y": round(y), "origin": "viewport"},
            {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0},
        ]  # fmt: skip
        self.ask(
            "WebDriver:PerformActions", {"actions": [{"type": "pointer", "id": "p", "actions": actions}]}
        )

    def resize(self, width: int, height: int) -> None:
        self.ask("WebDriver:SetWindowRect", {"width": width, "height": height})

    def screenshot(self) -> bytes:
        return base64.b64decode(self.ask("WebDriver:TakeScreenshot", {"full": False}))


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Firefox]:
    """A Firefox without a screen, its profile in an empty folder.

    Raises:
        FileNotFoundError: there is none on this machine.
    """
    path = next((found for found in map(shutil.which, FIREFOX) if found), None)
    if path is None:
        raise FileNotFoundError("needs a Firefox: Debian's package `firefox-esr`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "marionette.port": port, "browser.shell.checkDefaultBrowser": False, "app.update.disabledForTesting": True,
        "datareporting.policy.dataSubmissionEnabled": False, "network.captive-portal-service.enabled": False,
        "network.connectivity-service.enabled": False, "toolkit.telemetry.enabled": False,
        "browser.startup.page": 0, "browser.aboutwelcome.enabled": False, "ui.prefersReducedMotion": 0,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in settings.items())
    (folder / "user.js").write_text("\n".join(lines), "utf-8")
    command = [path, "--headless", "--marionette", "--no-remote", "--profile", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            with _connected(port) as connection:
                yield Firefox(connection)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def _connected(port: int) -> socket.socket:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
        else:
            return connection
