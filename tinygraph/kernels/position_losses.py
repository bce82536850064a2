"""Cross entropy where each class has a plane of positions, as in images of labels: vectors run along the positions.

Each lane is a position: its largest logit, the sum of exp(logit - largest), and in the gradient the result are three
passes over the planes of a block of positions, which stay in the cache. What is computed, and what labels out of range
do, is as in `losses.py`, whose kernels add the losses up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from llvmlite import ir

from tinygraph.kernels.builder import Offset, Value, index, lane_index, splat, vector_type
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.emission import Code
from tinygraph.kernels.machine_code import Kernel, compile_kernel, kept


class Positions(NamedTuple):
    """Contiguous logits (images, classes, positions) and labels (images, positions).

    Attributes:
        classes, positions: at least 1.
        label_dtype, dtype, smoothing, ignored: as in `losses.Rows`.
    """

    classes: int
    positions: int
    label_dtype: str
    dtype: str = "float32"
    smoothing: float = 0.0
    ignored: int = -100


def losses(made: Positions, *, cpu: Cpu | None = None) -> Kernel:
    """-sum over classes of target * log_softmax(logits), a number for each position, 0 where it does not count.

    Its pointers: logits, labels, result (images, positions), flag. Its span: images.
    """
    return _losses(made, cpu or this_cpu())


def gradient(made: Positions, single: bool, mean: bool, *, cpu: Cpu | None = None) -> Kernel:
    """(softmax(logits) - target) * cotangent, and / counted of a mean.

    Args:
        single: whether one cotangent serves all positions.

    Its pointers: logits, labels, cotangent, counted (a float64, read with `mean` only), result, flag. Its span: images.
    """
    return _gradient(made, single, mean, cpu or this_cpu())


@kept
def _losses(made: Positions, cpu: Cpu) -> Kernel:
    def write(code: Code) -> None:
        def block(writer: _Block) -> None:
            top, total, chosen, below = writer.statistics()
            log = code.log(total)
            loss = code.subtract(log, code.subtract(chosen, top))
            if made.smoothing:
                rest = code.subtract(log, code.divide(below, code.constant(made.classes, below)))
                mine, others = (code.constant(one, loss) for one in (1 - made.smoothing, made.smoothing))
                loss = code.add(code.multiply(mine, loss), code.multiply(others, rest))
            code.store(
                code.select(writer.counted, loss, code.constant(0, loss)),
                code.pointers["result"],
                writer.place,
            )

        _each_block(code, made, cpu, block)

    pointers = ["logits", "labels", "result", "flag"]
    splits = -(-made.positions // cpu.lanes(made.dtype))
    return compile_kernel(
        "cross entropy of positions", pointers, write, splits=splits, distinct=True, cpu=cpu
    )


@kept
def _gradient(made: Positions, single: bool, mean: bool, cpu: Cpu) -> Kernel:
    def write(code: Code) -> None:
        def block(writer: _Block) -> None:
            slope = code.load(
                code.pointers["cotangent"],
                0 if single else writer.place,
                made.dtype,
                1 if single else writer.width,
            )
            slope = code.broadcast(slope, writer.width)
            if mean:
                number = code.broadcast(code.load(code.pointers["counted"], 0, "float64"), writer.width)
                slope = code.cast(code.divide(code.cast(slope, "float64"), number), made.dtype)
            _, total, _, _ = writer.statistics(code.pointers["result"])
            share = code.divide(code.constant(1, total), total)
            base = made.smoothing / made.classes
            others, mine = (code.constant(one, total) for one in (base, 1 - made.smoothing + base))

            def rest(c: Offset, _: list[Value]) -> None:
                at = writer.at(c)
                value = code.multiply(writer.load("result", at), share)
                value = code.subtract(value, code.select(writer.is_label(c), mine, others))
                # nan of a cotangent that is none stays
                value = code.multiply(code.select(writer.counted, value, code.constant(0, value)), slope)
                code.store(value, code.pointers["result"], at)

            code.loop(0, made.classes, 1, rest)

        _each_block(code, made, cpu, block)

    pointers = ["logits", "labels", "cotangent", "counted", "result", "flag"]
    splits = -(-made.positions // cpu.lanes(made.dtype))
    return compile_kernel("cross entropy gradient of positions", pointers, write, splits=splits, cpu=cpu)


def _each_block(code: Code, made: Positions, cpu: Cpu, body: Callable[[_Block], None]) -> None:
    """For each vector of positions; the last of an image overlaps the one before it."""
    lanes = cpu.lanes(made.dtype)
    blocks, width = -(-made.positions // lanes), min(lanes, made.positions)

    def unit(number: Offset) -> None:
        image, block = code.divide_index(number, blocks)
        first = code.smaller_index(code.offset((block, lanes)), made.positions - width)
        body(_Block(code, made, image, first, width))

    code.units(unit)


class _Block:
    """Some neighbouring positions of an image.

    Attributes:
        place: where they are in arrays of positions.
        counted: the lanes whose label is a class.
    """

    def __init__(self, code: Code, made: Positions, image: Offset, first: Offset, width: int) -> None:
        self.code, self.made, self.width = code, made, width
        self.place = code.offset((image, made.positions), first)
        self._start = code.offset((image, made.classes * made.positions), first)
        self._label = self._labels()
        ignored = code.ir.icmp_signed("==", self._label, splat(made.ignored, "int64", width))
        valid = code.ir.icmp_unsigned("<", self._label, splat(made.classes, "int64", width))
        wrong = code.ir.not_(code.ir.or_(valid, ignored))

        def mark() -> None:
            code.ir.store(index(1), code.pointers["flag"])

        code.when(code.fold(code.either, wrong), mark)
        self.counted = code.ir.and_(valid, code.ir.not_(ignored))

    def at(self, c: Offset) -> Offset:
        """Where a class of these positions is."""
        return self.code.offset(self._start, (c, self.made.positions))

    def load(self, name: str, at: Offset) -> Value:
        """Numbers of these positions."""
        return self.code.load(self.code.pointers[name], at, self.made.dtype, self.width)

    def is_label(self, c: Offset) -> Value:
        """The lanes whose label is a class."""
        return self.code.ir.icmp_signed("==", self._label, self.code.broadcast(index(c), self.width))

    def statistics(self, out: Value | None = None) -> tuple[Value, Value, Value, Value]:
        """The largest logit, the sum of exp(logit - largest), the label's logit, and the sum of logit - largest.

        Args:
            out: where the terms of the sum of exponentials are written.
        """
        code, dtype, width = self.code, self.made.dtype, self.width
        zero, lowest = splat(0, dtype, width), splat(-np.inf, dtype, width)

        def largest(c: Offset, held: list[Value]) -> list[Value]:
            value = self.load("logits", self.at(c))
            return [code.maximum(held[0], value), code.select(self.is_label(c), value, held[1])]

        top, chosen = code.loop(0, self.made.classes, 1, largest, [lowest, zero])

        def add(c: Offset, held: list[Value]) -> list[Value]:
            apart = code.subtract(self.load("logits", self.at(c)), top)
            value = code.exp(apart)
            if out is not None:
                code.store(value, out, self.at(c))
            return [code.add(held[0], value), code.add(held[1], apart)]

        total, below = code.loop(0, self.made.classes, 1, add, [zero, zero])
        return top, total, chosen, below

    def _labels(self) -> Value:
        code, made = self.code, self.made
        numbers = [
            code.load_integer(code.pointers["labels"], code.offset(self.place, lane), made.label_dtype)
            for lane in range(self.width)
        ]
        if self.width == 1:
            return numbers[0]
        vector = ir.Constant(vector_type("int64", self.width), ir.Undefined)
        for lane, number in enumerate(numbers):
            vector = code.ir.insert_element(vector, number, lane_index(lane))
        return vector
