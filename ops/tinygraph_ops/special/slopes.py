"""Derivatives of special functions by operands of which no closed form is known: orders, degrees of freedom, shapes.

They are those of the polynomial through the function's values at Chebyshev points around the operand (Trefethen,
"Approximation Theory and Approximation Practice", chapter 21), which for an analytic function is right to about 13
digits, the second derivative to 11. The points keep away from where the function ends.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tinygraph.plugin import Numeric

POINTS = 17


class Domain(NamedTuple):
    """Where a function is analytic in an operand.

    Attributes:
        above: it ends below this number.
        below: and above this one.
        poles: whether it has poles at 0, -1, -2 ...
        wide: whether what it does is as wide as the root of the operand, as for distributions.
        homogeneous: whether it is as wide as the operand itself.
        pole: where else it has one.
    """

    above: float = -np.inf
    below: float = np.inf
    poles: bool = False
    wide: bool = False
    homogeneous: bool = False
    pole: float = np.inf

    def radius(self, x: Numeric) -> Any:
        """How far from x the points reach."""
        room = np.minimum(np.minimum(x - self.above, self.below - x), np.abs(x - self.pole)) / 4
        if self.poles:
            room = np.minimum(room, np.where(x > 0, x, np.abs(x - np.round(x))) / 4)
        if self.homogeneous:
            return room
        reach = 0.5 * np.sqrt(1 + np.abs(x)) if self.wide else 0.5
        return np.minimum(room, reach)


_ANY, _POSITIVE, _POLES = Domain(), Domain(above=0.0), Domain(poles=True)
_SHAPE = Domain(above=0.0, wide=True)

# By function, then by operand.
DOMAINS: dict[str, dict[int, Domain]] = {
    **{name: {0: _SHAPE} for name in (
        "gammainc", "gammaincc", "gammaincinv", "gammainccinv", "stdtr", "stdtrit", "chdtr", "chdtrc", "chdtri",
    )},
    **{name: {0: _SHAPE, 1: _SHAPE} for name in (
        "betainc", "betaincc", "betaincinv", "betainccinv", "fdtr", "fdtrc", "fdtri",
    )},
    **{name: {1: _SHAPE} for name in ("gdtr", "gdtrc", "gdtrix")},
    **{name: {0: _ANY} for name in (
        "jv", "jn", "yv", "iv", "kv", "jve", "yve", "ive", "kve", "hankel1", "hankel1e", "hankel2", "hankel2e",
        "struve", "modstruve", "pbdv", "pbvv",
    )},
    "zeta": {0: Domain(above=1.0)},
    "hyp0f1": {0: _POLES},
    "hyp1f1": {0: _ANY, 1: _POLES},
    "hyp2f1": {0: _ANY, 1: _ANY, 2: _POLES},
    "hyperu": {0: _ANY, 1: _ANY},
    "wright_bessel": {0: _POSITIVE, 1: _POSITIVE},
    "eval_gegenbauer": {1: Domain(above=-0.5)},
    "eval_genlaguerre": {1: Domain(above=-1.0)},
    "eval_jacobi": {1: Domain(above=-1.0), 2: Domain(above=-1.0)},
    "ellipj": {1: Domain(0.0, 1.0)},
    "kolmogorov": {0: _POSITIVE},
    "zetac": {0: Domain(pole=1.0)},
    **{name: dict.fromkeys(range(count), Domain(above=0.0, homogeneous=True)) for name, count in (
        ("agm", 2), ("elliprc", 2), ("elliprd", 3), ("elliprf", 3), ("elliprg", 3), ("elliprj", 4),
    )},
    **{name: dict.fromkeys(range(count), _POSITIVE) for name, count in (("ncfdtr", 4), ("log_wright_bessel", 2))},
    "besselpoly": {0: _POSITIVE, 1: Domain(above=-1.0), 2: Domain(above=-1.0)},
    "ellipkinc": {1: Domain(below=1.0)},
    "ellipeinc": {1: Domain(below=1.0)},
    "chndtr": {0: _POSITIVE, 1: _SHAPE, 2: _POSITIVE},
    "nctdtr": {0: _SHAPE, 1: _ANY, 2: _ANY},
    **{name: {1: _ANY} for name in ("mathieu_a", "mathieu_b", "mathieu_cem", "mathieu_sem")},
}  # fmt: skip


@cache
def weights(order: int) -> tuple[Any, Any]:
    """Chebyshev points of [-1, 1], and what the values there count in the derivative of an order at 0."""
    numbers = np.arange(POINTS)
    angles = (2 * numbers + 1) * np.pi / (2 * POINTS)
    total = np.zeros(POINTS)
    for degree in numbers:
        series = np.polynomial.Chebyshev.basis(int(degree))
        at_zero = series.deriv(order)(0.0) if order <= degree else 0.0
        total += at_zero * np.cos(degree * angles) * (2 if degree else 1) / POINTS
    return np.cos(angles), total


def spread(x: Numeric, domain: Domain, order: int) -> tuple[Any, Any]:
    """The points around each element of x, along a new last axis, and their weights."""
    points, counts = weights(order)
    radius = np.asarray(domain.radius(x), float)[..., None]
    return x[..., None] + radius * points, counts / radius**order
