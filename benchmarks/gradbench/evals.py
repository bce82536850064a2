"""What the evals compute, written from their published definitions: objectives and what is asked of their derivatives.

Each takes arrays and runs on tensors as they are. Loops of a known length are `tg.scan`; those that end on a condition
are Python's, eagerly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygraph as tg
from benchmarks.gradbench.cases import BONES, MODES, Hand

# -- hello: the square -----------------------------------------------------------------------------------------------


def square(x: Any) -> Any:
    return x * x


# -- lse: the logarithm of a sum of exponentials ---------------------------------------------------------------------


def logsumexp(x: Any) -> Any:
    largest = np.max(x)
    return largest + np.log(np.sum(np.exp(x - largest)))


# -- llsq: least squares of a polynomial and a step ------------------------------------------------------------------


def least_squares(x: Any, times: Any) -> Any:
    """Half the sum of squared differences of sign(t) and Σ x_j t^j, by Horner's rule."""
    polynomial = 0.0
    for j in reversed(range(x.shape[0])):
        polynomial = polynomial * times + x[j]
    return 0.5 * np.sum((np.sign(times) - polynomial) ** 2)


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


# -- ht: a skinned hand beside measured points -----------------------------------------------------------------------


def rotation(axis: Any) -> Any:
    """The matrix that turns about an axis, by an angle that is its length (Rodrigues)."""
    angle = np.sqrt(np.sum(axis * axis))
    x, y, z = axis / angle
    zero = 0.0 * angle
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)


def frames(angles: Any) -> Any:
    """Rz Ry Rx of the angles (bones, (x, z, y)) in homogeneous matrices (bones, 4, 4)."""
    sines, cosines = np.sin(angles), np.cos(angles)
    (sx, sz, sy), (cx, cz, cy) = sines.T, cosines.T
    zero, one = np.zeros(BONES), np.ones(BONES)
    rows = [
        cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx, zero,
        sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx, zero,
        -sy, cy * sx, cy * cx, zero,
        zero, zero, zero, one,
    ]  # fmt: skip
    return np.stack(rows, 1).reshape(BONES, 4, 4)


def skin(theta: Any, hand: Hand) -> Any:
    """The vertices (3, vertices) of a hand that is posed."""
    angles = np.concatenate([theta, np.zeros(1)])[hand.angles]
    relatives = hand.relatives @ frames(angles)
    found: dict[int, Any] = {}
    parts = []
    for bones, parents in hand.levels:
        level = relatives[np.array(bones)]
        if parents[0] >= 0:
            level = np.stack([found[parent] for parent in parents]) @ level
        found |= {bone: level[i] for i, bone in enumerate(bones)}
        parts.append(level)
    transforms = np.concatenate(parts)[np.array(hand.order)] @ hand.inverses
    moved = transforms[:, :3] @ hand.positions
    return rotation(theta[:3]) @ np.sum(moved * hand.weights[:, None], 0) + theta[3:6, None]


def hand_errors(theta: Any, hand: Hand) -> Any:
    """Points less their vertices: (points, 3) in a row."""
    return (hand.points - skin(theta, hand)[:, hand.vertices[0]]).T.reshape(-1)


def hand_errors_inside(theta: Any, us: Any, hand: Hand) -> Any:
    """Points less places in triangles."""
    skinned = skin(theta, hand)
    first, second, third = (skinned[:, corners] for corners in hand.vertices)
    u, v = us.T
    return (hand.points - (u * first + v * second + (1.0 - u - v) * third)).T.reshape(-1)


def hand_jacobian(theta: Any, hand: Hand) -> Any:
    return tg.jacobian(lambda x: hand_errors(x, hand))(theta)


