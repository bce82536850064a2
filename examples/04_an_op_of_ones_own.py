"""An op of one's own: a NumPy function, its derivative, a sample - and everything else follows."""

import numpy as np

import tinygraph as tg
from tinygraph.plugin import Sample, op, ops


@op(kind="elementwise", samples=[Sample([0.0, 0.5], expected=[0.0, np.exp(-0.25) * 0.5])])
def gaussian_wave(x):
    """x exp(-x^2);  d/dx = (1 - 2 x^2) exp(-x^2)."""
    return x * np.exp(-x * x)


@gaussian_wave.vjp("x")
def gaussian_wave_wrt_x(g, x):
    return g * (1 - 2 * x * x) * ops.exp(-x * x)


# On arrays it is a NumPy function; on tensors it is recorded.
print(gaussian_wave(np.array([0.0, 0.5])))

# The rule is written in ops, so every higher derivative, and forward mode, come with it.
first = tg.grad(gaussian_wave)
print(
    "f'(0.3) =",
    first(0.3),
    " f''(0.3) =",
    tg.grad(first)(0.3),
    " jvp =",
    tg.jvp(gaussian_wave, (0.3,), (1.0,))[1],
)

# The checker compares it with finite differences and many other laws.
print(tg.testing.check_op(gaussian_wave))
