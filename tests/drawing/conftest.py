"""Names that try to break out of pictures, and a model in which everything that has a name has one of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.core.modes import scope

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "javascript:alert(1)",
    'quo"te\' onmouseover=alert(1) x="',
    "back\\slash \\N \\G \\l \\",
    "line\nbreak\r\nand\ttab",
    "{braces|<port> bars}",
    "${alert(1)} `{{alert(1)}}`",
    "<b>not bold</b> <!-- comment --> <?pi?>",
    "&amp; &lt; &#60;script&#62; ]]>",
    "\u202eright to left \u05d0\u05d1 \u0645\u0631\u062d\u0628\u0627",
    "nul \0 escape \x1b bell \x07 \x85",
    "no character \ufffe",
    "separators \u2028 \u2029",
    "a]; b -> c [label=\"d\"] }",
    "*/ // # -- >",
    "😀 e\u0301 漢字",
    "x" * 10_000,
)  # fmt: skip


class Hostile(nn.Module):
    """A layer for each name, in a group of that name, with a parameter of that name."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        for name in names:
            layer = nn.Module()
            layer.register_parameter(name.replace(".", ""), nn.Parameter(np.ones(2)))
            self.add_module(name.replace(".", ""), layer)

    def forward(self, x: Any) -> Any:
        for name, layer in self.named_children():
            with scope(name):
                (parameter,) = layer.parameters()
                x = x * parameter + 1.0
                x.name = name
        return x.sum()


@pytest.fixture(scope="session")
def hostile_names() -> tuple[str, ...]:
    return HOSTILE


@pytest.fixture(scope="session")
def hostile_model() -> Any:
    return Hostile(HOSTILE)


@pytest.fixture(scope="session")
def hostile_graph(hostile_model: Any) -> tg.Graph:
    """A graph whose model, modules, parameters, input and results are called so."""
    graph = tg.capture(hostile_model, tg.tensor(np.ones(2), name=HOSTILE[0]))
    graph.name = HOSTILE[0]
    return graph
