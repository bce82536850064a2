"""The page's data against their schema, the schema against its words in TypeScript, and the modules of the script."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pytest

import tinygraph as tg
from tinygraph.drawing.model.numbers import with_backward
from tinygraph.drawing.model.overlays import OVERLAYS
from tinygraph.drawing.page import page, writing
from tinygraph.drawing.page.grouping import tree
from tinygraph.drawing.page.joining import ALONE, HERE, MODULES, declarations, join
from tinygraph.drawing.page.schema import PARTS, PageBox, PageData
from tinygraph.drawing.page.typescript import FILE, described, typescript

from .test_payload import content

X = np.array([0.5, 2.0, 3.0])


def examples(network: tuple[Any, Any]) -> Iterator[tuple[str, str]]:
    """Pages with all that a page may have in it."""
    model, picture = network
    graph = tg.capture(model, picture)
    loss = tg.capture(lambda x: (model(x) ** 2).sum(), picture)
    x = tg.tensor([0.0, 1.0, -1.0], requires_grad=True, name="x")
    w = tg.nn.Parameter(np.ones((3, 2)))
    optimizer = tg.optim.SGD([w], lr=0.1, momentum=0.9)

    def step(rows: Any) -> Any:
        optimizer.zero_grad()
        out = (np.tanh(rows @ w) ** 2).mean()
        out.backward()
        optimizer.step()
        return out

    yield "values", page(graph, inputs=(picture,), element=(0, 3))
    yield "structure", page(graph)
    yield "no numbers", page(loss, inputs=(picture,), most_elements=0, overlay="saved")
    yield "every overlay", page(loss, inputs=(picture,), timing=True, overlay="zeros")
    yield "two passes", page(with_backward(tg.graph_of((np.sin(x) * x).sum()), 2).graph)
    yield "a step", page(tg.capture(step, np.ones((4, 3))), inputs=(np.ones((4, 3)),))
    with np.errstate(all="ignore"):
        yield "not finite", page(tg.graph_of((np.log(x) * 2.0).sum()))
    yield "large", page(tg.graph_of(tg.tensor(np.zeros((200, 300)), requires_grad=True) * 2.0))
    yield "strange", page(tg.graph_of(tg.tensor(1 + 2j, requires_grad=True) * 2, name="\ud800"))
    yield "a share", page(tg.graph_of(tg.ops.standardize(x, axis=0)[0].sum()))
    yield "a loop", page(tg.capture(lambda x: tg.scan(lambda c, y: (c * y, c), 1.0, x), X), inputs=(X,))
    yield "empty", page(tg.graph_of(tg.tensor(np.zeros((0, 3)), requires_grad=True) * 2.0))


def boxes(box: PageBox) -> Iterator[PageBox]:
    yield box
    for kid in box.kids or ():
        yield from boxes(kid)


def test_every_page_is_as_its_schema_says(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[type, set[str]] = {part: set() for part in PARTS}
    pages = dict(examples(network))
    monkeypatch.setattr(writing, "tree", partial(tree, most=8))  # more boxes are left out
    pages["few boxes"] = page(tg.capture(network[0], network[1]))
    for name, text in pages.items():
        data = msgspec.json.decode(content(text, "page"), type=PageData)
        for box in boxes(data.root):
            numbers = [
                *(box.operands or ()),
                *(box.values or ()),
                *([] if box.gradient is None else [box.gradient]),
            ]
            assert all(number < len(data.values) for number in numbers), name
            assert box.op is None or box.op in data.ops, name
            assert box.expansion is None or box.expansion < len(data.expansions), name
            if box.kids is not None:
                interior = data.interiors[box.interior]
                assert len(interior.places) == len(box.kids), name
                assert all(max(link.tail, link.head) < len(box.kids) for link in interior.links), name
        for overlay in data.overlays:
            assert overlay.unit in data.units, name
            assert overlay.name in OVERLAYS, name
        found = [
            data,
            data.root,
            *boxes(data.root),
            *data.values,
            *data.expansions,
            *data.interiors,
            *data.overlays,
        ]
        found += [
            *data.ops.values(),
            *data.units.values(),
            *(link for one in data.interiors for link in one.links),
        ]
        found += [
            read for one in data.expansions for read in (*one.reads, one.bias, one.share) if read is not None
        ]
        for one in found:
            given = {field for field in one.__struct_fields__ if getattr(one, field) is not None}
            seen[type(one)] |= given
    for part, fields in seen.items():  # a field that no page has is one too many
        assert fields == set(part.__struct_fields__), part


@pytest.mark.parametrize(
    ("was", "becomes"),
    [('"root":{', '"rout":{'), ('"kind":', '"k":'), ('"node":0', '"node":-1'), ('"data",', '"date",')],
)
def test_what_the_schema_does_not_know_is_refused(was: str, becomes: str) -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True, name="x")
    raw = content(page(tg.graph_of((x * x).sum())), "page").decode()
    assert was in raw
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(raw.replace(was, becomes), type=PageData)


def test_every_field_is_described() -> None:
    for part in PARTS:
        words = described(part)
        assert list(words) == list(part.__struct_fields__), part.__name__
        assert all(len(one) > 5 for one in words.values()), part.__name__


def test_the_schema_in_typescript_is_renewed() -> None:
    assert FILE.read_text(encoding="utf-8") == typescript(), "run python -m tinygraph.drawing.page.typescript"


def test_every_file_of_the_script_is_a_module() -> None:
    assert sorted(path.stem for path in HERE.glob("*.js")) == sorted((*MODULES, ALONE))


def test_what_a_module_declares_is_found() -> None:
    text = (
        'import {a} from "./one.js";\nexport const B = {x: 1, y: [2, 3]}, C = "d, E = 1", F = 2;\n'
        "let g = 0, h = null;\n"
        "export async function* i(j, k = 2) {\n  const l = 1;\n}\nclass M extends B { n() {} }\nexport let o;\n"
    )
    assert declarations(text) == [
        ("B", "const", True), ("C", "const", True), ("F", "const", True), ("g", "let", False), ("h", "let", False),
        ("i", "function*", True), ("M", "class", False), ("o", "let", True),
    ]  # fmt: skip


ONE = "export const a = 1;\nexport let b = 2;\nexport function c() { return two.d(); }\n"


@pytest.mark.parametrize(
    ("two", "words"),
    [
        ('import {x} from "./one.js";\n', "imports 'x', which one.js does not export"),
        ('import {b} from "./one.js";\n', "imports 'b', which changes"),
        ('import {a} from "./three.js";\n', "imports from three.js, which is not among the modules"),
        ('import * as uno from "./one.js";\n', "calls the module one 'uno'"),
        ('import * as one from "./one.js";\none.z();\n', "uses one.z, which one.js does not export"),
        ("const one = 1;\n", "calls something 'one', which is the name of a module"),
    ],
)
def test_modules_that_cannot_be_joined_are_refused(two: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        join({"one": ONE.replace("two.d()", "1"), "two": two})


def test_a_name_from_a_later_module_is_reached_through_it() -> None:
    with pytest.raises(
        ValueError, match=r"imports names from two.js, which comes later: write `import \* as two`"
    ):
        join({"one": 'import {d} from "./two.js";\n', "two": "export const d = 1;\n"})
    joined = join(
        {"one": 'import * as two from "./two.js";\n' + ONE, "two": "export function d() { return 5; }\n"}
    )
    assert "import" not in joined
    assert "export" not in joined
    assert "$reveal(two, {d: () => d});" in joined
