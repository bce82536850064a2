"""Black-box variational inference in plain NumPy: a diagonal Gaussian is fitted to a density given by its logarithm."""

import numpy as np

import tinygraph as tg

rng = np.random.default_rng(0)
MEAN, DEVIATION = np.array([1.0, -2.0]), np.array([0.5, 2.0])


def log_density(z):
    return np.sum(-0.5 * ((z - MEAN) / DEVIATION) ** 2 - np.log(DEVIATION), axis=-1)


def negative_elbo(parameters, noise):
    mean, log_deviation = parameters[:2], parameters[2:]
    samples = mean + np.exp(log_deviation) * noise  # reparameterized
    return -np.mean(log_density(samples)) - np.sum(log_deviation)


step = tg.value_and_grad(negative_elbo)
parameters, moment, square = np.zeros(4), np.zeros(4), np.zeros(4)
for i in range(1, 501):
    value, gradient = step(parameters, rng.standard_normal((20, 2)))
    moment, square = 0.9 * moment + 0.1 * gradient, 0.99 * square + 0.01 * gradient**2
    rate = 0.05 if i < 400 else 0.005
    parameters = parameters - rate * (moment / (1 - 0.9**i)) / (np.sqrt(square / (1 - 0.99**i)) + 1e-8)

found = np.concatenate([parameters[:2], np.exp(parameters[2:])])
print("means and deviations", found.round(2))
print(f"they are those of the density: {np.allclose(found, [*MEAN, *DEVIATION], atol=0.15)}")
