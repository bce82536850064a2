"""Models from files: `load_model` reads a TOML or JSON description of layers and builds the module it describes.

A description names layers of `tinygraph.nn` and registered ops, with plain arguments; no code is run. Everything is
checked, and errors name the line. Where a key stands in the text is found by `text_lines.py`.
"""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tinygraph.core.modes import scope
from tinygraph.core.node import Leaf
from tinygraph.core.registry import registry
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import ArrayType
from tinygraph.errors import CaptureError, FileFormatError, ShapeError, TinygraphError
from tinygraph.interop.graphs.values import DTYPES
from tinygraph.interop.reading import read_text, refusing
from tinygraph.nn.containers import Sequential
from tinygraph.nn.module import Module
from tinygraph.nn.parameter import limited_numbers
from tinygraph.nn.text_lines import Place, line_of
from tinygraph.tracing import capture

TOP_KEYS = ("inputs", "outputs", "layers")
OWN_KEYS = ("layer", "op", "name", "inputs")
NOT_LAYERS = ("Module", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "TransformerEncoder")
PLAIN = (bool, int, float, str)
MOST_LETTERS = 500_000  # of a file, which a person wrote
MOST_LAYERS = 10_000
MOST_NESTED = 50
MOST_NUMBERS = 2**25  # that layers make, unless more are asked for
MOST_ELEMENTS = 2**28  # of one value, where a file states the types of its inputs
# A key of many parts, which tomllib takes quadratic time for. No part gives back what it took, so this is linear.
_LONG_KEY = re.compile(
    r"""(?<![\w-])(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')(?:[ \t]*+\.[ \t]*+(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')){50}"""
)


def load_model(path: str | Path, *, most_numbers: int = MOST_NUMBERS) -> Module:
    """The model that a TOML or JSON file describes, with fresh initial values.

    The file holds a list `layers`; each entry names a `layer` of tinygraph.nn or an `op`, gives its arguments by name,
    and reads the entry before it, or what its `inputs` name. `docs/model_files.md` has the whole format.

    Args:
        most_numbers: how many elements parameters may have together; a file of a few bytes can ask for any number.

    Returns:
        An `nn.Sequential` if each layer reads the one before, else an `nn.Wired`.

    Raises:
        FileFormatError: the file is malformed, or describes no model; the message names line and key.
        OSError: it cannot be opened.

    >>> import tempfile
    >>> from tinygraph import nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "model.toml")
    ...     count = path.write_text('layers = [{layer = "Flatten"}, {layer = "ReLU"}]')
    ...     nn.load_model(path)
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): ReLU()
    )
    """
    path = Path(path)
    with refusing(path.name), limited_numbers(most_numbers):
        return _ModelFileReading(path).model()


def input_types(path: str | Path) -> list[ArrayType] | None:
    """The types of the inputs that a model file states, in order; None if it states none.

    Raises:
        FileFormatError, OSError: as `load_model`.
    """
    path = Path(path)
    with refusing(path.name):
        return _ModelFileReading(path).inputs()[1]


@dataclass(frozen=True, slots=True)
class WiredLayer:
    """One entry of a model file: what is applied, and to what."""

    name: str
    reads: tuple[str, ...]
    apply: Callable[..., Any]


class Wired(Module):
    """Layers and ops wired to each other by name, as a model file describes them.

    Args:
        inputs: names of the arguments of a call.
        steps: in an order in which each reads inputs and earlier steps only; "split.1" reads one of several results.
        outputs: what a call returns: one tensor, or a tuple of them.
    """

    def __init__(self, inputs: Sequence[str], steps: Sequence[WiredLayer], outputs: Sequence[str]) -> None:
        self._inputs = tuple(inputs)
        self._steps = tuple(steps)
        self._outputs = tuple(outputs)
        for step in steps:
            if isinstance(step.apply, Module):
                self.add_module(step.name, step.apply)

    def __call__(self, *given: object) -> Any:
        if len(given) != len(self._inputs):
            names = ", ".join(self._inputs)
            raise ShapeError(f"the model takes {len(self._inputs)} input(s) ({names}) but got {len(given)}")
        return super().__call__(
            *(
                x
                if isinstance(x, Tensor)
                else Tensor._of_leaf(Leaf(np.asarray(x)[()], name=name, kind="input"))
                for name, x in zip(self._inputs, given, strict=True)
            )
        )

    def forward(self, *given: Any) -> Any:
        values = dict(zip(self._inputs, given, strict=True))
        for name, x in values.items():
            if x.name is None and x._value is None:  # captured from an argument without a name
                x.name = name
        for step in self._steps:
            values[step.name] = run(step, values)
        results = tuple(_read(values, name) for name in self._outputs)
        return results[0] if len(results) == 1 else results

    def extra_repr(self) -> str:
        return f"{', '.join(self._inputs)} -> {', '.join(self._outputs)}"


