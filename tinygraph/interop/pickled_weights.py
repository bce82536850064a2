"""PyTorch's weight files (.pt, .pth) read and written without PyTorch, and without running what is in them.

Such a file is a pickle, a program for a small machine, beside the raw bytes of tensors. The machine here knows the
instructions that state dicts are made of and a list of names; nothing it reads is imported or called.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from tinygraph.errors import FileFormatError
from tinygraph.interop.reading import check_regular, most_unpacked

MOST_PROGRAM = 100_000_000  # bytes of the pickle alone
MOST_NESTED = 50
MAGIC = 0x1950A86A20F9469CFC6C  # with which files from before PyTorch 1.6 begin
Array = np.ndarray[Any, Any]

DTYPES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "LongStorage": "int64",
    "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "BFloat16Storage": "bfloat16",
}  # fmt: skip
STORAGES = {dtype: name for name, dtype in DTYPES.items()}
_NAMES = {
    "float": "float32", "double": "float64", "half": "float16", "long": "int64", "int": "int32", "short": "int16",
}  # fmt: skip


_TENSORS = tuple(f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3"))


class _Name(NamedTuple):
    """A name in the pickle, which stands for itself."""

    module: str
    name: str


class _Storage(NamedTuple):
    """Raw bytes in the file."""

    dtype: str | None
    key: str
    length: int


class _Stored(NamedTuple):
    """A tensor: a storage, and which of its elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str | None


def read_weights(path: Path) -> dict[str, Array]:
    """The named arrays of a file that `torch.save` wrote; names of nested containers are joined with dots.

    Numbers become 0-d arrays; texts and what else is no number are left out. bfloat16 becomes float32, which holds it.

    Raises:
        FileFormatError: it is no such file, is truncated, or names what state dicts do not consist of.
        OSError: it cannot be opened.
    """
    check_regular(path)
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if file.read(2) == b"PK":
            found, storages = _from_zip(file, size)
        else:
            file.seek(0)
            found, storages = _from_stream(file, size)
        state: dict[str, Any] = {}
        _flatten(found, "", state, 0)
        budget = most_unpacked(size)
        return {name: _array(name, one, storages, budget) for name, one in state.items()}


def _from_zip(file: IO[bytes], size: int) -> tuple[Any, Callable[[str], bytes]]:
    archive = zipfile.ZipFile(file)
    members = {info.filename: info for info in archive.infolist()}
    programs = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(programs) != 1:
        raise FileFormatError("it is an archive without a PyTorch state (data.pkl)")
    folder = programs[0].removesuffix("data.pkl")
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise FileFormatError("it is compressed, which files of PyTorch are not")
    order = members.get(f"{folder}byteorder")
    if order is not None and order.file_size < 100 and archive.read(order).strip() != b"little":
        raise FileFormatError("its numbers are big-endian; save it again with PyTorch on this machine")
    if members[programs[0]].file_size > min(MOST_PROGRAM, size):
        raise FileFormatError("the structure of its state is longer than any state's")
    contents: dict[str, bytes] = {}

    def storage(key: str) -> bytes:
        if key not in contents:
            info = members.get(f"{folder}data/{key}")
            if info is None or info.file_size > size:
                raise FileFormatError(f"the storage {key!r:.60} is missing")
            contents.clear()  # tensors of one storage follow one another
            contents[key] = archive.read(info)
        return contents[key]

    machine = _Machine(io.BytesIO(archive.read(programs[0])))
    return machine.run(), storage


def _from_stream(file: IO[bytes], size: int) -> tuple[Any, Callable[[str], bytes]]:
    """The format from before PyTorch 1.6: pickles one after another, then the bytes of the storages."""
    content = io.BytesIO(file.read(size))
    if _Machine(content).run() != MAGIC:
        raise FileFormatError(
            "it is no file of PyTorch's; other pickles are not read, since they may run code"
        )
    _Machine(content).run()  # a version
    system = _Machine(content).run()
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise FileFormatError("its numbers are big-endian; save it again with PyTorch on this machine")
    machine = _Machine(content)
    found = machine.run()
    keys = _Machine(content).run()
    if not isinstance(keys, list):
        raise FileFormatError("it does not list its storages")
    counts = {one.key: one for one in machine.storages}
    contents: dict[str, bytes] = {}
    for key in keys:
        (count,) = struct.unpack("<q", content.read(8))
        known = counts.get(key)
        if known is None or known.dtype is None or not 0 <= count <= size:
            raise FileFormatError(f"the storage {key!r:.60} is not used, or of a size that it cannot have")
        contents[key] = content.read(count * _itemsize(known.dtype))
    return found, lambda key: contents.get(key, b"")


