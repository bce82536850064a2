"""Logistic regression by Newton's method: the Hessian is never made, conjugate gradients ask for its products."""

import numpy as np

import tinygraph as tg

rng = np.random.default_rng(0)
x = np.concatenate([rng.standard_normal((200, 5)), np.ones((200, 1))], axis=1)
y = (x @ np.array([1.0, -2.0, 0.5, 0.0, 1.5, 0.3]) + rng.logistic(size=200) > 0).astype(float)


def loss(w):
    scores = x @ w
    return np.mean(np.logaddexp(0, scores) - y * scores) + 1e-3 * np.sum(w**2)


def conjugate_gradients(product, b):
    solution, rest = np.zeros_like(b), b
    direction = rest
    for _ in range(len(b)):
        along = product(direction)
        length = rest @ rest / (direction @ along)
        solution, new = solution + length * direction, rest - length * along
        if np.sqrt(new @ new) < 1e-12:
            break
        direction, rest = new + (new @ new) / (rest @ rest) * direction, new
    return solution


gradient, product = tg.grad(loss), tg.hvp(loss)
w = np.zeros(6)
for i in range(8):
    slope = gradient(w)
    print(f"step {i}: loss {loss(w):.6f}, slope {np.linalg.norm(slope):.1e}")
    if np.linalg.norm(slope) < 1e-10:
        break
    w = w - conjugate_gradients(lambda v, w=w: product(w, v), slope)
print(f"converged quadratically: {np.linalg.norm(gradient(w)) < 1e-10}")
