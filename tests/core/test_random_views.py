"""Random programs of views and writes: NumPy's values, and gradients by the same program at complex numbers."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import InPlaceError

SHAPE = (3, 4)


def slices(rng, shape):
    """A random basic index of an array of a shape, which keeps at least one dimension."""
    items = []
    for size in shape:
        kind = rng.integers(5)
        if kind == 0 and size > 1:
            items.append(slice(0, int(rng.integers(1, size + 1))))
        elif kind == 1 and size > 1:
            items.append(slice(None, None, int(rng.choice([-1, 2]))))
        elif kind == 2:
            items.append(int(rng.integers(size)))
        else:
            items.append(slice(None))
    if all(isinstance(item, int) for item in items):
        items[0] = slice(None)
    return tuple(items)


def take(rng, shape):
    """A random way to look at an array: mostly views, some of them copies, in NumPy's judgement."""
    index = slices(rng, shape)
    ways = [
        lambda y: y[index],
        lambda y: y[index],
        lambda y: y[int(rng_row)],
        lambda y: y.T,
        lambda y: y.reshape(-1),
        lambda y: np.ravel(y),
        lambda y: y.swapaxes(0, -1),
        lambda y: np.expand_dims(y, 0),
        lambda y: np.flip(y, 0),
        lambda y: np.squeeze(y[None]),
        lambda y: np.split(y, [1])[0],
        lambda y: y.flatten(),
        lambda y: y[[0, -1]],
        lambda y: y.copy(),
        lambda y: y * 2.0,
    ]
    rng_row = rng.integers(shape[0])
    return ways[rng.integers(len(ways))]


def write(rng, shape):
    """A random write to an array."""
    number = float(rng.uniform(-1, 1))
    index = slices(rng, shape)
    array = rng.uniform(-1, 1, shape)
    mask = rng.uniform(size=shape) < 0.5
    fancy = [int(rng.integers(shape[0])) for _ in range(2)]

    def set_at(where, value):
        def run(env, i):
            env[i][where] = value

        return run

    def augmented(env, i):
        env[i][index] *= number

    def in_place(change):
        def run(env, i):
            env[i] = change(env[i])

        return run

    def add(y):
        y += number
        return y

    def scale(y):
        y *= array
        return y

    def square(y):
        y *= y
        return y

    def rows(env, i):
        for k, row in enumerate(env[i]):
            row *= 1.0 + 0.1 * k

    def other(env, i):
        j = (i + 1) % len(env)
        if env[j].shape == env[i].shape:
            env[i][...] = np.sin(env[j])
        else:
            env[i][index] = env[j].sum()

    return [
        set_at(index, number),
        set_at(mask, number),
        set_at(fancy, number),
        augmented,
        in_place(add),
        in_place(scale),
        in_place(square),
        rows if len(shape) > 1 else in_place(add),
        other,
    ][rng.integers(9)]


def program(seed):
    """A random program: a function of an array or tensor, which writes copies of it through views."""
    rng = np.random.default_rng(seed)
    shapes = [np.zeros(SHAPE)]
    steps = []
    for _ in range(int(rng.integers(4, 10))):
        i = int(rng.integers(len(shapes)))
        if rng.random() < 0.5 or len(shapes) == 1:
            way = take(rng, shapes[i].shape)
            shown = way(shapes[i])
            if shown.size and shown.ndim in (1, 2, 3):
                shapes.append(shown)
                steps.append((way, i))
        else:
            steps.append((write(rng, shapes[i].shape), i))
    weights = [rng.uniform(0.5, 1.5, one.shape) for one in shapes]

    def run(x):
        env = [x * 1.0]
        for step, i in steps:
            made = step(env[i]) if step.__name__ == "<lambda>" else step(env, i)
            if made is not None:
                env.append(made)
        return sum((one * w).sum() for one, w in zip(env, weights, strict=True))

    return run


def differentiated(run, x):
    """The gradient by complex steps, exact to rounding: NumPy alone."""
    found = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[place] += 1e-30j
        found[place] = run(moved).imag / 1e-30
    return found


def check(seed):
    """One program eager; whether it could be captured, and then captured and compiled too."""
    run = program(seed)
    x = np.random.default_rng(seed).uniform(-1, 1, SHAPE)
    value, gradient = run(x.copy()), differentiated(run, x)
    leaf = tg.tensor(x, requires_grad=True)
    out = run(leaf)
    np.testing.assert_allclose(out.item(), value, rtol=1e-12, err_msg=f"seed {seed}")
    out.backward()
    np.testing.assert_allclose(leaf.grad.numpy(), gradient, rtol=1e-9, atol=1e-12, err_msg=f"seed {seed}")
    np.testing.assert_allclose(run(tg.tensor(x)).item(), value, rtol=1e-12, err_msg=f"seed {seed}")
    return run, x, value, gradient


@pytest.mark.parametrize("block", range(4))
def test_programs_of_views_and_writes(block):
    for seed in range(block * 60, block * 60 + 60):
        check(seed)


def captured(seeds):
    refused = 0
    for seed in seeds:
        run, x, value, gradient = check(seed)
        try:
            graph = tg.capture(run, x)
        except InPlaceError:
            refused += 1
            continue
        np.testing.assert_allclose(graph(x), value, rtol=1e-12, err_msg=f"seed {seed}")
        both = tg.compile(tg.value_and_grad(run))(x)
        np.testing.assert_allclose(np.asarray(both[0]), value, rtol=1e-12, err_msg=f"seed {seed}")
        np.testing.assert_allclose(
            np.asarray(both[1]), gradient, rtol=1e-9, atol=1e-12, err_msg=f"seed {seed}"
        )
    return refused


def test_captured_programs_of_views_and_writes():
    assert captured(range(1000, 1040)) <= 10


@pytest.mark.slow
def test_thousands_of_programs():
    for seed in range(10_000, 13_000):
        check(seed)
    assert captured(range(20_000, 20_600)) <= 150
