"""GradBench's evals, eagerly and compiled, against closed forms, loops written out and differences."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from benchmarks.gradbench.cases import CASES
from benchmarks.gradbench.evals import EVALS, landing

TOLERANCE = {"rtol": 1e-6, "atol": 1e-8}  # the validators' is 1e-4


def differences(f: Callable[..., Any], arguments: tuple[Any, ...], wanted: int) -> Any:
    """The gradients by the first arguments, by central differences."""
    found = []
    for i in range(wanted):
        x = np.asarray(arguments[i], float)
        gradient = np.zeros((*np.shape(f(*arguments)), *x.shape))
        for at in np.ndindex(x.shape):
            step = np.zeros(x.shape)
            step[at] = 1e-5
            there, back = ((*arguments[:i], x + s * step, *arguments[i + 1 :]) for s in (1, -1))
            gradient[(..., *at)] = (np.asarray(f(*there)) - np.asarray(f(*back))) / 2e-5
        found.append(gradient)
    return tuple(found)


def lstm(main: Any, extra: Any, state: Any, sequence: Any) -> float:
    state, total, width = state.copy(), 0.0, sequence.shape[1]

    def sigmoid(x: float) -> float:
        return 1 / (1 + np.exp(-x))

    for now, after in itertools.pairwise(sequence):
        x = [now[j] * extra[0, j] for j in range(width)]
        for layer in range(len(state) // 2):
            w, b = main[2 * layer].reshape(4, -1), main[2 * layer + 1].reshape(4, -1)
            for j in range(width):
                hidden, cell = state[2 * layer, j], state[2 * layer + 1, j]
                forget, admit = sigmoid(x[j] * w[0, j] + b[0, j]), sigmoid(hidden * w[1, j] + b[1, j])
                out, change = sigmoid(x[j] * w[2, j] + b[2, j]), np.tanh(hidden * w[3, j] + b[3, j])
                cell = cell * forget + admit * change
                x[j] = out * np.tanh(cell)
                state[2 * layer, j], state[2 * layer + 1, j] = x[j], cell
        guess = np.array(x) * extra[1] + extra[2]
        total += float(after @ (guess - np.log(np.exp(guess).sum() + 2)))
    return -total / (width * (len(sequence) - 1))


def gmm(alphas: Any, means: Any, icf: Any, points: Any, gamma: float, m: int) -> float:
    """By the density of each component, its precision Q Q^T written out."""
    d, total = points.shape[1], 0.0
    for x in points:
        likely = 0.0
        for a, mean, row in zip(alphas, means, icf, strict=True):
            q = np.diag(np.exp(row[:d]))
            rest = iter(row[d:])
            for column in range(d):
                for i in range(column + 1, d):
                    q[i, column] = next(rest)
            likely += np.exp(a) * np.linalg.det(q) * np.exp(-0.5 * np.sum((q @ (x - mean)) ** 2))
        total += np.log(likely)
    prior = 0.5 * gamma**2 * (np.sum(np.exp(icf[:, :d]) ** 2) + np.sum(icf[:, d:] ** 2)) - m * np.sum(
        icf[:, :d]
    )
    return float(total - len(points) * np.log(np.sum(np.exp(alphas))) - prior)


def kmeans_step(points: Any, centroids: Any) -> Any:
    nearest = np.argmin(((points[:, None] - centroids) ** 2).sum(2), 1)
    return np.stack([c - points[nearest == i].mean(0) for i, c in enumerate(centroids)])


def truth(name: str, asked: str, given: tuple[Any, ...]) -> Any:
    x = given[0]
    match name, asked:
        case "hello", _:
            return {"square": 1.0, "double": 2.0}[asked]
        case "lse", _:
            return np.log(np.exp(x).sum()) if asked == "primal" else np.exp(x) / np.exp(x).sum()
        case "llsq", _:
            powers = given[1][:, None] ** np.arange(8)
            rest = np.sign(given[1]) - powers @ x
            return 0.5 * rest @ rest if asked == "primal" else -powers.T @ rest
        case "kmeans", _:
            distances = ((x[:, None] - given[1]) ** 2).sum(2)
            return distances.min(1).sum() if asked == "cost" else kmeans_step(*given)
        case "det", _:
            found = np.linalg.det(x)
            return found if asked == "primal" else found * np.linalg.inv(x).T
        case "lstm", _:
            return lstm(*given) if asked == "objective" else differences(lstm, given, 2)
        case "gmm", _:
            return gmm(*given) if asked == "objective" else differences(gmm, given, 3)
        case "saddle", _:
            return np.zeros(4)
    raise AssertionError(name)


@pytest.mark.parametrize("name", ["hello", "lse", "llsq", "kmeans", "det", "lstm", "gmm"])
def test_an_eval_is_right(name: str) -> None:
    given = CASES[name].inputs(CASES[name].sizes[0])
    for asked, f in EVALS[name].items():
        expected = truth(name, asked, given)
        for g in (f, tg.compile(f)):
            found = g(*given)
            pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
            for mine, right in pairs:
                np.testing.assert_allclose(np.asarray(mine), right, **TOLERANCE, err_msg=asked)  # type: ignore[arg-type]


def test_the_differential_equation() -> None:
    """Runge and Kutta's method is exact up to the fourth degree: y_i(t) = x_0 ... x_i t^(i+1) / (i+1)!"""
    x = np.array([1.5, -0.5, 2.0, 0.75])
    primal, gradient = EVALS["ode"].values()
    exact = np.cumprod(x) * np.array([2.0, 4 / 2, 8 / 6, 16 / 24])
    for f, right in ((primal, exact), (gradient, exact[-1] / x)):
        np.testing.assert_allclose(f(x, 10), right, rtol=1e-12)
        np.testing.assert_allclose(tg.compile(lambda x, f=f: f(x, 10))(x), right, rtol=1e-12)


