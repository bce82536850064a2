"""Graph files: `save_graph` and `load`. One file holds structure and values, no code and no pickle.

    any suffix   a safetensors file: the description in its metadata, the values as its tensors
    .json        everything in JSON text, values as base64: for small graphs that people read
    .svg .html .dot .gv    pictures: `load` reads the graph that a saved drawing carries

Reading checks everything before it is believed; errors name the file and the place in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf
from tinygraph.core.types import ArrayType
from tinygraph.errors import FileFormatError
from tinygraph.interop.atomic_files import replace_file
from tinygraph.interop.graphs.embedding import SUFFIXES, extract
from tinygraph.interop.graphs.values import decode_objects, from_text, restored, storable, to_text

if TYPE_CHECKING:
    from tinygraph.interop.graphs.description import Description

KEY = "tinygraph-graph"
# safetensors takes headers of up to 100 MB; a longer description becomes a tensor of bytes.
MAX_HEADER = 80_000_000
DESCRIPTION_TENSOR = "__tinygraph-graph__"
MAX_DESCRIPTION = 2_000_000_000
MAX_JSON_VALUES = 200_000_000
INSTALL_SAFETENSORS = "pip install safetensors, or save to a path that ends in .json"


def save_graph(graph: Graph, path: str | Path) -> None:
    """Write a graph, its parameters and its constants to one file that `tg.load` reads.

    Args:
        path: with the suffix .json a text file, with any other a safetensors file.

    Raises:
        FileFormatError: the graph holds what a file cannot (an unregistered op, a dtype of long doubles).
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
    description, values = describe(graph)
    if path.suffix == ".json":
        if sum(value.nbytes for value in values.values()) > MAX_JSON_VALUES:
            raise FileFormatError(
                f"{path.name}: too many values for JSON text; save to {path.stem}.safetensors"
            )
        for name, value in values.items():
            description.arrays[name].data = to_text(value)
        text = msgspec.json.format(msgspec.json.encode(description), indent=1)
        replace_file(path, lambda part: part.write_bytes(text + b"\n"))
        return
    tensors = {name: storable(value) for name, value in values.items()}
    text = msgspec.json.encode(description)
    metadata = {KEY: text.decode()}
    if len(text) + text.count(b'"') + text.count(b"\\") > MAX_HEADER:
        metadata = {KEY: ""}
        tensors[DESCRIPTION_TENSOR] = np.frombuffer(text, np.uint8)
    save_file = _safetensors(path).numpy.save_file
    replace_file(path, lambda part: save_file(tensors, str(part), metadata))


def load(path: str | Path) -> Graph:
    """Read a graph file, or the graph in a saved drawing (.svg, .html, .dot or .gv).

    The graph runs and differentiates; what were its parameters are its parameters. A drawing of a large model may have
    left values out: its graph can be read, drawn and compared, and says so when it is run.

    An op that is not installed is kept by name: the graph opens, and evaluating that op says what to install.

    Raises:
        FileFormatError: the file is no graph file, or is truncated, malformed or of another version; the message
            names the place.
        OSError: it cannot be opened.
    """
    path = Path(path)
    with _in_file(path):
        suffix = path.suffix.lower()
        if suffix == ".json":
            return _from_json(_content(path))
        if suffix in SUFFIXES:
            return _from_json(extract(_text(path), suffix))
        if suffix == ".toml":
            raise FileFormatError(
                "a graph is no TOML; tinygraph.nn.load_model reads files that describe a model"
            )
        return _load_safetensors(path)


def _content(path: Path) -> bytes:
    if path.stat().st_size > MAX_DESCRIPTION:
        raise FileFormatError(f"it is longer than {MAX_DESCRIPTION} bytes")
    return path.read_bytes()


def _text(path: Path) -> str:
    try:
        return _content(path).decode()
    except UnicodeDecodeError as error:
        raise FileFormatError(f"it is no text in UTF-8: {error}") from None


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

    safetensors = _safetensors(path)
    with path.open("rb"):  # the reasons why a file cannot be opened, in Python's words
        pass
    try:
        opened = safetensors.safe_open(str(path), framework="numpy")
    except safetensors.SafetensorError as error:
        raise FileFormatError(f"it is no safetensors file, or a truncated one: {error}") from None
    with opened as file:
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


@contextmanager
def _in_file(path: Path) -> Iterator[None]:
    try:
        yield
    except FileFormatError as error:
        raise FileFormatError(f"{path.name}: {error}") from error.__cause__


def _safetensors(path: Path) -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            f"{path.name}: files of this kind need safetensors: {INSTALL_SAFETENSORS}"
        ) from None
    return safetensors
