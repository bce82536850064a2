"""Matrix products against float64: values, rounding, ragged ends, strides, stacks, epilogues, threads, stray access."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each, each_in_part
from tinygraph.core.registry import ops
from tinygraph.errors import SettingError
from tinygraph.kernels import contractions, gemm
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.gemm import Matrix, Product, ProductEpilogue
from tinygraph.kernels.machine_code import Private
from tinygraph.kernels.program import ProgramBuilder
from tinygraph.kernels.teams import Table

BOUND = 20  # roundings of random numbers, times the sum of the products' sizes, at any depth
HARD = (1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 37)


def restricted(name: str, monkeypatch: pytest.MonkeyPatch) -> Cpu:
    monkeypatch.setenv("TINYGRAPH_CPU", name)
    try:
        return this_cpu()
    except SettingError:
        pytest.skip(f"this machine cannot run {name}")


def matrix(rng: Any, guard: Any, rows: int, columns: int, dtype: Any, way: str) -> Any:
    """A matrix that lies in memory in one of several ways, between canaries."""
    values = rng.standard_normal((rows, columns))
    if way == "columns":
        return guard.like(values.T.astype(dtype)).T
    if way == "spread":
        wide = guard((rows, 3, columns, 2), dtype)
        wide[:, 1, :, 0] = values
        return wide[:, 1, :, 0]
    if way == "backwards":
        return guard.like(values[::-1, ::-1].astype(dtype))[::-1, ::-1]
    if way == "repeated":
        return np.broadcast_to(guard.like(values[:1].astype(dtype)), (rows, columns))
    return guard.like(values.astype(dtype))


def place(array: Any) -> Matrix:
    row, column = (step // array.itemsize for step in array.strides)
    return Matrix(row, column, (0,))


def described(a: Any, b: Any, out: Any) -> Product:
    return Product(*a.shape[:1], b.shape[1], a.shape[1], place(a), place(b), place(out), (), a.dtype.name)


def scratch_like(product: Product, cpu: Cpu, guard: Any, threads: int = 1) -> Private:
    size = gemm.scratch(product, cpu)
    assert size <= gemm.most_scratch(product.rows, product.columns, product.depth, product.dtype, cpu)
    return Private([guard((size,), product.dtype) for _ in range(threads)])


def check(a: Any, b: Any, out: Any, cpu: Cpu, guard: Any) -> None:
    out[...] = np.nan
    product = described(a, b, out)
    kernel = gemm.product_kernel(product, cpu=cpu)
    kernel.bind(a, b, out, scratch_like(product, cpu, guard), span=1)()
    exact, size = a.astype(float) @ b.astype(float), np.abs(a).astype(float) @ np.abs(b).astype(float)
    assert (np.abs(out - exact) <= BOUND * np.finfo(out.dtype).eps * size + 1e-300).all(), product


WAYS = ("rows", "columns", "spread", "backwards", "repeated")


@each_in_part("ways, dtype", list(itertools.product(WAYS[:3], WAYS[:3], WAYS[:2])), ["float32", "float64"])
def test_shapes(ways: tuple[str, ...], dtype: str, guard: Any) -> None:
    rng = np.random.default_rng(WAYS.index(ways[0]))
    for _ in range(4):
        m, k, n = (int(rng.choice(HARD)) for _ in range(3))
        a, b, out = (
            matrix(rng, guard, *shape, dtype, way)
            for shape, way in zip(((m, k), (k, n), (m, n)), ways, strict=True)
        )
        check(a, b, out, this_cpu(), guard)


@each_in_part(
    "shape, ways",
    [
        *((1, 1, 1), (40, 300, 33), (1, 1000, 70), (70, 1000, 1), (3, 513, 300), (65, 600, 19), (6, 257, 2)),
        *((77, 900, 200), (131, 389, 137), (40, 9, 300)),
    ],
    [("rows", "rows"), ("rows", "columns"), ("columns", "rows"), ("backwards", "repeated")],
)
def test_long_depths(shape: tuple[int, int, int], ways: tuple[str, str], guard: Any) -> None:
    rng, (m, k, n) = np.random.default_rng(k_of(shape)), shape
    a, b = matrix(rng, guard, m, k, "float32", ways[0]), matrix(rng, guard, k, n, "float32", ways[1])
    check(a, b, guard((m, n), "float32"), this_cpu(), guard)


def k_of(shape: tuple[int, int, int]) -> int:
    return shape[1]


@pytest.mark.parametrize("name", ["avx2", "generic"])
@pytest.mark.parametrize("ways", [("rows", "columns"), ("columns", "rows"), ("rows", "spread")])
def test_narrower_cpus(name: str, ways: tuple[str, str], guard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, rng = restricted(name, monkeypatch), np.random.default_rng(1)
    for m, k, n in ((5, 7, 3), (33, 270, 21), (1, 40, 9), (9, 33, 1)):
        a, b = matrix(rng, guard, m, k, "float32", ways[0]), matrix(rng, guard, k, n, "float32", ways[1])
        check(a, b, guard((m, n), "float32"), cpu, guard)


def test_every_product_of_small_sizes(guard: Any) -> None:
    """Of integers, which come out exactly; one kernel for each size up to 4."""
    for m, k, n in itertools.product(range(1, 5), repeat=3):
        a, b = (
            np.arange(m * k, dtype="float32").reshape(m, k),
            np.arange(k * n, dtype="float32").reshape(k, n),
        )
        out = guard((m, n), "float32")
        check(guard.like(a), guard.like(b), out, this_cpu(), guard)
        assert (out == a @ b).all()


@each("ways", [("rows", "rows"), ("columns", "rows"), ("rows", "columns")])
def test_sizes_that_share_a_kernel(ways: tuple[str, str], guard: Any) -> None:
    """Rows and depth as arguments: all sizes of a class are right between canaries, and few kernels serve them."""
    rng, found = np.random.default_rng(3), set()
    sizes = [
        (17, 9),
        (31, 20),
        (32, 33),
        (33, 64),
        (47, 17),
        (64, 50),
        (61, 300),
        (40, 384),
        (40, 385),
        (55, 700),
        (63, 1000),
    ]
    for m, k in sizes:
        a, b = matrix(rng, guard, m, k, "float32", ways[0]), matrix(rng, guard, k, 37, "float32", ways[1])
        out = guard((m, 37), "float32")
        out[...] = np.nan
        # neighbours of the same strides: the first of the batch, as a view
        kernel, counts = gemm.shared_kernel(described(a, b, out))
        size = gemm.most_scratch(m, 37, k, "float32")
        kernel.bind(a, b, out, Private([guard((size,), "float32")]), counts=counts, span=1)()
        exact, norm = a.astype(float) @ b.astype(float), np.abs(a).astype(float) @ np.abs(b).astype(float)
        assert (np.abs(out - exact) <= BOUND * np.finfo("float32").eps * norm).all(), (m, k)
    for m in range(33, 65):
        a, b, out = (np.ones(shape, "float32") for shape in ((m, 37), (37, 40), (m, 40)))
        kernel, counts = gemm.shared_kernel(described(a, b, out))
        found.add(kernel.address)
        kernel.bind(a, b, out, Private([np.empty(10000, "float32")]), counts=counts, span=1)()
        assert counts == (m, 37)
        assert (out == 37).all(), m
    assert len(found) == 1


def test_scratch_is_no_more_than_what_may_be_packed() -> None:
    cpu = this_cpu()._replace(vector_bytes=64, registers=32)
    # one panel of 16 columns of float32, and no rows: too few panels read them again
    assert gemm.most_scratch(16, 16, 32, "float32", cpu) == 16 * 32
    assert gemm.most_scratch(32, 2, 16, "float32", cpu) == 32 * 16
    rng = np.random.default_rng(5)
    for vector_bytes, registers in ((16, 16), (32, 16), (64, 32)):
        cpu = cpu._replace(vector_bytes=vector_bytes, registers=registers)
        for rows, columns, depth in rng.integers(1, 130, (150, 3)).tolist():
            for left in (Matrix(depth, 1, (0,)), Matrix(1, rows, (0,))):
                for right in (Matrix(columns, 1, (0,)), Matrix(1, depth, (0,))):
                    product = Product(rows, columns, depth, left, right, Matrix(columns, 1, (0,)))
                    most = gemm.most_scratch(rows, columns, depth, "float32", cpu)
                    assert gemm.scratch(product, cpu) <= most, product


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 4, 0), (0, 0, 0)])
def test_nothing_to_write(shape: tuple[int, int, int], guard: Any) -> None:
    m, k, n = shape
    check(guard((m, k), "float32"), guard((k, n), "float32"), guard((m, n), "float32"), this_cpu(), guard)


def test_a_sum_of_nothing_is_zero(guard: Any) -> None:
    out = guard((3, 5), "float32")
    check(guard((3, 0), "float32"), guard((0, 5), "float32"), out, this_cpu(), guard)
    assert (out == 0).all()


def test_errors_do_not_grow_with_the_depth(guard: Any) -> None:
    """Equal numbers, which err in one direction: one chain of 4096 is far more wrong than blocks are."""
    k = 4096
    a, b, out = np.full((8, k), 0.1, np.float32), np.ones((k, 16), np.float32), guard((8, 16), "float32")
    product = described(a, b, out)
    scratch = scratch_like(product, this_cpu(), guard)
    gemm.product_kernel(product).bind(a, b, out, scratch, span=1)()
    exact = k * float(np.float32(0.1))
    chain = np.add.accumulate(a[0])[-1]
    assert np.abs(out - exact).max() < abs(chain - exact) / 5
    assert np.abs(out - exact).max() < (256 / 2 + k / 256) * np.finfo("float32").eps * exact


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("shape", [(5, 3, 4), (128, 70, 33), (300, 20, 5), (1, 700, 100), (64, 2000, 10)])
def test_threads(shape: tuple[int, int, int], threads: int, guard: Any) -> None:
    """Any number of threads, and the same bits."""
    rng, (m, k, n) = np.random.default_rng(0), shape
    for way in ("rows", "columns"):
        a, b = matrix(rng, guard, m, k, "float32", "rows"), matrix(rng, guard, k, n, "float32", way)
        out, alone = guard((m, n), "float32"), guard((m, n), "float32")
        check(a, b, alone, this_cpu(), guard)
        product = described(a, b, out)
        scratch = scratch_like(product, this_cpu(), guard, threads)
        bound = gemm.product_kernel(product).bind(a, b, out, scratch, span=1)
        Table([bound, bound], threads)()
        assert (out == alone).all()
        out[...] = np.nan
        bound()
        assert (out == alone).all()


def test_epilogues(guard: Any) -> None:
    """Bias by column, a residual, a mask and an activation, with one and several blocks, straight and transposed."""
    rng = np.random.default_rng(3)
    for m, k, n, way in (
        (7, 5, 19, "rows"),
        (33, 600, 21, "rows"),
        (33, 600, 21, "columns"),
        (2, 64, 3, "rows"),
    ):
        build = ProgramBuilder()
        total, bias, more, seen = (build.input(dtype) for dtype in ("float32", "float32", "float32", "bool"))
        value = build.step(ops.relu, build.step(ops.add, build.step(ops.add, total, bias), more))
        kept = build.step(ops.where, seen, value, build.constant(-1.0, "float32"))
        a, b = (matrix(rng, guard, *shape, "float32", "rows") for shape in ((m, k), (k, n)))
        out, residual = (matrix(rng, guard, m, n, "float32", way) for _ in range(2))
        offset, mask = (
            guard.like(rng.standard_normal(n).astype("float32")),
            guard.like(rng.random((m, n)) < 0.5),
        )
        operands = (Matrix(0, 1, (0,)), place(residual), place(mask))
        product = described(a, b, out)
        kernel = gemm.product_kernel(product, ProductEpilogue(build.program(kept), operands))
        scratch = scratch_like(product, this_cpu(), guard)
        kernel.bind(a, b, out, scratch, offset, residual, mask, span=1)()
        exact = a.astype(float) @ b + offset + residual
        np.testing.assert_allclose(out, np.where(mask, np.maximum(exact, 0), -1), rtol=1e-5, atol=1e-4)


CONTRACTIONS = [
    ("ij,jk->ik", (5, 6), (6, 7)),
    ("bij,bjk->bik", (3, 5, 6), (3, 6, 7)),
    ("bij,jk->bik", (3, 5, 6), (6, 7)),
    ("abij,bjk->abik", (2, 3, 5, 6), (3, 6, 7)),
    ("abij,abjk->abik", (2, 1, 5, 6), (2, 3, 6, 7)),
    ("abij,abjk->abik", (2, 3, 5, 6), (1, 1, 6, 7)),
    ("bqhd,bkhd->bhqk", (2, 5, 3, 6), (2, 7, 3, 6)),
    ("bhqk,bkhd->bqhd", (2, 3, 5, 7), (2, 7, 3, 6)),
    ("i,i->", (9,), (9,)),
    ("ij,j->i", (5, 6), (6,)),
    ("j,jk->k", (6,), (6, 7)),
    ("i,k->ik", (5,), (7,)),
    ("i,k->ki", (5,), (7,)),
    ("ij,kl->iklj", (5, 6), (3, 4)),
    ("ijk,jkl->il", (3, 4, 5), (4, 5, 6)),
    ("ij,ij->ij", (3, 4), (3, 4)),
    ("ij,ij->j", (1, 4), (1, 4)),
]


@pytest.mark.parametrize(("formula", "left", "right"), CONTRACTIONS)
def test_contractions(formula: str, left: Any, right: Any, guard: Any) -> None:
    rng = np.random.default_rng(5)
    x, y = (guard.like(rng.standard_normal(shape)) for shape in (left, right))
    exact = np.einsum(formula, x, y)
    out = guard(exact.shape, "float64")
    terms = formula.replace("->", ",").split(",")
    lowering = contractions.lowering(terms, (left, right, exact.shape), "float64", this_cpu())
    assert lowering is not None
    run = lowering.bind([x, y], [out], [np.full(size, 255, np.uint8) for size in lowering.scratch])
    assert run is not None
    run()
    np.testing.assert_allclose(out, exact, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("formula", "left", "right"),
    [("ii,ij->ij", (3, 3), (3, 4)), ("ij,kl->il", (3, 4), (5, 6)), ("ij,jk->k", (3, 4), (4, 5))],
)
def test_what_is_no_product(formula: str, left: Any, right: Any) -> None:
    shape = np.einsum(formula, np.zeros(left), np.zeros(right)).shape
    terms = formula.replace("->", ",").split(",")
    assert contractions.lowering(terms, (left, right, shape), "float64", this_cpu()) is None


def test_strides_that_are_not_for_it(guard: Any) -> None:
    """Depths of two axes that do not lie in one another, and bytes between elements."""
    x, y, out = guard((3, 4, 5), "float64", 1), guard((5, 4, 6), "float64", 1), guard((3, 6), "float64")
    assert contractions.product_of(("ijk", "kjl", "il"), [x, y, out]) is None
    odd = np.zeros(3 * 4 * 9, np.uint8)
    crooked = np.ndarray((3, 4), "float64", odd, strides=(36, 9))
    assert contractions.product_of(("ij", "jk", "ik"), [crooked, np.ones((4, 2)), np.ones((3, 2))]) is None


_AT_THE_EDGE = """
import ctypes, itertools, mmap
import numpy as np
from tests.kernels.test_gemm import HARD, described
from tinygraph.kernels import gemm, losses

