"""A compiled step that has run before allocates what it returns, and little more: everything else has its place."""

import tracemalloc

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim

pytest.importorskip("llvmlite")
# NumPy's own buffers for conversions and masks, Python's objects, indices of the labels: not values of the graph
LITTLE = 48_000


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.queries, self.keys, self.values = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.heads = heads

    def forward(self, x):
        batch, length, width = x.shape
        y = self.norm(x)
        q, k, v = (
            layer(y).reshape(batch, length, self.heads, width // self.heads).swapaxes(1, 2)
            for layer in (self.queries, self.keys, self.values)
        )
        shares = nn.functional.softmax(q @ k.swapaxes(-1, -2), dim=-1)
        return x + self.out((shares @ v).swapaxes(1, 2).reshape(batch, length, width))


MODELS = {
    "perceptron": (lambda: nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)), (64, 256)),
    "convolutional": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 8, 5, padding=2), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 10),
        ),
        (64, 1, 28, 28),
    ),
    "transformer": (
        lambda: nn.Sequential(
            Attention(64, 4), nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64), nn.Flatten(), nn.Linear(2048, 10)
        ),
        (16, 32, 64),
    ),
}  # fmt: skip


def allocated(run):
    """The most bytes alive at once during a call that were not alive before it, and what it returns."""
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    returned = run()
    return tracemalloc.get_traced_memory()[1] - before, returned


@pytest.fixture
def tracing():
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("name", MODELS)
def test_a_training_step_allocates_little(name, tracing):
    build, shape = MODELS[name]
    tg.manual_seed(0)
    model = build()
    optimizer = optim.Adam(model.parameters())

    @tg.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=shape).astype(np.float32), rng.integers(0, 10, shape[0])
    for _ in range(2):
        step(x, y)
    peak, _ = allocated(lambda: step(x, y))
    by_step = [(allocated(one.kernel.run)[0], one.kernel.name) for one in step.plan.steps]
    assert peak < LITTLE, sorted(by_step)[-5:]
    assert max(types.nbytes for node in step.plan.graph.nodes for types in node.output_types) > 2 * LITTLE


def test_results_are_all_that_a_call_allocates(tracing):
    function = tg.compile(lambda x: np.tanh(np.exp(x) * 2.0) + x)
    x = np.ones((256, 256))
    function(x)
    peak, result = allocated(lambda: function(x))
    assert result.nbytes <= peak < result.nbytes + LITTLE


def test_released_plans_give_their_memory_back(tracing):
    function = tg.compile(lambda x: np.cumsum(np.exp(x)) * 2.0)
    x = np.ones(10**6)
    empty = tracemalloc.get_traced_memory()[0]
    function(x)
    assert tracemalloc.get_traced_memory()[0] - empty > x.nbytes
    function.release()
    assert tracemalloc.get_traced_memory()[0] - empty < x.nbytes // 8
