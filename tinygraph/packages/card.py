"""Conformance cards: what was found out about an op, kept beside its package's manifest and read without importing it.

    tinygraph-cards.json    {"format": 1, "distribution": "tinygraph-rotary", "version": "0.1.0", "cards": [...]}

`tinygraph ops check --write-card` makes the file (`testing/card_making.py`); here it is only read.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygraph.errors import PluginError
from tinygraph.packages.manifest import package_folders, read_text

if TYPE_CHECKING:
    from tinygraph.core.op import Composite, Op

FILE_NAME = "tinygraph-cards.json"
FORMAT = 1


@dataclass(frozen=True)
class OperandCard:
    """What holds for one operand: each field in words, such as "holds", "no rule", "no gradient by nature"."""

    name: str
    first_order: str
    second_order: str
    forward_mode: str
    keeps: str = ""


@dataclass(frozen=True)
class Card:
    """What was found out about one op.

    Attributes:
        op, signature, formula, kind: how it is called, and what it computes.
        operands: derivative rules, checked; empty for a composite.
        dtypes: those of which it takes its first sample.
        broadcasting, zero_size, memory_layout: what became of the laws of these names.
        type_rule: its own, a family's, or found by running the forward.
        flops: floating-point operations, in words; `first_sample` counts them.
        first_sample: its text, and flops, bytes moved and bytes kept for backward on it.
        kernel: what runs in a compiled graph.
        expansion: how a drawing opens it.
        vmap: how `tg.vmap` applies it to many examples.
        laws: how many hold of those that apply.
        broken: the names of laws that do not hold.
        mutation: the mutation score, in words.
        distribution, version: what was checked.
    """

    op: str
    signature: str
    formula: str
    kind: str
    operands: tuple[OperandCard, ...] = ()
    dtypes: tuple[str, ...] = ()
    broadcasting: str = ""
    zero_size: str = ""
    memory_layout: str = ""
    type_rule: str = ""
    flops: str = ""
    first_sample: dict[str, Any] = field(default_factory=dict)
    kernel: str = ""
    expansion: str = ""
    vmap: str = ""
    laws: str = ""
    broken: tuple[str, ...] = ()
    mutation: str = ""
    distribution: str = ""
    version: str = ""

    @property
    def line(self) -> str:
        """The card in one line, for errors and tooltips."""
        rules = ", ".join(f"{one.name}: {one.first_order}" for one in self.operands)
        parts = [f"gradients {rules}" if rules else "", f"laws {self.laws}", self.mutation]
        return f"card of {self.distribution} {self.version}: " + "; ".join(filter(None, parts))

    def data(self) -> dict[str, Any]:
        """The card as JSON data; distribution and version belong to the whole file."""
        found = asdict(self)
        del found["distribution"], found["version"]
        return found

    @classmethod
    def parse(cls, data: dict[str, Any], distribution: str, version: str) -> Card:
        """Read one card's JSON data; what a newer version may have added is left out."""
        known = {one.name for one in fields(cls)}
        given = {name: _tupled(value) for name, value in data.items() if name in known}
        given["operands"] = tuple(OperandCard(**one) for one in given.get("operands", ()))
        card = cls(**given, distribution=distribution, version=version)
        checked: list[Card | OperandCard] = [card, *card.operands]
        for one in checked:
            for each in fields(one):
                if each.type == "str" and not isinstance(getattr(one, each.name), str):
                    raise TypeError(f"{each.name} must be a text")
        return card


def _tupled(value: object) -> Any:
    return tuple(value) if isinstance(value, list) else value


def card_of(op: Op | Composite | str, package: str = "") -> Card | None:
    """The card that an op's package ships, or None; no plugin is imported for it.

    Args:
        op: an op, or the name of one of `package`'s.
    """
    name, home = (op, package) if isinstance(op, str) else (op.name, op.package)
    return cards_of(home).get(name)


def card_line(op: Op | Composite) -> str:
    """The card of an op as a last line for an error's message; empty if there is none."""
    card = card_of(op)
    return "" if card is None else f"\n    {card.line}"


@cache
def cards_of(package: str) -> dict[str, Card]:
    """The cards of an import package by op name; none if it ships none, or the file cannot be read."""
    for folder in package_folders(package):
        path = folder / FILE_NAME
        if path.is_file():
            try:
                return read_cards(path)
            except PluginError:
                return {}
    return {}


def read_cards(path: Path) -> dict[str, Card]:
    """The cards of one file by op name.

    Raises:
        PluginError: it is no file of cards.
    """
    try:
        found = json.loads(read_text(path))
        cards = [Card.parse(one, found["distribution"], found["version"]) for one in found["cards"]]
    except (OSError, PluginError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PluginError(
            f"{path.parent.name}/{path.name} is no file of cards ({type(error).__name__}: {error}); "
            f"`tinygraph ops check {path.parent.name} --write-card` writes it anew"
        ) from None
    return {card.op: card for card in cards}


def cards_text(cards: list[Card], distribution: str, version: str) -> str:
    """The contents of a file of cards."""
    data = [card.data() for card in sorted(cards, key=lambda card: card.op)]
    whole = {"format": FORMAT, "distribution": distribution, "version": version, "cards": data}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