library = ctypes.CDLL(None, use_errno=True)
page = mmap.PAGESIZE

def edge(values, front):
    size = -(-values.nbytes // page) * page
    memory = mmap.mmap(-1, size + 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for place in (start, start + page + size):
        assert library.mprotect(ctypes.c_void_p(place), ctypes.c_size_t(page), 0) == 0
    offset = page if front else page + size - values.nbytes
    array = np.frombuffer(memory, values.dtype, values.size, offset).reshape(values.shape)
    array[...] = values
    return array

rng = np.random.default_rng(0)
for turned, front in itertools.product(itertools.product((False, True), repeat=2), (False, True)):
    for m, k, n in [(5, 7, 3), (13, 31, 17), (1, 37, 9), (17, 300, 1), (31, 8, 33), (2, 1, 2)]:
        a, b = (rng.standard_normal(shape[::-1] if t else shape).astype("float32")
                for shape, t in zip(((m, k), (k, n)), turned))
        a, b = (edge(x, front).T if t else edge(x, front) for x, t in zip((a, b), turned))
        out = edge(np.zeros((m, n), "float32"), front)
        product = described(a, b, out)
        scratch = edge(np.zeros(max(1, gemm.scratch(product)), "float32"), front)
        gemm.product_kernel(product).bind(a, b, out, scratch, span=1)()
        np.testing.assert_allclose(out, a.astype(float) @ b, rtol=1e-4, atol=1e-4)
print("no stray access")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages with Linux's constants")
def test_nothing_is_touched_outside_the_arrays() -> None:
    """Arrays that end, or begin, at a page that may be neither read nor written; in a process that may die of it."""
    done = subprocess.run(
        [sys.executable, "-c", _AT_THE_EDGE], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout == "no stray access\n", (done.returncode, done.stderr)


@each("terms", [("K", "K", ""), ("MK", "KN", "MN")])
def test_long_sums_keep_their_digits(terms: Any) -> None:
    """One chain of sums per lane would be wrong in the third digit."""
    size, number = 3_000_000, float(np.float32(0.1))
    shape = {"": (), "K": (size,), "MK": (1, size), "KN": (size, 1), "MN": (1, 1)}
    x, y = (np.full(shape[one], number, np.float32) for one in terms[:2])
    found = tg.compile(np.matmul)(x, y)
    np.testing.assert_allclose(found, np.full(shape[terms[2]], size * number**2), rtol=2e-5)
