"""What the end of a file's name promises: what is saved is what its name says, other programs' files are refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinygraph.errors import FileFormatError

PICTURES = (".svg", ".html", ".dot", ".gv")  # which carry the graph that they show
FOREIGN = {
    ".onnx": "an ONNX model",
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".torch"), "a file of PyTorch"),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), "a pickle, which may run code"),
    **dict.fromkeys((".h5", ".hdf5", ".keras"), "a file of Keras (HDF5)"),
    **dict.fromkeys((".pb", ".tflite"), "a file of TensorFlow"),
    **dict.fromkeys((".gguf", ".ggml"), "a file of llama.cpp"),
    **dict.fromkeys((".mlmodel", ".mlpackage"), "a file of Core ML"),
}
_INSTEAD = {
    **dict.fromkeys(PICTURES, "graph.draw(path) draws pictures, and they carry the graph"),
    **dict.fromkeys(
        (".png", ".pdf"), "graph.draw(path) draws pictures; .svg, .html and .dot carry the graph, too"
    ),
    **dict.fromkeys(
        (".npz", ".npy"), "tinygraph.interop.save_state and load_state are for arrays (.npz, .safetensors)"
    ),
    ".toml": "tinygraph.nn.load_model reads files that describe a model",
}


def check_saved(path: Path, what: str, suffixes: Sequence[str]) -> str:
    """The suffix of what is going to be saved, in small letters; none is as good as the first one listed.

    Raises:
        FileFormatError: the name promises something else than `what`, which ends in one of the suffixes.
    """
    suffix = path.suffix.lower()
    if suffix and suffix not in suffixes:
        listed = f"{', '.join(suffixes[:-1])} or {suffixes[-1]}"
        promised = f"{suffix} is the end of {FOREIGN[suffix]}" if suffix in FOREIGN else ""
        reason = promised or _INSTEAD.get(suffix, f"{suffix} says nothing that tinygraph knows")
        raise FileFormatError(f"{path.name}: {what} is saved to a name that ends in {listed}; {reason}")
    return suffix or suffixes[0]


def check_loaded(path: Path, what: str) -> str:
    """The suffix of what is going to be loaded, in small letters; unknown ones, which older versions wrote, are taken.

    Raises:
        FileFormatError: another program's files end so.
    """
    suffix = path.suffix.lower()
    if suffix in FOREIGN:
        raise FileFormatError(
            f"its name ends like that of {FOREIGN[suffix]}, which tinygraph does not read{_weights(suffix)}. If "
            f"tinygraph wrote {what} there, rename it to {path.stem}.safetensors"
        )
    return suffix


def _weights(suffix: str) -> str:
    return " as one; tg.load_state reads weights, tg.from_torch a module" if suffix in (".pt", ".pth") else ""


def said_instead(suffix: str) -> str:
    """What to do with a file whose name promises no graph; empty if its name promises nothing."""
    return _INSTEAD.get(suffix, "")
