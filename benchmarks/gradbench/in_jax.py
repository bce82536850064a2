"""The evals in JAX, compiled: as its users write them, with `vmap`, `scan` and `while_loop`."""

from __future__ import annotations

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.gradbench.cases import BONES, MODES, Hand

jax.config.update("jax_enable_x64", True)


def square(x: Any) -> Any:
    return x * x


def logsumexp(x: Any) -> Any:
    return jax.scipy.special.logsumexp(x)


def least_squares(x: Any, times: Any) -> Any:
    polynomial = 0.0
    for j in reversed(range(x.shape[0])):
        polynomial = polynomial * times + x[j]
    return 0.5 * jnp.sum((jnp.sign(times) - polynomial) ** 2)


def clustering(points: Any, centroids: Any) -> Any:
    return jnp.sum(jnp.min(jnp.sum((points[:, None] - centroids) ** 2, 2), 1))


def newton_step(points: Any, centroids: Any) -> Any:
    gradient = jax.grad(lambda c: clustering(points, c))
    value, curvature = jax.jvp(gradient, (centroids,), (jnp.ones_like(centroids),))
    return value / curvature


def determinant(a: Any) -> Any:
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


def runge_kutta(x: Any, steps: int) -> Any:
    width = 2.0 / steps

    def slope(y: Any) -> Any:
        return x * jnp.concatenate([jnp.ones(1), y[:-1]])

    def step(y: Any, _: None) -> Any:
        k1 = slope(y)
        k2 = slope(y + width * k1 / 2)
        k3 = slope(y + width * k2 / 2)
        k4 = slope(y + width * k3)
        return y + width * (k1 + 2 * k2 + 2 * k3 + k4) / 6, None

    return lax.scan(step, jnp.zeros_like(x), None, steps)[0]


def lstm_loss(main: Any, extra: Any, state: Any, sequence: Any) -> Any:
    layers = state.shape[0] // 2
    weights, biases = main[::2], main[1::2]

    def step(state: Any, pair: Any) -> Any:
        now, after = pair
        x = now * extra[0]
        rows = []
        for layer in range(layers):
            w, b = weights[layer].reshape(4, -1), biases[layer].reshape(4, -1)
            hidden, cell = state[2 * layer], state[2 * layer + 1]
            forget, admit, out = (
                jax.nn.sigmoid(x * w[0] + b[0]),
                jax.nn.sigmoid(hidden * w[1] + b[1]),
                jax.nn.sigmoid(x * w[2] + b[2]),
            )
            cell = cell * forget + admit * jnp.tanh(hidden * w[3] + b[3])
            x = out * jnp.tanh(cell)
            rows += [x, cell]
        logits = x * extra[1] + extra[2]
        likely = logits - jnp.log(jnp.sum(jnp.exp(logits)) + 2.0)
        return jnp.stack(rows), jnp.sum(after * likely)

    return -jnp.mean(lax.scan(step, state, (sequence[:-1], sequence[1:]))[1]) / sequence.shape[1]


def mixture(alphas: Any, means: Any, icf: Any, points: Any, gamma: float, m: int) -> Any:
    n, d = points.shape
    k = alphas.shape[0]
    rows, columns = np.tril_indices(d, -1)
    order = np.lexsort((rows, columns))
    diagonals = jnp.exp(icf[:, :d])
    factors = jnp.zeros((k, d, d)).at[:, rows[order], columns[order]].set(icf[:, d:])
    apart = points[:, None] - means
    scaled = jnp.einsum("kij,nkj->nki", factors, apart) + diagonals * apart
    logs = alphas + jnp.sum(icf[:, :d], 1) - 0.5 * jnp.sum(scaled**2, 2)
    likelihood = jnp.sum(jax.scipy.special.logsumexp(logs, 1))
    prior = 0.5 * gamma**2 * (jnp.sum(diagonals**2) + jnp.sum(icf[:, d:] ** 2)) - m * jnp.sum(icf[:, :d])
    return likelihood - n * logsumexp(alphas) - prior


