"""Conformance cards: true of the op, read without importing its package, shipped for the built-in ops."""

from __future__ import annotations

import json
import sys
from importlib import metadata

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.cli import main
from tinygraph.core.registry import BUILTIN_PACKAGE, ENTRY_POINT_GROUP, registry
from tinygraph.errors import MissingRuleError, PluginError, TinygraphWarning
from tinygraph.packages import card as cards
from tinygraph.packages.card import Card, card_line, card_of, cards_of, cards_text, read_cards
from tinygraph.packages.manifest import Manifest, package_folders
from tinygraph.plugin import Sample, op
from tinygraph.testing import Report
from tinygraph.testing.card_making import make_card
from tinygraph.testing.cost import cost_of
from tinygraph.testing.package_files import DECLARED, card_faults, renew_cards, stale_ops
from tinygraph.testing.trial import Trial

BUILTIN = [one for one in registry.all_ops() if one.package == BUILTIN_PACKAGE]


def test_every_built_in_op_ships_a_card_that_says_what_the_op_declares():
    shipped = cards_of(BUILTIN_PACKAGE)
    advice = "run `python docs/renew.py cards`"
    assert shipped.keys() == {one.name for one in BUILTIN}, advice
    for one in BUILTIN:
        now = make_card(one, report=Report(one, ()), scored=False)
        old = shipped[one.name]
        for name in DECLARED:
            assert getattr(now, name) == getattr(old, name), f"{one.name}: {name}; {advice}"
        assert [a.name for a in now.operands] == [a.name for a in old.operands]
        assert old.broken == ()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_shipped_cards_are_true():
    [folder] = package_folders(BUILTIN_PACKAGE)
    assert card_faults(folder, [make_card(one) for one in BUILTIN]) == []


def test_what_a_card_says():
    found = make_card(tg.ops.where)
    assert [one.first_order for one in found.operands] == ["no gradient by nature", "holds", "holds"]
    assert found.operands[1].forward_mode == "derived, holds"
    assert found.operands[1].keeps == "condition"
    assert "float32" in found.dtypes
    assert "complex128" in found.dtypes
    assert found.broadcasting.startswith("holds")
    assert found.mutation.startswith("mutation score 100 %")
    assert found.line.startswith("card of tinygraph-autodiff")
    assert make_card(tg.ops.norm).operands == ()


def test_the_card_of_a_wrong_op_says_so():
    @op(declare=False, kind="elementwise", samples=[Sample([0.5, 1.5])])
    def doubled(x, y=None):
        """2 x, with a wrong rule."""
        return 2 * x

    @doubled.vjp("x")
    def doubled_wrt_x(g):
        return g * 3

    found = make_card(doubled)
    assert found.operands[0].first_order == "broken"
    assert found.operands[0].second_order == "holds"
    assert found.operands[1].first_order == "no rule"
    assert "first derivatives" in found.broken


def test_multiply_adds_are_counted_exactly():
    def flops(name, *operands, **settings):
        return cost_of(Trial(registry.find(name), [np.ones(shape) for shape in operands], settings)).flops

    assert flops("matmul", (3, 4), (4, 5)) == 2 * 3 * 4 * 5
    assert flops("einsum", (2, 3, 4), (2, 4, 5), subscripts="bij,bjk->bik") == 2 * 2 * 3 * 4 * 5
    out = (2, 8, 6, 6)
    assert flops("convolution", (2, 4, 6, 6), (8, 2, 3, 3), padding=1, groups=2) == 2 * np.prod(out) * 2 * 9
    assert flops("convolution", (2, 4, 6, 6), (8, 4, 3, 3), (8,), padding=1) == np.prod(out) * (2 * 4 * 9 + 1)
    assert flops("convolution_transpose", (2, 4, 6), (4, 3, 5), stride=2) == 2 * 2 * 4 * 6 * 3 * 5
    assert flops("convolution_kernel_gradient", (2, 4, 6), (2, 3, 5), size=(2,)) == 2 * (2 * 3 * 5) * 4 * 2
    assert flops("sin", (3, 4)) == 12
    assert flops("reshape", (3, 4), shape=(12,)) == 0


def test_bytes_kept_are_those_of_saved_values():
    kept = cost_of(Trial(tg.ops.multiply, [np.ones((3, 4)), np.ones((3, 4))], {})).kept
    assert kept == 2 * 96
    assert cost_of(Trial(tg.ops.add, [np.ones(5), np.ones(5)], {})).kept == 0