def _itemsize(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def _flatten(part: Any, name: str, state: dict[str, Any], depth: int) -> None:
    if depth > MOST_NESTED:
        raise FileFormatError(f"containers are nested more than {MOST_NESTED} deep")
    if isinstance(part, _Stored):
        state[name or "tensor"] = part
    elif isinstance(part, dict):
        for key, one in part.items():
            if isinstance(key, str | int):
                _flatten(one, f"{name}.{key}" if name else str(key), state, depth + 1)
    elif isinstance(part, list | tuple) and not isinstance(part, _Name | _Storage):
        for i, one in enumerate(part):
            _flatten(one, f"{name}.{i}" if name else str(i), state, depth + 1)
    elif isinstance(part, bool | int | float):
        state[name or "number"] = part


def _array(name: str, stored: Any, storages: Callable[[str], bytes], budget: int) -> Array:
    if not isinstance(stored, _Stored):
        try:
            found = np.asarray(stored)
        except OverflowError:
            found = np.asarray(None)
        if found.dtype.kind not in "bif":
            raise FileFormatError(f"{name!r:.60} is an integer of more than 64 bits")
        return found
    dtype = stored.dtype or stored.storage.dtype
    if dtype is None:
        raise FileFormatError(f"{name!r:.60} is of no dtype that there is here")
    half = dtype == "bfloat16"
    content = np.frombuffer(
        storages(stored.storage.key), np.dtype("<u2" if half else dtype).newbyteorder("<")
    )
    sizes, strides = stored.shape, stored.strides
    count = math.prod(sizes)
    if len(sizes) != len(strides) or len(sizes) > 32 or min((0, stored.offset, *sizes, *strides)) < 0:
        raise FileFormatError(f"{name!r:.60} has no shape that an array can have")
    last = stored.offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    if count and last >= content.size:
        raise FileFormatError(f"{name!r:.60} reads beyond its storage: the file is truncated")
    if count * content.itemsize > budget:
        raise FileFormatError(f"{name!r:.60} takes far more memory than the file: a file made to fill it")
    if not count:
        return np.zeros(sizes, np.float32 if half else dtype)
    steps = tuple(step * content.itemsize for step in strides)
    view = np.lib.stride_tricks.as_strided(content[stored.offset :], sizes, steps, writeable=False)
    if half:  # the upper half of a float32
        return (np.ascontiguousarray(view).astype("<u4") << 16).view("<f4").astype(np.float32).reshape(sizes)
    return np.array(view, dtype, order="C")


class _Machine:
    """The part of pickle's machine that state dicts need."""

    def __init__(self, content: IO[bytes]) -> None:
        self.content = content
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: list[_Storage] = []

    def run(self) -> Any:
        """What the program makes.

        Raises:
            FileFormatError: an instruction or a name that state dicts do not have, or the end of the file.
        """
        while True:
            code = self.content.read(1)
            if code == b".":
                return self.pop()
            step = _STEPS.get(code)
            if step is None:
                says = f"an instruction {code!r}" if code else "its end too early"
                raise FileFormatError(f"the structure of its state has {says}; it is damaged, or no state")
            step(self)

    def take(self, count: int) -> bytes:
        found = self.content.read(count)
        if count < 0 or len(found) != count:
            raise FileFormatError("it is truncated")
        return found

    def number(self, form: str) -> int:
        (found,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return int(found)

    def pop(self) -> Any:
        if not self.stack or (self.marks and len(self.stack) <= self.marks[-1]):
            raise FileFormatError("the structure of its state is damaged")
        return self.stack.pop()

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        if not self.marks:
            raise FileFormatError("the structure of its state is damaged")
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def recall(self, number: int) -> None:
        if number not in self.memo:
            raise FileFormatError("the structure of its state is damaged")
        self.push(self.memo[number])

    def remember(self, number: int) -> None:
        value = self.pop()
        self.memo[number] = value
        self.push(value)

    def global_name(self) -> None:
        module, name = (self.content.readline(300).rstrip(b"\n").decode("ascii", "replace") for _ in range(2))
        self.push(_Name(module, name))

    def set_items(self, pairs: list[Any]) -> None:
        target = self.pop()
        if not isinstance(target, dict) or len(pairs) % 2:
            raise FileFormatError("the structure of its state is damaged")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, str | int | tuple | None):
                raise FileFormatError(f"{key!r:.60} is a key of its state")
            target[key] = value
        self.push(target)

    def append(self, values: list[Any]) -> None:
        target = self.pop()
        if not isinstance(target, list):
            raise FileFormatError("the structure of its state is damaged")
        target.extend(values)
        self.push(target)

    def persistent(self) -> None:
        found = self.pop()
        if not (isinstance(found, tuple) and len(found) >= 5 and found[0] == "storage"):
            raise FileFormatError("it refers to what is no storage")
        kind, key, count = found[1], found[2], found[4]
        if not isinstance(kind, _Name) or not isinstance(count, int):
            raise FileFormatError("it refers to what is no storage")
        storage = _Storage(DTYPES.get(kind.name), str(key), count)
        self.storages.append(storage)
        self.push(storage)

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise FileFormatError("the structure of its state is damaged")
        name = f"{function.module}.{function.name}"
        if name == "collections.OrderedDict":
            self.push(dict(arguments[0]) if arguments and isinstance(arguments[0], list) else {})
        elif name in _TENSORS:
            self.push(_tensor(arguments, function.name.endswith("v3")))
        elif name in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
            self.push(arguments[0] if arguments else None)
        elif name in ("torch.Size", "builtins.set", "__builtin__.set", "collections.defaultdict"):
            self.push(arguments[0] if arguments and isinstance(arguments[0], list | tuple) else {})
        elif name == "torch.device" or name == "_codecs.encode":
            self.push(str(arguments[0]) if arguments else None)
        else:
            raise _called(name)

    def make_object(self) -> None:
        """An instance of a class, which nothing here is: of a dictionary's kin the dictionary."""
        arguments, made = self.pop(), self.pop()
        if not isinstance(made, _Name) or arguments not in ((), None):
            raise _called(f"{made.module}.{made.name}" if isinstance(made, _Name) else "what is no name")
        if made != _Name("collections", "OrderedDict"):
            raise _called(f"{made.module}.{made.name}")
        self.push({})

    def build(self) -> None:
        """Attributes of an object, such as a state dict's `_metadata`, which are no part of it."""
        self.pop()
        self.push(self.pop())


def _called(name: str) -> FileFormatError:
    return FileFormatError(
        f"it would call {name:.100}, which no state dict needs; nothing in a file is called here. Save "
        f"model.state_dict(), not the model"
    )


def _tensor(arguments: tuple[Any, ...], typed: bool) -> _Stored:
    try:
        storage, offset, shape, strides = arguments[:4]
        dtype = None
        if typed:
            name = arguments[6].name
            dtype = _NAMES.get(name, name)
            if dtype not in STORAGES:
                raise FileFormatError(f"a tensor of dtype {name:.60} is none that NumPy has")
        whole = all(type(one) is int for one in (offset, *shape, *strides))
        if not isinstance(storage, _Storage) or not whole:
            raise TypeError(arguments)
        return _Stored(storage, offset, tuple(shape), tuple(strides), dtype)
    except (ValueError, TypeError, AttributeError, IndexError):
        raise FileFormatError("a tensor in it is described in a way that is not known") from None


def _text(form: str) -> Callable[[_Machine], None]:
    def step(machine: _Machine) -> None:
        machine.push(machine.take(machine.number(form)).decode("utf-8", "replace"))

    return step


def _bytes(form: str) -> Callable[[_Machine], None]:
    def step(machine: _Machine) -> None:  # texts of Python 2, and bytes, which are no numbers
        machine.push(machine.take(machine.number(form)).decode("latin-1"))

    return step


def _integer(form: str) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(machine.number(form))


def _constant(value: Any) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(value)


def _float(machine: _Machine) -> None:
    (found,) = struct.unpack(">d", machine.take(8))
    machine.push(found)


def _long(machine: _Machine) -> None:
    machine.push(int.from_bytes(machine.take(machine.number("<B")), "little", signed=True))


def _tuple(count: int) -> Callable[[_Machine], None]:
    def step(machine: _Machine) -> None:
        machine.push(tuple([machine.pop() for _ in range(count)][::-1]))

    return step


def _frame(machine: _Machine) -> None:
    machine.take(8)


def _pop(machine: _Machine) -> None:
    machine.pop()


def _pop_mark(machine: _Machine) -> None:
    machine.since_mark()


def _protocol(machine: _Machine) -> None:
    version = machine.number("<B")
    if version > 5:
        raise FileFormatError(f"it is a pickle of protocol {version}, which is not known")


_STEPS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": _protocol,
    b"\x95": _frame,
    b"(": lambda machine: machine.marks.append(len(machine.stack)),
    b"0": _pop,
    b"1": _pop_mark,
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b"K": _integer("<B"),
    b"M": _integer("<H"),
    b"J": _integer("<i"),
    b"\x8a": _long,
    b"G": _float,
    b"X": _text("<I"),
    b"\x8c": _text("<B"),
    b"\x8d": _text("<Q"),
    b"U": _bytes("<B"),
    b"T": _bytes("<i"),
    b"C": _bytes("<B"),
    b"B": _bytes("<I"),
    b"}": lambda machine: machine.push({}),
    b"]": lambda machine: machine.push([]),
    b")": _constant(()),
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"t": lambda machine: machine.push(tuple(machine.since_mark())),
    b"l": lambda machine: machine.push(machine.since_mark()),
    b"a": lambda machine: machine.append([machine.pop()]),
    b"e": lambda machine: machine.append(machine.since_mark()),
    b"s": lambda machine: machine.set_items([machine.pop(), machine.pop()][::-1]),
    b"u": lambda machine: machine.set_items(machine.since_mark()),
    b"q": lambda machine: machine.remember(machine.number("<B")),
    b"r": lambda machine: machine.remember(machine.number("<I")),
    b"\x94": lambda machine: machine.remember(len(machine.memo)),
    b"h": lambda machine: machine.recall(machine.number("<B")),
    b"j": lambda machine: machine.recall(machine.number("<I")),
    b"c": lambda machine: machine.global_name(),
    b"\x93": lambda machine: machine.push(_Name(*map(str, [machine.pop(), machine.pop()][::-1]))),
    b"Q": lambda machine: machine.persistent(),
    b"R": lambda machine: machine.reduce(),
    b"\x81": lambda machine: machine.make_object(),
    b"b": lambda machine: machine.build(),
}


