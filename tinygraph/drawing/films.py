"""Pictures that move: one box after another lights up, forward and then backward, as a GIF or a video.

All of it is painted on the PNG, so every frame is laid out alike. Needs Pillow, a video imageio (the extra `movies`).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from tinygraph.drawing.dot.onto_sheet import PAD, Placed
from tinygraph.drawing.model.picture import Picture
from tinygraph.drawing.styles import Style
from tinygraph.errors import DrawingError

if TYPE_CHECKING:
    from PIL.Image import Image

    from tinygraph.core.types import Array

MOST_STEPS = 48  # more boxes light up several at once
STEP_SECONDS, LAST_SECONDS = 0.5, 2.5
FAINT = 0.22  # of a box's colour before it is computed
AROUND = 4.0  # points around a box that light up with it
WIDEST = 1600  # pixels
BLOCK = 16  # pixels that codecs work in


def film(png: bytes, picture: Picture, placed: Placed, style: Style, format: str) -> bytes:
    """A "gif" or "mp4" of the picture in a PNG.

    Raises:
        DrawingError: what writes it is not installed.
    """
    frames = _frames(png, picture, placed, style)
    seconds = [STEP_SECONDS] * (len(frames) - 1) + [LAST_SECONDS]
    return _gif(frames, seconds) if format == "gif" else _mp4(frames, seconds)


def steps_of(picture: Picture) -> list[list[str]]:
    """The boxes that are computed together, in the order of the computation: forward, then backward."""
    order = sorted(range(len(picture.boxes)), key=lambda i: (picture.boxes[i].backward, i))
    many = -(-len(order) // MOST_STEPS)
    ids = [picture.boxes[i].id for i in order]
    return [ids[start : start + many] for start in range(0, len(ids), many)]


def _frames(png: bytes, picture: Picture, placed: Placed, style: Style) -> list[Image]:
    try:
        from PIL import Image, ImageDraw
    except ImportError as reason:
        raise DrawingError("a GIF or video needs Pillow: pip install tinygraph-autodiff[movies]") from reason
    whole = Image.open(io.BytesIO(png)).convert("RGB")
    if whole.width > WIDEST:
        whole = whole.resize((WIDEST, round(whole.height * WIDEST / whole.width)))
    pixels = whole.width / (placed.width + 2 * PAD)
    background = Image.new("RGB", whole.size, style.page["background"])
    lit = Image.blend(background, whole, FAINT)
    frames = []
    for step in steps_of(picture):
        corners = [_corners(placed, box, pixels) for box in step]
        for corner in corners:
            lit.paste(whole.crop(corner), corner[:2])
        shown = lit.copy()
        pen = ImageDraw.Draw(shown)
        for corner in corners:
            pen.rounded_rectangle(
                corner, radius=6, outline=style.values["mark"], width=max(2, round(2 * pixels))
            )
        frames.append(shown)
    return [*frames, whole]


def _corners(placed: Placed, box: str, pixels: float) -> tuple[int, int, int, int]:
    place = placed.places[box]
    left, top = place.x - place.width / 2 - AROUND + PAD, place.y - place.height / 2 - AROUND + PAD
    right, bottom = left + place.width + 2 * AROUND, top + place.height + 2 * AROUND
    found = [round(side * pixels) for side in (left, top, right, bottom)]
    return max(0, found[0]), max(0, found[1]), found[2], found[3]


def _gif(frames: list[Image], seconds: list[float]) -> bytes:
    from PIL.Image import Dither

    palette = frames[-1].quantize(128)
    indexed = [frame.quantize(palette=palette, dither=Dither.NONE) for frame in frames]
    out = io.BytesIO()
    milliseconds = [round(1000 * one) for one in seconds]
    indexed[0].save(
        out, "GIF", save_all=True, append_images=indexed[1:], duration=milliseconds, loop=0, optimize=True
    )
    return out.getvalue()


def _mp4(frames: list[Image], seconds: list[float]) -> bytes:
    try:
        import imageio.v3 as imageio
        import imageio_ffmpeg  # noqa: F401 - what imageio writes a video with
    except ImportError as reason:
        raise DrawingError(
            "a video needs imageio and its ffmpeg: pip install tinygraph-autodiff[movies]; a .gif needs Pillow alone"
        ) from reason
    rate = round(1 / STEP_SECONDS)
    even = [_padded(np.asarray(frame)) for frame in frames]
    repeated = [one for one, long in zip(even, seconds, strict=True) for _ in range(round(long * rate))]
    written: bytes = imageio.imwrite("<bytes>", repeated, extension=".mp4", fps=rate, codec="libx264")
    return written


def _padded(frame: Array) -> Array:
    """A frame whose sides are multiples of what codecs work in, its edges repeated."""
    rest = [(0, -side % BLOCK) for side in frame.shape[:2]]
    return np.pad(frame, (*rest, (0, 0)), mode="edge")
