"""The story of one number as a GIF for talks: the image, the kernel, what it makes, its contributions, and its path.

Needs Pillow; drawn with its own font, so it looks alike everywhere.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from tinygraph.cli.one_number.following import Followed, convolved, met

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    from tinygraph.core.types import Array

SIZE = (960, 540)
MARGIN = 40
SIDE = 184  # pixels of a grid
INK, SOFT, LINE, ACCENT = "#1b1f24", "#57616b", "#d5d9de", "#9a3412"
PLUS, MINUS, GREY = (217, 72, 15), (25, 113, 194), (90, 90, 90)
MILLISECONDS, LAST = 420, 2500


def film(followed: Followed) -> bytes:
    """The GIF, a frame for each step that was kept.

    Raises:
        ImportError: Pillow is not installed.
    """
    from PIL import Image, ImageDraw, ImageFont

    fonts = [ImageFont.load_default(size) for size in (26, 17, 13)]
    frames = []
    for kept in range(len(followed.steps)):
        frame = Image.new("RGB", SIZE, "white")
        _paint(ImageDraw.Draw(frame), followed, kept, fonts)
        frames.append(frame.quantize(64, dither=Image.Dither.NONE))
    out = io.BytesIO()
    times = [MILLISECONDS] * (len(frames) - 1) + [LAST]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)
    return out.getvalue()


def _paint(pen: ImageDraw, followed: Followed, kept: int, fonts: Sequence[FreeTypeFont | ImageFont]) -> None:
    heading, words, small = fonts
    step = int(followed.steps[kept])
    value, gradient = followed.path[step], followed.gradients[kept]
    pen.text((MARGIN, 18), "How can a convolution learn anything?", fill=INK, font=heading)
    loss = f"loss {followed.losses[step]:.3f} -> {followed.after[kept]:.3f}"
    pen.text((MARGIN, 56), f"step {step + 1:,} of {len(followed.losses):,}    {loss}", fill=SOFT, font=words)
    channel, _, row, column = followed.element
    image, kernel = followed.images[kept], followed.parameters["weight"][kept, channel, 0]
    output = convolved(image, kernel, float(followed.parameters["bias"][kept, channel]))
    contributions = met(image, (row, column)) * followed.cotangents[kept]
    grids = (
        (f"image: {followed.classes[int(followed.labels[kept])]}", image, GREY), ("kernel", kernel, None),
        ("output", output, None), ("contributions", contributions, None),
    )  # fmt: skip
    gap = (SIZE[0] - 2 * MARGIN - 4 * SIDE) / 3
    for place, (title, values, colour) in enumerate(grids):
        left = MARGIN + place * (SIDE + gap)
        pen.text((left, 92), title, fill=SOFT, font=words)
        _grid(pen, values, (left, 118), colour)
        if title == "kernel":
            cell = SIDE / 3
            corner = (left + column * cell, 118 + row * cell)
            pen.ellipse(
                (corner[0] + 5, corner[1] + 5, corner[0] + cell - 5, corner[1] + cell - 5),
                outline=ACCENT,
                width=3,
            )
    update = f"{value:.4f} - {followed.rate:g} x ({gradient:.4f}) = {followed.path[step + 1]:.4f}"
    pen.text((MARGIN, 316), update, fill=INK, font=heading)
    pen.text(
        (MARGIN, 350), "the number - learning rate x its gradient = the new number", fill=SOFT, font=small
    )
    _curve(pen, followed.path, step, (MARGIN, 380, SIZE[0] - MARGIN, SIZE[1] - 24))


def _grid(pen: ImageDraw, values: Array, corner: tuple[float, float], colour: tuple[int, ...] | None) -> None:
    most = float(np.abs(values).max()) or 1.0
    rows, columns = values.shape
    high, wide = SIDE / rows, SIDE / columns
    for i in range(rows):
        for j in range(columns):
            strength = abs(float(values[i, j])) / most
            hue = colour or (PLUS if values[i, j] > 0 else MINUS)
            fill = tuple(round(255 + (one - 255) * strength) for one in hue)
            x, y = corner[0] + j * wide, corner[1] + i * high
            pen.rectangle((x, y, x + wide, y + high), fill=fill, outline=LINE)


def _curve(pen: ImageDraw, path: Array, step: int, box: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = box
    low, high = float(path.min()), float(path.max())
    x = left + (right - left) * np.arange(len(path)) / (len(path) - 1)
    y = bottom - (bottom - top) * (path - low) / ((high - low) or 1.0)
    points = [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
    pen.line([(left, bottom), (right, bottom)], fill=LINE)
    pen.line(points, fill=LINE, width=2)
    if step:
        pen.line(points[: step + 1], fill=INK, width=3)
    spot = points[step]
    pen.ellipse((spot[0] - 6, spot[1] - 6, spot[0] + 6, spot[1] + 6), fill=ACCENT)
