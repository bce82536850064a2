"""Rates of a predator-prey system, found from its course: gradients by the adjoint equation."""

import numpy as np
from scipy.optimize import minimize

import tinygraph as tg

times = np.linspace(0.0, 3.0, 4)
start = np.array([1.0, 1.0])


def slope(y, t, rates):
    prey, predators = y[0], y[1]
    return np.stack([prey * (rates[0] - rates[1] * predators), predators * (rates[2] * prey - rates[3])])


TRUE = np.array([1.1, 0.4, 0.3, 0.6])
observed = tg.scipy.integrate.odeint(slope, start, times, (TRUE,))


def loss(logarithms):
    course = tg.scipy.integrate.odeint(slope, start, times, (np.exp(logarithms),), rtol=1e-7, atol=1e-7)
    return np.sum((course - observed) ** 2)


fit = minimize(
    tg.value_and_grad(loss), np.log([1.0, 0.5, 0.4, 0.5]), jac=True, method="BFGS", options={"maxiter": 25}
)
print("rates", np.exp(fit.x).round(3))
print(f"they are the true ones: {np.allclose(np.exp(fit.x), TRUE, atol=0.01)}")
