"""Winograd's algorithm against sums over taps in float64: values, rounding, ragged tiles, stray reads and writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.kernels.convolution_cases import LAYOUTS, Case, each_map
from tests.rows import each_in_part
from tinygraph.errors import SettingError, ShapeError
from tinygraph.kernels.cpu import this_cpu
from tinygraph.kernels.images import direct, lowerings, winograd
from tinygraph.kernels.images.planes import Planes
from tinygraph.kernels.lowering import Layouts, rows

BOUND = winograd.ERROR  # of the largest result, as plans say
assert BOUND <= 3e-5
SAME = {"kernel": (3, 3), "padding": (1, 1)}
CASES = [
    Case(2, 16, (8, 8), 16, **SAME),
    Case(3, 32, (4, 12), 16, **SAME),
    Case(1, 16, (7, 7), 48, **SAME),  # 4 divides neither side
    Case(2, 16, (5, 13), 32, (3, 3)),  # no padding
    Case(1, 48, (6, 5), 16, (3, 3), padding=(2, 2)),  # more padding than "same"
    Case(1, 16, (9, 6), 16, (3, 3), padding=(0, 1)),
    Case(5, 64, (4, 4), 80, **SAME),  # one tile an image, five vectors of outputs
    Case(7, 128, (8, 8), 32, **SAME),  # several blocks, the last one short
    Case(1, 16, (40, 40), 16, **SAME),
]


def described(case: Case) -> direct.Convolution:
    made = lowerings.convolution(
        (case.images, case.inputs, *case.size),
        (case.outputs, case.inputs, *case.kernel),
        case.dtype,
        stride=case.stride,
        padding=tuple((p, p) for p in case.padding),
        dilation=case.dilation,
    )
    assert made is not None
    return made


@each_in_part("case, layout", CASES, LAYOUTS)
def test_on_arrays(case: Case, layout: str, guard: Any) -> None:
    assert winograd.choose_tiling(described(case), case.images) is not None
    for got, wanted in each_map(case, layout, this_cpu(), guard):
        assert np.abs(got - wanted).max() <= BOUND * np.abs(wanted).max()


@pytest.mark.parametrize("name", ["avx2", "generic"])
@pytest.mark.parametrize("case", CASES[1:4])
def test_narrower_cpus(case: Case, name: str, guard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAPH_CPU", name)
    try:
        cpu = this_cpu()
    except SettingError:
        pytest.skip(f"this machine cannot run {name}")
    for got, wanted in each_map(case, "wanted", cpu, guard):
        assert np.abs(got - wanted).max() <= BOUND * np.abs(wanted).max()


@pytest.mark.parametrize(
    "case",
    [
        Case(2, 16, (8, 8), 16, (5, 5), padding=(2, 2)),
        Case(2, 16, (8, 8), 16, (3, 3), (2, 2), (1, 1)),
        Case(2, 16, (9, 9), 16, (3, 3), padding=(2, 2), dilation=(2, 2)),
        Case(2, 3, (8, 8), 16, **SAME),
        Case(2, 16, (8, 8), 16, **SAME, dtype="float64"),
        Case(2, 16, (3, 3), 16, **SAME),
    ],
)
def test_where_it_does_not_serve(case: Case) -> None:
    assert winograd.choose_tiling(described(case), case.images) is None


def test_exact_cpus_leave_it_out() -> None:
    made = described(CASES[0])
    assert winograd.choose_tiling(made, 2, this_cpu()._replace(exact=True)) is None


def test_integers_come_out_to_the_last_digit_that_the_transforms_leave() -> None:
    """An input of one number and a kernel of one: the product stands where the kernel reaches, and nowhere else."""
    made = described(Case(1, 16, (8, 8), 16, **SAME))
    x, kernel = np.zeros((1, 16, 8, 8), np.float32), np.zeros((16, 16, 3, 3), np.float32)
    x[0, 3, 2, 5], kernel[7, 3, 0, 2] = 3, 5
    free = Layouts((rows(4), rows(4), None), (rows(4),))
    lowering = lowerings.forward(made, x.shape, free, this_cpu())
    out = np.empty((1, 16, 8, 8), np.float32)
    run = lowering.bind([x, kernel, None], [out], [np.empty(n, np.uint8) for n in lowering.scratch])
    assert run is not None
    run()
    wanted = np.zeros_like(out)
    wanted[0, 7, 3, 4] = 15  # one row below and one column left of the number: tap (0, 2) of a padding of 1
    np.testing.assert_allclose(out, wanted, rtol=0, atol=15 * BOUND)


def test_errors_teach() -> None:
    made = described(CASES[0])
    tiling = winograd.choose_tiling(made, 2)
    assert tiling is not None
    bare = made._replace(source=made.source._replace(halo=(0, 0, 0, 0)))
    with pytest.raises(ShapeError, match=r"the input's halo is \(0, 0, 0, 0\).*reads \(1, 1, 1, 1\)"):
        winograd.forward(bare, tiling)
    ragged = described(CASES[2])
    tiling = winograd.choose_tiling(ragged, 1)
    assert tiling is not None
    ragged = ragged._replace(source=ragged.source._replace(halo=winograd.source_halo(ragged)))
    assert ragged.source.halo == (1, 2, 1, 2)  # 8 outputs are computed of 7
    with pytest.raises(ShapeError, match="the output's gradient's halo"):
        winograd.kernel_gradient(ragged, Planes(7, 7, 48, 48), tiling)
