"""Matrix products of any shape, strides and transposition, single or stacked: C = A B, with an epilogue.

Two orders of the loops, of which a model of their costs chooses. *Rows times vectors*, after Goto and van de Geijn,
"Anatomy of High-Performance Matrix Multiplication" (2008): a register tile of rows times vectors of columns, for which
numbers of A are broadcast and vectors of B are read. A panel of B whose columns do not lie side by side, or that many
tiles of rows read, is packed first, and so is A where the numbers of a row lie apart; the depth passes in blocks. *Dot
products*, where both lie along the depth and there are few rows or columns: vectors along the depth, summed across
lanes at the end. The transposed problem is another candidate where the result's memory allows it.

Sums: each block of the depth starts from zero and is added to the others, so that errors grow with the length of a
block, not with the depth (`tests/kernels/test_gemm.py` holds the bound). Their order depends on the sizes and strides
only: the same bits for any number of threads. Ragged ends are vectors of which some lanes are read and written.

A batch is the rows of one product and the depth of another: both may be arguments of a kernel, which is then made for
the next power of two and serves all sizes above the one before. The last tile of rows begins where it ends with the
last row, so that some rows are computed twice; where blocks of the depth are added up, they are not written twice.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tinygraph.kernels.builder import Offset, Value, index, itemsize, splat
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.elementwise import emit_program
from tinygraph.kernels.emission import Code
from tinygraph.kernels.machine_code import Kernel, compile_kernel, kept
from tinygraph.kernels.program import Program

_DEPTH = 384  # of a block, in steps of the reduction
_WAY_BYTES = 4096  # addresses so far apart share the lines of the first-level cache
_WAYS = 8
_PACKING = 0.4  # time of packing an element, in multiplications of vectors
_COPYING = 0.25  # the same where elements lie side by side
_L2_BYTES = 192 * 1024  # of rows that are read again for each panel of a group
_GROUP = 8
_UNITS = 32  # so many parts of the work are enough for any number of threads
_ENOUGH_TILES = 4  # tiles of rows that pay for packing a panel
_ENOUGH_PANELS = 4  # panels that pay for packing a tile of rows
_TILES_TOGETHER = 8  # tiles that are packed at a time: their rows are some whole lines of the cache
_FEWEST_UNITS = 4  # parts of the work where packing is repeated by each
_CHAIN = 512  # products that are added one after the other; errors grow with this and with the number of such chains
_FEWEST_FREE = 17  # rows, or steps of the depth, that may be an argument: two tiles of rows, for any tile


class Matrix(NamedTuple):
    """Where a stack of matrices lies: elements from row to row, from column to column, and along the stack's axes."""

    row: int
    column: int
    stack: tuple[int, ...] = ()

    def transposed(self) -> Matrix:
        """The same memory with rows and columns exchanged."""
        return Matrix(self.column, self.row, self.stack)


class ProductEpilogue(NamedTuple):
    """What happens to a sum before it is written: a program whose first input is the sum.

    Attributes:
        program: its further inputs are read from arrays; its outputs, of the product's dtype, are written to the
            result and to further arrays.
        operands: where the arrays that are read lie. A stride of 0 repeats: a bias for each column is `Matrix(0, 1)`.
        results: where the further arrays that are written lie.
    """

    program: Program
    operands: tuple[Matrix, ...] = ()
    results: tuple[Matrix, ...] = ()


class Product(NamedTuple):
    """result[row, column] = sum over depth of left[row, depth] * right[depth, column], for each of a stack.

    Attributes:
        stack: sizes of the stack's axes but the first, whose size is given when the kernel is bound, as its span.
            All matrices have a stride for each axis of the stack; of the inputs it may be 0.
        dtype: "float32" or "float64".
    """

    rows: int
    columns: int
    depth: int
    left: Matrix
    right: Matrix
    result: Matrix
    stack: tuple[int, ...] = ()
    dtype: str = "float32"

    def transposed(self) -> Product:
        """The same product as (B^T A^T)^T."""
        left, right, result = (one.transposed() for one in (self.right, self.left, self.result))
        return self._replace(rows=self.columns, columns=self.rows, left=left, right=right, result=result)


