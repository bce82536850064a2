"""The page of a report: fills `report.html` with a story. Everything that comes from data is escaped.

How arrays become pictures is said in `pictures` and `tinygraph.training.curves`; where files go, in `folder`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

import numpy as np

from tinygraph.cli.report import pictures
from tinygraph.cli.report.pictures import number
from tinygraph.cli.report.story import Story
from tinygraph.core.types import Array
from tinygraph.explaining import Impact
from tinygraph.training import curves

LARGEST_GRID = 32  # rows and columns of a grid shown in full
MOST_KERNELS = 64
MOST_IMPACTS = 64
MOST_MISTAKES = 24
MOST_SAMPLES = 60
NUMERALS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


def page(story: Story) -> str:
    """The whole page as HTML."""
    template = Template(files("tinygraph.cli.report").joinpath("report.html").read_text(encoding="utf-8"))
    words = {
        "title": f"How a kernel learns: {story.subject}",
        "lead": _lead(story),
        "data": _data(story),
        "couple_count": _count(story.couples.kernel.size),
        "impact_count": _count(len(story.gradient.impacts)),
        "padding": _padding(story),
        "epochs": f"{_count(story.epochs)} epoch{'s' * (story.epochs != 1)}",
        "training": _training(story),
        "answers": _answers(story),
        "model_file": story.model_file or "model.safetensors",
        "input_shape": _shape((1, *story.example.shape)),
        "command": story.command,
        "version": story.version,
    }
    fragments = {
        "base": files("tinygraph.cli").joinpath("pages.css").read_text(encoding="utf-8"),
        "stats": _stats(story),
        "first": _first(story),
        "samples": _samples(story),
        "model": _drawing(story, "model.svg", "The model, a box per layer, with the shape of what it makes."),
        "layers": _layers(story),
        "model_ops": _closer(
            story,
            "model-ops.svg",
            "The same network from closer up: a box per operation, and the parameters that it reads.",
        ),
        "couples": _couples(story),
        "gradient": _gradient(story),
        "formula": _formula(story),
        "impacts": _impacts(story),
        "step": _drawing(
            story,
            "step.svg",
            "One training step on a small batch. On the left the forward pass down to the loss, beside it the backward "
            "pass, each layer next to the one it serves; dotted arrows are forward values that the way back needs.",
        ),
        "step_ops": _closer(story, "step-ops.svg", "The same step: a box per operation."),
        "curves": _curves(story),
        "kernels": _kernels(story),
        "confusion": _confusion(story),
        "mistakes": _mistakes(story),
        "files": _files(story),
        "notes": "".join(f'<p class="note">{escape(note)}</p>' for note in story.notes),
    }
    return template.substitute({name: escape(text) for name, text in words.items()} | fragments)


# -- sentences ---------------------------------------------------------------------------------------------------------


def _lead(story: Story) -> str:
    return (
        f"After {_count(story.epochs)} epoch{'s' * (story.epochs != 1)} on {story.subject} its network answers "
        f"{percent(story.test_accuracy)} of the test images rightly. This page opens the network up and follows one "
        f"number of one kernel, from the first step to the last. Every figure was computed by this run."
    )


def _first(story: Story) -> str:
    if story.first is None:
        return ""
    return (
        f'<p><a href="{escape(story.first)}">First the story: one number of one kernel, step by step</a></p>'
    )


def _data(story: Story) -> str:
    sets = ", ".join(f"{count:,} for {name}" for name, count in story.counts.items())
    shape = " × ".join(map(str, story.example.shape[1:]))
    colours = "one channel" if len(story.example) == 1 else f"{_count(len(story.example))} channels"
    return (
        f"{story.subject[:1].upper()}{story.subject[1:]}: {sum(story.counts.values()):,} images of {shape} pixels and "
        f"{colours}, in {_count(len(story.classes))} classes: {sets}. The network never learns from the validation "
        f"images, they only show how the training goes; the test images are looked at once, at the very end. "
        f"{story.scaling}."
    )


def _padding(story: Story) -> str:
    outputs = story.gradient.local.size
    missing = outputs - len(story.gradient.impacts)
    if not missing:
        return "It stands in the middle of the kernel, so it meets a pixel everywhere."
    return (
        f"At the other {missing:,} of the {outputs:,} places it lies beyond the border, on the padding, where there is "
        f"nothing to multiply with."
    )


def _training(story: Story) -> str:
    loss = next(iter(story.losses.values()))
    return (
        f"Every step does this for a small batch of images and for all {story.parameters:,} parameters at once. "
        f"The loss fell from {number(loss[0])} after the first epoch to {number(loss[-1], 2)}, in "
        f"{duration(story.seconds)}."
    )


def _answers(story: Story) -> str:
    tested = int(story.confusion.sum())
    wrong = tested - int(np.trace(story.confusion))
    if not wrong:
        return f"All of the {tested:,} test images, which it had never seen, were answered rightly."
    return (
        f"Of {tested:,} test images that it had never seen, {tested - wrong:,} were answered rightly and {wrong:,} "
        f"wrongly. Look at the wrong ones: some would puzzle a human, too."
    )


def _count(count: int) -> str:
    return NUMERALS[count] if count < len(NUMERALS) else f"{count:,}"


def _shape(sizes: Iterable[object]) -> str:
    return "(" + ", ".join(map(str, sizes)) + ")"


def _index(position: Iterable[int]) -> str:
    return "[" + ",".join(map(str, position)) + "]"


def percent(share: float) -> str:
    """A share as the command line prints it.

    >>> percent(0.98611)
    '98.6 %'
    """
    return f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(12.34), duration(75)
    ('12.3 s', '1 min 15 s')
    """
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


