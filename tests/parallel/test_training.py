"""One run is the run of several processes on the same batches, to rounding."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_losses_and_parameters_are_those_of_one_process(ranks, tmp_path, count):
    found = {}
    for several in (1, count):
        ranks("program_training.py", several, tmp_path / f"{several}.npz")
        with np.load(tmp_path / f"{several}.npz") as saved:
            found[several] = dict(saved)
    one = found[1]
    assert len(one["SGD/losses"]) >= 50
    assert one["SGD/losses"][-1] < 0.9 < one["SGD/losses"][0]
    assert found[count].keys() == one.keys()
    for name, value in one.items():
        np.testing.assert_allclose(
            found[count][name], value, rtol=1e-12, atol=1e-12, err_msg=f"{name} of {count} processes"
        )


def test_batches_too_small_to_share_out(ranks):
    said = ranks("program_small_batches.py", 2)
    assert said.count("the last batch has 1, and 2 processes share out every batch") == 2


def test_other_models_are_refused(ranks):
    said = ranks("program_other_models.py", 2, fails=True)
    assert "rank 0 has unnamed float64[2], rank 1 has unnamed float64[3]" in said


def test_an_error_of_one_rank_ends_all(ranks):
    said = ranks("program_error.py", 2, fails=True)
    assert "ValueError: this rank is ill" in said
    assert "rank 1 of 2 ended by an error; ending all" in said