# -- writing ---------------------------------------------------------------------------------------------------------


def write_weights(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write named arrays as a file that `torch.load(path, weights_only=True)` reads as a state dict."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        program = bytearray(b"\x80\x02}(")
        for number, (name, array) in enumerate(arrays.items()):
            program += _spelled(name) + _described(number, array)
        archive.writestr("archive/data.pkl", bytes(program) + b"u.")
        archive.writestr("archive/byteorder", "little")
        for number, array in enumerate(arrays.values()):
            with archive.open(zipfile.ZipInfo(f"archive/data/{number}"), "w", force_zip64=True) as member:
                member.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
        archive.writestr("archive/version", "3\n")


def holds(dtype: np.dtype[Any]) -> bool:
    """Whether files of PyTorch's hold a dtype."""
    return dtype.name in STORAGES


def _spelled(text: str) -> bytes:
    content = text.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def _counted(number: int) -> bytes:
    if number < 2**31:
        return b"J" + struct.pack("<i", number)
    content = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def _described(number: int, array: Array) -> bytes:
    """The instructions that make a tensor of a storage."""
    strides = [math.prod(array.shape[i + 1 :]) for i in range(array.ndim)]
    storage = f"ctorch\n{STORAGES[array.dtype.name]}\n".encode()
    persistent = b"(" + _spelled("storage") + storage + _spelled(str(number)) + _spelled("cpu")
    sizes, steps = (b"(" + b"".join(map(_counted, each)) + b"t" for each in (array.shape, strides))
    hooks = b"ccollections\nOrderedDict\n)R"
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n("
    return (
        rebuild
        + persistent
        + _counted(array.size)
        + b"tQ"
        + _counted(0)
        + sizes
        + steps
        + b"\x89"
        + hooks
        + b"tR"
    )
