"""What a step changes: norms, shares and the gradient's forecast against numbers worked out by hand."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.errors import DrawingError, RecordingError, SettingError, StaleValueError


def test_a_step_on_a_plane_is_told_in_numbers():
    w = tg.tensor([3.0, 4.0], requires_grad=True, name="w")
    still = tg.tensor(2.0, requires_grad=True, name="still")
    loss = (w * w).sum() * still
    loss.name = "loss"
    with tg.changes(loss) as found:
        loss.backward()
        with tg.no_grad():
            w -= 0.05 * w.grad  # the gradient is 4 w: w becomes 0.8 w
    assert found.output == pytest.approx((50.0, 32.0))
    assert found.predicted == pytest.approx(-20.0)  # 4 w . (-0.2 w) = -0.8 * 25
    assert found.unchanged == ("still",)
    [row] = found.parameters
    assert (row.name, row.before, row.after) == ("w", 5.0, 4.0)
    assert row.share == pytest.approx(0.2)
    assert row.predicted == pytest.approx(-20.0)
    assert [one.name for one in found.rows] == ["w", "multiply", "sum", "loss"]
    squares = found.rows[1]  # (9, 16) becomes 0.64 of it
    assert squares.share == pytest.approx(0.36)
    assert squares.predicted is None
    text = str(found).splitlines()
    assert text[0] == "50 became 32 (-18; its gradient foretold -20)"
    assert text[1].split() == [
        "w",
        "changed",
        "by",
        "20",
        "%,",
        "and",
        "the",
        "output",
        "with",
        "it",
        "by",
        "-20",
    ]
    assert text[-1] == "  did not change: still"


def test_both_moments_have_the_same_random_numbers_and_the_program_its_own():
    tg.manual_seed(3)
    model = nn.Sequential(nn.Linear(20, 30), nn.Dropout(0.5), nn.Linear(30, 2))
    x = np.random.default_rng(0).normal(size=(4, 20)).astype(np.float32)
    loss = (model(x) ** 2).mean()
    with tg.changes(loss) as nothing:
        drawn = nn.functional.dropout(np.ones(8), 0.5)
    assert nothing.rows == ()  # another mask would have changed the loss
    tg.manual_seed(3)
    nn.Sequential(nn.Linear(20, 30), nn.Dropout(0.5), nn.Linear(30, 2))(x)
    assert np.array_equal(drawn, nn.functional.dropout(np.ones(8), 0.5))


def test_a_captured_graph_and_a_compiled_step_over_several_calls():
    tg.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x, y = np.eye(3, dtype=np.float32), np.ones((3, 1), np.float32)

    def loss_of(x, y):
        return ((model(x) - y) ** 2).mean()

    @tg.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        return loss

    before = loss_of(x, y).item()
    with tg.changes(tg.capture(loss_of, x, y), inputs=(x, y)) as found:
        for _ in range(3):
            step(x, y)
    assert found.output == pytest.approx((before, loss_of(x, y).item()))
    assert [row.name for row in found.parameters] == sorted(
        ("weight", "bias"), key=lambda name: -next(row.share for row in found.rows if row.name == name)
    )
    assert found.output[1] < found.output[0]


def test_pictures_and_pages_are_tinted(tmp_path):
    w = tg.tensor(2.0, requires_grad=True, name="w")
    loss = w * 3
    with tg.changes(loss) as found, tg.no_grad():
        w += 2.0
    drawing = found.draw(tmp_path / "step.svg")
    assert "changed" in drawing.svg()
    assert drawing.svg().count("50 %") == 2  # the parameter and the product; of the larger norm
    page = found.draw(tmp_path / "step.html") and (tmp_path / "step.html").read_text()
    assert '"name":"changed"' in page.replace('": "', '":"')


def test_what_cannot_be_compared_is_refused():
    w = tg.tensor(2.0, requires_grad=True, name="w")
    loss = w * w
    with tg.no_grad():
        w += 1
    with pytest.raises(StaleValueError, match="'w'"), tg.changes(loss):
        pass
    with pytest.raises(SettingError, match="not ndarray"), tg.changes(np.ones(2)):
        pass
    with pytest.raises(RecordingError), tg.changes(tg.tensor(1.0)):
        pass
    with pytest.raises(DrawingError, match=r"tg\.changes"):
        tg.draw(w * 2, show=("names", "changed"))
