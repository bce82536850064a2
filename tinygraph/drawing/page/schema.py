"""What a page carries, field by field: filled in by `payload.py`, read by the script, in TypeScript in `schema.d.ts`.

Nodes, values and the rest are referred to by their numbers. What is at its default is not written.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0)]
Number = Annotated[int, Meta(ge=-1)]  # of a tensor in `values`; -1 where there is none
Shape = tuple[Count, ...]


class PageStruct(Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """What the parts of a page have in common."""


class PageTensor(PageStruct):
    """A tensor.

    Attributes:
        name: what it is called.
        shape: its sizes.
        dtype: the name of its dtype.
        at: where its elements begin in the block of numbers; -1 where they are not in the page.
        broken: how many of its numbers are not finite; absent where it holds no real numbers.
        statistics: least, greatest, mean and deviation of the others; null for one that is too large.
        counts: how many of them lie in each of as many equal ranges.
        rounds: the tensors that it is in the iterations of the loop that it is in.
    """

    name: str
    shape: Shape
    dtype: str
    at: Number
    broken: Count | None = None
    statistics: tuple[float | None, float | None, float | None, float | None] | None = None
    counts: list[Count] | None = None
    rounds: list[Count] | None = None


class PageRead(PageStruct):
    """An element of an operand, by affine places.

    Attributes:
        operand: the operand's position.
        shape: its shape, or another shape of the same elements in the same order.
        places: for each axis of it a row: a coefficient for each entry of the output's index and of the reduced one,
            and a constant at the end.
    """

    operand: Count
    shape: Shape
    places: list[list[int]]


class PageExpansion(PageStruct):
    """How one element of an op's output comes about: see `Expansion`.

    Attributes:
        shape: what the output's index o runs over.
        over: what the reduced index r runs over.
        reads: the elements that are read.
        join: how they make one term.
        reduce: how terms are taken together.
        each: a function of each term.
        after: a function of the whole.
        partial: how many leading axes of r are summed last.
        planes: how many trailing axes of o make the picture of one channel.
        padding: what places outside an operand count as; absent if they do not count.
        bias: what is added to the terms.
        share: the read whose term is divided by all terms.
        spread: where it is given, the mean is taken from that term instead, and the rest divided by the root of the
            variance plus this number.
    """

    shape: Shape
    over: Shape
    reads: list[PageRead]
    join: Literal["product", "only", "op"]
    reduce: Literal["none", "sum", "mean", "product", "max", "min"]
    each: Literal["identity", "exp", "log", "square"]
    after: Literal["identity", "exp", "log", "square"]
    partial: Count
    planes: Count
    padding: float | None = None
    bias: PageRead | None = None
    share: PageRead | None = None
    spread: float | None = None


class PageOp(PageStruct):
    """An op.

    Attributes:
        formula: what it computes.
        kind: what it is coloured as.
        operands: their names; the last one stands for all that follow.
        rules: name of an operand -> its derivative rule in words.
        fixed: operands that no gradient flows to.
        card: what its conformance card says, in pairs of name and words.
    """

    formula: str
    kind: str
    operands: list[str]
    rules: dict[str, str]
    fixed: list[str]
    card: list[tuple[str, str]] | None = None


class PageLink(PageStruct, array_like=True):
    """A curve between two boxes of an interior.

    Attributes:
        tail: the number of the kid that it leaves; -1 for the border.
        head: the number of the kid that it reaches; -1 for the border.
        role: what flows there.
        path: the curve.
    """

    tail: Number
    head: Number
    role: Literal["data", "gradient", "saved", "carry"]
    path: str


class PageInterior(PageStruct):
    """How the kids of a box are laid out; boxes that are alike share one.

    Attributes:
        width: of the whole.
        height: of the whole.
        places: left, top, width and height of each kid.
        links: the curves between them.
    """

    width: float
    height: float
    places: list[tuple[float, float, float, float]]
    links: list[PageLink]


class PageBox(PageStruct):
    """A box: a group with kids, an op, a leaf or an output.

    Attributes:
        title: what is written in it.
        kind: what it is coloured as.
        note: what is written below the title.
        lane: the pass: 0 forward, 1 backward, 2 the backward pass of that.
        node: the number of the node that it stands for, in the graph's order.
        inside: the numbers of the nodes that it stands for without a box for each.
        ready: the number of the node that makes what it shows, where that is not its own.
        leaf: what kind of leaf it is.
        name: a leaf's name, in full.
        op: an op's name, under which `ops` describes it.
        operands: the tensors that it reads.
        values: the tensors that it makes or shows.
        gradient: the tensor that is the output's gradient with respect to the first of them.
        settings: pairs of name and words.
        kept: bytes that it keeps for a backward pass.
        source: where in the program it was made.
        line: that line.
        expansion: the number of its expansion.
        interior: the number of its interior.
        kids: the boxes in it.
    """

    title: str
    kind: str
    note: str = ""
    lane: Count = 0
    node: Count | None = None
    inside: list[Count] | None = None
    ready: Count | None = None
    leaf: str | None = None
    name: str | None = None
    op: str | None = None
    operands: list[Number] | None = None
    values: list[Number] | None = None
    gradient: Count | None = None
    settings: list[tuple[str, str]] | None = None
    kept: Count = 0
    source: str | None = None
    line: str | None = None
    expansion: Count | None = None
    interior: Count | None = None
    kids: list[PageBox] | None = None


class PageUnit(PageStruct):
    """How an amount is written: see `Unit`.

    Attributes:
        scales: (amount, symbol), the largest first; what is smaller than all is written on the last one.
        digits: significant ones; null for whole numbers.
    """

    scales: list[tuple[float, str]]
    digits: Count | None


class PageOverlay(PageStruct):
    """An overlay: see `Overlay`.

    Attributes:
        name: what links call it.
        title: what the switch calls it.
        amounts: of each node in the graph's order; null where there is nothing to say. Words are numbers that JSON has
            no place for.
        unit: the name of the unit.
        words: what a box says, with {} for the amount.
        nothing: what 0 is called.
        total: how the amounts of a group are taken together.
        needs: what an op must have, where somebody steps, before there is something to say of it.
        tint: the variable of the style sheet with the colour of the largest amount.
        marks: number of a node that stands out -> what is said of it.
    """

    name: str
    title: str
    amounts: list[float | Literal["NaN", "Infinity"] | None]
    unit: str
    words: str
    nothing: str
    total: Literal["sum", "largest", "norm"]
    needs: list[Literal["values", "gradients", "times", "changes"]]
    tint: str
    marks: dict[str, str]


class PageData(PageStruct):
    """All that a page carries besides its numbers.

    Attributes:
        root: the whole model.
        interiors: how boxes are laid out.
        ops: name -> description.
        expansions: how elements come about.
        values: the tensors.
        overlays: what can tint boxes.
        units: name -> how amounts are written.
        overlay: the name of the one that is on at the start.
        start: where to begin: the way to a box, in numbers of kids.
        element: an index into what that makes.
        iterations: the iterations of loops that the page has numbers of.
    """

    root: PageBox
    interiors: list[PageInterior]
    ops: dict[str, PageOp]
    expansions: list[PageExpansion]
    values: list[PageTensor]
    overlays: list[PageOverlay]
    units: dict[str, PageUnit]
    overlay: str = ""
    start: list[Count] | None = None
    element: list[Any] | None = None
    iterations: list[Count] | None = None


PARTS = (
    PageTensor, PageRead, PageExpansion, PageOp, PageLink, PageInterior, PageBox, PageUnit, PageOverlay, PageData,
)  # fmt: skip
