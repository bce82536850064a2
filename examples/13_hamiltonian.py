"""A planet by Hamilton's equations: the force is the gradient of the energy, steps are symplectic, and the initial
velocity is found by differentiating through all of them.
"""

import numpy as np

import tinygraph as tg


def potential(q):
    return -1 / np.sqrt(np.sum(q**2))


force = tg.grad(lambda q: -potential(q))


def orbit(q, p, steps, dt):
    """Leapfrog: half a kick, a drift, half a kick."""
    for _ in range(steps):
        p = p + dt / 2 * force(q)
        q = q + dt * p
        p = p + dt / 2 * force(q)
    return q, p


def energy(q, p):
    return np.sum(p**2) / 2 + potential(q)


q, p = np.array([1.0, 0.0]), np.array([0.0, 1.1])
later = orbit(q, p, 100, 0.1)
print(f"energy {energy(q, p):.5f} -> {energy(*later):.5f}")


def miss(speed):
    """How far from (-1.3, 0) half an orbit ends that starts with this speed."""
    end, _ = orbit(np.array([1.0, 0.0]), np.array([0.0, 1.0]) * speed, 20, 0.2)
    return np.sum((end - np.array([-1.3, 0.0])) ** 2)


slope, curvature = tg.grad(miss), tg.grad(tg.grad(miss))
speed = np.float64(1.1)
for _ in range(5):  # Newton's method, with derivatives of the forces of the third order
    speed = speed - slope(speed) / np.abs(curvature(speed))
print(f"the speed that comes nearest is {speed:.3f}, the slope there is zero: {abs(slope(speed)) < 1e-6}")