def reprojection(camera: Any, point: Any, weight: Any, feature: Any) -> Any:
    axis, x = camera[:3], point - camera[3:6]
    square_angle = jnp.sum(axis * axis)
    angle = jnp.sqrt(square_angle)
    unit = axis / angle
    turned = (
        x * jnp.cos(angle) + jnp.cross(unit, x) * jnp.sin(angle) + unit * (unit @ x) * (1.0 - jnp.cos(angle))
    )
    plane = turned[:2] / turned[2]
    radius = jnp.sum(plane * plane)
    distorted = plane * (1.0 + camera[9] * radius + camera[10] * radius**2)
    return weight * (distorted * camera[6] + camera[7:9] - feature)


def rotation(axis: Any) -> Any:
    angle = jnp.sqrt(jnp.sum(axis * axis))
    x, y, z = axis / angle
    zero = 0.0 * angle
    cross = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    return jnp.eye(3) + jnp.sin(angle) * cross + (1.0 - jnp.cos(angle)) * (cross @ cross)


def frames(angles: Any) -> Any:
    (sx, sz, sy), (cx, cz, cy) = jnp.sin(angles).T, jnp.cos(angles).T
    zero, one = jnp.zeros(BONES), jnp.ones(BONES)
    rows = [
        cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx, zero,
        sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx, zero,
        -sy, cy * sx, cy * cx, zero,
        zero, zero, zero, one,
    ]  # fmt: skip
    return jnp.stack(rows, 1).reshape(BONES, 4, 4)


def skin(theta: Any, hand: Hand) -> Any:
    angles = jnp.concatenate([theta, jnp.zeros(1)])[hand.angles]
    relatives = hand.relatives @ frames(angles)
    found: dict[int, Any] = {}
    parts = []
    for bones, parents in hand.levels:
        level = relatives[np.array(bones)]
        if parents[0] >= 0:
            level = jnp.stack([found[parent] for parent in parents]) @ level
        found |= {bone: level[i] for i, bone in enumerate(bones)}
        parts.append(level)
    transforms = jnp.concatenate(parts)[np.array(hand.order)] @ hand.inverses
    moved = transforms[:, :3] @ hand.positions
    return rotation(theta[:3]) @ jnp.sum(moved * hand.weights[:, None], 0) + theta[3:6, None]


def hand_errors(theta: Any, us: Any, hand: Hand) -> Any:
    return (hand.points - skin(theta, hand)[:, hand.vertices[0]]).T.reshape(-1)


def hand_errors_inside(theta: Any, us: Any, hand: Hand) -> Any:
    skinned = skin(theta, hand)
    first, second, third = (skinned[:, corners] for corners in hand.vertices)
    u, v = us.T
    return (hand.points - (u * first + v * second + (1.0 - u - v) * third)).T.reshape(-1)


def hand_jacobian_inside(theta: Any, us: Any, hand: Hand) -> Any:
    own = [
        jax.jvp(
            lambda x: hand_errors_inside(theta, x, hand), (us,), (jnp.broadcast_to(jnp.array(one), us.shape),)
        )[1]
        for one in np.eye(2)
    ]
    shared = jax.jacfwd(hand_errors_inside)(theta, us, hand)
    return jnp.concatenate([jnp.stack(own, 1), shared], 1)


def derivative(f: Callable[[Any], Any], forward: bool) -> Callable[[Any], Any]:
    return jax.jacfwd(f) if forward else jax.grad(f)