# -- building blocks ---------------------------------------------------------------------------------------------------


def _figure(content: str, caption: str, style: str = "card picture") -> str:
    return f'<figure><div class="{style}">{content}</div><figcaption>{escape(caption)}</figcaption></figure>'


def _table(
    head: Sequence[str], rows: Iterable[Sequence[object]], foot: Sequence[object] = (), words: int = 1
) -> str:
    """A table whose first `words` columns hold words and the others numbers."""

    def line(tag: str, values: Sequence[object]) -> str:
        kinds = (' class="word"' if i < words else "" for i in range(len(values)))
        cells = (
            f"<{tag}{kind}>{escape(str(value))}</{tag}>" for kind, value in zip(kinds, values, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    body = "".join(line("td", row) for row in rows)
    end = f"<tfoot>{line('td', foot)}</tfoot>" if foot else ""
    table = f"<table><thead>{line('th', head)}</thead><tbody>{body}</tbody>{end}</table>"
    return f'<div class="scroll" tabindex="0">{table}</div>'


def _drawing(story: Story, name: str, caption: str) -> str:
    """A drawing in a frame: as wide as the frame if it stays legible, else scrolled."""
    drawn = story.drawings.get(name)
    if drawn is None:
        return ""
    element = _with_own_ids(drawn[drawn.index("<svg") :], name.removesuffix(".svg"))
    width = re.search(r'\bwidth="([\d.]+)', element)
    least = f' style="min-width:{0.6 * float(width[1]):.0f}px"' if width else ""
    element = f"<svg{least}" + element.removeprefix("<svg")
    label = escape(caption)
    return (
        f'<figure><div class="frame drawing" tabindex="0" role="region" aria-label="{label}">{element}</div>'
        f'<figcaption>{label} <a href="{name}">Open it alone.</a></figcaption></figure>'
    )


def _with_own_ids(svg_element: str, prefix: str) -> str:
    """The element with identifiers that no other drawing of the page has."""
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg_element)


def _image(image: Array, words: str) -> str:
    grey = "" if len(image) == 3 else " grey"
    ratio = f"{image.shape[2]}/{image.shape[1]}"
    data = pictures.image_data(image)
    return f'<img class="pixels{grey}" style="--ratio:{ratio}" src="{data}" alt="{escape(words)}">'


# -- figures, in the page's order --------------------------------------------------------------------------------------


def _stats(story: Story) -> str:
    shown = {
        "test accuracy": percent(story.test_accuracy),
        "images": f"{sum(story.counts.values()):,}",
        "parameters": f"{story.parameters:,}",
        f"epoch{'s' * (story.epochs != 1)}": story.epochs,
        "of training": duration(story.seconds),
    }
    tiles = (f"<li><strong>{value}</strong><span>{name}</span></li>" for name, value in shown.items())
    return f'<ul class="stats">{"".join(tiles)}</ul>'


def _samples(story: Story) -> str:
    named = list(zip(story.classes, story.samples, strict=True))
    shown = (
        f"<li>{_image(image, f'an image of class {name}')}{escape(name)}</li>"
        for name, image in named[:MOST_SAMPLES]
    )
    each = "each class" if len(named) <= MOST_SAMPLES else f"each of the first {MOST_SAMPLES} classes"
    return _figure(
        f'<ul class="images">{"".join(shown)}</ul>', f"One training image of {each}, with its label."
    )


def _layers(story: Story) -> str:
    rows = [
        (layer.name, layer.description, _shape(layer.output), f"{layer.parameters:,}")
        for layer in story.layers
    ]
    foot = ("", "all", "", f"{story.parameters:,}")
    return _table(("layer", "what it is", "output per image", "parameters"), rows, foot, words=2)


def _closer(story: Story, name: str, caption: str) -> str:
    drawn = _drawing(story, name, caption)
    return f"<details><summary>Look closer: every operation</summary>{drawn}</details>" if drawn else ""


def _couples(story: Story) -> str:
    couples = story.couples
    shown = 40 / pictures.CELL * (1 if max(couples.kernel.shape) <= 5 else 0.6)
    limit = float(np.abs(couples.kernel).max())

    def grid(words: str, values: Array, limit: float | None = None) -> str:
        rows = values.reshape(-1, values.shape[-1])  # the channels below each other
        return pictures.grid_svg(rows, words, shown=shown, limit=limit, written=True)

    equation = _equation(
        ("", "patch of the image", grid("patch of the image", couples.patch)),
        ("×", "kernel, still random", grid("kernel", couples.kernel, limit)),
        ("=", "products", grid("products", couples.products, limit)),
        ("Σ =", f"output {_index(couples.output_element)}", _result(couples.total)),
    )
    return _figure(
        equation,
        f"One pixel of output channel {couples.output_element[1]}, computed from the image of a "
        f"{story.classes[story.example_label]} before the first training step.",
    )


def _gradient(story: Story) -> str:
    gradient = story.gradient
    sides = [min(side, LARGEST_GRID) for side in gradient.local.shape]
    shown = 0.9 * min(1.0, 8 / max(sides))

    def grid(words: str, values: Array) -> str:
        return pictures.grid_svg(values[:LARGEST_GRID, :LARGEST_GRID], words, shown=shown)

    image = _image(story.example, f"the image of a {story.classes[story.example_label]}")
    equation = _equation(
        ("", "the image", image),
        ("", "how far each pixel moves", grid("how far each pixel moves", gradient.local)),
        ("×", "how much the loss cares", grid("how much the loss cares", gradient.cotangent)),
        ("=", "contributions", grid("contributions", gradient.contribution)),
        ("Σ =", "gradient", _result(gradient.total)),
    )
    cut = (
        f" Only {sides[0]} rows and {sides[1]} columns are shown."
        if max(gradient.local.shape) > LARGEST_GRID
        else ""
    )
    return _figure(
        equation,
        f"The gradient of kernel element {_index(gradient.element)} (output channel, input channel, row, column) "
        f"before the first training step, for one image. A cell per output pixel; point at one for its number. The "
        f"first grid holds the local derivatives; the second the cotangents, empty where ReLU or pooling let nothing "
        f"of the pixel pass.{cut}",
    )


def _equation(*parts: tuple[str, str, str]) -> str:
    """Pictures in a row that may wrap, each with the sign before it and the words above it."""
    shown = (
        f'<div class="part"><span class="sign">{escape(sign)}</span>'
        f"<div><small>{escape(words)}</small>{content}</div></div>"
        for sign, words, content in parts
    )
    return f'<div class="equation">{"".join(shown)}</div>'


def _result(value: float) -> str:
    return f'<span class="result">{number(value)}</span>'


def _formula(story: Story) -> str:
    gradient = story.gradient
    largest = sorted(gradient.impacts, key=lambda impact: -abs(impact.contribution))[:3]
    terms = " + ".join(f"({number(one.cotangent)} × {number(one.local)})" for one in largest)
    rest = len(gradient.impacts) - len(largest)
    more = f" + {_count(rest)} more" if rest else ""
    return (
        f'<div class="formula">∂loss/∂{escape(gradient.label)}<br>= Σ cotangent × local derivative<br>'
        f"= {terms}{more}<br>= <b>{number(gradient.total, 5)}</b></div>"
    )


def _impacts(story: Story) -> str:
    shown: Sequence[Impact] = story.gradient.impacts
    words = f"All {len(shown)} impacts"
    if len(shown) > MOST_IMPACTS:
        shown = sorted(shown, key=lambda impact: -abs(impact.contribution))[:MOST_IMPACTS]
        words = f"The {len(shown)} largest of {len(story.gradient.impacts):,} impacts"
    rows = [
        (
            one.label,
            one.factor or "",
            number(one.local, 4),
            number(one.cotangent, 4),
            number(one.contribution, 4),
        )
        for one in shown
    ]
    head = ("output pixel", "local derivative is", "local derivative", "cotangent", "contribution")
    foot = ("total", "", "", "", number(story.gradient.total, 5))
    return f"<details><summary>{words}, as a table</summary>{_table(head, rows, foot, words=2)}</details>"


def _curves(story: Story) -> str:
    drawn = story.drawings.get("curves.svg")
    if drawn is None:
        return f'<p class="note">{escape(curves.INSTALL_HINT)}.</p>'
    chart = f'<div role="img" aria-label="Loss and accuracy after each epoch">{curves.adapted(drawn)}</div>'
    words = (
        "Loss (left, logarithmic) and share of right answers (right), epoch by epoch. Training is measured along the "
        "way, on images moved at random, and may therefore look worse than validation."
    )
    return _figure(f'<div class="scroll" tabindex="0">{chart}</div>', words, "card chart")


def _kernels(story: Story) -> str:
    pairs = kernel_pairs(story.kernels_before, story.kernels_after)
    limit = max(float(np.abs(pair).max()) for _, *pair in pairs)
    shown = (
        f"<div><small>{escape(name)}</small>{pictures.grid_svg(before, f'{name} before training', limit=limit)}"
        f"<span>→</span>{pictures.grid_svg(after, f'{name} after training', limit=limit)}</div>"
        for name, before, after in pairs
    )
    total = story.kernels_before.shape[0] * story.kernels_before.shape[1]
    cut = f" The first {len(pairs)} of {total} are shown." if total > len(pairs) else ""
    return _figure(
        f'<div class="kernels">{"".join(shown)}</div>',
        f"The kernels of the first convolution, before training and after it.{cut}",
    )


def kernel_pairs(before: Array, after: Array) -> list[tuple[str, Array, Array]]:
    """(name, plane before, plane after) for the first planes of a kernel, output channel by output channel."""
    outputs, inputs = before.shape[:2]
    name = "kernel {o}" if inputs == 1 else "kernel {o}, channel {c}"
    planes = [(o, c) for o in range(outputs) for c in range(inputs)][:MOST_KERNELS]
    return [(name.format(o=o, c=c), before[o, c], after[o, c]) for o, c in planes]


def _confusion(story: Story) -> str:
    words = (
        "Confusion matrix: a row per true class, a column per answer. What is off the diagonal went wrong."
    )
    drawn = pictures.confusion_svg(story.confusion, story.classes, words)
    return _figure(drawn, words)


def _mistakes(story: Story) -> str:
    if not story.mistakes:
        return _figure(
            "<p>There is nothing to show here: no test image was answered wrongly.</p>", "The mistakes."
        )
    shown = (
        f"<li>{_image(m.image, f'a {story.classes[m.label]}, answered as {story.classes[m.answer]}')}"
        f"a <b>{escape(story.classes[m.label])}</b>, not <b>{escape(story.classes[m.answer])}</b><br>"
        f"{100 * m.confidence:.0f} % sure</li>"
        for m in story.mistakes[:MOST_MISTAKES]
    )
    wrong = int(story.confusion.sum() - np.trace(story.confusion))
    some = "All" if wrong <= MOST_MISTAKES else f"The {MOST_MISTAKES} most confident"
    caption = f"{some} of the {wrong:,} wrong answers: what the image is, what the network said, and how sure it was."
    return _figure(f'<ul class="images mistakes">{"".join(shown)}</ul>', caption)


def _files(story: Story) -> str:
    named = {
        story.model_file: "the trained network: graph and numbers",
        "model.svg": "the network, a box per layer",
        "model-ops.svg": "the network, a box per operation",
        "step.svg": "one training step, forward and backward, a box per layer",
        "step-ops.svg": "the same, a box per operation",
        "curves.svg": "the training curves",
    }
    always = {
        "kernels.svg": "the kernels before and after",
        "gradient.svg": "one kernel element's gradient, in pictures",
        "gradient.txt": "the same as a table and a formula",
        "confusion.svg": "the confusion matrix",
    }
    there = {
        name: what
        for name, what in named.items()
        if name and (name in story.drawings or name == story.model_file)
    }
    rows = (
        f'<tr><td><a href="{name}">{name}</a></td><td class="word">{what}</td></tr>'
        for name, what in (there | always).items()
    )
    return f'<div class="scroll" tabindex="0"><table><tbody>{"".join(rows)}</tbody></table></div>'
