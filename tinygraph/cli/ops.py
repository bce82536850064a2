"""`tinygraph ops`: the installed ops as tables. What an op is and which laws it obeys is said elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tinygraph.cli.terminal import console, say
from tinygraph.errors import PluginError, UnknownOpError
from tinygraph.packages.card import Card


def list_ops(*, kind: str | None = None, package: str | None = None) -> None:
    """List every op, built-in or of a plugin.

    Parameters
    ----------
    kind
        Only ops of this kind, such as elementwise or reduction.
    package
        Only ops of this package or distribution.
    """
    from tinygraph.core.registry import registry

    listed = [
        op
        for op in registry.all_ops()
        if kind in (None, op.kind) and package in (None, op.package, op.distribution)
    ]
    if not listed:
        say("no op fits; `tinygraph ops list` shows them all")
        return
    table = Table("op", "kind", "formula", "package", box=None, header_style="bold", pad_edge=False)
    for op in listed:
        table.add_row(Text(op.name, "bold cyan"), op.kind, Text(op.formula), op.distribution)
    console.print(table)
    say(f"{len(listed)} ops")


def show(name: str, /) -> None:
    """Show one op: formula, operands, settings, rules, samples and its conformance card.

    Parameters
    ----------
    name
        The op's name; `package:name` where two packages claim one.
    """
    from tinygraph.core.op import Op
    from tinygraph.core.registry import registry
    from tinygraph.packages.card import card_of

    shipped = _shipped_card(name)
    try:
        op = registry.find(name)
    except (PluginError, UnknownOpError):
        if shipped is not None:  # what the package says of it is worth showing, though it cannot be imported
            console.print(_panel(shipped))
        raise
    console.print(Text(f"{op.name}  ", "bold cyan") + Text(op.kind, "dim"))
    if op.__doc__:
        console.print(Text(op.__doc__.strip()))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for label, value in _rows(op) if isinstance(op, Op) else _common_rows(op):
        table.add_row(label, Text(value))
    console.print(table)
    card = shipped or card_of(op)
    if card is not None:
        console.print(_panel(card))


def _shipped_card(name: str) -> Card | None:
    """The card of a plugin's op, found by its manifest; the plugin is not imported."""
    from tinygraph.core.registry import registry
    from tinygraph.packages.card import card_of

    package, _, short = name.rpartition(":")
    for plugin in registry.plugins():
        if (
            package in ("", plugin.package, plugin.distribution)
            and plugin.manifest
            and short in plugin.manifest.ops
        ):
            return card_of(short, plugin.package)
    return None


def _panel(card: Card) -> Panel:
    """A conformance card."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for one in card.operands:
        orders = (
            f"first order {one.first_order}; second order {one.second_order}; forward mode {one.forward_mode}"
        )
        same = one.first_order == one.second_order == one.forward_mode
        table.add_row(f"gradient of {one.name}", Text(one.first_order if same else orders))
    sample = card.first_sample
    flops = "not known" if sample.get("flops") is None else f"{sample['flops']} flops"
    for label, text in (
        ("dtypes", ", ".join(card.dtypes)),
        ("broadcasting", card.broadcasting),
        ("vmap", card.vmap),
        ("zero size", card.zero_size),
        ("memory layout", card.memory_layout),
        ("type rule", card.type_rule),
        ("flops", card.flops),
        ("first sample", sample and f"{flops}, {sample['bytes']} bytes, {sample['kept']} kept for backward"),
        ("when compiled", card.kernel),
        ("drawn", card.expansion),
        ("laws", card.laws + (f"; broken: {', '.join(card.broken)}" if card.broken else "")),
        ("mutation score", card.mutation.removeprefix("mutation score ")),
    ):
        if text:
            table.add_row(label, Text(text))
    return Panel(
        table, title=f"{card.op}, {card.distribution} {card.version}", title_align="left", expand=False
    )


def _rows(op: Any) -> Iterable[tuple[str, str]]:
    from tinygraph.testing.card_making import when_compiled

    for operand in op.signature.operands:
        traits = ["optional"] * operand.optional + ["any number"] * operand.variadic
        traits.append(_derivative(op, operand.name))
        yield f"operand {operand.name}", ", ".join(traits)
    for setting, default in op.signature.settings.items():
        yield f"setting {setting}", f"default {default!r}"
    yield "type rule", "given" if op.typed else "found by running the op on small stand-ins"
    yield "when compiled", when_compiled(op)
    yield from _common_rows(op)


def _derivative(op: Any, operand: str) -> str:
    if operand in op.nondifferentiable:
        return "no gradient by nature"
    if operand not in op.rules:
        return "no gradient rule"
    kept = ", ".join(op.rules[operand].asks) or "nothing"
    return f"gradient rule keeps {kept}" + ("; linear" if operand in op.linear else "")


def _common_rows(op: Any) -> Iterable[tuple[str, str]]:
    from tinygraph.core.registry import numpy_name

    if op.numpy_functions:
        yield "stands for", ", ".join(map(numpy_name, op.numpy_functions))
    for sample in op.samples:
        yield "sample", str(sample)
    for sample in op.error_samples:
        yield "error sample", str(sample)
    yield "package", f"{op.package} ({op.distribution})"
    yield "declared at", str(op.origin)
