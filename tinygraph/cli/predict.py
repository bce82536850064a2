"""`tinygraph predict`: a saved or ONNX model run on arrays, images or IDX files; answers printed or saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number

from tinygraph.cli.inputs import read_inputs
from tinygraph.cli.opening import opened_graph
from tinygraph.cli.terminal import say
from tinygraph.core.graph import Graph
from tinygraph.core.sizes import FreeInt
from tinygraph.core.types import ArrayType
from tinygraph.errors import DataError, SettingError

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
MOST_PIXELS = 100_000_000
MOST_SHOWN = 20  # answers that are printed


def predict(
    model: Path,
    inputs: Annotated[list[Path], Parameter(negative="")],
    /,
    *,
    out: Path | None = None,
    classes: Path | None = None,
    top: Annotated[int, Parameter(validator=Number(gte=1))] = 3,
    mean: Annotated[list[float] | None, Parameter(negative="")] = None,
    std: Annotated[list[float] | None, Parameter(negative="")] = None,
) -> None:
    """Run a model on arrays (.npy, .npz), images or IDX files (MNIST's format), and say what it answers.

    Parameters
    ----------
    model
        A graph that graph.save wrote, an ONNX model, an exported program (.pt2).
    inputs
        One file for each input of the model, or one .npz with all of them; of one input also several images, which
        become a batch. Images become float32 in [0, 1], channels first, of the size that the model takes.
    out
        Save the answers there: .npz (by name), .npy (the first) or .csv (the first, a line for each sample).
    classes
        A text file with the name of a class on each line.
    top
        How many classes to name for each sample.
    mean
        What to subtract from images, once or for each channel.
    std
        What to divide them by after that.
    """
    graph = opened_graph(model)
    types = [leaf.types for leaf in graph.inputs]
    given = _inputs(inputs, types, [leaf.name for leaf in graph.inputs], mean, std)
    outputs = _run(graph, given)
    names = [name or f"output{i}" for i, name in enumerate(graph.output_names)]
    if out is not None:
        _save(out, dict(zip(names, outputs, strict=True)))
        say(f"{len(outputs)} output{'s' * (len(outputs) != 1)} saved as {out}")
        return
    labels = classes.read_text().splitlines() if classes is not None else []
    for name, array in zip(names, outputs, strict=True):
        _show(name, array, labels, top)


def _run(graph: Graph, given: Sequence[Any]) -> list[Any]:
    """The outputs on inputs; a graph for one sample is run on one after another, and its answers are joined."""
    first = graph.inputs[0].types if graph.inputs else None
    count = given[0].shape[0] if given and np.ndim(given[0]) else 1
    one_each = first is not None and len(given) == 1 and first.ndim and first.shape[0] == 1
    if one_each and not isinstance(first.shape[0], FreeInt) and count > 1:  # type: ignore[union-attr]
        each = [_results(graph, (given[0][i : i + 1],)) for i in range(count)]
        return [np.concatenate(several) for several in zip(*each, strict=True)]
    return _results(graph, given)


def _results(graph: Graph, given: Sequence[Any]) -> list[Any]:
    from tinygraph.core.trees import leaves

    found = leaves(graph(*given))
    return [np.asarray(one.numpy() if hasattr(one, "numpy") else one) for one in found]


def _inputs(
    paths: Sequence[Path],
    types: Sequence[ArrayType],
    names: Sequence[str | None],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> list[Any]:
    if not types:
        raise DataError("the model takes no inputs")
    if all(path.suffix.lower() in IMAGES for path in paths) and len(types) == 1:
        found: list[Any] = [np.concatenate([_image(path, types[0]) for path in paths])]
        found = [_normalised(found[0], mean, std)]
    elif any(_is_idx(path) for path in paths):
        from tinygraph.data import read_idx

        arrays = [read_idx(path) if _is_idx(path) else read_inputs([path], ())[0] for path in paths]
        found = [_as_images(array, one) for array, one in zip(arrays, types, strict=False)]
        found[0] = _normalised(found[0], mean, std)
    else:
        found = list(read_inputs(paths, names))
    if len(found) != len(types):
        listed = ", ".join(
            f"{name or i}: {one}" for i, (name, one) in enumerate(zip(names, types, strict=True))
        )
        raise DataError(
            f"the model takes {len(types)} input(s) ({listed}), and the files hold {len(found)} array(s)"
        )
    return [_typed(array, one) for array, one in zip(found, types, strict=True)]


def _typed(array: Any, types: ArrayType) -> Any:
    """An array in an input's dtype, where that loses nothing but digits, and with a batch axis if only that lacks."""
    if array.ndim == types.ndim - 1:
        array = array[None]
    if not np.can_cast(array.dtype, types.dtype, "same_kind"):
        raise DataError(f"the model takes {types}, and the file holds {array.dtype.name}; convert it first")
    return array.astype(types.dtype)


def _is_idx(path: Path) -> bool:
    return "idx" in path.name.lower() and path.suffix.lower() not in (".npy", ".npz")


def _as_images(array: Any, types: ArrayType) -> Any:
    """MNIST's bytes as float32 in [0, 1], with an axis of channels if the model has one."""
    if array.dtype != np.uint8 or types.dtype.kind != "f":
        return array
    scaled = array.astype(types.dtype) / 255
    return scaled[:, None] if scaled.ndim == 3 and types.ndim == 4 else scaled


def _image(path: Path, types: ArrayType) -> Any:
    """An image as (1, channels, height, width) float32 in [0, 1], of the size that the model takes."""
    if types.ndim != 4:
        raise DataError(
            f"the model takes {types}, which is no batch of images (batch, channels, height, width)"
        )
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise ImportError(
            f"{path.name}: images need Pillow: pip install pillow; or give a .npy file"
        ) from None
    channels, height, width = types.shape[1:]
    if int(channels) not in (1, 3):
        raise DataError(f"the model takes {channels} channels, and images have 1 or 3")
    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise DataError(f"{path.name} has more than {MOST_PIXELS} pixels")
            plain = image.convert("L" if int(channels) == 1 else "RGB")
    except (UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise DataError(f"{path.name} is no image: {error}") from None
    wide, high = (
        now if isinstance(wanted, FreeInt) else int(wanted)
        for now, wanted in zip(plain.size, (width, height), strict=True)
    )
    size = wide, high
    if size != plain.size:
        plain = plain.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(plain, np.float32) / 255
    return (pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))[None]


def _normalised(images: Any, mean: Sequence[float] | None, std: Sequence[float] | None) -> Any:
    for name, given in (("mean", mean), ("std", std)):
        if given is None:
            continue
        if len(given) not in (1, images.shape[1]):
            raise SettingError(f"--{name} takes one number, or one for each of {images.shape[1]} channels")
        factors = np.asarray(given, images.dtype).reshape(-1, 1, 1)
        images = images - factors if name == "mean" else images / factors
    return images


def _save(path: Path, outputs: dict[str, Any]) -> None:
    first = next(iter(outputs.values()))
    suffix = path.suffix.lower()
    if suffix == ".npz":
        import tinygraph as tg

        tg.save_state(outputs, path)
    elif suffix == ".npy":
        np.save(path, first, allow_pickle=False)
    elif suffix == ".csv":
        np.savetxt(path, first.reshape(first.shape[0] if first.ndim else 1, -1), delimiter=",", fmt="%.9g")
    else:
        raise SettingError(f"{path.name}: answers are saved as .npz, .npy or .csv")


def _show(name: str, array: Any, labels: Sequence[str], top: int) -> None:
    """Classes with their probabilities where an output looks like scores of classes; else its numbers."""
    if array.ndim == 2 and array.dtype.kind == "f" and array.shape[1] > 1:
        for i, scores in enumerate(array[:MOST_SHOWN]):
            best = np.argsort(-scores, kind="stable")[:top]
            shares = _shares(scores)
            words = [
                f"{labels[k] if k < len(labels) else f'class {k}'} {100 * shares[k]:.1f} %" for k in best
            ]
            say(f"{i}: {', '.join(words)}")
        if len(array) > MOST_SHOWN:
            say(f"... and {len(array) - MOST_SHOWN} more; --out saves all")
        return
    say(f"{name}: {ArrayType(array.shape, array.dtype)}")
    say(np.array2string(array, threshold=60, precision=6))


def _shares(scores: Any) -> Any:
    """Probabilities: the scores themselves if they are some, else their softmax."""
    if np.all(scores >= 0) and abs(float(scores.sum()) - 1) < 1e-3:
        return scores
    raised = np.exp(scores - scores.max())
    return raised / raised.sum()
