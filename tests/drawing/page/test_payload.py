"""What the page carries: values within a budget, statistics, expansions as integers, and nothing that breaks out."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.drawing.model.numbers import with_backward
from tinygraph.drawing.page import page
from tinygraph.drawing.page.payload import Tensors, statistics
from tinygraph.drawing.page.writing import script_json

HOSTILE = (
    "</script><script>document.title='pwned'</script>", "javascript:alert(1)", "a\"b'c`d${1}", "line\nbreak\r\ttab",
    "{{{braces}}} $title ${style}", "x" * 10_000, "\u202eright to left\u05d0\u05d1",
    "<img src=x onerror=document.title='pwned'>", "\u2028\u2029\x00\x1b", "<!--", "]]>", "</body>", "\ud800",
)  # fmt: skip


def content(text: str, name: str) -> bytes:
    """What a script element holds, unpacked."""
    found = re.search(rf'<script type="([\w/]+)" id="tinygraph-{name}">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    if found[1] == "application/json":
        return found[2].encode()
    raw = base64.b64decode(found[2], validate=True)
    return gzip.decompress(raw) if found[1] == "application/gzip" else raw


def data_of(text: str) -> dict[str, Any]:
    return json.loads(content(text, "page"))


def block_of(text: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(content(text, "values"), "<f4")


def boxes(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [record, *(inner for kid in record.get("kids", ()) for inner in boxes(kid))]


def test_the_values_in_the_page_are_those_of_the_graph(network: Any) -> None:
    model, picture = network
    graph = tg.capture(model, picture)
    text = page(graph, inputs=(picture,))
    data, block = data_of(text), block_of(text)
    last = next(box for box in boxes(data["root"]) if box.get("op") == "softmax")
    record = data["values"][last["values"][0]]
    found = block[record["at"] : record["at"] + 10].reshape(record["shape"])
    np.testing.assert_array_equal(found, graph(picture).detach().numpy())
    assert record["statistics"][2] == pytest.approx(0.1)
    assert block.size == sum(np.prod(one["shape"], dtype=int) for one in data["values"])


def test_each_tensor_stands_in_the_page_once(network: Any) -> None:
    model, picture = network
    data = data_of(page(tg.capture(model, picture), inputs=(picture,)))
    ops = [box for box in boxes(data["root"]) if "op" in box]
    produced = {box["values"][0] for box in ops}
    assert len(produced) == len(ops)
    relu = next(box for box in ops if box["op"] == "relu")
    assert relu["operands"][0] in produced


def test_a_budget_keeps_the_small_tensors_and_says_what_is_left_out(network: Any) -> None:
    model, picture = network
    text = page(tg.capture(model, picture), inputs=(picture,), most_elements=100)
    kept = [record for record in data_of(text)["values"] if record["at"] >= 0]
    left = [record for record in data_of(text)["values"] if record["at"] < 0]
    assert block_of(text).size <= 100
    assert max(np.prod(record["shape"]) for record in kept) <= min(
        np.prod(record["shape"]) for record in left
    )
    assert all("statistics" in record for record in left)
    assert f"the elements of {len(left)} large tensors are left out" in text


def test_without_inputs_or_with_no_budget_there_are_no_numbers(network: Any) -> None:
    model, picture = network
    graph = tg.capture(model, picture)
    assert data_of(page(graph))["values"] == []
    assert "there are no numbers" in page(graph)
    assert data_of(page(graph, inputs=(picture,), most_elements=0))["values"] == []


@pytest.mark.parametrize("value", [
    np.array([]), np.array(3), np.array([np.nan, np.inf, -np.inf]), np.array([1e300, -1e300]), np.array([True, False]),
    np.arange(6, dtype=np.int64)[::2], np.array([5.0, 5.0]), np.float32(2.5),
], ids=str)  # fmt: skip
def test_statistics_of_any_real_array_are_json(value: Any) -> None:
    found = statistics(np.asarray(value))
    json.dumps(found, allow_nan=False)
    assert found[0] == np.size(value) - np.isfinite(value).sum()


def test_what_is_no_real_number_is_left_out() -> None:
    numbers = Tensors(100)
    numbers.add(("a",), np.array([1j]), "a")
    numbers.add(("b",), np.array([2.0, 3.0])[::-1], "b")
    assert np.frombuffer(numbers.block(), "<f4").tolist() == [3.0, 2.0]
    assert [record.at for record in numbers.records] == [-1, 0]


def test_gradients_are_there_when_the_output_is_a_scalar() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True, name="x")
    text = page(tg.graph_of((x * x).sum()))
    data, block = data_of(text), block_of(text)
    leaf = next(box for box in boxes(data["root"]) if box["title"] == "x")
    at = data["values"][leaf["gradient"]]["at"]
    assert block[at : at + 2].tolist() == [2.0, 4.0]


def test_op_descriptions_stand_once_and_tell_formula_and_rules(network: Any) -> None:
    model, picture = network
    data = data_of(page(tg.capture(model, picture), inputs=(picture,)))
    assert data["ops"]["relu"]["operands"] == ["x"]
    assert "kernel" in data["ops"]["convolution"]["rules"]["x"]
    assert data["ops"]["convolution"]["formula"].startswith("out[n, o, i]")
    convolution = next(box for box in boxes(data["root"]) if box.get("op") == "convolution")
    expansion = data["expansions"][convolution["expansion"]]
    assert expansion["over"] == [1, 3, 3]
    assert expansion["reads"][0]["places"][2] == [0, 0, 1, 0, 0, 1, 0, -1]  # row i + p - 1


def test_hostile_names_stay_names() -> None:
    tensors = [tg.tensor([float(i)], requires_grad=True, name=name) for i, name in enumerate(HOSTILE)]
    total = tensors[0]
    for one in tensors[1:]:
        total = total + one
    text = page(tg.graph_of(total, name=HOSTILE[0]))
    assert text.count("<script") == 3
    assert text.count("</script>") == 3
    assert text.count("</body>") == 1
    assert "<img" not in text
    titles = {box["title"] for box in boxes(data_of(text)["root"])}
    assert HOSTILE[1] in titles
    text.encode()
    assert len(text) < 400_000


def test_json_in_a_script_holds_no_markup() -> None:
    text = script_json({"a": "</script><!--\u2028"})
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><!--\u2028"}


def test_the_page_is_the_same_twice_and_holds_no_paths(network: Any) -> None:
    model, picture = network
    first, second = (page(tg.capture(model, picture), inputs=(picture,)) for _ in range(2))
    assert first == second
    assert str(__file__).rpartition("/")[0] not in first


def test_an_empty_or_strange_graph_has_a_page_too() -> None:
    x = tg.tensor(np.zeros((0, 3)), requires_grad=True, name="x")
    assert "tinygraph-page" in page(tg.graph_of(x * 2.0))
    assert "tinygraph-page" in page(tg.graph_of(tg.tensor(1 + 2j, requires_grad=True) * 2))
    assert "tinygraph-page" in page(tg.graph_of(tg.tensor(1.0, requires_grad=True)))
    assert "tinygraph-page" in page(tg.capture(lambda x: (x, 1.0), 2.0))


def test_numbers_that_differ_in_their_last_digit_have_statistics() -> None:
    found = statistics(np.array([1.0, np.nextafter(1.0, 2.0)]))
    assert found[1][:2] == (1.0, 1.0)
    assert found[2] is None
    assert sum(statistics(np.array([1.0, 1.0 + 1e-12]))[2]) == 2


def test_the_last_pass_keeps_nothing_for_another() -> None:
    x = tg.tensor(np.ones((2, 3)), requires_grad=True, name="x")
    graph = with_backward(tg.graph_of((np.sin(x) * 2.0).sum())).graph
    (saved,) = (one for one in data_of(page(graph))["overlays"] if one["name"] == "saved")
    amounts = {
        node.op.name: amount
        for node, amount in zip(graph.nodes, saved["amounts"], strict=True)
        if node.op is not None
    }
    assert amounts["sin"] == 0  # x stays anyway
    assert amounts["cos"] is None
    assert sum(amount or 0 for amount in saved["amounts"]) == 0


def test_amounts_that_are_no_numbers_are_written_as_words() -> None:
    x = tg.tensor([0.0, 1.0], requires_grad=True, name="x")
    with np.errstate(all="ignore"):
        data = data_of(page(tg.graph_of(np.sqrt(x).sum())))
    (norms,) = (one["amounts"] for one in data["overlays"] if one["name"] == "gradient_norm")
    assert norms[0] == "Infinity"
    (broken,) = (one["amounts"] for one in data["overlays"] if one["name"] == "gradient_nan")
    assert broken[0] == 1


@pytest.mark.parametrize("count", [6, 7, 20])
def test_a_group_that_several_results_leave_as_one_curve_has_a_page(count: int) -> None:
    def model(x: Any) -> Any:
        with tg.core.modes.scope("block"):
            parts = [np.sin(x) * float(i) for i in range(2, count + 2)]
        return sum(np.cos(part) for part in parts)

    data = data_of(page(tg.capture(model, np.ones(3)), inputs=(np.ones(3),)))
    (block,) = (box for box in boxes(data["root"]) if box["title"] == "block")
    assert "values" not in block
    assert sum("op" in box for box in boxes(block)) == 2 * count
