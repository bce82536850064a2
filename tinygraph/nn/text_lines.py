"""The line on which each key of a TOML or JSON text stands: Python's parsers give values without their places.

The text has been parsed before, so nothing is checked here.
"""

from __future__ import annotations

import json
import re

Place = tuple[str | int, ...]

_TOKEN = re.compile(
    r'''(?P<text>"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\])*"|'[^'\n]*')'''
    r"""|(?P<comment>\#[^\n]*)|(?P<line>\n)|(?P<mark>[][{},=:])|(?P<word>[^][{},=:\s\#"']+)""",
    re.DOTALL,
)


def line_of(text: str, path: Place) -> int:
    """The line, from 1, where the value at a path of keys and positions stands, or the nearest thing around it.

    >>> line_of('a = 1\\nb = [\\n  2,\\n  3,\\n]', ("b", 1))
    4
    """
    lines = _Scan(text).lines
    while path not in lines and path:
        path = path[:-1]
    return lines.get(path, 1)


class _Scan:
    """One text, walked through token by token."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, int]] = []
        line = 1
        for found in _TOKEN.finditer(text):
            if found.lastgroup != "comment":
                self.tokens.append((found[0], line))
            line += found[0].count("\n")
        self.at = 0
        self.lines: dict[Place, int] = {}
        self.counts: dict[Place, int] = {}  # of the tables of an array of tables
        if text.lstrip().startswith("{"):
            self._value(())
        else:
            self._tables()

    def _next(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def _take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1][0] if self.at <= len(self.tokens) else ""

    def _skip_lines(self) -> None:
        while self._next() == "\n":
            self.at += 1

    def _note(self, path: Place) -> None:
        line = self.tokens[min(self.at, len(self.tokens) - 1)][1]
        while path not in self.lines:  # keys with dots make tables
            self.lines[path] = line
            path = path[:-1]

    def _tables(self) -> None:
        """A TOML document: headers, and keys with values."""
        table: Place = ()
        while self._next():
            if self._next() == "\n":
                self._take()
            elif self._next() == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Place:
        opening = 0
        while self._next() == "[":
            opening += 1
            self._take()
        path: Place = ()
        keys = self._keys()
        for i, key in enumerate(keys):
            path = (*path, key)
            if opening == 2 and i == len(keys) - 1:
                self.counts[path] = self.counts.get(path, -1) + 1
            if path in self.counts:
                path = (*path, self.counts[path])
        self._note(path)
        while self._next() == "]":
            self._take()
        return path

    def _keys(self) -> list[str]:
        """The parts of a key, which dots divide."""
        parts: list[str] = []
        while self._next() not in ("=", ":", "]", ""):
            token = self._take()
            if token[0] == '"':
                parts.append(json.loads(token, strict=False))
            elif token[0] == "'":
                parts.append(token[1:-1])
            else:
                parts += filter(None, token.split("."))
        return parts

    def _pair(self, table: Place) -> None:
        start = self.at
        path = (*table, *self._keys())
        after, self.at = self.at, start
        self._note(path)
        self.at = after
        self._take()  # = or :
        self._value(path)

    def _value(self, path: Place) -> None:
        self._skip_lines()
        self._note(path)
        opening = self._next()
        if opening not in ("{", "["):
            while self._next() not in ("\n", ",", "]", "}", ""):
                self._take()
            return
        self._take()
        count = 0
        while True:
            while self._next() in ("\n", ","):
                self._take()
            if self._next() in ("]", "}", ""):
                self._take()
                return
            if opening == "{":
                self._pair(path)
            else:
                self._value((*path, count))
                count += 1
