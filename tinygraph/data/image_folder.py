"""Images in folders, a folder a class: read by Pillow (the extra `images`) when a sample is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinygraph.core.types import Array
from tinygraph.data.dataset import Dataset
from tinygraph.errors import DataError, FileFormatError, SettingError
from tinygraph.interop.reading import refusing

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
MOST_PIXELS = 100_000_000  # of one image: a small file can announce any number
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class ImageFolder(Dataset):
    """Images `root/class/name.png` with their classes, PyTorch's name: (channels, rows, columns) float32 in [0, 1].

    Args:
        root: a folder with a folder for each class; classes are numbered in the order of their names.
        size: (rows, columns) that all images are resized to; as they are by default.
        channels: 1 (grey), 3 (colours) or 4 (with transparency).

    Attributes:
        classes: their names.
        files: the path and the class's number of each image.

    Raises:
        DataError: no such folder, or no image in it.
        FileFormatError: a file that is no image, when it is read, or Pillow is not installed.
    """

    def __init__(self, root: str | Path, *, size: tuple[int, int] | None = None, channels: int = 3) -> None:
        if channels not in _MODES:
            raise SettingError(f"ImageFolder: channels={channels!r} must be 1, 3 or 4")
        root = Path(root)
        if not root.is_dir():
            raise DataError(f"there is no folder {root}")
        self.size = size
        self.channels = channels
        self.classes = sorted(
            one.name for one in root.iterdir() if one.is_dir() and not one.name.startswith(".")
        )
        self.files = [
            (path, number)
            for number, name in enumerate(self.classes)
            for path in sorted((root / name).rglob("*"))
            if path.suffix.lower() in SUFFIXES and path.is_file()
        ]
        if not self.files:
            raise DataError(f"{root} has no images in folders of classes, such as {root}/cats/1.png")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Array, np.int64]:
        path, number = self.files[index]
        return self._read(path), np.int64(number)

    def _read(self, path: Path) -> Array:
        try:
            from PIL import Image
        except ImportError as error:
            raise FileFormatError('images need Pillow: pip install "tinygraph-autodiff[images]"') from error
        with refusing(f"{path} is no image that can be read"), Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise FileFormatError(f"it announces {image.width} x {image.height} pixels")
            converted = image.convert(_MODES[self.channels])
            if self.size is not None:
                converted = converted.resize((self.size[1], self.size[0]), Image.Resampling.BILINEAR)
            pixels = np.asarray(converted, np.float32) / np.float32(255)
        return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
