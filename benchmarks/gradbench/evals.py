"""What the evals compute, written from their published definitions: objectives and what is asked of their derivatives.

Each takes arrays and runs on tensors as they are. Loops of a known length are `tg.scan`; those that end on a condition
are Python's, eagerly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import tinygraph as tg

Inputs = tuple[Any, ...]


class Eval(NamedTuple):
    """One eval.

    Attributes:
        functions: what is asked, by name.
        inputs: sizes to arguments.
        sizes: small to large.
    """

    functions: Mapping[str, Callable[..., Any]]
    inputs: Callable[[int], Inputs]
    sizes: tuple[int, ...]


def _random(size: int) -> np.random.Generator:
    return np.random.default_rng(size)


# -- hello: the square -----------------------------------------------------------------------------------------------


def square(x: Any) -> Any:
    return x * x


# -- lse: the logarithm of a sum of exponentials ---------------------------------------------------------------------


def logsumexp(x: Any) -> Any:
    largest = np.max(x)
    return largest + np.log(np.sum(np.exp(x - largest)))


# -- llsq: least squares of a polynomial and a step ------------------------------------------------------------------


def least_squares(x: Any, times: Any) -> Any:
    powers = times[:, None] ** np.arange(x.shape[0])
    return 0.5 * np.sum((np.sign(times) - powers @ x) ** 2)


# -- kmeans: distances to the nearest centroid, and a step of Newton's method ----------------------------------------


def clustering(points: Any, centroids: Any) -> Any:
    return np.sum(np.min(np.sum((points[:, None] - centroids) ** 2, 2), 1))


def newton_step(points: Any, centroids: Any) -> Any:
    gradient = tg.grad(lambda c: clustering(points, c))
    value, curvature = tg.jvp(gradient, (centroids,), (np.ones_like(centroids),))
    return value / curvature  # the Hessian is diagonal


# -- det: a determinant by expansion by minors -----------------------------------------------------------------------


def determinant(a: Any) -> Any:
    """Minors of the first rows by the sets of their columns, from single elements up."""
    size = a.shape[0]
    minors = {1 << j: a[0, j] for j in range(size)}
    for row in range(1, size):
        larger: dict[int, Any] = {}
        for columns, minor in minors.items():
            for j in range(size):
                if not columns >> j & 1:
                    sign = -1.0 if (columns >> j).bit_count() % 2 else 1.0
                    term = sign * minor * a[row, j]
                    both = columns | 1 << j
                    larger[both] = larger[both] + term if both in larger else term
        minors = larger
    return minors[(1 << size) - 1]


# -- ode: Runge-Kutta ------------------------------------------------------------------------------------------------


def runge_kutta(x: Any, steps: int) -> Any:
    width = 2.0 / steps

    def slope(y: Any) -> Any:
        return x * np.concatenate([np.ones(1), y[:-1]])

    def step(y: Any, _: None) -> Any:
        k1 = slope(y)
        k2 = slope(y + width * k1 / 2)
        k3 = slope(y + width * k2 / 2)
        k4 = slope(y + width * k3)
        return y + width * (k1 + 2 * k2 + 2 * k3 + k4) / 6, None

    return tg.scan(step, np.zeros_like(x), None, steps)[0]


# -- lstm: layers with diagonal weights, over a sequence -------------------------------------------------------------


def lstm_loss(main: Any, extra: Any, state: Any, sequence: Any) -> Any:
    """The mean log-likelihood of each next element of the sequence."""
    layers = state.shape[0] // 2
    weights, biases = main[::2], main[1::2]

    def sigmoid(x: Any) -> Any:
        return 1.0 / (1.0 + np.exp(-x))

    def step(state: Any, pair: Any) -> Any:
        now, after = pair
        x = now * extra[0]
        rows = []
        for layer in range(layers):
            w, b = weights[layer].reshape(4, -1), biases[layer].reshape(4, -1)
            hidden, cell = state[2 * layer], state[2 * layer + 1]
            forget, admit, out = (
                sigmoid(x * w[0] + b[0]),
                sigmoid(hidden * w[1] + b[1]),
                sigmoid(x * w[2] + b[2]),
            )
            cell = cell * forget + admit * np.tanh(hidden * w[3] + b[3])
            x = out * np.tanh(cell)
            rows += [x, cell]
        logits = x * extra[1] + extra[2]
        likely = logits - np.log(np.sum(np.exp(logits)) + 2.0)
        return np.stack(rows), np.sum(after * likely)

    return -np.mean(tg.scan(step, state, (sequence[:-1], sequence[1:]))[1]) / sequence.shape[1]


# -- gmm: a mixture of Gaussians with a Wishart prior ----------------------------------------------------------------


def mixture(alphas: Any, means: Any, icf: Any, points: Any, gamma: float, m: int) -> Any:
    """The log-posterior up to a constant; `icf` holds logarithms of diagonals and the triangles below them."""
    n, d = points.shape
    k = alphas.shape[0]
    rows, columns = np.tril_indices(d, -1)
    order = np.lexsort((rows, columns))  # column by column
    diagonals = np.exp(icf[:, :d])
    factors = np.zeros((k, d, d))
    factors = tg.ops.index_add(
        factors, icf[:, d:], rows[order], columns[order], pattern=(_ALL, "array", "array")
    )
    apart = points[:, None] - means
    scaled = np.einsum("kij,nkj->nki", factors, apart) + diagonals * apart
    logs = alphas + np.sum(icf[:, :d], 1) - 0.5 * np.sum(scaled**2, 2)
    largest = np.max(logs, 1, keepdims=True)
    likelihood = np.sum(np.log(np.sum(np.exp(logs - largest), 1)) + largest[:, 0])
    prior = 0.5 * gamma**2 * (np.sum(diagonals**2) + np.sum(icf[:, d:] ** 2)) - m * np.sum(icf[:, :d])
    return likelihood - n * logsumexp(alphas) - prior


_ALL = ("slice", None, None, None)


# -- ba: errors of points seen by cameras ----------------------------------------------------------------------------


def reprojection(camera: Any, point: Any, weight: Any, feature: Any) -> Any:
    """The weighted error of one observation, for a camera of rotation, centre, focus, principal point, distortion."""
    axis, x = camera[:3], point - camera[3:6]
    square_angle = np.sum(axis * axis)
    angle = np.sqrt(square_angle)
    unit = axis / angle
    turned = x * np.cos(angle) + np.cross(unit, x) * np.sin(angle) + unit * (unit @ x) * (1.0 - np.cos(angle))
    plane = turned[:2] / turned[2]
    radius = np.sum(plane * plane)
    distorted = plane * (1.0 + camera[9] * radius + camera[10] * radius**2)
    return weight * (distorted * camera[6] + camera[7:9] - feature)


def observations(cameras: Any, points: Any, weights: Any, features: Any) -> Any:
    return tg.vmap(reprojection)(cameras, points, weights, features)


def observation_blocks(cameras: Any, points: Any, weights: Any, features: Any) -> Any:
    """The blocks of the sparse Jacobian: errors of each observation by its camera, point and weight."""
    return tg.vmap(tg.jacobian(reprojection, (0, 1, 2)))(cameras, points, weights, features)


# -- saddle and particle: optimisations within optimisations ---------------------------------------------------------


def derivative(f: Callable[[Any], Any], forward: bool) -> Callable[[Any], Any]:
    """The gradient of a function of a vector, by one mode or the other."""
    if not forward:
        return tg.grad(f)
    return lambda x: np.stack([tg.jvp(f, (x,), (one,))[1] for one in np.eye(x.shape[0])])


def descend(f: Callable[[Any], Any], start: Any, forward: bool, most: int = 400) -> Any:
    """The minimum of a function, by steps that grow where they help and shrink where they do not."""
    gradient = derivative(f, forward)

    def go_on(state: Any) -> Any:
        return state[4]

    def step(state: Any) -> Any:
        x, value, rate, count, _ = state
        slope = gradient(x)
        moved = x - rate * slope
        there = f(moved)
        steep = np.sqrt(np.sum(slope * slope)) > 1e-5
        better = there < value
        far = np.sqrt(np.sum((moved - x) ** 2)) > 1e-5
        grown = np.where(count == 9, rate * 2.0, rate)
        return (
            np.where(steep & better, moved, x),
            np.where(steep & better, there, value),
            np.where(better, grown, rate / 2.0),
            np.where(better, np.where(count == 9, 0, count + 1), 0),
            steep & far,
        )

    first = (start, f(start), np.float64(1e-5), np.int64(0), np.bool_(True))
    return tg.while_loop(go_on, step, first, max_steps=most)[0]


def saddle(start: Any, outer: bool, inner: bool) -> Any:
    """The point that minimises what the other maximises, and the other; modes of differentiation as flags."""

    def f(x: Any, y: Any) -> Any:
        return np.sum(x * x) - np.sum(y * y)

    def highest(x: Any) -> Any:
        return f(x, descend(lambda y: -f(x, y), start, inner))

    x = descend(highest, start, outer)
    return np.concatenate([x, descend(lambda y: -f(x, y), start, inner)])


# -- the table -------------------------------------------------------------------------------------------------------


def _mixture_inputs(k: int) -> Inputs:
    rng, d, n = _random(k), 3, 20 * k
    triangle = d + d * (d - 1) // 2
    return (
        rng.normal(size=k), rng.normal(size=(k, d)), rng.normal(size=(k, triangle)), rng.normal(size=(n, d)), 1.0, 0,
    )  # fmt: skip


def _lstm_inputs(length: int) -> Inputs:
    rng, layers, width = _random(length), 2, 14
    return (
        rng.normal(size=(2 * layers, 4 * width)), rng.normal(size=(3, width)), rng.normal(size=(2 * layers, width)),
        rng.normal(size=(length, width)),
    )  # fmt: skip


def _bundle_inputs(count: int) -> Inputs:
    rng = _random(count)
    return (
        rng.uniform(0.1, 1.0, (count, 11)), rng.uniform(2.0, 3.0, (count, 3)), rng.uniform(size=count),
        rng.uniform(size=(count, 2)),
    )  # fmt: skip


def _kmeans_inputs(k: int) -> Inputs:
    rng = _random(k)
    centroids = rng.normal(size=(k, 4))
    return np.concatenate([centroids + 0.01, rng.normal(size=(20 * k, 4))]), centroids


EVALS: dict[str, Eval] = {
    "hello": Eval({"square": square, "double": tg.grad(square)}, lambda n: (float(n),), (1, 4)),
    "lse": Eval(
        {"primal": logsumexp, "gradient": tg.grad(logsumexp)},
        lambda n: (_random(n).normal(size=n),),
        (8, 10_000),
    ),
    "llsq": Eval(
        {"primal": least_squares, "gradient": tg.grad(least_squares)},
        lambda n: (_random(n).normal(size=8), np.linspace(-1, 1, n)),
        (9, 4096),
    ),
    "kmeans": Eval({"cost": clustering, "dir": newton_step}, _kmeans_inputs, (3, 20)),
    "det": Eval(
        {"primal": determinant, "gradient": tg.grad(determinant)},
        lambda n: (_random(n).normal(size=(n, n)),),
        (4, 6),
    ),
    "ode": Eval(
        {
            "primal": lambda x: runge_kutta(x, 10),
            "gradient": tg.grad(lambda x: runge_kutta(x, 10)[-1]),
        },
        lambda n: (_random(n).uniform(0.5, 1.5, n),),
        (5, 1000),
    ),
    "lstm": Eval({"objective": lstm_loss, "jacobian": tg.grad(lstm_loss, (0, 1))}, _lstm_inputs, (5, 200)),
    "gmm": Eval({"objective": mixture, "jacobian": tg.grad(mixture, (0, 1, 2))}, _mixture_inputs, (3, 10)),
    "ba": Eval({"objective": observations, "jacobian": observation_blocks}, _bundle_inputs, (4, 500)),
    "saddle": Eval(
        {
            a + b: (lambda start, a=a, b=b: saddle(start, a == "f", b == "f"))  # type: ignore[misc]
            for a in "fr"
            for b in "fr"
        },
        lambda n: (np.array([1.0, 1.0]) / n,),
        (1, 2),
    ),
}