def hand_jacobian_inside(theta: Any, us: Any, hand: Hand) -> Any:
    """By each point's own u and v, of which no other point's error knows, then by the parameters."""
    own = [
        tg.jvp(lambda x: hand_errors_inside(theta, x, hand), (us,), (np.broadcast_to(one, us.shape),))[1]
        for one in np.eye(2)
    ]
    shared = tg.jacobian(lambda x: hand_errors_inside(x, us, hand))(theta)
    return np.concatenate([np.stack(own, 1), shared], 1)


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
            np.where(better, np.where(count == 9, 0.0, count + 1.0), 0.0),
            steep & far,
        )

    first = (start, f(start), np.float64(1e-5), np.float64(0), np.bool_(True))
    return tg.while_loop(go_on, step, first, max_steps=most)[0]


def saddle(start: Any, outer: bool, inner: bool) -> Any:
    """The point that minimises what the other maximises, and the other; modes of differentiation as flags."""

    def f(x: Any, y: Any) -> Any:
        return np.sum(x * x) - np.sum(y * y)

    def highest(x: Any) -> Any:
        return f(x, descend(lambda y: -f(x, y), start, inner))

    x = descend(highest, start, outer)
    return np.concatenate([x, descend(lambda y: -f(x, y), start, inner)])


def potential(x: Any, w: Any) -> Any:
    """Of a charge at x, from one at (10, 0) and one at (10, 10 - w)."""
    away = (x[0] - 10.0) ** 2
    return 1.0 / np.sqrt(away + x[1] ** 2) + 1.0 / np.sqrt(away + (x[1] - 10.0 + w) ** 2)


WIDTH = 0.1  # of a step in time
MOST_STEPS = 400  # of a flight


def landing(w: Any, forward: bool) -> Any:
    """Where a charge that sets out from (0, 8) meets the x-axis, squared; Euler's method."""
    force = derivative(lambda x: -potential(x, w), forward)

    def flies(state: Any) -> Any:
        x, speed = state
        return (x + WIDTH * speed)[1] > 0.0

    def step(state: Any) -> Any:
        x, speed = state
        return x + WIDTH * speed, speed + WIDTH * force(x)

    first = (np.array([0.0, 8.0]), np.array([0.75, 0.0]))
    x, speed = tg.while_loop(flies, step, first, max_steps=MOST_STEPS)
    return (x[0] - x[1] / speed[1] * speed[0]) ** 2


def particle(w: Any, outer: bool, inner: bool) -> Any:
    """The parameter with which the charge meets the origin."""
    return descend(lambda v: landing(v[0], inner), np.reshape(w, (1,)), outer)[0]


# -- the table -------------------------------------------------------------------------------------------------------


def _modes(f: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """An optimisation with its two derivatives by forward or reverse mode each."""
    return {
        outer + inner: lambda start, a=outer == "f", b=inner == "f": f(start, a, b) for outer, inner in MODES
    }


EVALS: dict[str, dict[str, Callable[..., Any]]] = {
    "hello": {"square": square, "double": tg.grad(square)},
    "lse": {"primal": logsumexp, "gradient": tg.grad(logsumexp)},
    "llsq": {"primal": least_squares, "gradient": tg.grad(least_squares)},
    "kmeans": {"cost": clustering, "dir": newton_step},
    "det": {"primal": determinant, "gradient": tg.grad(determinant)},
    "ode": {"primal": runge_kutta, "gradient": tg.grad(lambda x, steps: runge_kutta(x, steps)[-1])},
    "lstm": {"objective": lstm_loss, "jacobian": tg.grad(lstm_loss, (0, 1))},
    "gmm": {"objective": mixture, "jacobian": tg.grad(mixture, (0, 1, 2))},
    "ba": {"objective": observations, "jacobian": observation_blocks},
    "ht": {
        "objective": lambda theta, us, hand: hand_errors(theta, hand),
        "jacobian": lambda theta, us, hand: hand_jacobian(theta, hand),
        "objective_u": hand_errors_inside,
        "jacobian_u": hand_jacobian_inside,
    },
    "saddle": _modes(saddle),
    "particle": _modes(particle),
}