class Scheme(NamedTuple):
    """How a product is computed.

    Attributes:
        product: the product itself, or transposed.
        dots: vectors along the depth; otherwise along the columns.
        rows, columns: of a register tile; columns count vectors, or with `dots` single columns.
        packed: whether panels of the right matrix go through scratch memory.
        left_packed: whether rows of the left one do.
        parts: into how many ranges rows are divided, for threads and for the second-level cache.
        group: panels of columns that pass together, so that rows are read from that cache.
        depth: steps of the reduction that are summed at a time.
        scratch: elements of scratch memory.
        time: estimated, in multiplications of vectors.
    """

    product: Product
    dots: bool
    rows: int
    columns: int
    packed: bool
    left_packed: bool
    parts: int
    group: int
    depth: int
    scratch: int
    time: float


def most_scratch(rows: int, columns: int, depth: int, dtype: str, cpu: Cpu | None = None) -> int:
    """Elements of scratch memory that are enough for any strides."""
    lanes = (cpu or this_cpu()).lanes(dtype)
    rows, columns, depth = _class(rows), _class(columns), min(_class(depth), max(depth, _DEPTH))
    panel = _DEPTH * _most_vectors(cpu or this_cpu()) * lanes
    vectors = math.ceil(max(rows, columns) / lanes)  # either way round
    right = min(panel, vectors * lanes * depth)
    if vectors < _ENOUGH_PANELS:  # too few columns to pack rows for
        return right
    steps = min(depth, _DEPTH)
    tile = (cpu or this_cpu()).registers * steps  # a part ends with a whole tile
    left = min(_L2_BYTES // itemsize(dtype), max(rows, columns) * steps) + tile
    return right + left


def scratch(product: Product, cpu: Cpu | None = None) -> int:
    """Elements of scratch memory that the kernel of a product takes, of each thread."""
    return choose_scheme(product, cpu or this_cpu()).scratch


def product_kernel(
    product: Product, epilogue: ProductEpilogue | None = None, *, cpu: Cpu | None = None
) -> Kernel:
    """The kernel of a product.

    Its pointers: left, right, result, scratch (of each thread; at least `scratch(product)` elements), the epilogue's
    operands and further results. Its span: the size of the stack's first axis, or 1. Results share no memory with the
    others.

    >>> import numpy as np
    >>> a, b, c = np.ones((5, 3)), np.ones((3, 2)), np.empty((5, 2))
    >>> made = Product(5, 2, 3, Matrix(3, 1, (0,)), Matrix(2, 1, (0,)), Matrix(2, 1, (0,)), dtype="float64")
    >>> product_kernel(made).bind(a, b, c, np.empty(scratch(made)), span=1)()
    >>> float(c.sum())
    30.0
    """
    cpu = cpu or this_cpu()
    return _product_kernel(choose_scheme(product, cpu), product, epilogue, (False, False), cpu)


def shared_kernel(
    product: Product, epilogue: ProductEpilogue | None = None, *, cpu: Cpu | None = None
) -> tuple[Kernel, tuple[int, ...]]:
    """The same kernel as one that serves other products of about as many rows and as much depth, where one can.

    Returns:
        The kernel, and the counts that it is bound with.
    """
    cpu = cpu or this_cpu()
    scheme = choose_scheme(product, cpu)
    exact = scheme.product
    swapped = exact != product
    frees_depth = exact.depth >= _FEWEST_FREE
    frees_rows = exact.rows >= _FEWEST_FREE
    if scheme.dots or not (frees_depth or frees_rows):
        return _product_kernel(scheme, product, epilogue, (False, False), cpu), ()
    depth = _class(exact.depth) if frees_depth else exact.depth
    if exact.depth <= _DEPTH:
        depth = min(depth, _DEPTH)
    made = _panel_scheme(
        exact._replace(rows=_class(exact.rows) if frees_rows else exact.rows, depth=depth), cpu
    )
    if frees_rows and made.left_packed:
        frees_rows, made = False, _panel_scheme(exact._replace(depth=depth), cpu)
    if exact.depth <= _DEPTH and made.depth < depth:
        return _product_kernel(scheme, product, epilogue, (False, False), cpu), ()
    general = made.product.transposed() if swapped else made.product
    counts = [size for size, free in ((exact.rows, frees_rows), (exact.depth, frees_depth)) if free]
    return _product_kernel(made, general, epilogue, (frees_rows, frees_depth), cpu), tuple(counts)


def _class(size: int) -> int:
    """The size that a kernel is made for which takes it as an argument."""
    return 1 << (size - 1).bit_length() if size >= _FEWEST_FREE else size


@kept
def _product_kernel(
    scheme: Scheme, product: Product, epilogue: ProductEpilogue | None, free: tuple[bool, bool], cpu: Cpu
) -> Kernel:
    """The kernel of a scheme for a product; whether its rows and its depth are counts."""
    swapped = scheme.product != product
    if epilogue and swapped:
        operands, results = (
            tuple(one.transposed() for one in each) for each in (epilogue.operands, epilogue.results)
        )
        epilogue = epilogue._replace(operands=operands, results=results)
    extras = [f"extra{i}" for i in range(len(epilogue.operands + epilogue.results) if epilogue else 0)]
    first = ("right", "left") if swapped else ("left", "right")
    writer = _Dots if scheme.dots else _Panels
    panels = math.ceil(scheme.product.columns / writer.columns_of(scheme, cpu))
    groups = math.ceil(panels / scheme.group)
    units = math.prod(product.stack) * groups * scheme.parts if product.rows else 0

    def write(code: Code) -> None:
        if not units:
            return
        nest = writer(code, scheme, epilogue, cpu)

        def unit(number: Offset) -> None:
            rest, group = code.divide_index(number, groups)
            rest, part = code.divide_index(rest, scheme.parts)
            places = []
            for size in reversed(product.stack):
                rest, place = code.divide_index(rest, size)
                places.append(place)
            nest.write([rest, *reversed(places)], group, part)

        code.units(unit)

    return compile_kernel(
        "matrix product",
        [*first, "result", "scratch", *extras],
        write,
        counts=[name for name, one in zip(("rows", "depth"), free, strict=True) if one],
        splits=max(units, 1),
        distinct=True,
        cpu=cpu,
    )


# -- the choice ----------------------------------------------------------------------------------------------------


def _most_vectors(cpu: Cpu) -> int:
    return 8 if cpu.registers >= 32 else 4


@functools.lru_cache(maxsize=2048)
def choose_scheme(product: Product, cpu: Cpu) -> Scheme:
    """The scheme of least estimated time; those that write the result in vectors come first."""
    turned = product.transposed()
    straight = [one for one in (product, turned) if one.result.column == 1 or one.columns == 1]
    return min(
        (scheme for one in straight or [product] for scheme in _schemes(one, cpu)),
        key=lambda scheme: scheme.time,
    )


def _schemes(product: Product, cpu: Cpu) -> list[Scheme]:
    schemes = [_panel_scheme(product, cpu)]
    if product.left.column == 1 and product.depth > 1:
        schemes.append(_dot_scheme(product, cpu))
    return schemes


def _panel_scheme(product: Product, cpu: Cpu) -> Scheme:
    """As in `direct.choose_tile`: multiplications and a share of the loads; ragged tiles cost as much as whole ones."""
    lanes = cpu.lanes(product.dtype)
    vectors, best, least = math.ceil(product.columns / lanes), (1, 1), math.inf
    most = cpu.registers - 2
    apart = product.left.row * itemsize(product.dtype)
    collide = product.left.column == 1 and product.depth > lanes and apart % _WAY_BYTES == 0
    limit = _WAYS if collide else most
    for v in range(1, min(vectors, _most_vectors(cpu)) + 1):
        for rows in range(1, min(product.rows, limit) + 1):
            if rows * v + v + 1 > most + 1:
                break
            time = max(rows * v, 8) + 0.25 * rows + 0.5 * v + 1
            total = time * math.ceil(product.rows / rows) * math.ceil(vectors / v)
            if total < least:
                best, least = (rows, v), total
    rows, v = best
    tiles = math.ceil(product.rows / rows)
    rows = math.ceil(product.rows / tiles) if tiles else 1
    scattered = product.right.column != 1 and product.columns > 1
    packed = scattered or (tiles >= _ENOUGH_TILES and vectors > v and product.depth > _WAYS)
    depth, panels = _block(product.depth), max(1, math.ceil(vectors / v))
    parts, group = _cut(product, tiles, panels, depth, _ENOUGH_TILES if packed else 1)
    left_packed = packed and (collide or product.left.column != 1) and panels >= _ENOUGH_PANELS
    size = depth * v * lanes if packed else 0
    if left_packed:
        parts, group = _cut_packed(product, rows, tiles, panels, depth)
        size += math.ceil(tiles / parts) * rows * depth
    if tiles == 1 and not packed and panels >= _GROUP:  # few rows: the right matrix is read in its own order
        depth, group = min(depth, _WAYS), math.ceil(panels / _GROUP)
    cost = _PACKING if scattered else 2 / lanes
    time = least * product.depth + (parts * product.depth * product.columns * cost if packed else 0)
    return Scheme(product, False, rows, v, packed, left_packed, parts, group, depth or 1, size, time)


def _dot_scheme(product: Product, cpu: Cpu) -> Scheme:
    lanes = cpu.lanes(product.dtype)
    steps = math.ceil(product.depth / lanes)
    best, least = (1, 1), math.inf
    for columns in range(1, min(product.columns, 6) + 1):
        for rows in range(1, min(product.rows, 8) + 1):
            if rows * columns + rows + 1 > cpu.registers - 1:
                break
            time = (max(rows * columns, 8) + 0.5 * (rows + columns)) * steps + 10 * rows * columns
            total = time * math.ceil(product.rows / rows) * math.ceil(product.columns / columns)
            if total < least:
                best, least = (rows, columns), total
    rows, columns = best
    tiles = math.ceil(product.rows / rows)
    rows = math.ceil(product.rows / tiles) if tiles else 1
    packed = product.right.row != 1
    panels = max(1, math.ceil(product.columns / columns))
    parts, group = _cut(product, tiles, panels, product.depth, _ENOUGH_TILES if packed else 1)
    if packed:  # whole columns at a time, element by element
        least += 3 * _PACKING * parts * product.depth * product.columns
        if product.depth * columns > _DEPTH * cpu.lanes(product.dtype):
            least = math.inf
    size = product.depth * columns if packed else 0
    return Scheme(product, True, rows, columns, packed, False, parts, group, product.depth, size, least)


def _cut(product: Product, tiles: int, panels: int, depth: int, least: int) -> tuple[int, int]:
    """Ranges of rows, each of some tiles at least, and panels of a group: parts that fit the cache, enough of them."""
    size = product.rows * depth * itemsize(product.dtype)
    parts = max(1, math.ceil(size / _L2_BYTES))
    group = 1 if parts == 1 else max(1, min(_GROUP, panels * parts * math.prod(product.stack) // _UNITS))
    units = math.ceil(panels / group) * math.prod(product.stack)
    return max(1, min(max(parts, _UNITS // units), tiles // least)), group


def _cut_packed(product: Product, rows: int, tiles: int, panels: int, depth: int) -> tuple[int, int]:
    """The same where rows are packed, once for all panels of a group: parts that stay in the cache."""
    most = max(1, _L2_BYTES // (rows * depth * itemsize(product.dtype)))
    least = math.ceil(tiles / most)
    stack = math.prod(product.stack)
    choices = []
    for parts in range(least, max(least, min(tiles // _ENOUGH_TILES, least + _FEWEST_UNITS)) + 1):
        groups = min(panels, math.ceil(_FEWEST_UNITS / (parts * stack)))
        choices.append((parts, math.ceil(panels / groups)))
    cost = _COPYING if product.right.column == 1 else _PACKING
    return min(
        choices,
        key=lambda cut: (
            cut[0] * product.columns * cost + math.ceil(panels / cut[1]) * product.rows * _PACKING
        ),
    )


def _block(depth: int) -> int:
    """The depth of equal blocks, the last perhaps smaller."""
    return math.ceil(depth / max(1, math.ceil(depth / _DEPTH)))


# -- what both orders of loops share -------------------------------------------------------------------------------


class _ProductNest:
    """Writes the loops of one product."""

    def __init__(self, code: Code, scheme: Scheme, epilogue: ProductEpilogue | None, cpu: Cpu) -> None:
        self.code, self.scheme, self.product, self.epilogue = code, scheme, scheme.product, epilogue
        self.dtype, self.lanes = self.product.dtype, cpu.lanes(self.product.dtype)
        # arguments, or known
        self.rows: Offset = code.counts.get("rows", self.product.rows)
        self.depth: Offset = code.counts.get("depth", self.product.depth)
        self.since: Offset | None = None  # the first row that a tile may write, of one that begins before it
        self.tiles = code.divide_index(code.offset(self.rows, scheme.rows - 1), scheme.rows)[0]

    @staticmethod
    def columns_of(scheme: Scheme, cpu: Cpu) -> int:
        """Columns of a panel."""
        raise NotImplementedError

    def write(self, stack: list[Offset], group: Offset, part: Offset) -> None:
        """The rows of one part, of one group of panels, of one matrix of the stack."""
        code, product = self.code, self.product
        operands, results = (self.epilogue.operands, self.epilogue.results) if self.epilogue else ((), ())
        dtypes = [*(self.epilogue.program.inputs[1:] if self.epilogue else ()), *[self.dtype] * len(results)]
        self.left, self.right, result, *extras = (
            code.at(code.pointers[name], code.offset(*zip(stack, matrix.stack, strict=True)), dtype)
            for name, matrix, dtype in (
                ("left", product.left, self.dtype),
                ("right", product.right, self.dtype),
                ("result", product.result, self.dtype),
                *(
                    (f"extra{i}", one, dtype)
                    for i, (one, dtype) in enumerate(zip(operands + results, dtypes, strict=True))
                ),
            )
        )
        self.operands = list(zip(extras, operands, dtypes, strict=False))
        self.results = [(result, product.result), *zip(extras[len(operands) :], results, strict=True)]
        parts = self.scheme.parts
        each = code.divide_index(code.offset(self.tiles, parts - 1), parts)[0]
        first = code.offset((part, each))
        last = code.smaller_index(code.offset(first, each), self.tiles)
        start = code.offset((group, self.scheme.group))
        stop = code.smaller_index(code.offset(start, self.scheme.group), self.panels)

        def block(depth: Offset, _: list[Value]) -> None:
            self.prepare(depth, first, last)
            code.loop(start, stop, 1, lambda panel, _: self._whole_or_not(depth, panel, first, last))

        if self.depth is product.depth:
            code.loop(0, product.depth or 1, self.scheme.depth, block)
        elif product.depth <= self.scheme.depth:
            block(0, [])
        else:
            code.loop(0, self.depth, self.scheme.depth, block)

    def prepare(self, depth: Offset, first: Offset, last: Offset) -> None:
        """What is done once for all panels over a block of the depth, with the tiles of rows of a part."""

    def _whole_or_not(self, depth: Offset, panel: Offset, first: Offset, last: Offset) -> None:
        whole, width = divmod(self.product.columns, self.panel_columns)
        self.code.when(
            self.code.at_most(panel, whole - 1) if width and whole else not width,
            lambda: self.panel(depth, panel, self.panel_columns, first, last),
            lambda: self.panel(depth, whole, width, first, last),
        )

    @property
    def panels(self) -> int:
        return math.ceil(self.product.columns / self.panel_columns)

    @property
    def panel_columns(self) -> int:
        raise NotImplementedError

    def panel(self, depth: Offset, panel: Offset, columns: int, first: Offset, last: Offset) -> None:
        """The tiles of rows from `first` to `last`, of so many columns, over a block of the depth."""
        raise NotImplementedError

    def each_tile(self, first: Offset, last: Offset, body: Callable[[Offset, int], None]) -> None:
        """The tiles of a range: all of them whole but perhaps the last of all."""
        code, rows = self.code, self.scheme.rows
        if self.rows is not self.product.rows:
            end = code.offset(self.rows, -rows)
            if self.product.depth <= self.scheme.depth:
                code.loop(
                    first,
                    last,
                    1,
                    lambda tile, _: body(code.smaller_index(code.offset((tile, rows)), end), rows),
                )
                return
            whole = code.divide_index(self.rows, rows)[0]
            code.loop(
                first,
                code.smaller_index(last, whole),
                1,
                lambda tile, _: body(code.offset((tile, rows)), rows),
            )

            def ragged() -> None:
                self.since = code.offset((whole, rows))
                body(end, rows)
                self.since = None

            mine = code.both(
                code.at_most(self.tiles, last),
                code.both(
                    code.at_most(code.offset(first, 1), last), code.at_most(code.offset(whole, 1), self.tiles)
                ),
            )
            code.when(mine, ragged)
            return
        rest = self.product.rows % rows
        whole = code.smaller_index(last, self.tiles - 1 if rest else self.tiles)
        code.loop(first, whole, 1, lambda tile, _: body(code.offset((tile, rows)), rows))
        if rest:
            start = (self.tiles - 1) * rows
            mine = code.both(code.at_most(self.tiles, last), code.at_most(code.offset(first, 1), last))
            code.when(mine, lambda: body(start, rest))

    def finish(self, values: Sequence[Value], places: Sequence[tuple[Offset, Offset, int]]) -> None:
        """Write values at (row, column), of which so many lanes are wanted, through the epilogue."""
        if not self.epilogue:
            self.put_all(values, places)
            return
        for value, (row, column, valid) in zip(values, places, strict=True):
            operands = [
                self._read(array, matrix, dtype, row, column, value, valid)
                for array, matrix, dtype in self.operands
            ]
            made = emit_program(self.code, self.epilogue.program, [value, *operands], self._width(value))
            for one, (array, matrix) in zip(made, self.results, strict=True):
                self._put(one, array, matrix, row, column, valid)

    @staticmethod
    def _width(value: Value) -> int:
        return int(getattr(value.type, "count", 1))

    def put_all(self, values: Sequence[Value], places: Sequence[tuple[Offset, Offset, int]]) -> None:
        """Write values as they are."""
        for value, place in zip(values, places, strict=True):
            self._put(value, *self.results[0], *place)

    def _put(
        self, value: Value, array: Value, matrix: Matrix, row: Offset, column: Offset, valid: int
    ) -> None:
        """Write lanes into a result."""
        code = self.code
        place = code.offset((row, matrix.row), (column, matrix.column))
        if self._width(value) == 1:
            code.store(value, array, place)
        elif matrix.column == 1 or valid == 1:
            code.store_first(value, array, place, valid)
        else:
            for lane in range(valid):
                element = code.ir.extract_element(value, index(lane))
                code.store(element, array, code.offset(place, lane * matrix.column))

    def _read(
        self, array: Value, matrix: Matrix, dtype: str, row: Offset, column: Offset, like: Value, valid: int
    ) -> Value:
        """Lanes that meet a value."""
        code, width = self.code, self._width(like)
        place = code.offset((row, matrix.row), (column, matrix.column))
        if width == 1 or matrix.column == 0:
            return code.broadcast(code.load(array, place, dtype), width)
        if matrix.column == 1 and dtype != "bool":
            return code.load_first(array, place, dtype, width, valid)
        value = splat(0, dtype, width)
        for lane in range(valid):
            element = code.load(array, code.offset(place, lane * matrix.column), dtype)
            value = code.ir.insert_element(value, element, index(lane))
        return value


class _Numbers(NamedTuple):
    """Numbers of rows: where they start, elements from row to row, and from step to step along the depth."""

    start: Value
    apart: int
    step: int


# -- rows times vectors --------------------------------------------------------------------------------------------


class _Panels(_ProductNest):
    """Vectors along the columns."""

    @staticmethod
    def columns_of(scheme: Scheme, cpu: Cpu) -> int:
        return scheme.columns * cpu.lanes(scheme.product.dtype)

    @property
    def panel_columns(self) -> int:
        return self.scheme.columns * self.lanes

    def panel(self, depth: Offset, panel: Offset, columns: int, first: Offset, last: Offset) -> None:
        code, product = self.code, self.product
        column = code.offset((panel, self.panel_columns))
        steps = self._steps(depth)
        place = code.offset((depth, product.right.row), (column, product.right.column))
        right, step = code.at(self.right, place, self.dtype), product.right.row
        if self.scheme.packed:
            step = math.ceil(columns / self.lanes) * self.lanes
            self._pack(right, columns, steps, step)
            right = code.pointers["scratch"]
        self.each_tile(
            first,
            last,
            lambda row, rows: self._tile(
                self._rows_of(depth, row, first), right, step, depth, steps, row, rows, column, columns
            ),
        )

    def _steps(self, depth: Offset) -> Offset:
        """The steps of a block of the depth."""
        if self.depth is not self.product.depth and self.product.depth <= self.scheme.depth:
            return self.depth
        if self.depth is self.product.depth and self.depth and self.depth % self.scheme.depth == 0:
            return self.scheme.depth
        return self.code.smaller_index(self.scheme.depth, self.code.offset((depth, -1), self.depth))

    def _rows_of(self, depth: Offset, row: Offset, first: Offset) -> _Numbers:
        """Where a tile's numbers of the left matrix are."""
        code, scheme, matrix = self.code, self.scheme, self.product.left
        if scheme.left_packed:
            tile = code.offset((row, scheme.depth), (first, -scheme.depth * scheme.rows))
            return _Numbers(code.at(self._packed_rows(), tile, self.dtype), 1, scheme.rows)
        place = code.offset((row, matrix.row), (depth, matrix.column))
        return _Numbers(code.at(self.left, place, self.dtype), matrix.row, matrix.column)

    def _packed_rows(self) -> Value:
        """Packed rows: tile by tile of a part, (steps, rows)."""
        panel = self.scheme.depth * self.scheme.columns * self.lanes
        return self.code.at(self.code.pointers["scratch"], panel, self.dtype)

    def prepare(self, depth: Offset, first: Offset, last: Offset) -> None:
        if not self.scheme.left_packed:
            return
        code, matrix, height = self.code, self.product.left, self.scheme.rows
        steps, source = (
            self._steps(depth),
            code.at(self.left, code.offset((depth, matrix.column)), self.dtype),
        )

        def tiles(row: Offset, count: int, rows: int) -> None:
            """Neighbouring tiles, number by number along the depth."""
            target = self._rows_of(depth, row, first).start

            def step(k: Offset, _: list[Value]) -> None:
                for tile in range(count):
                    there = code.offset((k, height), tile * height * self.scheme.depth)
                    self._copy(source, code.offset(row, tile * height), k, rows, target, there)

            code.loop(0, steps, 1, step)

        whole = self.product.rows // height
        end = code.smaller_index(last, whole)
        count = code.divide_index(code.offset(end, (first, -1)), _TILES_TOGETHER)[0]
        middle = code.offset(first, (count, _TILES_TOGETHER))
        code.loop(
            first,
            middle,
            _TILES_TOGETHER,
            lambda tile, _: tiles(code.offset((tile, height)), _TILES_TOGETHER, height),
        )
        code.loop(middle, end, 1, lambda tile, _: tiles(code.offset((tile, height)), 1, height))
        if self.product.rows % height:
            rest = self.product.rows % height
            code.when(code.at_most(self.tiles, last), lambda: tiles(whole * height, 1, rest))

    def _copy(self, source: Value, row: Offset, k: Offset, rows: int, target: Value, there: Offset) -> None:
        """The numbers of some rows at one step, to memory where they lie side by side."""
        code, matrix, done = self.code, self.product.left, 0
        while done < rows:
            width = 1 << ((rows - done).bit_length() - 1) if matrix.row == 1 else 1
            place = code.offset((row, matrix.row), done * matrix.row, (k, matrix.column))
            value = code.load(source, place, self.dtype, min(width, self.lanes))
            code.store(value, target, code.offset(there, done))
            done += min(width, self.lanes)

    def _tile(
        self,
        left: _Numbers,
        right: Value,
        step: int,
        start: Offset,
        steps: Offset,
        row: Offset,
        rows: int,
        column: Offset,
        columns: int,
    ) -> None:
        """The sums of a tile over one block of the depth, added to those of the blocks before."""
        code, lanes = self.code, self.lanes
        valid = [min(lanes, columns - v * lanes) for v in range(math.ceil(columns / lanes))]

        def multiply(k: Offset, held: list[Value]) -> list[Value]:
            numbers = code.at(left.start, code.offset((k, left.step)), self.dtype)
            factors = code.at(right, code.offset((k, step)), self.dtype)
            loaded = [
                code.load_first(factors, v * lanes, self.dtype, lanes, some) for v, some in enumerate(valid)
            ]
            for r in range(rows):
                number = code.broadcast(code.load(numbers, r * left.apart, self.dtype), lanes)
                for v, factor in enumerate(loaded):
                    held[r * len(valid) + v] = code.fma(number, factor, held[r * len(valid) + v])
            return held

        places = [
            (code.offset(row, r), code.offset(column, v * lanes), some)
            for r in range(rows)
            for v, some in enumerate(valid)
        ]

        def each_row(then: Callable[[Sequence[Value], Sequence[tuple[Offset, Offset, int]]], None]) -> None:
            if self.since is None:
                then(sums, places)
                return
            for r in range(rows):
                mine = slice(r * len(valid), (r + 1) * len(valid))
                code.when(
                    code.at_most(self.since, code.offset(row, r)),
                    functools.partial(then, sums[mine], places[mine]),
                )

        sums = code.loop(0, steps, 1, multiply, [splat(0, self.dtype, lanes)] * len(places))
        if isinstance(start, int):  # the only block
            self.finish(sums, places)
            return

        def add_before(_: Offset, held: list[Value]) -> list[Value]:
            before = [
                self._read(*self.results[0], self.dtype, *place[:2], value, place[2])
                for place, value in zip(places, held, strict=True)
            ]
            return [code.add(a, b) for a, b in zip(before, held, strict=True)]

        sums = code.loop(0, code.smaller_index(start, 1), 1, add_before, sums)  # never, or once
        if self.epilogue:
            code.when(
                code.at_most(self.depth, code.offset(start, self.scheme.depth)),
                lambda: each_row(self.finish),
                lambda: each_row(self.put_all),
            )
        else:
            each_row(self.finish)

    def _pack(self, right: Value, columns: int, steps: Offset, step: int) -> None:
        """A panel to scratch memory, (steps, vectors of columns)."""
        code, lanes, matrix = self.code, self.lanes, self.product.right
        target = code.pointers["scratch"]
        if matrix.column == 1:

            def copy(k: Offset, _: list[Value]) -> None:
                source = code.at(right, code.offset((k, matrix.row)), self.dtype)
                for v in range(0, columns, lanes):
                    some = min(lanes, columns - v)
                    value = code.load_first(source, v, self.dtype, lanes, some)
                    code.store(value, target, code.offset((k, step), v))

            code.loop(0, steps, 1, copy)
            return

        def element(column: Offset, k: Offset) -> None:
            value = code.load(right, code.offset((k, matrix.row), (column, matrix.column)), self.dtype)
            code.store(value, target, code.offset((k, step), column))

        def square(column: Offset, k: Offset) -> None:
            lines = [
                code.load(
                    right, code.offset(k, (column, matrix.column), i * matrix.column), self.dtype, lanes
                )
                for i in range(lanes)
            ]
            for i, line in enumerate(code.transpose(lines)):
                code.store(line, target, code.offset((k, step), i * step, column))

        whole = columns // lanes * lanes if matrix.row == 1 else 0
        even: Offset = 0
        if whole:
            even = code.offset((code.divide_index(steps, lanes)[0], lanes))
            code.loop(
                0, whole, lanes, lambda c, _: code.loop(0, even, lanes, lambda k, _: square(c, k)) and None
            )
            code.loop(
                0, whole, 1, lambda c, _: code.loop(even, steps, 1, lambda k, _: element(c, k)) and None
            )
        code.loop(whole, columns, 1, lambda c, _: code.loop(0, steps, 1, lambda k, _: element(c, k)) and None)


# -- dot products --------------------------------------------------------------------------------------------------


class _Dots(_ProductNest):
    """Vectors along the depth."""

    @staticmethod
    def columns_of(scheme: Scheme, cpu: Cpu) -> int:
        return scheme.columns

    @property
    def panel_columns(self) -> int:
        return self.scheme.columns

    def panel(self, depth: Offset, panel: Offset, columns: int, first: Offset, last: Offset) -> None:
        code, product = self.code, self.product
        column = code.offset((panel, self.panel_columns))
        right = code.at(self.right, code.offset((column, product.right.column)), self.dtype)
        apart = product.right.column
        if self.scheme.packed:
            apart, source = product.depth, right

            def step(k: Offset, _: list[Value]) -> None:
                for c in range(columns):
                    place = code.offset((k, product.right.row), c * product.right.column)
                    value = code.load(source, place, self.dtype)
                    code.store(value, code.pointers["scratch"], code.offset(k, c * product.depth))

            code.loop(0, product.depth, 1, step)
            right = code.pointers["scratch"]
        self.each_tile(first, last, lambda row, rows: self._tile(right, apart, row, rows, column, columns))

    def _tile(self, right: Value, apart: int, row: Offset, rows: int, column: Offset, columns: int) -> None:
        code, product, lanes = self.code, self.product, self.lanes
        left = code.at(self.left, code.offset((row, product.left.row)), self.dtype)

        def multiply(k: Offset, held: list[Value], some: int = lanes) -> list[Value]:
            mine, theirs = (
                [
                    code.load_first(array, code.offset(k, i * step), self.dtype, lanes, some)
                    for i in range(count)
                ]
                for array, step, count in ((left, product.left.row, rows), (right, apart, columns))
            )
            return [
                code.fma(a, b, held[i * columns + j])
                for i, a in enumerate(mine)
                for j, b in enumerate(theirs)
            ]

        whole = product.depth // lanes * lanes
        zeros = [splat(0, self.dtype, lanes)] * (rows * columns)

        def chain(start: Offset, held: list[Value]) -> list[Value]:
            stop = code.smaller_index(code.offset(start, _CHAIN * lanes), whole)
            return [*map(code.add, held, code.loop(start, stop, lanes, multiply, zeros))]

        sums = code.loop(0, whole, _CHAIN * lanes, chain, zeros)
        if whole < product.depth:
            sums = multiply(whole, sums, product.depth - whole)
        places = [
            (code.offset(row, r), code.offset(column, c), 1) for r in range(rows) for c in range(columns)
        ]
        self.finish([code.fold(code.add, one) for one in sums], places)