def test_a_file_of_cards_round_trips_and_a_damaged_one_is_refused(tmp_path):
    made = make_card(tg.ops.tanh)
    path = tmp_path / cards.FILE_NAME
    path.write_text(cards_text([made], made.distribution, made.version), encoding="utf-8")
    assert read_cards(path) == {"tanh": made}
    data = json.loads(path.read_text(encoding="utf-8"))
    data["cards"][0]["of_a_newer_version"] = 1
    path.write_text(json.dumps(data), encoding="utf-8")
    assert read_cards(path) == {"tanh": made}
    for damaged in (
        "",
        "[]",
        '{"cards": [{}]}',
        '{"distribution": "a", "version": "1", "cards": [{"op": 1}]}',
    ):
        path.write_text(damaged, encoding="utf-8")
        with pytest.raises(PluginError, match="no file of cards"):
            read_cards(path)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a card, that cannot be imported."""
    folder = tmp_path / "carded"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    card = Card("spin", "spin(x)", "spins x", "other", laws="3 of 4", broken=("closed",))
    (folder / cards.FILE_NAME).write_text(cards_text([card], "tinygraph-carded", "1.2"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    cards_of.cache_clear()


def test_cards_are_read_without_importing(package):
    found = card_of("spin", "carded")
    assert (found.distribution, found.version, found.laws) == ("tinygraph-carded", "1.2", "3 of 4")
    assert "carded" not in sys.modules
    assert card_of("other", "carded") is None
    assert card_of("spin", "no_such_package") is None


def test_show_has_the_card_of_an_op_that_cannot_be_imported(package, monkeypatch, capsys):
    (package / "tinygraph-ops.json").write_text(Manifest(1, ("spin",), ()).text())
    point = metadata.EntryPoint("spin", "carded", ENTRY_POINT_GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda group: (point,))
    monkeypatch.setattr(registry, "_plugins", None)
    with pytest.raises(SystemExit) as end, pytest.warns(TinygraphWarning, match="RuntimeError: imported"):
        main(["ops", "show", "spin"])
    out, err = capsys.readouterr()
    assert end.value.code == 1
    assert "tinygraph-carded 1.2" in out
    assert "3 of 4; broken: closed" in out
    assert "no op called 'spin'" in err


def test_errors_of_rules_quote_the_card(monkeypatch):
    @op(declare=False)
    def unruled(x):
        """x, without a rule."""
        return x * 1.0

    assert card_line(unruled) == ""
    card = Card("unruled", "", "", "", laws="5 of 6", distribution="tinygraph-x", version="2")
    monkeypatch.setattr(cards, "cards_of", lambda package: {"unruled": card})
    with pytest.raises(MissingRuleError, match="card of tinygraph-x 2: laws 5 of 6"):
        unruled(tg.tensor(1.0, requires_grad=True)).backward()


def test_drawings_quote_the_card_where_one_points_at_a_node():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    assert "card of tinygraph-autodiff" in tg.draw(np.sin(x).sum()).source


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "RecursionError"),
        ("[1, 2]", "TypeError"),
        ('{"distribution": "d", "version": "1", "cards": [3]}', "AttributeError"),
        ('{"distribution": "d", "version": "1", "cards": {"a": 1}}', "AttributeError"),
        ('{"distribution": 7, "version": "1", "cards": [{"op": "a", "signature": "", "formula": "", "kind": ""}]}',
         "distribution must be a text"),
        ('{"distribution": "d", "version": "1", "cards": [{"op": ["a"], "signature": "", "formula": "", "kind": ""}]}',
         "op must be a text"),
        ('{"x": "' + "x" * 2_000_000 + '"}', "larger than 1 MiB"),
    ],
    ids=lambda value: value[:30],
)  # fmt: skip
def test_cards_with_absurd_content_are_refused_in_one_class(tmp_path, text, words):
    path = tmp_path / "tinygraph-cards.json"
    path.write_text(text)
    with pytest.raises(PluginError, match=rf"(?s)is no file of cards.*{words}"):
        read_cards(path)


def test_only_stale_cards_are_renewed(tmp_path):
    ops = [tg.ops.sin, tg.ops.cos]
    assert renew_cards(tmp_path, ops) == ["sin", "cos"]  # none yet
    assert stale_ops(tmp_path, ops) == []
    path = tmp_path / "tinygraph-cards.json"
    path.write_text(path.read_text().replace("cos(x);", "another formula;"))
    assert [one.name for one in stale_ops(tmp_path, ops)] == ["cos"]
    assert renew_cards(tmp_path, ops) == ["cos"]
    assert "cos(x);" in path.read_text()
    assert renew_cards(tmp_path, ops[:1]) == ["cos"]  # its op is gone
    assert read_cards(path).keys() == {"sin"}
