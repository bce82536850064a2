"""Two worked examples with numbers one can check by hand: a layer that learns, and kernels that detect a house."""

from fractions import Fraction

import numpy as np

import tinygraph as tg

# -- The patients: three inputs, one weight each, ReLU, loss (o - y)^2 / 2, one step of descent per patient --
patients = [(100, 2000, 100), (200, 0, 0), (0, 2000, 3000)]
targets = [0, 1, 1]
step = Fraction(1, 10**7)

# Fractions are numbers too, so the graph computes exactly. (In float64 the third pre-activation is -1.1e-16 instead of
# 0, ReLU blocks it, and nothing is learnt.)
start = [Fraction(1, 200), Fraction(-3000, 11_600_000), Fraction(1, 5800)]


def output(weights, patient):
    total = sum(w * Fraction(x) for w, x in zip(weights, patient, strict=True))
    # ReLU with slope 1 at exactly 0, where the third patient starts; tg.ops.relu has slope 0 there, as everywhere else.
    return tg.ops.where(total >= 0, total, Fraction(0))


weights = [tg.tensor(w, requires_grad=True) for w in start]
print("before:", [str(output(weights, patient).item()) for patient in patients])
for patient, target in zip(patients, targets, strict=True):
    loss = (output(weights, patient) - target) ** 2 * Fraction(1, 2)
    loss.backward()
    weights = [tg.tensor(w.item() - step * w.grad.item(), requires_grad=True) for w in weights]
print("after: ", [str(output(weights, patient).item()) for patient in patients])

# -- The house: a 7x7 picture and hand-made kernels --
colours = {
    "B": (0, 57, 71),
    "G": (147, 146, 136),
    "W": (70, 74, 51),
    "C": (207, 166, 121),
    "R": (152, 92, 57),
}
rows = ["BBBGBBB", "BBGGGBB", "BGGGWGB", "GGGWWGG", "BRCCCRB", "BRCRCRB", "BRCRCRB"]
picture = np.array([[colours[c] for c in row] for row in rows]).transpose(2, 0, 1)[None]

roof_left = [[0, -1, 1], [-1, 1, 0], [1, 0, 0]]
kernel = np.broadcast_to(roof_left, (1, 3, 3, 3))  # the same for red, green and blue

grid = tg.ops.convolution(picture, kernel, padding=1)
print("\nthe left side of a roof, found by one kernel:\n", grid[0, 0])
places = np.argwhere(grid[0, 0] == grid.max())
print("strongest, with", grid.max(), "at", [tuple(map(int, place)) for place in places])

found = tg.ops.relu(grid - 1030)
print("a bias of -1030 and ReLU leave only them:\n", found[0, 0])
