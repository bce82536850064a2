"""What a package ships about its ops, the manifest and the cards: compared with the ops, and written anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tinygraph.core.op import Composite, Op
from tinygraph.core.registry import BUILTIN_PACKAGE
from tinygraph.errors import PluginError
from tinygraph.interop.atomic_files import replace_file
from tinygraph.packages.card import FILE_NAME as CARDS
from tinygraph.packages.card import Card, cards_of, cards_text, read_cards
from tinygraph.packages.manifest import FILE_NAME as MANIFEST
from tinygraph.packages.manifest import Manifest, read_text
from tinygraph.testing.card_making import make_card
from tinygraph.testing.check import Report

# What a card says that is known without running laws and mutants.
DECLARED = (
    "signature", "formula", "kind", "type_rule", "kernel", "expansion", "flops", "first_sample", "dtypes",
)  # fmt: skip


def manifest_faults(folder: Path, ops: Sequence[Op | Composite]) -> list[str]:
    """Where a package's manifest and the ops that it declares differ, in words; none if it has no manifest."""
    path = folder / MANIFEST
    if not path.is_file():
        return []
    try:
        said = Manifest.parse(read_text(path), f"{folder.name}/{MANIFEST}")
    except PluginError as error:
        return [str(error)]
    declared = Manifest.of(ops)
    faults = []
    for what, listed, found in (
        ("op", said.ops, declared.ops),
        ("NumPy function", said.numpy, declared.numpy),
    ):
        faults += [
            f"the manifest lists the {what} {one!r}, which is not declared"
            for one in listed
            if one not in found
        ]
        faults += [f"the manifest lacks the {what} {one!r}" for one in found if one not in listed]
    return faults


def lacks_manifest(folder: Path) -> bool:
    """Whether a plugin package has to be imported before its names are known."""
    return folder.name != BUILTIN_PACKAGE and not (folder / MANIFEST).is_file()


def write_manifest(folder: Path, ops: Sequence[Op | Composite]) -> Path:
    """Write what a package declares beside its `__init__.py`."""
    return _write(folder / MANIFEST, Manifest.of(ops).text())


def card_faults(folder: Path, cards: Sequence[Card]) -> list[str]:
    """Which of a package's shipped cards say something else than what was found now; none if it ships none."""
    path = folder / CARDS
    if not path.is_file():
        return []
    try:
        shipped = read_cards(path)
    except PluginError as error:
        return [str(error)]
    faults = [
        f"there is a card of {name!r}, which is not declared"
        for name in shipped.keys() - {c.op for c in cards}
    ]
    for card in cards:
        old = shipped.get(card.op)
        if old is None:
            faults.append(f"there is no card of {card.op!r}")
            continue
        before, after = old.data(), card.data()
        if not card.mutation:  # not scored this time
            before["mutation"] = after["mutation"]
        changed = [name for name in after if before[name] != after[name]]
        if changed:
            faults.append(f"the card of {card.op!r} is out of date ({', '.join(changed)})")
    return faults


def write_cards(folder: Path, cards: Sequence[Card]) -> Path:
    """Write cards beside a package's `__init__.py`; what was not scored this time keeps the score it had."""
    try:
        before = read_cards(folder / CARDS)
    except PluginError:
        before = {}
    kept = [
        replace(card, mutation=before[card.op].mutation) if _unscored(card, before) else card
        for card in cards
    ]
    path = _write(folder / CARDS, cards_text(kept, kept[0].distribution, kept[0].version))
    cards_of.cache_clear()
    return path


def stale_ops(folder: Path, ops: Sequence[Op | Composite]) -> list[Op | Composite]:
    """Ops whose shipped card is missing, says something else than they declare, or names a broken law."""
    try:
        shipped = read_cards(folder / CARDS)
    except PluginError:
        shipped = {}
    return [op for op in ops if op.name not in shipped or not _says_what_is_declared(shipped[op.name], op)]


def _says_what_is_declared(card: Card, op: Op | Composite) -> bool:
    now = make_card(op, report=Report(op, ()), scored=False)
    return (
        not card.broken
        and [one.name for one in card.operands] == [one.name for one in now.operands]
        and all(getattr(card, name) == getattr(now, name) for name in DECLARED)
    )


def renew_cards(folder: Path, ops: Sequence[Op | Composite]) -> list[str]:
    """Check the ops whose cards are stale, with laws and mutants, and write their cards anew; the others stay.

    Returns:
        The names of the ops that were checked, and of cards whose ops are gone.
    """
    try:
        shipped = read_cards(folder / CARDS)
    except PluginError:
        shipped = {}
    stale = stale_ops(folder, ops)
    gone = sorted(shipped.keys() - {op.name for op in ops})
    if stale or gone:
        made = {op.name: make_card(op) for op in stale}
        write_cards(folder, [made.get(op.name) or shipped[op.name] for op in ops])
    return [op.name for op in stale] + gone


def _unscored(card: Card, before: dict[str, Card]) -> bool:
    return not card.mutation and card.op in before


def _write(path: Path, text: str) -> Path:
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))
    return path