def descend(f: Callable[[Any], Any], start: Any, forward: bool, loop: Any) -> Any:
    gradient = derivative(f, forward)

    def step(state: Any) -> Any:
        x, value, rate, count, _ = state
        slope = gradient(x)
        moved = x - rate * slope
        there = f(moved)
        steep = jnp.sqrt(jnp.sum(slope * slope)) > 1e-5
        better = there < value
        far = jnp.sqrt(jnp.sum((moved - x) ** 2)) > 1e-5
        grown = jnp.where(count == 9, rate * 2.0, rate)
        return (
            jnp.where(steep & better, moved, x),
            jnp.where(steep & better, there, value),
            jnp.where(better, grown, rate / 2.0),
            jnp.where(better, jnp.where(count == 9, 0.0, count + 1.0), 0.0),
            steep & far,
        )

    first = (start, f(start), jnp.float64(1e-5), jnp.float64(0), jnp.bool_(True))
    return loop(lambda state: state[4], step, first, 400)[0]


def loop_while(condition: Any, step: Any, first: Any, most: int) -> Any:
    return lax.while_loop(condition, step, first)


def loop_bounded(condition: Any, step: Any, first: Any, most: int) -> Any:
    """JAX has no reverse mode through while loops: a scan of as many steps as there may be, which stay at the end."""

    def one(state: Any, _: None) -> Any:
        return lax.cond(condition(state), step, lambda x: x, state), None

    return lax.scan(one, first, None, most)[0]


def saddle(start: Any, outer: bool, inner: bool) -> Any:
    def f(x: Any, y: Any) -> Any:
        return jnp.sum(x * x) - jnp.sum(y * y)

    through = loop_while if outer else loop_bounded

    def highest(x: Any) -> Any:
        return f(x, descend(lambda y: -f(x, y), start, inner, through))

    x = descend(highest, start, outer, loop_while)
    return jnp.concatenate([x, descend(lambda y: -f(x, y), start, inner, loop_while)])


def potential(x: Any, w: Any) -> Any:
    away = (x[0] - 10.0) ** 2
    return 1.0 / jnp.sqrt(away + x[1] ** 2) + 1.0 / jnp.sqrt(away + (x[1] - 10.0 + w) ** 2)


def landing(w: Any, forward: bool, loop: Any) -> Any:
    force = derivative(lambda x: -potential(x, w), forward)

    def flies(state: Any) -> Any:
        x, speed = state
        return (x + 0.1 * speed)[1] > 0.0

    def step(state: Any) -> Any:
        x, speed = state
        return x + 0.1 * speed, speed + 0.1 * force(x)

    x, speed = loop(flies, step, (jnp.array([0.0, 8.0]), jnp.array([0.75, 0.0])), 400)
    return (x[0] - x[1] / speed[1] * speed[0]) ** 2


def particle(w: Any, outer: bool, inner: bool) -> Any:
    loop = loop_while if outer else loop_bounded
    return descend(lambda v: landing(v[0], inner, loop), jnp.reshape(w, (1,)), outer, loop_while)[0]


def _modes(f: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    return {mode: partial(f, outer=mode[0] == "f", inner=mode[1] == "f") for mode in MODES}


EVALS: dict[str, dict[str, Callable[..., Any]]] = {
    "hello": {"square": square, "double": jax.grad(square)},
    "lse": {"primal": logsumexp, "gradient": jax.grad(logsumexp)},
    "llsq": {"primal": least_squares, "gradient": jax.grad(least_squares)},
    "kmeans": {"cost": clustering, "dir": newton_step},
    "det": {"primal": determinant, "gradient": jax.grad(determinant)},
    "ode": {"primal": runge_kutta, "gradient": jax.grad(lambda x, steps: runge_kutta(x, steps)[-1])},
    "lstm": {"objective": lstm_loss, "jacobian": jax.grad(lstm_loss, (0, 1))},
    "gmm": {"objective": mixture, "jacobian": jax.grad(mixture, (0, 1, 2))},
    "ba": {
        "objective": jax.vmap(reprojection),
        "jacobian": jax.vmap(jax.jacrev(reprojection, (0, 1, 2))),
    },
    "ht": {
        "objective": hand_errors,
        "jacobian": jax.jacfwd(hand_errors),
        "objective_u": hand_errors_inside,
        "jacobian_u": hand_jacobian_inside,
    },
    "saddle": _modes(saddle),
    "particle": _modes(particle),
}