def test_bundle_adjustment() -> None:
    given = CASES["ba"].inputs(2)
    objective, blocks = EVALS["ba"].values()
    single = tg.compile(objective)
    for k in range(2):
        at = tuple(x[k : k + 1] for x in given)
        expected = differences(lambda *x: np.asarray(single(*x))[0], at, 3)
        for found in (blocks(*given), tg.compile(blocks)(*given)):
            for mine, right in zip(found, expected, strict=True):
                np.testing.assert_allclose(np.asarray(mine)[k], right[:, 0], rtol=1e-5, atol=1e-7)


def turned(axis: int, angle: float) -> Any:
    """The matrix that turns about one of the axes."""
    found, others = np.eye(3), [k for k in range(3) if k != axis]
    sine = np.sin(angle) * (-1.0 if axis == 1 else 1.0)
    found[np.ix_(others, others)] = [[np.cos(angle), -sine], [sine, np.cos(angle)]]
    return found


def posed(theta: Any, hand: Any) -> Any:
    """The vertices, bone by bone and vertex by vertex."""
    angles = np.append(theta, 0.0)[hand.angles]
    above = {
        bone: parent for bones, parents in hand.levels for bone, parent in zip(bones, parents, strict=True)
    }
    absolute: dict[int, Any] = {}
    for bone in sorted(above, key=lambda one: [one in level[0] for level in hand.levels].index(True)):
        frame = np.eye(4)
        x, z, y = angles[bone]
        frame[:3, :3] = turned(2, z) @ turned(1, y) @ turned(0, x)
        own = hand.relatives[bone] @ frame
        absolute[bone] = own if above[bone] < 0 else absolute[above[bone]] @ own
    skinned = np.zeros((3, hand.positions.shape[1]))
    for bone, matrix in absolute.items():
        skinned += (matrix @ hand.inverses[bone] @ hand.positions)[:3] * hand.weights[bone]
    angle = np.linalg.norm(theta[:3])
    x, y, z = theta[:3] / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    whole = (
        np.cos(angle) * np.eye(3)
        + np.sin(angle) * cross
        + (1 - np.cos(angle)) * np.outer([x, y, z], [x, y, z])
    )
    return whole @ skinned + theta[3:6, None]


def test_hand_tracking() -> None:
    theta, us, hand = CASES["ht"].inputs(5)

    def plain(theta: Any) -> Any:
        return (hand.points - posed(theta, hand)[:, hand.vertices[0]]).T.ravel()

    def inside(theta: Any, us: Any) -> Any:
        corners = posed(theta, hand)[:, hand.vertices]
        parts = np.stack([us[:, 0], us[:, 1], 1 - us.sum(1)])
        return (hand.points - (corners * parts).sum(1)).T.ravel()

    (by_theta,) = differences(plain, (theta,), 1)
    shared, own = differences(inside, (theta, us), 2)
    places = np.arange(15) // 3
    truths = {
        "objective": plain(theta),
        "jacobian": by_theta,
        "objective_u": inside(theta, us),
        "jacobian_u": np.concatenate([own[np.arange(15), places], shared], 1),
    }
    for asked, f in EVALS["ht"].items():
        compiled = tg.compile(lambda theta, us, f=f: f(theta, us, hand))
        for found in (f(theta, us, hand), compiled(theta, us)):
            np.testing.assert_allclose(np.asarray(found), truths[asked], rtol=1e-6, atol=1e-8, err_msg=asked)


def test_the_flight_of_a_charge() -> None:
    """Step by step, with the force written out."""
    w = 0.3
    x, speed = np.array([0.0, 8.0]), np.array([0.75, 0.0])
    while (x + 0.1 * speed)[1] > 0:
        pulls = [x - np.array(place) for place in ((10.0, 10.0 - w), (10.0, 0.0))]
        force = sum(pull / np.linalg.norm(pull) ** 3 for pull in pulls)
        x, speed = x + 0.1 * speed, speed + 0.1 * force
    expected = (x[0] - x[1] / speed[1] * speed[0]) ** 2
    for forward in (False, True):
        np.testing.assert_allclose(landing(np.float64(w), forward), expected, rtol=1e-10)


@pytest.mark.parametrize("modes", ["ff", "fr", "rf", "rr"])
def test_the_saddle_point(modes: str) -> None:
    found = tg.compile(EVALS["saddle"][modes])(np.array([1.0, 1.0]))
    np.testing.assert_allclose(found, np.zeros(4), atol=1e-4)


@pytest.mark.parametrize("modes", ["ff", "fr", "rf", "rr"])
def test_the_particle_meets_the_origin(modes: str) -> None:
    """GradBench's published answer, within its tolerance."""
    found = tg.compile(EVALS["particle"][modes])(np.float64(0.0))
    np.testing.assert_allclose(found, 0.2071918746486116, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:.*torch.jit:DeprecationWarning"
)  # which GradBench's own program for PyTorch uses
@pytest.mark.parametrize("peer", ["pytorch", "jax"])
@pytest.mark.parametrize("name", [name for name in CASES if name not in ("saddle", "particle")])
def test_the_peers_compute_the_same(name: str, peer: str) -> None:
    pytest.importorskip("torch" if peer == "pytorch" else "jax")
    from benchmarks.gradbench.worker import CANDIDATES, some_of

    size = CASES[name].sizes[0]
    for asked in CASES[name].asked:
        mine, other = (some_of(CANDIDATES[one](name, asked, size)()) for one in ("ours", peer))
        for one, right in zip(mine, other, strict=True):
            np.testing.assert_allclose(one, right, rtol=1e-6, atol=1e-9, err_msg=asked)
