"""The evals in PyTorch: eager, with its own ops, `torch.func` and loops of Python."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.func import grad, jacfwd, jacrev, jvp, vmap

from benchmarks.gradbench.cases import BONES, MODES, Hand

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)


def reverse(f: Callable[..., Any], wanted: int = 1) -> Callable[..., Any]:
    """Gradients by the first arguments, by the tape."""

    def gradient(*arguments: Any) -> Any:
        leaves = [one.detach().requires_grad_() for one in arguments[:wanted]]
        found = torch.autograd.grad(f(*leaves, *arguments[wanted:]), leaves)
        return found[0] if wanted == 1 else found

    return gradient


def square(x: Any) -> Any:
    return x * x


def logsumexp(x: Any) -> Any:
    return torch.logsumexp(x, 0)


def least_squares(x: Any, times: Any) -> Any:
    polynomial = 0.0
    for j in reversed(range(x.shape[0])):
        polynomial = polynomial * times + x[j]
    return 0.5 * torch.sum((torch.sign(times) - polynomial) ** 2)


def clustering(points: Any, centroids: Any) -> Any:
    return torch.sum(torch.min(torch.sum((points[:, None] - centroids) ** 2, 2), 1)[0])


def newton_step(points: Any, centroids: Any) -> Any:
    leaf = centroids.detach().requires_grad_()
    (value,) = torch.autograd.grad(clustering(points, leaf), leaf, create_graph=True)
    (curvature,) = torch.autograd.grad(value.sum(), leaf)  # the Hessian is diagonal
    return value.detach() / curvature


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
    width, one, y = 2.0 / steps, torch.ones(1), torch.zeros_like(x)

    def slope(y: Any) -> Any:
        return x * torch.cat([one, y[:-1]])

    for _ in range(steps):
        k1 = slope(y)
        k2 = slope(y + width * k1 / 2)
        k3 = slope(y + width * k2 / 2)
        k4 = slope(y + width * k3)
        y = y + width * (k1 + 2 * k2 + 2 * k3 + k4) / 6
    return y


def lstm_loss(main: Any, extra: Any, state: Any, sequence: Any) -> Any:
    layers, total = state.shape[0] // 2, torch.zeros(())
    weights = main[::2].reshape(layers, 4, -1)
    biases = main[1::2].reshape(layers, 4, -1)
    hidden, cells = list(state[::2]), list(state[1::2])
    for now, after in itertools.pairwise(sequence):
        x = now * extra[0]
        for layer in range(layers):
            w, b = weights[layer], biases[layer]
            h = hidden[layer]
            forget, admit, out = torch.sigmoid(torch.stack([x, h, x]) * w[:3] + b[:3])
            cells[layer] = cells[layer] * forget + admit * torch.tanh(h * w[3] + b[3])
            x = hidden[layer] = out * torch.tanh(cells[layer])
        logits = x * extra[1] + extra[2]
        total = total + torch.sum(after * (logits - torch.log(torch.sum(torch.exp(logits)) + 2.0)))
    return -total / (sequence.shape[1] * (sequence.shape[0] - 1))


def mixture(alphas: Any, means: Any, icf: Any, points: Any, gamma: float, m: int) -> Any:
    n, d = points.shape
    k = alphas.shape[0]
    rows, columns = np.tril_indices(d, -1)
    order = np.lexsort((rows, columns))
    diagonals = torch.exp(icf[:, :d])
    factors = torch.zeros((k, d, d))
    factors[:, torch.as_tensor(rows[order]), torch.as_tensor(columns[order])] = icf[:, d:]
    apart = points[:, None] - means
    scaled = torch.einsum("kij,nkj->nki", factors, apart) + diagonals * apart
    logs = alphas + torch.sum(icf[:, :d], 1) - 0.5 * torch.sum(scaled**2, 2)
    prior = 0.5 * gamma**2 * (torch.sum(diagonals**2) + torch.sum(icf[:, d:] ** 2)) - m * torch.sum(
        icf[:, :d]
    )
    return torch.sum(torch.logsumexp(logs, 1)) - n * torch.logsumexp(alphas, 0) - prior


def reprojection(camera: Any, point: Any, weight: Any, feature: Any) -> Any:
    axis, x = camera[..., :3], point - camera[..., 3:6]
    angle = torch.sqrt(torch.sum(axis * axis, -1, keepdim=True))
    unit = axis / angle
    along = torch.sum(unit * x, -1, keepdim=True)
    turned = (
        x * torch.cos(angle)
        + torch.linalg.cross(unit, x) * torch.sin(angle)
        + unit * along * (1.0 - torch.cos(angle))
    )
    plane = turned[..., :2] / turned[..., 2:]
    radius = torch.sum(plane * plane, -1, keepdim=True)
    distorted = plane * (1.0 + camera[..., 9:10] * radius + camera[..., 10:11] * radius**2)
    return weight[..., None] * (distorted * camera[..., 6:7] + camera[..., 7:9] - feature)


def rotation(axis: Any) -> Any:
    angle = torch.sqrt(torch.sum(axis * axis))
    x, y, z = axis / angle
    zero = 0.0 * angle
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    return torch.eye(3) + torch.sin(angle) * cross + (1.0 - torch.cos(angle)) * (cross @ cross)


def frames(angles: Any) -> Any:
    (sx, sz, sy), (cx, cz, cy) = torch.sin(angles).T, torch.cos(angles).T
    zero, one = torch.zeros(BONES), torch.ones(BONES)
    rows = [
        cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx, zero,
        sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx, zero,
        -sy, cy * sx, cy * cx, zero,
        zero, zero, zero, one,
    ]  # fmt: skip
    return torch.stack(rows, 1).reshape(BONES, 4, 4)


def skin(theta: Any, hand: Hand) -> Any:
    angles = torch.cat([theta, torch.zeros(1)])[hand.angles]
    relatives = hand.relatives @ frames(angles)
    found: dict[int, Any] = {}
    parts = []
    for bones, parents in hand.levels:
        level = relatives[list(bones)]
        if parents[0] >= 0:
            level = torch.stack([found[parent] for parent in parents]) @ level
        found |= {bone: level[i] for i, bone in enumerate(bones)}
        parts.append(level)
    transforms = torch.cat(parts)[list(hand.order)] @ hand.inverses
    moved = transforms[:, :3] @ hand.positions
    return rotation(theta[:3]) @ torch.sum(moved * hand.weights[:, None], 0) + theta[3:6, None]


def hand_errors(theta: Any, us: Any, hand: Hand) -> Any:
    return (hand.points - skin(theta, hand)[:, hand.vertices[0]]).T.reshape(-1)


def hand_errors_inside(theta: Any, us: Any, hand: Hand) -> Any:
    skinned = skin(theta, hand)
    first, second, third = (skinned[:, corners] for corners in hand.vertices)
    u, v = us.T
    return (hand.points - (u * first + v * second + (1.0 - u - v) * third)).T.reshape(-1)


def hand_jacobian_inside(theta: Any, us: Any, hand: Hand) -> Any:
    own = [
        jvp(
            lambda x: hand_errors_inside(theta, x, hand),
            (us,),
            (torch.tensor(one).expand(us.shape).contiguous(),),
        )[1]
        for one in np.eye(2)
    ]
    shared = jacfwd(lambda x: hand_errors_inside(x, us, hand))(theta)
    return torch.cat([torch.stack(own, 1), shared], 1)


def derivative(f: Callable[[Any], Any], forward: bool) -> Callable[[Any], Any]:
    """One direction after the other: loops of Python end on values, which no batch of directions has."""
    if not forward:
        return grad(f)
    return lambda x: torch.stack([jvp(f, (x,), (one,))[1] for one in torch.eye(x.shape[0])])


def descend(f: Callable[[Any], Any], start: Any, forward: bool) -> Any:
    gradient = derivative(f, forward)
    x, value, rate, count = start, f(start), 1e-5, 0
    for _ in range(400):
        slope = gradient(x)
        if torch.sqrt(torch.sum(slope * slope)) <= 1e-5:
            break
        moved = x - rate * slope
        there = f(moved)
        far = torch.sqrt(torch.sum((moved - x) ** 2)) > 1e-5
        if there < value:
            x, value = moved, there
            rate, count = (rate * 2.0, 0) if count == 9 else (rate, count + 1)
        else:
            rate, count = rate / 2.0, 0
        if not far:
            break
    return x


def saddle(start: Any, outer: bool, inner: bool) -> Any:
    def f(x: Any, y: Any) -> Any:
        return torch.sum(x * x) - torch.sum(y * y)

    x = descend(lambda x: f(x, descend(lambda y: -f(x, y), start, inner)), start, outer)
    return torch.cat([x, descend(lambda y: -f(x, y), start, inner)])


def potential(x: Any, w: Any) -> Any:
    away = (x[0] - 10.0) ** 2
    return 1.0 / torch.sqrt(away + x[1] ** 2) + 1.0 / torch.sqrt(away + (x[1] - 10.0 + w) ** 2)


def landing(w: Any, forward: bool) -> Any:
    force = derivative(lambda x: -potential(x, w), forward)
    x, speed = torch.tensor([0.0, 8.0]), torch.tensor([0.75, 0.0])
    while (after := x + 0.1 * speed)[1] > 0.0:
        x, speed = after, speed + 0.1 * force(x)
    return (x[0] - x[1] / speed[1] * speed[0]) ** 2


def particle(w: Any, outer: bool, inner: bool) -> Any:
    return descend(lambda v: landing(v[0], inner), w.reshape(1), outer)[0]


def _modes(f: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    return {mode: partial(f, outer=mode[0] == "f", inner=mode[1] == "f") for mode in MODES}


EVALS: dict[str, dict[str, Callable[..., Any]]] = {
    "hello": {"square": square, "double": reverse(square)},
    "lse": {"primal": logsumexp, "gradient": reverse(logsumexp)},
    "llsq": {"primal": least_squares, "gradient": reverse(least_squares)},
    "kmeans": {"cost": clustering, "dir": newton_step},
    "det": {"primal": determinant, "gradient": reverse(determinant)},
    "ode": {"primal": runge_kutta, "gradient": reverse(lambda x, steps: runge_kutta(x, steps)[-1])},
    "lstm": {"objective": lstm_loss, "jacobian": reverse(lstm_loss, 2)},
    "gmm": {"objective": mixture, "jacobian": reverse(mixture, 3)},
    "ba": {"objective": reprojection, "jacobian": vmap(jacrev(reprojection, (0, 1, 2)))},
    "ht": {
        "objective": hand_errors,
        "jacobian": lambda theta, us, hand: jacfwd(lambda x: hand_errors(x, us, hand))(theta),
        "objective_u": hand_errors_inside,
        "jacobian_u": hand_jacobian_inside,
    },
    "saddle": _modes(saddle),
    "particle": _modes(particle),
}
