"""What the evals are given: sizes, small to large, and arrays made from them. All candidates are given the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Inputs = tuple[Any, ...]


class Case(NamedTuple):
    """One eval.

    Attributes:
        asked: names of its functions.
        inputs: a size to arguments: arrays of float64, and numbers that are settings.
        sizes: small to large.
    """

    asked: tuple[str, ...]
    inputs: Callable[[int], Inputs]
    sizes: tuple[int, ...]


class Hand(NamedTuple):
    """A hand of bones with a skin, and points that were measured on it.

    Attributes:
        levels: the bones in the order of their distance to the root: for each level the bones and their parents.
        order: for each bone where the levels, one after another, have it.
        angles: for each bone the places of its three angles among the parameters; the place behind the last is 0.
        relatives, inverses: (bones, 4, 4): each bone in its parent's frame, and out of its own frame.
        positions: (4, vertices): homogeneous.
        weights: (bones, vertices): how much each bone moves each vertex.
        vertices: (3, points): the corners of the triangle each point lies in; a point's own vertex is the first.
        points: (3, points).
    """

    levels: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    order: tuple[int, ...]
    angles: np.ndarray[Any, Any]
    relatives: np.ndarray[Any, Any]
    inverses: np.ndarray[Any, Any]
    positions: np.ndarray[Any, Any]
    weights: np.ndarray[Any, Any]
    vertices: np.ndarray[Any, Any]
    points: np.ndarray[Any, Any]


BONES, VERTICES, PARAMETERS = 22, 544, 26


def _random(size: int) -> np.random.Generator:
    return np.random.default_rng(size)


def hand(count: int) -> Hand:
    """A made-up hand: wrist, five fingers of four bones, forearm; each point follows a few bones."""
    rng = _random(count)
    parents = [-1] + [parent for f in range(5) for parent in (0, *range(4 * f + 1, 4 * f + 4))] + [0]
    depths = [0] * BONES
    for bone, parent in enumerate(parents):
        depths[bone] = 0 if parent < 0 else depths[parent] + 1
    levels = tuple(
        (
            tuple(bone for bone in range(BONES) if depths[bone] == depth),
            tuple(parents[bone] for bone in range(BONES) if depths[bone] == depth),
        )
        for depth in range(max(depths) + 1)
    )
    listed = [bone for bones, _ in levels for bone in bones]
    angles = np.full((BONES, 3), PARAMETERS)
    place = 6
    for finger in range(5):
        for joint in range(3):  # all bones of a finger but the first turn; the next one to two sides
            bone = 2 + 4 * finger + joint
            angles[bone, 0] = place
            if joint == 0:
                angles[bone, 1] = place + 1
            place += 2 if joint == 0 else 1
    relatives = np.tile(np.eye(4), (BONES, 1, 1))
    relatives[:, :3, :3] = np.linalg.qr(rng.normal(size=(BONES, 3, 3)))[0]
    relatives[:, :3, 3] = rng.normal(size=(BONES, 3))
    inverses = np.linalg.inv(relatives)
    weights = rng.uniform(size=(BONES, VERTICES)) ** 8
    positions = np.concatenate([rng.normal(size=(3, VERTICES)), np.ones((1, VERTICES))])
    return Hand(
        levels, tuple(np.argsort(listed).tolist()), angles, relatives, inverses, positions,
        weights / weights.sum(0), rng.integers(0, VERTICES, (3, count)), rng.normal(size=(3, count)),
    )  # fmt: skip


def _hand_inputs(count: int) -> Inputs:
    """The parameters, and where in their triangles the points lie."""
    rng = _random(count + 1)
    return rng.normal(size=PARAMETERS), rng.uniform(0.1, 0.4, (count, 2)), hand(count)


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


MODES = ("ff", "fr", "rf", "rr")
GRADIENT, JACOBIAN = ("primal", "gradient"), ("objective", "jacobian")

CASES: dict[str, Case] = {
    "hello": Case(("square", "double"), lambda n: (np.float64(n),), (1, 4)),
    "lse": Case(GRADIENT, lambda n: (_random(n).normal(size=n),), (8, 1000, 100_000)),
    "llsq": Case(GRADIENT, lambda n: (_random(n).normal(size=8), np.linspace(-1, 1, n)), (9, 513, 4097)),
    "kmeans": Case(("cost", "dir"), _kmeans_inputs, (3, 20, 100)),
    "det": Case(GRADIENT, lambda n: (_random(n).normal(size=(n, n)),), (4, 6, 7)),
    "ode": Case(GRADIENT, lambda n: (_random(n).uniform(0.5, 1.5, n), 100), (5, 100, 1000)),
    "lstm": Case(JACOBIAN, _lstm_inputs, (5, 200, 1000)),
    "gmm": Case(JACOBIAN, _mixture_inputs, (3, 10, 25)),
    "ba": Case(JACOBIAN, _bundle_inputs, (4, 500, 5000)),
    "ht": Case(("objective", "jacobian", "objective_u", "jacobian_u"), _hand_inputs, (100, 800, 3200)),
    "saddle": Case(MODES, lambda n: (np.array([1.0, 1.0]) / n,), (1, 2)),
    "particle": Case(MODES, lambda n: (np.float64(0.1 * (n - 1)),), (1, 2)),
}
