"""Graph files: `save_graph` and `load`. One file holds structure and values, no code and no pickle.

    .safetensors .tinygraph    a safetensors file: the description in its metadata, the values as its tensors
    .onnx                      an ONNX model: `interop/onnx`
    .json                      everything in JSON text, values as base64: for small graphs that people read
    .svg .html .dot .gv        pictures: `load` reads the graph that a saved drawing carries

Reading checks everything before it is believed; errors name the file and the place in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf
from tinygraph.core.types import ArrayType
from tinygraph.errors import FileFormatError
from tinygraph.interop.atomic_files import replace_file
from tinygraph.interop.graphs.in_pictures import extract
from tinygraph.interop.graphs.values import decode_objects, from_text, restored, storable, to_text
from tinygraph.interop.reading import in_file, read_bytes, read_text
from tinygraph.interop.safetensors_files import opened_tensors, write_tensors
from tinygraph.interop.suffixes import PICTURES, check_loaded, check_saved, said_instead

if TYPE_CHECKING:
    from tinygraph.interop.graphs.description import Description

GRAPHS = (".safetensors", ".tinygraph", ".onnx", ".json")
KEY = "tinygraph-graph"
# safetensors takes headers of up to 100 MB; a longer description becomes a tensor of bytes.
MAX_HEADER = 80_000_000
DESCRIPTION_TENSOR = "__tinygraph-graph__"
MAX_JSON_VALUES = 200_000_000


def save_graph(graph: Graph, path: str | Path, *, opset: int | None = None) -> None:
    """Write a graph, its parameters and its constants to one file that `tg.load` reads.

    Args:
        path: with the suffix .json a text file; with .onnx an ONNX model; with .safetensors, .tinygraph or none a
            safetensors file.
        opset: of an ONNX model the version of its operators; 21 by default.

    Raises:
        FileFormatError: the graph holds what a file cannot (an unregistered op, a dtype of long doubles, a dataclass
            among its results; for ONNX an op without a form), or the suffix promises another format (.pt).
        OSError: the folder is missing or cannot be written.

    >>> import tempfile, tinygraph as tg
    >>> graph = tg.capture(lambda x: x * 2.0, 1.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tg.interop.save_graph(graph, f"{folder}/double.json")
    ...     tg.load(f"{folder}/double.json")(3.0)
    6.0
    """
    import msgspec

    from tinygraph.interop.graphs.describing import describe

    path = Path(path)
    if path.suffix.lower() == ".onnx":
        from tinygraph.interop.onnx.model_writing import save_onnx

        return save_onnx(graph, path, opset)
    suffix = check_saved(path, "a graph", GRAPHS)
    if opset is not None:
        raise FileFormatError(f"{path.name}: opset is a setting of ONNX models (.onnx)")
    description, values = describe(graph)
    if suffix == ".json":
        if sum(value.nbytes for value in values.values()) > MAX_JSON_VALUES:
            raise FileFormatError(
                f"{path.name}: too many values for JSON text; save to {path.stem}.safetensors"
            )
        for name, value in values.items():
            description.arrays[name].data = to_text(value)
        text = msgspec.json.format(msgspec.json.encode(description), indent=1)
        return replace_file(path, lambda part: part.write_bytes(text + b"\n"))
    tensors = {name: storable(value) for name, value in values.items()}
    text = msgspec.json.encode(description)
    metadata = {KEY: text.decode()}
    if len(text) + text.count(b'"') + text.count(b"\\") > MAX_HEADER:
        metadata = {KEY: ""}
        tensors[DESCRIPTION_TENSOR] = np.frombuffer(text, np.uint8)
    return write_tensors(path, tensors, metadata)


def load(
    path: str | Path, *, sizes: Mapping[str, int] | None = None, constants: Mapping[str, Any] | None = None
) -> Graph:
    """Read a graph file, the graph in a saved drawing (.svg, .html, .dot or .gv), or an ONNX model (.onnx).

    The graph runs and differentiates; what were its parameters are its parameters. A drawing of a large model may have
    left values out: its graph can be read, drawn and compared, and says so when it is run.

    An op that is not installed is kept by name: the graph opens, and evaluating that op says what to install. So is an
    operator of ONNX's that nobody has.

    Args:
        sizes: of an ONNX model's dimensions that it leaves open, by name; those not given stay free.
        constants: values for an ONNX model's inputs on which shapes depend, by name; they are inputs no longer.

    Raises:
        FileFormatError: the file is no graph file, or is truncated, malformed or of another version; the message
            names the place.
        ImportError: it is an ONNX model, and the package onnx is not installed.
        OSError: it cannot be opened.
    """
    path = Path(path)
    if path.suffix.lower() == ".onnx":
        from tinygraph.interop.onnx.model_reading import load_onnx

        return load_onnx(path, sizes, constants)
    with in_file(path):
        if sizes is not None or constants is not None:
            raise FileFormatError("sizes and constants are given for ONNX models (.onnx) alone")
        suffix = check_loaded(path, "a graph")
        if suffix == ".json":
            return _from_json(read_bytes(path))
        if suffix in PICTURES:
            return _from_json(extract(read_text(path), suffix))
        if said_instead(suffix):
            raise FileFormatError(f"its name promises no graph: {said_instead(suffix)}")
        return _load_safetensors(path)


def _from_json(text: bytes) -> Graph:
    from tinygraph.interop.graphs.reopening import reopen

    description = _parse(text)

    def read_array(name: str, types: ArrayType) -> Any:
        record = description.arrays[name]
        where = f"arrays[{name!r:.60}]"
        if description.left_out and record.data is None and record.objects is None:
            return Leaf(None, name=name, types=types)
        if types.dtype.kind == "O":
            return decode_objects(record.objects or [], types, where)
        if record.data is None:
            raise FileFormatError(f"{where} has no `data`")
        return from_text(record.data, types, where)

    return reopen(description, read_array)


def _load_safetensors(path: Path) -> Graph:
    from tinygraph.interop.graphs.reopening import reopen

    with opened_tensors(path) as file:
        text = (file.metadata() or {}).get(KEY)
        if text is None:
            raise FileFormatError(
                "it holds tensors but no graph; tinygraph.interop.load_state reads the tensors of such a file"
            )
        stored = set(file.keys())
        if not text and DESCRIPTION_TENSOR in stored:
            stored.remove(DESCRIPTION_TENSOR)
            description = _parse(file.get_tensor(DESCRIPTION_TENSOR).tobytes())
        else:
            description = _parse(text.encode())
        listed = {name for name, record in description.arrays.items() if record.objects is None}
        for name in sorted(stored ^ listed):
            missing = "is listed but not stored" if name in listed else "is stored but not listed"
            raise FileFormatError(f"arrays[{name!r:.60}] {missing}")

        def read_array(name: str, types: ArrayType) -> Any:
            where = f"arrays[{name!r:.60}]"
            if types.dtype.kind == "O":
                return decode_objects(description.arrays[name].objects or [], types, where)
            if name not in stored:
                raise FileFormatError(f"{where} lists objects but is {types}")
            return restored(file.get_tensor(name), types, where)

        return reopen(description, read_array)


def _parse(text: bytes) -> Description:
    """A description whose structure is right; what it refers to is checked by `reopen`."""
    import msgspec

    from tinygraph.interop.graphs.description import FORMAT, VERSION, Description

    class Heading(msgspec.Struct):
        format: str
        version: int

    try:
        heading = msgspec.json.decode(text, type=Heading)
        if heading.format != FORMAT:
            raise FileFormatError(f"its format is {heading.format!r:.60}, not {FORMAT!r}")
        if heading.version != VERSION:
            raise FileFormatError(
                f"it is version {heading.version} of the format, and this tinygraph reads version {VERSION}; "
                f"{'upgrade tinygraph-autodiff' if heading.version > VERSION else 'save it again with this one'}"
            )
        return msgspec.json.decode(text, type=Description)
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
    ) as error:  # ValidationError, which names the place, is one
        raise FileFormatError(f"its description is malformed: {error}") from None
    except RecursionError:
        raise FileFormatError("its description is malformed: nested too deeply") from None
