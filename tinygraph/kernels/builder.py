"""The kernel language: a function of pointers and counts, written as loops over vectors of an explicit width.

A thin, typed layer over llvmlite's IR builder. What is written here is what the machine executes: loops, tiles and
vectors are chosen by the kernels' authors, and LLVM only selects instructions and registers. Nothing here knows an
op, a shape or a layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from tinygraph.errors import DTypeError

Value = Any  # an LLVM value: scalar or vector
Offset = Any  # a Python int, or an LLVM integer of 64 bits
Carried = list[Value]

INDEX = ir.IntType(64)
BOOL = ir.IntType(1)
_BYTE = ir.IntType(8)
_SHORT = ir.IntType(32)
POINTER = ir.PointerType()
_SCALARS: dict[str, Any] = {
    "float32": ir.FloatType(),
    "float64": ir.DoubleType(),
    "int64": INDEX,
    "bool": BOOL,
}
_NAMES = {ir.FloatType(): "float32", ir.DoubleType(): "float64", INDEX: "int64", BOOL: "bool"}


class Function:
    """One function under construction.

    Args:
        module: the LLVM module it joins.
        name: its symbol.
        pointers: names of its pointer arguments, which come first.
        counts: names of its 64-bit integer arguments.
        distinct: promise that no two pointers reach the same memory.

    A kernel that adds two arrays, eight elements at a time:

    >>> from llvmlite import ir
    >>> code = Function(ir.Module(), "add", ("x", "y", "out"), ("count",))
    >>> def body(i, carried):
    ...     x, y = (code.load(code.pointers[name], i, "float32", 8) for name in "xy")
    ...     code.store(code.add(x, y), code.pointers["out"], i)
    >>> code.loop(0, code.counts["count"], 8, body)
    []
    >>> code.finish()
    """

    def __init__(
        self,
        module: ir.Module,
        name: str,
        pointers: Sequence[str],
        counts: Sequence[str] = (),
        *,
        distinct: bool = False,
    ) -> None:
        signature = ir.FunctionType(ir.VoidType(), [POINTER] * len(pointers) + [INDEX] * len(counts))
        self.module = module
        # whether it computes with single numbers: some of NumPy's answers on arrays differ from those on numbers
        self.single_numbers = False
        self.function = ir.Function(module, signature, name)
        self.pointers: dict[str, Value] = dict(zip(pointers, self.function.args, strict=False))
        self.counts: dict[str, Value] = dict(zip(counts, self.function.args[len(pointers) :], strict=True))
        if distinct:
            for pointer in self.pointers.values():
                pointer.add_attribute("noalias")
        self.ir = ir.IRBuilder(self.function.append_basic_block("entry"))

    def finish(self) -> None:
        """End the function."""
        self.ir.ret_void()

    def add_entry(self, name: str) -> None:
        """A second function, of one pointer: it reads this one's arguments from 64-bit integers, and calls it."""
        entry = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [POINTER]), name)
        body = ir.IRBuilder(entry.append_basic_block("entry"))
        arguments = []
        for i, argument in enumerate(self.function.args):
            place = body.gep(entry.args[0], [index(i)], inbounds=True, source_etype=INDEX)
            arguments.append(body.load(place, typ=argument.type, align=8))
        body.call(self.function, arguments)
        body.ret_void()

    # -- control ---------------------------------------------------------------------------------------------------

    def loop(
        self,
        start: Offset,
        stop: Offset,
        step: int,
        body: Callable[[Offset, Carried], Sequence[Value] | None],
        carried: Sequence[Value] = (),
        *,
        condition: Callable[[Carried], Value] | None = None,
    ) -> Carried:
        """`for i in range(start, stop, step): carried = body(i, carried)`; returns what is carried out.

        A loop of one turn known beforehand becomes its body. With a condition on what is carried, it ends before the
        first turn for which that does not hold.
        """
        if condition is None and isinstance(start, int) and isinstance(stop, int) and stop - start <= step:
            return list(body(start, list(carried)) or []) if start < stop else list(carried)
        before = self.ir.block
        head, inside, after = (self.function.append_basic_block(name) for name in ("loop", "body", "after"))
        self.ir.branch(head)
        self.ir.position_at_end(head)
        counter = self.ir.phi(INDEX)
        counter.add_incoming(index(start), before)
        held = [self.ir.phi(value.type) for value in carried]
        for phi, value in zip(held, carried, strict=True):
            phi.add_incoming(value, before)
        more = self.ir.icmp_signed("<", counter, index(stop))
        self.ir.cbranch(more if condition is None else self.both(more, condition(list(held))), inside, after)
        self.ir.position_at_end(inside)
        results = body(counter, list(held)) or []
        following = self.ir.add(counter, index(step))
        counter.add_incoming(following, self.ir.block)
        for phi, value in zip(held, results, strict=True):
            phi.add_incoming(value, self.ir.block)
        self.ir.branch(head)
        self.ir.position_at_end(after)
        return list(held)

    def units(self, body: Callable[[Offset], object]) -> None:
        """For each unit of work in the range that this call is to do, of a kernel that splits."""

        def one(unit: Offset, _: Carried) -> None:
            body(unit)

        self.loop(self.counts["first"], self.counts["last"], 1, one)

    def nest(
        self,
        sizes: Sequence[Offset],
        body: Callable[[list[Offset], Carried], Sequence[Value] | None],
        carried: Sequence[Value] = (),
    ) -> Carried:
        """Loops over all indices below `sizes`, the last fastest; `body` gets the list of indices."""

        def level(indices: list[Offset], held: Sequence[Value]) -> Sequence[Value]:
            if len(indices) == len(sizes):
                return body(indices, list(held)) or []
            return self.loop(0, sizes[len(indices)], 1, lambda i, inner: level([*indices, i], inner), held)

        return list(level([], carried))

    def when(
        self,
        condition: Value | bool,
        then: Callable[[], object],
        otherwise: Callable[[], object] | None = None,
    ) -> None:
        """`if condition: then() else: otherwise()`; a condition known beforehand leaves one of them out."""
        if isinstance(condition, bool):
            chosen = then if condition else otherwise
            if chosen is not None:
                chosen()
            return
        if otherwise is None:
            with self.ir.if_then(condition):
                then()
            return
        with self.ir.if_else(condition) as (first, second):
            with first:
                then()
            with second:
                otherwise()

    def one_of(self, which: Value, choices: Sequence[Callable[[], Sequence[Value]]]) -> list[Value]:
        """What one of several functions gives, number `which`, the nearest where there is no such number."""
        after = self.function.append_basic_block("chosen")
        blocks = [self.function.append_basic_block("choice") for _ in choices]
        low = self.ir.select(self.ir.icmp_signed("<", which, index(0)), index(0), which)
        dispatch = self.ir.switch(low, blocks[-1])
        found = []
        for i, (block, choice) in enumerate(zip(blocks, choices, strict=True)):
            if block is not blocks[-1]:
                dispatch.add_case(index(i), block)
            self.ir.position_at_end(block)
            values = choice()
            found.append((values, self.ir.block))
            self.ir.branch(after)
        self.ir.position_at_end(after)
        results = []
        for column in zip(*(values for values, _ in found), strict=True):
            phi = self.ir.phi(column[0].type)
            for value, (_, block) in zip(column, found, strict=True):
                phi.add_incoming(value, block)
            results.append(phi)
        return results

    def size(self) -> int:
        """How many instructions there are so far."""
        return sum(len(block.instructions) for block in self.function.blocks)

    # -- integers --------------------------------------------------------------------------------------------------

    def offset(self, *terms: Offset | tuple[Offset, Offset]) -> Offset:
        """A sum of offsets and of (index, stride) products; Python ints are folded."""
        known, total = 0, None
        for term in terms:
            value, stride = term if isinstance(term, tuple) else (term, 1)
            if isinstance(value, int) and isinstance(stride, int):
                known += value * stride
                continue
            if isinstance(stride, int) and stride == 0:
                continue
            plain = isinstance(stride, int) and stride == 1
            product = value if plain else self.ir.mul(index(value), index(stride))
            total = product if total is None else self.ir.add(total, product)
        if total is None:
            return known
        return self.ir.add(total, index(known)) if known else total

    def product(self, factors: Sequence[Offset]) -> Offset:
        """A product of offsets."""
        total: Offset = 1
        for factor in factors:
            total = self.offset((total, factor)) if isinstance(factor, int) else self.offset((factor, total))
        return total

    def as_float(self, value: Offset, dtype: str) -> Value:
        """An offset as a floating-point number."""
        if isinstance(value, int):
            return splat(value, dtype, 1)
        return self.ir.sitofp(value, vector_type(dtype, 1))

    def divide_index(self, value: Offset, divisor: Offset) -> tuple[Offset, Offset]:
        """Quotient and remainder of a non-negative index."""
        if isinstance(value, int) and isinstance(divisor, int):
            return divmod(value, divisor)
        if isinstance(divisor, int) and divisor == 1:
            return value, 0
        quotient = self.ir.udiv(index(value), index(divisor))
        return quotient, self.ir.sub(index(value), self.ir.mul(quotient, index(divisor)))

    def smaller_index(self, a: Offset, b: Offset) -> Offset:
        """The smaller of two indices."""
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        return self.ir.select(self.ir.icmp_signed("<", index(a), index(b)), index(a), index(b))

    def at_most(self, a: Offset, b: Offset) -> Value | bool:
        """a <= b, of indices."""
        if isinstance(a, int) and isinstance(b, int):
            return a <= b
        return self.ir.icmp_signed("<=", index(a), index(b))

    def both(self, a: Value | bool, b: Value | bool) -> Value | bool:
        """a and b, of conditions, lane by lane."""
        if isinstance(a, bool):
            return b if a else False
        if isinstance(b, bool):
            return a if b else False
        return self.ir.and_(a, b)

    def table(self, numbers: Sequence[int]) -> Value:
        """A pointer to a constant table of 64-bit integers; read it with `lookup`."""
        data = ir.GlobalVariable(
            self.module, ir.ArrayType(INDEX, len(numbers)), self.module.get_unique_name("table")
        )
        data.global_constant = True
        data.linkage = "internal"
        data.initializer = ir.Constant(data.value_type, list(numbers))
        return data

    def lookup(self, table: Value, i: Offset) -> Value:
        """An entry of a table of 64-bit integers."""
        return self.ir.load(self.ir.gep(table, [index(i)], inbounds=True, source_etype=INDEX), typ=INDEX)

    # -- memory ----------------------------------------------------------------------------------------------------

    def at(self, pointer: Value, offset: Offset, dtype: str) -> Value:
        """The address `offset` elements behind `pointer`."""
        if isinstance(offset, int) and offset == 0:
            return pointer
        return self.ir.gep(pointer, [index(offset)], inbounds=True, source_etype=memory_type(dtype, 1))

    def load(self, pointer: Value, offset: Offset, dtype: str, width: int = 1) -> Value:
        """`width` consecutive elements; booleans are bytes in memory and bits in registers."""
        stored = memory_type(dtype, width)
        value = self.ir.load(self.at(pointer, offset, dtype), typ=stored, align=itemsize(dtype))
        if dtype == "bool":
            return self.ir.icmp_unsigned("!=", value, ir.Constant(stored, 0 if width == 1 else [0] * width))
        return value

    def store(self, value: Value, pointer: Value, offset: Offset = 0) -> None:
        """Write all lanes of a value."""
        dtype = dtype_of(value)
        if dtype == "bool":
            value = self.ir.zext(value, memory_type("bool", width_of(value)))
        self.ir.store(value, self.at(pointer, offset, dtype), align=itemsize(dtype))

    def load_integer(self, pointer: Value, offset: Offset, dtype: str) -> Value:
        """An integer of any size, as an index."""
        kind, size = np.dtype(dtype).kind, itemsize(dtype)
        stored = ir.IntType(8 * size)
        place = self.ir.gep(pointer, [index(offset)], inbounds=True, source_etype=stored)
        value = self.ir.load(place, typ=stored, align=size)
        if size == 8:
            return value
        return self.ir.sext(value, INDEX) if kind == "i" else self.ir.zext(value, INDEX)

    def load_first(self, pointer: Value, offset: Offset, dtype: str, width: int, valid: int) -> Value:
        """The first `valid` of `width` consecutive elements, and zeros; what lies behind them is not touched."""
        if valid == width:
            return self.load(pointer, offset, dtype, width)
        return self.load_where(_first_lanes(width, valid), pointer, offset, dtype)

    def store_first(self, value: Value, pointer: Value, offset: Offset, valid: int) -> None:
        """Write the first `valid` lanes of a value; what lies behind them is not touched."""
        width = width_of(value)
        if valid == width:
            self.store(value, pointer, offset)
            return
        self.store_where(_first_lanes(width, valid), value, pointer, offset)

    def load_strided(self, pointer: Value, offset: Offset, stride: Offset, dtype: str, width: int) -> Value:
        """`width` elements `stride` apart: vector loads, one load for all lanes, or a load per lane."""
        if width == 1 or stride == 1:
            return self.load(pointer, offset, dtype, width)
        if isinstance(stride, int) and stride == 0:
            return self.broadcast(self.load(pointer, offset, dtype), width)
        if (
            isinstance(stride, int) and stride == 2
        ):  # every other lane of two vectors, which end with the last element
            low = self.load(pointer, offset, dtype, width)
            high = self.load(pointer, self.offset(offset, width - 1), dtype, width)
            return self.shuffle(low, high, [2 * i if 2 * i < width else 2 * i + 1 for i in range(width)])
        value = ir.Constant(vector_type(dtype, width), ir.Undefined)
        for lane in range(width):
            element = self.load(pointer, self.offset(offset, (stride, lane)), dtype)
            value = self.ir.insert_element(value, element, lane_index(lane))
        return value

    def lanes_below(self, count: Offset, width: int) -> Value:
        """A mask of the first `count` lanes, which need not be known beforehand."""
        lanes = ir.Constant(vector_type("int64", width), list(range(width)) if width > 1 else 0)
        return self.ir.icmp_signed("<", lanes, self.broadcast(index(count), width))

    def load_where(self, mask: Value, pointer: Value, offset: Offset, dtype: str) -> Value:
        """Consecutive elements in the lanes of a mask, and zeros; what belongs to other lanes is not touched."""
        width = width_of(mask)
        kind = memory_type(dtype, width)
        zeros = ir.Constant(kind, [0] * width)
        load = self._declare(
            f"llvm.masked.load.v{width}{_memory_name(dtype)}.p0", kind, [POINTER, _SHORT, mask.type, kind]
        )
        alignment = ir.Constant(_SHORT, itemsize(dtype))
        value = self.ir.call(load, [self.at(pointer, offset, dtype), alignment, mask, zeros])
        return self.ir.icmp_unsigned("!=", value, zeros) if dtype == "bool" else value

    def store_where(self, mask: Value, value: Value, pointer: Value, offset: Offset) -> None:
        """Write the lanes of a mask; what belongs to the others is not touched."""
        dtype, width = dtype_of(value), width_of(value)
        if dtype == "bool":
            value = self.ir.zext(value, memory_type("bool", width))
        store = self._declare(
            f"llvm.masked.store.v{width}{_memory_name(dtype)}.p0",
            ir.VoidType(),
            [value.type, POINTER, _SHORT, mask.type],
        )
        alignment = ir.Constant(_SHORT, itemsize(dtype))
        self.ir.call(store, [value, self.at(pointer, offset, dtype), alignment, mask])

    def room(self, count: int, dtype: str) -> Value:
        """Memory of the function's own for so many elements."""
        with self.ir.goto_entry_block():
            return self.ir.alloca(memory_type(dtype, 1), size=index(max(count, 1)))

    def clear(self, pointer: Value, offset: Offset, elements: Offset, dtype: str) -> None:
        """Set consecutive elements to zero."""
        fill = self._declare("llvm.memset.p0.i64", ir.VoidType(), [POINTER, _BYTE, INDEX, BOOL])
        size = self.ir.mul(index(elements), index(itemsize(dtype)))
        self.ir.call(
            fill, [self.at(pointer, offset, dtype), ir.Constant(_BYTE, 0), size, ir.Constant(BOOL, 0)]
        )

    # -- lanes -----------------------------------------------------------------------------------------------------

    def broadcast(self, scalar: Value, width: int) -> Value:
        """A vector with the scalar in every lane."""
        if width == 1 or width_of(scalar) == width:
            return scalar
        undefined = ir.Constant(ir.VectorType(scalar.type, width), ir.Undefined)
        first = self.ir.insert_element(undefined, scalar, ir.Constant(INDEX, 0))
        return self.ir.shuffle_vector(first, undefined, _lanes([0] * width))

    def ramp(self, start: Offset, step: int, width: int) -> Value:
        """start, start + step, start + 2 * step ... as int64."""
        first = self.broadcast(index(start), width)
        steps = [lane * step for lane in range(width)]
        return self.ir.add(first, ir.Constant(first.type, steps if width > 1 else 0))

    def constant(self, number: float | bool, like: Value) -> Value:
        """A number with the type of another value."""
        return splat(float(number), dtype_of(like), width_of(like))

    def number(self, value: Value) -> float | None:
        """The number that a value is known to be in all lanes, None if it is not known."""
        known = getattr(value, "constant", None)  # a number, or one per lane
        if isinstance(known, list):
            known = known[0].constant if len(set(map(str, known))) == 1 else None
        return float(known) if isinstance(known, float | int) else None

    def shuffle(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """Lanes of the concatenation of two vectors."""
        return self.ir.shuffle_vector(a, b, _lanes(lanes))

    def narrowed(self, a: Value, width: int) -> Value:
        """The first lanes of a vector."""
        return self.ir.extract_element(a, lane_index(0)) if width == 1 else self.shuffle(a, a, range(width))

    def transpose(self, rows: Sequence[Value]) -> list[Value]:
        """The columns of a square block whose rows are vectors, by log2(width) rounds of perfect shuffles."""
        size = len(rows)
        low = [lane // 2 + size * (lane % 2) for lane in range(size)]
        high = [lane + size // 2 for lane in low]
        block = list(rows)
        for _ in range(size.bit_length() - 1):
            pairs = [(block[i], block[i + size // 2]) for i in range(size // 2)]
            block = [self.shuffle(a, b, lanes) for a, b in pairs for lanes in (low, high)]
        return block

    def each_lane(self, function: Callable[..., Value], *values: Value) -> Value:
        """Apply a scalar function lane by lane."""
        width = width_of(values[0])
        if width == 1:
            return function(*values)
        result = None
        for lane in range(width):
            position = lane_index(lane)
            one = function(*(self.ir.extract_element(value, position) for value in values))
            if result is None:
                result = ir.Constant(ir.VectorType(one.type, width), ir.Undefined)
            result = self.ir.insert_element(result, one, position)
        return result

    def fold(self, combine: Callable[[Value, Value], Value], vector: Value) -> Value:
        """All lanes combined into one scalar, by halves."""
        width = width_of(vector)
        if width == 1:
            return vector
        if width == 2 or width % 2:  # odd widths: only in remainders, where speed does not matter
            return tree(combine, [self.ir.extract_element(vector, lane_index(i)) for i in range(width)])
        half = width // 2
        low, high = (self.shuffle(vector, vector, range(k * half, (k + 1) * half)) for k in (0, 1))
        return self.fold(combine, combine(low, high))

    # -- arithmetic ------------------------------------------------------------------------------------------------

    def add(self, a: Value, b: Value) -> Value:
        """a + b; of booleans, as in NumPy, whether one holds; integers wrap around."""
        if _is_integer(a):
            return self.ir.add(a, b)
        return self.either(a, b) if dtype_of(a) == "bool" else self.ir.fadd(a, b)

    def subtract(self, a: Value, b: Value) -> Value:
        """a - b"""
        if _is_integer(a):
            return self.ir.sub(a, b)
        return self.ir.fsub(a, b)

    def multiply(self, a: Value, b: Value) -> Value:
        """a * b; of booleans, as in NumPy, whether both hold; integers wrap around."""
        if _is_integer(a):
            return self.ir.mul(a, b)
        return self.both(a, b) if dtype_of(a) == "bool" else self.ir.fmul(a, b)

    def divide(self, a: Value, b: Value) -> Value:
        """a / b"""
        return self.ir.fdiv(a, b)

    def negative(self, a: Value) -> Value:
        """-a"""
        if _is_integer(a):
            return self.ir.neg(a)
        return self.ir.fneg(a)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c, rounded once where the cpu has the instruction."""
        return self.intrinsic("llvm.fmuladd", a, b, c)

    def compare(self, relation: str, a: Value, b: Value) -> Value:
        """Lanes in which the relation holds; false for nan, except `!=`."""
        if dtype_of(a) == "bool":
            return self.ir.icmp_unsigned(relation, a, b)
        if _is_integer(a):
            return self.ir.icmp_signed(relation, a, b)
        return (self.ir.fcmp_unordered if relation == "!=" else self.ir.fcmp_ordered)(relation, a, b)

    def is_nan(self, a: Value) -> Value:
        """Lanes that are not a number."""
        return self.ir.fcmp_unordered("uno", a, a)

    def either(self, a: Value, b: Value) -> Value:
        """Lanes in which a condition holds."""
        return self.ir.or_(a, b)

    def differ(self, a: Value, b: Value) -> Value:
        """Lanes in which one condition holds and the other does not."""
        return self.ir.xor(a, b)

    def inverted(self, a: Value) -> Value:
        """Lanes in which a condition does not hold."""
        return self.ir.not_(a)

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """a where the condition holds, b elsewhere."""
        return self.ir.select(condition, a, b)

    def maximum(self, a: Value, b: Value) -> Value:
        """The larger; nan if either is nan, as in NumPy."""
        if dtype_of(a) == "bool":
            return self.either(a, b)
        if _is_integer(a):
            return self.select(self.compare(">", a, b), a, b)
        keep = self.ir.or_(self.compare(">", a, b), self.is_nan(a))
        return self.select(keep, a, b)

    def minimum(self, a: Value, b: Value) -> Value:
        """The smaller; nan if either is nan, as in NumPy."""
        if dtype_of(a) == "bool":
            return self.both(a, b)
        if _is_integer(a):
            return self.select(self.compare("<", a, b), a, b)
        keep = self.ir.or_(self.compare("<", a, b), self.is_nan(a))
        return self.select(keep, a, b)

    def cast(self, a: Value, dtype: str) -> Value:
        """The same numbers in another dtype; from floating-point numbers to integers there is no rule."""
        if dtype_of(a) == dtype:
            return a
        result = vector_type(dtype, width_of(a))
        if dtype == "int64":
            if dtype_of(a) != "bool":
                raise DTypeError(f"no kernel casts {dtype_of(a)} to int64: NumPy does")
            return self.ir.zext(a, result)
        if _is_integer(a):
            if dtype == "bool":
                return self.ir.icmp_signed("!=", a, self.constant(0, a))
            return self.ir.sitofp(a, result)
        if dtype == "bool":
            return self.ir.fcmp_unordered("!=", a, self.constant(0, a))
        if dtype_of(a) == "bool":
            return self.ir.uitofp(a, result)
        return self.ir.fpext(a, result) if dtype == "float64" else self.ir.fptrunc(a, result)

    def exceptionally(
        self, rare: Value, found: Value, function: Callable[..., Value], *values: Value
    ) -> Value:
        """`found`, but in the lanes of a mask, if there are any, a scalar function of the values."""
        bits = ir.IntType(width_of(rare))
        before, mask = self.ir.block, self.ir.bitcast(rare, bits) if width_of(rare) > 1 else rare
        with self.ir.if_then(self.ir.icmp_unsigned("!=", mask, ir.Constant(bits, 0)), likely=False):
            other = self.select(rare, self.each_lane(function, *values), found)
            last = self.ir.block
        result = self.ir.phi(found.type)
        result.add_incoming(found, before)
        result.add_incoming(other, last)
        return result

    def exact_product(self, a: Value, b: Value) -> tuple[Value, Value]:
        """a * b, and what rounding it loses."""
        product = self.multiply(a, b)
        return product, self.intrinsic("llvm.fma", a, b, self.negative(product))

    def intrinsic(self, name: str, *operands: Value) -> Value:
        """An LLVM intrinsic that is overloaded on its one operand type, such as `llvm.sqrt`."""
        kind = operands[0].type
        letter = _float_name(operands[0])
        suffix = f"v{kind.count}{letter}" if isinstance(kind, ir.VectorType) else letter
        return self.ir.call(self._declare(f"{name}.{suffix}", kind, [kind] * len(operands)), operands)

    def library(self, name: str, *scalars: Value) -> Value:
        """A function of the C library's mathematics, lane by lane: `name` for float64, `name`f for float32."""
        if width_of(scalars[0]) > 1:
            return self.each_lane(lambda *lanes: self.library(name, *lanes), *scalars)
        kind = scalars[0].type
        symbol = name + ("f" if _float_name(scalars[0]) == "f32" else "")
        return self.ir.call(self._declare(symbol, kind, [kind] * len(scalars)), scalars)

    def _declare(self, name: str, result: object, operands: Sequence[Any]) -> Any:
        known = self.module.globals.get(name)
        return known or ir.Function(self.module, ir.FunctionType(result, operands), name)


def tree(combine: Callable[[Value, Value], Value], values: Sequence[Value]) -> Value:
    """Values combined pairwise, so that rounding errors grow with the logarithm of their number."""
    values = list(values)
    while len(values) > 1:
        rest = values[len(values) // 2 * 2 :]
        values = [combine(a, b) for a, b in zip(values[::2], values[1::2], strict=False)] + rest
    return values[0]


def index(value: Offset) -> Value:
    """A Python int as an LLVM integer; values pass."""
    return ir.Constant(INDEX, int(value)) if isinstance(value, int | np.integer) else value


def lane_index(lane: int) -> Value:
    """The number of a lane, for inserting and extracting."""
    return ir.Constant(INDEX, lane)


def splat(number: float | bool, dtype: str, width: int) -> Value:
    """A constant in every lane."""
    if dtype == "bool":
        number = bool(number)
    elif dtype == "int64":
        number = int(number)
    elif dtype == "float32":
        number = float(np.float32(number))
    return ir.Constant(vector_type(dtype, width), number if width == 1 else [number] * width)


def vector_type(dtype: str, width: int) -> Any:
    """LLVM's type of a value in registers."""
    return _SCALARS[dtype] if width == 1 else ir.VectorType(_SCALARS[dtype], width)


def memory_type(dtype: str, width: int) -> Any:
    """LLVM's type of a value in memory."""
    scalar = _BYTE if dtype == "bool" else _SCALARS[dtype]
    return scalar if width == 1 else ir.VectorType(scalar, width)


def width_of(value: Value) -> int:
    """How many lanes a value has."""
    return value.type.count if isinstance(value.type, ir.VectorType) else 1


def dtype_of(value: Value) -> str:
    """The dtype of a value's lanes."""
    return _NAMES[value.type.element if isinstance(value.type, ir.VectorType) else value.type]


def _is_integer(value: Value) -> bool:
    return dtype_of(value) == "int64"


def _float_name(value: Value) -> str:
    """LLVM's name of a floating-point type."""
    names = {"float32": "f32", "float64": "f64"}
    if dtype_of(value) not in names:
        raise DTypeError(
            f"a function of numbers got {dtype_of(value)}; put a cast to float32 or float64 before it"
        )
    return names[dtype_of(value)]


def _memory_name(dtype: str) -> str:
    """LLVM's name of a type in memory."""
    return {"float32": "f32", "float64": "f64", "int64": "i64", "bool": "i8"}[dtype]


def itemsize(dtype: str) -> int:
    """Bytes of one element in memory."""
    return np.dtype(dtype).itemsize


def _first_lanes(width: int, valid: int) -> Any:
    return ir.Constant(ir.VectorType(BOOL, width), [lane < valid for lane in range(width)])


def _lanes(lanes: Sequence[int]) -> Any:
    return ir.Constant(ir.VectorType(_SHORT, len(lanes)), list(lanes))
