"""Initialisers: bounds and moments by their formulas, and PyTorch's gains."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.errors import SettingError, ShapeError
from tinygraph.nn import init


def filled(name: str, shape: tuple[int, ...] = (200, 50, 3), **settings: object) -> np.ndarray:
    tensor = nn.Parameter(np.zeros(shape))
    generator = tg.Generator(0)
    assert getattr(init, name)(tensor, generator=generator, **settings) is tensor
    return tensor.detach().numpy()


def test_uniform_bounds() -> None:
    for values, bound in (
        (filled("uniform_", a=-0.5, b=0.5), 0.5),
        (filled("xavier_uniform_", gain=2.0), 2.0 * sqrt(6 / (150 + 600))),
        (filled("kaiming_uniform_", a=sqrt(5)), 1 / sqrt(150)),
        (filled("kaiming_uniform_", mode="fan_out", nonlinearity="relu"), sqrt(2) * sqrt(3 / 600)),
    ):
        assert 0.999 * bound < abs(values).max() <= bound
        assert abs(values.std() * sqrt(3) / bound - 1) < 0.02


def test_normal_deviations() -> None:
    for values, std in (
        (filled("normal_", std=0.3), 0.3),
        (filled("xavier_normal_"), sqrt(2 / 750)),
        (filled("kaiming_normal_", nonlinearity="tanh"), 5 / 3 / sqrt(150)),
    ):
        assert abs(values.std() / std - 1) < 0.02
    assert abs(filled("trunc_normal_", std=2.0)).max() <= 2.0


def test_orthogonal_rows_or_columns() -> None:
    wide = filled("orthogonal_", (4, 3, 3)).reshape(4, 9)
    np.testing.assert_allclose(wide @ wide.T, np.eye(4), atol=1e-12)
    tall = filled("orthogonal_", (6, 4), gain=2.0)
    np.testing.assert_allclose(tall.T @ tall, 4 * np.eye(4), atol=1e-12)


def test_constants_identity_and_one_seed() -> None:
    weight = nn.Parameter(np.zeros((2, 3), np.float32))
    assert init.ones_(weight).detach().numpy().all()
    np.testing.assert_array_equal(init.eye_(weight).detach().numpy(), np.eye(2, 3))
    tg.manual_seed(1)
    first = nn.Linear(3, 3).state_dict()["weight"]
    tg.manual_seed(1)
    np.testing.assert_array_equal(nn.Linear(3, 3).state_dict()["weight"], first)


def test_errors() -> None:
    with pytest.raises(ShapeError, match="fan-in"):
        init.xavier_uniform_(nn.Parameter(np.zeros(3)))
    with pytest.raises(SettingError, match="swish"):
        init.calculate_gain("swish")
    with pytest.raises(SettingError, match="fan_mid"):
        init.kaiming_normal_(nn.Parameter(np.zeros((2, 2))), mode="fan_mid")
    with pytest.raises(SettingError, match="std"):
        init.normal_(nn.Parameter(np.zeros(2)), std=-1.0)
