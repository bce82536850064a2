"""The page of one number: fills `page.html` with what was followed and the script that shows it. Loads nothing."""

from __future__ import annotations

import base64
import json
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from tinygraph.cli.one_number.following import Followed
from tinygraph.core.types import Array

HERE = "tinygraph.cli.one_number"


def page(followed: Followed, *, subject: str, links: dict[str, str], version: str) -> str:
    """The whole page as HTML.

    Args:
        subject: what the images are, as a noun phrase.
        links: what to open from it: "zoom", "film", "report" -> a file beside the page.
    """
    words = {
        "subject": subject,
        "steps": f"{len(followed.losses):,}",
        "right": f"{100 * followed.right:.0f} %",
        "version": version,
        "rate": f"{followed.rate:g}",
    }
    text = _file("page.html")
    for name, word in words.items():
        text = text.replace(f"%{name}%", escape(word))
    return (
        text.replace("%base%", files("tinygraph.cli").joinpath("pages.css").read_text(encoding="utf-8"))
        .replace("%links%", _links(links))
        .replace("%data%", json.dumps(_data(followed)).replace("<", "\\u003c"))
        .replace("%script%", _file("page.js"))
    )


def _file(name: str) -> str:
    return files(HERE).joinpath(name).read_text(encoding="utf-8")


def _links(links: dict[str, str]) -> str:
    said = {
        "zoom": "The whole network on one image, forward and backward, down to every multiplied couple",
        "film": "This story as a moving picture, for talks",
        "report": "A larger network on the same images: its report, with tables",
    }
    items = [
        f'<li><a href="{escape(links[key])}">{text}</a></li>' for key, text in said.items() if key in links
    ]
    return f'<ul class="links">{"".join(items)}</ul>'


def _data(followed: Followed) -> dict[str, Any]:
    arrays = {
        "path": followed.path, "losses": followed.losses, "images": followed.images, "cotangents": followed.cotangents,
        "gradients": followed.gradients, "after": followed.after, **followed.parameters,
    }  # fmt: skip
    return {
        "element": [int(i) for i in followed.element],
        "classes": list(followed.classes),
        "rate": followed.rate,
        "steps": followed.steps.tolist(),
        "labels": followed.labels.tolist(),
        "arrays": {name: _packed(array) for name, array in arrays.items()},
    }


def _packed(array: Array) -> dict[str, Any]:
    values = np.ascontiguousarray(array, "<f4")
    return {"shape": list(values.shape), "base64": base64.b64encode(values.tobytes()).decode()}