def run(step: WiredLayer, values: Mapping[str, Any]) -> Any:
    """What a step computes from the inputs and earlier steps; an op is named like a module in drawings."""
    operands = [_read(values, name) for name in step.reads]
    with nullcontext() if isinstance(step.apply, Module) else scope(step.name):
        return step.apply(*operands)


def _read(values: Mapping[str, Any], name: str) -> Any:
    if name in values:
        return values[name]
    whole, _, number = name.rpartition(".")
    results = values[whole]
    if not isinstance(results, tuple | list) or int(number) >= len(results):
        raise ShapeError(f"{whole!r} has no result number {number}")
    return results[int(number)]


class _ModelFileReading:
    """One file on its way to being a model."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = self._text()
        self.content = self._content()

    def fail(self, place: Place, message: object) -> NoReturn:
        """Refuse what stands at a place, naming its line and key."""
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        where = f"line {line_of(self.text, place)}{f', {key}' if key else ''}"
        raise FileFormatError(f"{self.path.name}, {where}: {message}")

    def _text(self) -> str:
        try:
            text = read_text(self.path)
        except FileFormatError as error:
            raise FileFormatError(f"{self.path.name}: {error}") from None
        if len(text) > MOST_LETTERS:
            raise FileFormatError(
                f"{self.path.name}: it has {len(text)} letters; {MOST_LETTERS} are the most"
            )
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _content(self) -> dict[str, Any]:
        suffix = self.path.suffix.lower()
        if suffix not in (".toml", ".json"):
            raise FileFormatError(f"{self.path.name}: a model file ends in .toml or .json")
        try:
            if suffix == ".json":
                content = json.loads(self.text, object_pairs_hook=_unique)
            elif _LONG_KEY.search(self.text):
                raise ValueError("a key has more than 50 parts")
            else:
                content = tomllib.loads(self.text)
        except (ValueError, RecursionError) as error:  # both parsers' errors say the line
            last = f"line {self.text.count(chr(10)) + 1}"
            message = str(error).replace("end of document", last)
            raise FileFormatError(f"{self.path.name}: {message}") from None
        if _nested_too_deeply(content):
            raise FileFormatError(f"{self.path.name}: it is nested more than {MOST_NESTED} deep")
        if not isinstance(content, dict):
            self.fail((), "a model file is an object with the key 'layers'")
        return content

    # -- the model -------------------------------------------------------------------------------------------------

    def model(self) -> Module:
        for key in self.content:
            if key not in TOP_KEYS:
                self.fail(
                    (key,), f"there is no such key{_near(key, TOP_KEYS)}; there are {_listed(TOP_KEYS)}"
                )
        inputs, types = self.inputs()
        steps = self.steps(inputs)
        outputs = self.names(("outputs",), self.content.get("outputs", steps[-1].name))
        known = {*inputs, *(step.name for step in steps)}
        for output in outputs:
            self.check_read(("outputs",), output, known)
        self.check_used(inputs, steps, outputs)
        if types is not None:
            self.check_types(inputs, types, steps)
        return _assembled(inputs, steps, outputs)

    def inputs(self) -> tuple[tuple[str, ...], list[ArrayType] | None]:
        """The names of the inputs, and their types if they are stated."""
        given = self.content.get("inputs", ["input"])
        if not isinstance(given, dict):
            return self.names(("inputs",), given), None
        for name in given:
            self.check_name(("inputs", name), name, set())
        if not given:
            self.fail(("inputs",), "a model has at least one input")
        return tuple(given), [self.type(("inputs", name), text) for name, text in given.items()]

    def type(self, place: Place, text: object) -> ArrayType:
        dtype, _, shape = text.partition("[") if isinstance(text, str) else ("", "", "")
        sizes = [size.strip() for size in shape.removesuffix("]").split(",")] if shape != "]" else []
        if (
            dtype not in DTYPES
            or dtype == "object"
            or not shape.endswith("]")
            or not all(size.isascii() and size.isdecimal() and len(size) < 20 for size in sizes)
            or len(sizes) > 64
        ):
            self.fail(place, f'must be a type such as "float32[1,3,32,32]", not {text!r:.60}')
        types = ArrayType(tuple(map(int, sizes)), DTYPES[dtype])
        self.check_size(place, types)
        return types

    def check_size(self, place: Place, types: ArrayType) -> None:
        if prod(types.shape) > MOST_ELEMENTS or max(types.shape, default=0) > MOST_ELEMENTS:
            self.fail(
                place, f"a value of type {types} has more than {MOST_ELEMENTS} elements: state a smaller one"
            )

    def names(self, place: Place, given: object) -> tuple[str, ...]:
        names = [given] if isinstance(given, str) else given
        if (
            not isinstance(names, list)
            or not names
            or not all(isinstance(name, str) and name for name in names)
        ):
            self.fail(place, f"must be a name or a list of names, not {given!r:.60}")
        if len(set(names)) < len(names) and place == ("inputs",):
            self.fail(place, "one name is given twice")
        return tuple(names)

    # -- its layers ------------------------------------------------------------------------------------------------

    def steps(self, inputs: Sequence[str]) -> list[WiredLayer]:
        entries = self.content.get("layers")
        if (
            not isinstance(entries, list)
            or not entries
            or not all(isinstance(entry, dict) for entry in entries)
        ):
            self.fail(
                ("layers",) if "layers" in self.content else (),
                "a model file needs `layers`: a list of tables, each with a `layer` or an `op`",
            )
        if len(entries) > MOST_LAYERS:
            raise FileFormatError(
                f"{self.path.name}: there are {len(entries)} layers; {MOST_LAYERS} are the most"
            )
        steps: list[WiredLayer] = []
        known = set(inputs)
        for i, entry in enumerate(entries):
            place = ("layers", i)
            name = entry.get("name", str(i))
            self.check_name((*place, "name") if "name" in entry else place, name, known)
            before = steps[-1].name if steps else inputs[0]
            reads = self.names((*place, "inputs"), entry.get("inputs", before))
            for one in reads:
                self.check_read((*place, "inputs"), one, known)
            steps.append(WiredLayer(name, reads, self.applied(place, entry)))
            known.add(name)
        return steps

    def check_name(self, place: Place, name: object, known: set[str]) -> None:
        if not isinstance(name, str) or not name or "." in name:
            self.fail(place, f"a name is a text without dots, not {name!r:.60}")
        if hasattr(Wired, name) or name.startswith("_"):
            self.fail(place, f"the name {name!r} is taken; choose another")
        if name in known:
            self.fail(place, f"the name {name!r} is given twice")

    def check_read(self, place: Place, name: str, known: set[str]) -> None:
        whole, _, number = name.rpartition(".")
        if name in known or (whole in known and number.isdecimal()):
            return
        later = [entry.get("name") for entry in self.content["layers"]]
        if name in later:
            self.fail(place, f"{name!r} comes later: a layer reads what stands above it")
        self.fail(
            place, f"nothing is called {name!r}{_near(name, known)}; there are {_listed(sorted(known))}"
        )

    def check_used(self, inputs: Sequence[str], steps: Sequence[WiredLayer], outputs: Sequence[str]) -> None:
        read = {*outputs, *(name for step in steps for name in step.reads)}
        read |= {name.rpartition(".")[0] for name in read}
        for i, step in enumerate(steps):
            if step.name not in read:
                self.fail(("layers", i), f"nothing reads {step.name!r}: name it in `inputs` or `outputs`")
        for name in inputs:
            if name not in read:
                self.fail(("inputs", name), f"nothing reads the input {name!r}")

    def applied(self, place: Place, entry: dict[str, Any]) -> Callable[..., Any]:
        """The layer or op that an entry describes, with its arguments."""
        if ("layer" in entry) == ("op" in entry):
            self.fail(place, 'needs either `layer`, such as "Linear", or `op`, such as "add"')
        given = {
            key: self.argument((*place, key), value) for key, value in entry.items() if key not in OWN_KEYS
        }
        key = "layer" if "layer" in entry else "op"
        name = entry[key]
        if not isinstance(name, str):
            self.fail((*place, key), f"must be a name, not {name!r:.60}")
        return self.layer(place, name, given) if key == "layer" else self.op(place, name, given)

    def argument(self, place: Place, value: object) -> Any:
        if isinstance(value, list):
            return tuple(self.argument((*place, i), one) for i, one in enumerate(value))
        if value is not None and not isinstance(value, PLAIN):
            self.fail(place, f"must be a number, truth value, text, or list of these, not {value!r:.60}")
        return value

    def layer(self, place: Place, name: str, given: dict[str, Any]) -> Module:
        classes = layer_classes()
        if name not in classes:
            self.fail((*place, "layer"), f"tinygraph.nn has no layer {name!r}{_near(name, classes)}")
        self.check_arguments(place, name, given, inspect.signature(classes[name]).parameters)
        try:
            return classes[name](**given)
        except (TinygraphError, TypeError, ValueError, OverflowError, MemoryError) as error:
            self.fail(place, f"{name}: {error}")

    def op(self, place: Place, name: str, given: dict[str, Any]) -> Callable[..., Any]:
        try:
            found: Any = registry.find(name)
        except TinygraphError as error:
            self.fail((*place, "op"), error)
        signature = inspect.signature(getattr(found, "forward", None) or found.function)
        settings = {
            key: one
            for key, one in signature.parameters.items()
            if one.kind is inspect.Parameter.KEYWORD_ONLY
        }
        self.check_arguments(place, name, given, settings)
        return lambda *operands: found(*operands, **given)

    def check_arguments(
        self, place: Place, name: str, given: dict[str, Any], known: Mapping[str, inspect.Parameter]
    ) -> None:
        if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values()):
            return
        for key in given:
            if key not in known:
                listed = _listed(known) or "none"
                self.fail(
                    (*place, key),
                    f"{name} has no argument {key!r}{_near(key, known)}; its arguments are: {listed}",
                )
        for key, one in known.items():
            variadic = one.kind is inspect.Parameter.VAR_POSITIONAL
            if one.default is inspect.Parameter.empty and key not in given and not variadic:
                self.fail(place, f"{name} needs the argument {key!r}")

    def check_types(
        self, inputs: Sequence[str], types: Sequence[ArrayType], steps: Sequence[WiredLayer]
    ) -> None:
        """Run the model on types, to refuse layers that do not fit each other by their lines."""
        reached: list[int] = []

        def traced(*given: object) -> Any:
            values: dict[str, Any] = dict(zip(inputs, given, strict=True))
            for i, step in enumerate(steps):
                reached.append(i)
                values[step.name] = result = run(step, values)
                for one in result if isinstance(result, tuple | list) else (result,):
                    if isinstance(one, Tensor):
                        self.check_size(("layers", i), one.type)
            return list(values.values())

        try:
            capture(traced, *(types.stand_in() for types in types))
        except CaptureError:
            return  # it depends on values: only a call can tell
        except FileFormatError:
            raise  # it says the place already
        except (TinygraphError, TypeError, ValueError, AttributeError, MemoryError, OverflowError) as error:
            self.fail(("layers", reached[-1]), error)


@cache
def layer_classes() -> dict[str, type[Module]]:
    """The layers that a file may name."""
    from tinygraph import nn

    return {
        name: one
        for name, one in vars(nn).items()
        if isinstance(one, type) and issubclass(one, Module) and name not in (*NOT_LAYERS, "Wired")
    }


def _assembled(inputs: Sequence[str], steps: Sequence[WiredLayer], outputs: Sequence[str]) -> Module:
    chain = [inputs[0], *(step.name for step in steps)]
    in_sequence = all(step.reads == (before,) for step, before in zip(steps, chain, strict=False))
    layers = {step.name: step.apply for step in steps if isinstance(step.apply, Module)}
    if in_sequence and len(layers) == len(steps) and len(inputs) == 1 and tuple(outputs) == (chain[-1],):
        return Sequential(layers)
    return Wired(inputs, steps, outputs)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice!r:.60} is given twice in one object")
    return content


def _nested_too_deeply(content: object) -> bool:
    level = [content]
    for _ in range(MOST_NESTED):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return bool(level)


def _near(word: str, known: Any) -> str:
    near = get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _listed(names: Any) -> str:
    return ", ".join(names)
