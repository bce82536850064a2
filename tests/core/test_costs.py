"""What an eager program costs, in calls of Python functions: they do not depend on the machine, as times do."""

import sys
import tomllib

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim

TEN = np.linspace(0.1, 0.9, 10)
SQUARE = np.linspace(-0.3, 0.3, 100).reshape(10, 10)
PLACES = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 8])


def calls_in(function):
    """How many Python functions run while one is called for the third time."""
    function(), function()
    found = []

    def note(frame, event, argument):
        if event == "call":
            found.append(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return len(found)


def test_a_scalar_node():
    """Forwards its operator, `apply` and NumPy's operation; backwards its rules and what runs them."""

    def chain(count):
        x = tg.tensor(0.5, requires_grad=True)
        y = x
        for _ in range(count):
            y = y * 0.999 + x
        y.backward()

    nodes = 2 * 100
    assert (calls_in(lambda: chain(150)) - calls_in(lambda: chain(50))) / nodes <= 5.5


@pytest.mark.parametrize(
    ("step", "most"),
    [
        (lambda y: np.sin(y), 12),
        (lambda y: y + 1.0, 6),
        (lambda y: y * TEN, 11),
        (lambda y: SQUARE @ y, 26),
        (lambda y: y[:], 26),
        (lambda y: y[PLACES], 25),
    ],
)
def test_a_small_recorded_op_and_its_rule(step, most):
    def chain(count):
        y = tg.tensor(TEN, requires_grad=True)
        for _ in range(count):
            y = step(y)
        np.sum(y).backward()

    assert (calls_in(lambda: chain(60)) - calls_in(lambda: chain(10))) / 50 <= most


def test_an_eager_training_step():
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer, loss_of = optim.SGD(model.parameters(), lr=0.01), nn.MSELoss()
    x, y = np.ones((32, 2), np.float32), np.ones((32, 1), np.float32)

    def step():
        optimizer.zero_grad()
        loss_of(model(x), y).backward()
        optimizer.step()

    assert calls_in(step) <= 680


def test_a_style_is_parsed_once_and_its_file_is_read_each_time(tmp_path, monkeypatch):
    parsed = []
    parse = tomllib.loads
    monkeypatch.setattr(tomllib, "loads", lambda text: parsed.append(1) or parse(text))
    x = tg.tensor(3.0, requires_grad=True, name="x")
    own = tmp_path / "own.toml"
    own.write_text('[page]\nbackground = "#fedcb1"\n')
    y = x * x
    assert '"#fedcb1"' in tg.draw(y, style=own).source
    count = len(parsed)
    assert '"#fedcb1"' in tg.draw(y, style=own).source
    assert len(parsed) == count
    own.write_text('[page]\nbackground = "#fedcb2"\n')
    assert '"#fedcb2"' in tg.draw(y, style=own).source


def test_modes_can_be_entered_again_while_they_are_entered():
    x = tg.tensor(2.0, requires_grad=True)
    quiet = tg.no_grad()
    with quiet:
        with quiet:
            assert not (x * x).requires_grad
        assert not (x * x).requires_grad
    assert (x * x).requires_grad

    @tg.no_grad()
    def power(n):
        return x * power(n - 1) if n else x

    assert not power(3).requires_grad
    assert (x * x).requires_grad
