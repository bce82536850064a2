"""A phase mask that focuses light: waves travel by np.fft, and the mask follows the gradient."""

import numpy as np

import tinygraph as tg

SIZE, DISTANCE, WAVELENGTH = 32, 60.0, 1.0
frequencies = np.fft.fftfreq(SIZE)
squared = frequencies[:, None] ** 2 + frequencies[None, :] ** 2
travel = np.exp(2j * np.pi * DISTANCE * np.sqrt(np.maximum(1 / WAVELENGTH**2 - squared, 0)))
places = np.arange(SIZE) - SIZE / 2
beam = np.exp(-(places[:, None] ** 2 + places[None, :] ** 2) / 200)
target = (np.abs(places[:, None]) < 2) & (np.abs(places[None, :]) < 2)


def share_in_focus(phase):
    field = beam * np.exp(1j * phase)
    arrived = np.fft.ifft2(np.fft.fft2(field) * travel)
    intensity = np.abs(arrived) ** 2
    return np.sum(intensity * target) / np.sum(intensity)


phase = np.zeros((SIZE, SIZE))
before = share_in_focus(phase)
slope = tg.grad(share_in_focus)
for _ in range(60):
    phase = phase + 200 * slope(phase)
print(f"light in the focus: {before:.1%} -> {share_in_focus(phase):.1%}")
print(f"at least three times as much: {share_in_focus(phase) > 3 * before}")
