"""A Gaussian process in plain NumPy, fitted by SciPy's minimizer with gradients through the Cholesky factor."""

import numpy as np
from scipy.optimize import minimize

import tinygraph as tg

rng = np.random.default_rng(0)
x = np.sort(rng.uniform(-3, 3, 25))
y = np.sin(x) + 0.1 * rng.standard_normal(25)


def covariance(parameters, one, other):
    scale, length, _ = np.exp(parameters)
    return scale * np.exp(-0.5 * ((one[:, None] - other[None, :]) / length) ** 2)


def negative_log_likelihood(parameters):
    noise = np.exp(parameters)[2]
    factor = np.linalg.cholesky(covariance(parameters, x, x) + noise * np.eye(len(x)))
    white = np.linalg.solve(factor, y)
    return 0.5 * white @ white + np.sum(np.log(np.diag(factor))) + 0.5 * len(x) * np.log(2 * np.pi)


start = np.zeros(3)
fit = minimize(tg.value_and_grad(negative_log_likelihood), start, jac=True)
print(f"negative log likelihood {negative_log_likelihood(start):.2f} -> {fit.fun:.2f}")

new = np.linspace(-2.5, 2.5, 7)
gram = covariance(fit.x, x, x) + np.exp(fit.x)[2] * np.eye(len(x))
error = np.max(np.abs(covariance(fit.x, new, x) @ np.linalg.solve(gram, y) - np.sin(new)))
print(f"the posterior mean follows the sine: {error < 0.2}")
