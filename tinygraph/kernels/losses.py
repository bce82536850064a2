"""Cross entropy on logits with class indices, and its gradient: rows of classes, each read while it is in the cache.

A row is passed three times at most: its largest logit, the sum of exp(logit - largest), and in the gradient the result;
after Blanchard, Higham and Higham, "Accurately Computing the Log-Sum-Exp and Softmax Functions" (2021). The target is
never an array: it is the label's place and, with smoothing, one number for all. The losses of rows are added up in
float64, in an order that depends on their number only.

Labels out of range reach no memory: they set a flag, and their rows count as if they were ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from llvmlite import ir

from tinygraph.kernels.builder import INDEX, Offset, Value, index, splat
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.emission import Code
from tinygraph.kernels.machine_code import Kernel, compile_kernel, kept


class Rows(NamedTuple):
    """Logits as rows of classes that lie side by side, and a label for each.

    Attributes:
        classes: numbers of a row, at least 1.
        row: elements from row to row of the logits.
        label: elements from label to label.
        label_dtype: a dtype of integers.
        dtype: of the logits, "float32" or "float64".
        smoothing: the share of the uniform distribution in the target.
        ignored: rows with this label do not count.
    """

    classes: int
    row: int
    label: int
    label_dtype: str
    dtype: str = "float32"
    smoothing: float = 0.0
    ignored: int = -100


def losses(rows: Rows, result: int, *, cpu: Cpu | None = None) -> Kernel:
    """-sum over classes of target * log_softmax(logits), one number a row, 0 where the row does not count.

    Its pointers: logits, labels, result (numbers `result` elements apart), flag (an int64, set to 1 by a label that is
    neither a class nor ignored). Its span: rows.
    """
    return _losses(rows, result, cpu or this_cpu())


def total(rows: Rows, mean: bool, *, cpu: Cpu | None = None) -> Kernel:
    """The sum of the losses of rows that lie side by side, or their mean over those that count.

    Its pointers: losses, labels, result. Its count: rows. The mean over no row is nan.
    """
    return _total(rows, mean, cpu or this_cpu())


def counted(rows: Rows, *, cpu: Cpu | None = None) -> Kernel:
    """How many rows count, at least 1, as a float64. Its pointers: labels, result. Its count: rows."""
    return _counted(rows, cpu or this_cpu())


def gradient(rows: Rows, result: int, cotangent: int, mean: bool, *, cpu: Cpu | None = None) -> Kernel:
    """(softmax(logits) - target) * cotangent, and / counted of a mean.

    Args:
        result: elements from row to row of the result.
        cotangent: elements from one row's cotangent to the next; 0 where one serves all.

    Its pointers: logits, labels, cotangent, counted (a float64, read with `mean` only), result, flag. Its span: rows.
    """
    return _gradient(rows, result, cotangent, mean, cpu or this_cpu())


@kept
def _losses(rows: Rows, result: int, cpu: Cpu) -> Kernel:
    def write(code: Code) -> None:
        writer = _Writer(code, rows, cpu)

        def unit(row: Offset) -> None:
            logits, label = writer.place(row), writer.label(row)
            place = code.offset((row, result))

            def counts() -> None:
                top, exponentials = writer.statistics(logits)
                log = code.log(exponentials)
                chosen = code.subtract(code.load(logits, label, rows.dtype), top)
                loss = code.subtract(log, chosen)
                if rows.smoothing:
                    rest = code.subtract(log, writer.mean_below(logits, top))
                    mine, others = (splat(one, rows.dtype, 1) for one in (1 - rows.smoothing, rows.smoothing))
                    loss = code.add(code.multiply(mine, loss), code.multiply(others, rest))
                code.store(loss, code.pointers["result"], place)

            writer.when_counted(
                label, counts, lambda: code.store(splat(0, rows.dtype, 1), code.pointers["result"], place)
            )

        code.units(unit)

    pointers = ["logits", "labels", "result", "flag"]
    return compile_kernel("cross entropy", pointers, write, splits=1, distinct=True, cpu=cpu)


@kept
def _total(rows: Rows, mean: bool, cpu: Cpu) -> Kernel:
    width = cpu.lanes("float64")

    def write(code: Code) -> None:
        count = code.counts["rows"]

        def add(lanes: int) -> Callable[[Offset, list[Value]], list[Value]]:
            def some(i: Offset, held: list[Value]) -> list[Value]:
                value = code.load(code.pointers["losses"], i, rows.dtype, lanes)
                return [code.add(held[0], code.cast(value, "float64"))]

            return some

        whole = code.offset((code.divide_index(count, width)[0], width))
        (vector,) = code.loop(0, whole, width, add(width), [splat(0, "float64", width)])
        (rest,) = code.loop(whole, count, 1, add(1), [splat(0, "float64", 1)])
        result = code.add(code.fold(code.add, vector), rest)
        if mean:
            result = code.divide(result, _Writer(code, rows, cpu).count(count))
        code.store(code.cast(result, rows.dtype), code.pointers["result"])

    return compile_kernel("sum of losses", ["losses", "labels", "result"], write, counts=["rows"], cpu=cpu)


@kept
def _counted(rows: Rows, cpu: Cpu) -> Kernel:
    def write(code: Code) -> None:
        number = _Writer(code, rows, cpu).count(code.counts["rows"])
        code.store(code.maximum(number, splat(1, "float64", 1)), code.pointers["result"])

    return compile_kernel("rows that count", ["labels", "result"], write, counts=["rows"], cpu=cpu)


@kept
def _gradient(rows: Rows, result: int, cotangent: int, mean: bool, cpu: Cpu) -> Kernel:
    def write(code: Code) -> None:
        writer = _Writer(code, rows, cpu)

        def unit(row: Offset) -> None:
            logits, label = writer.place(row), writer.label(row)
            out = code.at(code.pointers["result"], code.offset((row, result)), rows.dtype)
            slope = code.load(code.pointers["cotangent"], code.offset((row, cotangent)), rows.dtype)
            if mean:
                number = code.load(code.pointers["counted"], 0, "float64")
                slope = code.cast(code.divide(code.cast(slope, "float64"), number), rows.dtype)

            def counts() -> None:
                _, exponentials = writer.statistics(logits, out)
                share = code.divide(splat(1, rows.dtype, 1), exponentials)
                base = splat(rows.smoothing / rows.classes, rows.dtype, 1)
                chosen = code.multiply(code.load(out, label, rows.dtype), share)
                mine = splat(1 - rows.smoothing + rows.smoothing / rows.classes, rows.dtype, 1)
                chosen = code.multiply(code.subtract(chosen, mine), slope)

                def rest(place: Offset, valid: int, _: list[Value]) -> list[Value]:
                    value = code.load_first(out, place, rows.dtype, writer.lanes, valid)
                    factor, less, scale = (code.broadcast(one, writer.lanes) for one in (share, base, slope))
                    value = code.multiply(code.subtract(code.multiply(value, factor), less), scale)
                    code.store_first(value, out, place, valid)
                    return []

                writer.each_vector(rest)
                code.store(chosen, out, label)

            def nothing() -> None:
                zero = code.multiply(slope, splat(0, rows.dtype, 1))  # nan of a cotangent that is none

                def clear(place: Offset, valid: int, _: list[Value]) -> list[Value]:
                    code.store_first(code.broadcast(zero, writer.lanes), out, place, valid)
                    return []

                writer.each_vector(clear)

            writer.when_counted(label, counts, nothing)

        code.units(unit)

    pointers = ["logits", "labels", "cotangent", "counted", "result", "flag"]
    return compile_kernel("cross entropy gradient", pointers, write, splits=1, cpu=cpu)


class _Writer:
    """Writes the parts that the kernels share."""

    def __init__(self, code: Code, rows: Rows, cpu: Cpu) -> None:
        self.code, self.rows = code, rows
        self.lanes = cpu.lanes(rows.dtype)

    def place(self, row: Offset) -> Value:
        """Where a row's logits are."""
        return self.code.at(
            self.code.pointers["logits"], self.code.offset((row, self.rows.row)), self.rows.dtype
        )

    def label(self, row: Offset) -> Value:
        """A row's label, as an index."""
        place = self.code.offset((row, self.rows.label))
        return self.code.load_integer(self.code.pointers["labels"], place, self.rows.label_dtype)

    def when_counted(self, label: Value, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
        """One or the other, and the flag where the label is neither a class nor ignored."""
        code = self.code
        ignored = code.ir.icmp_signed("==", label, index(self.rows.ignored))
        valid = code.ir.icmp_unsigned("<", label, index(self.rows.classes))

        def wrong() -> None:
            code.ir.store(index(1), code.pointers["flag"])

        code.when(code.ir.or_(valid, ignored), lambda: None, wrong)
        code.when(code.ir.and_(valid, code.ir.not_(ignored)), then, otherwise)

    def count(self, rows: Offset) -> Value:
        """How many labels are not ignored, as a float64."""
        code = self.code

        def one(row: Offset, held: list[Value]) -> list[Value]:
            counts = code.ir.icmp_signed("!=", self.label(row), index(self.rows.ignored))
            return [code.ir.add(held[0], code.ir.zext(counts, INDEX))]

        (number,) = code.loop(0, rows, 1, one, [index(0)])
        return code.ir.sitofp(number, ir.DoubleType())

    def each_vector(
        self, body: Callable[[Offset, int, list[Value]], list[Value]], carried: list[Value] | None = None
    ) -> list[Value]:
        """A row in vectors; `body` gets the place of each, how many lanes are wanted, and what is carried."""
        whole = self.rows.classes // self.lanes * self.lanes
        held = self.code.loop(
            0, whole, self.lanes, lambda place, inner: body(place, self.lanes, inner), carried or []
        )
        return body(whole, self.rows.classes - whole, held) if whole < self.rows.classes else held

    def statistics(self, logits: Value, out: Value | None = None) -> tuple[Value, Value]:
        """The largest logit, and the sum of exp(logit - largest), whose terms are written to `out`."""
        code, dtype = self.code, self.rows.dtype
        lowest = splat(-np.inf, dtype, self.lanes)

        def largest(place: Offset, valid: int, held: list[Value]) -> list[Value]:
            return [code.maximum(held[0], self._only(self._load(logits, place, valid), valid, lowest))]

        (vector,) = self.each_vector(largest, [lowest])
        top = code.fold(code.maximum, vector)
        high, zero = code.broadcast(top, self.lanes), splat(0, dtype, self.lanes)

        def add(place: Offset, valid: int, held: list[Value]) -> list[Value]:
            value = code.exp(code.subtract(self._load(logits, place, valid), high))
            if out is not None:
                code.store_first(value, out, place, valid)
            return [code.add(held[0], self._only(value, valid, zero))]

        (vector,) = self.each_vector(add, [zero])
        return top, code.fold(code.add, vector)

    def mean_below(self, logits: Value, top: Value) -> Value:
        """The mean of logit - largest."""
        code, zero = self.code, splat(0, self.rows.dtype, self.lanes)
        high = code.broadcast(top, self.lanes)

        def add(place: Offset, valid: int, held: list[Value]) -> list[Value]:
            value = code.subtract(self._load(logits, place, valid), high)
            return [code.add(held[0], self._only(value, valid, zero))]

        (vector,) = self.each_vector(add, [zero])
        return code.divide(code.fold(code.add, vector), code.constant(self.rows.classes, top))

    def _load(self, logits: Value, place: Offset, valid: int) -> Value:
        return self.code.load_first(logits, place, self.rows.dtype, self.lanes, valid)

    def _only(self, value: Value, valid: int, other: Value) -> Value:
        """The first lanes of a value, and the others of another."""
        lanes = [lane if lane < valid else self.lanes + lane for lane in range(self.lanes)]
        return value if valid == self.lanes else self.code.shuffle(value, other, lanes)
