"""Regions: parts of a program that run again later, and what they read, wrote and drew the first time.

The first run notes it; a later one, inside `Region.again`, finds states and generators as they were then, and what it
writes and draws leaves no trace. Notes are a thread's own.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.node import Leaf
from tinygraph.errors import StaleValueError

if TYPE_CHECKING:
    from tinygraph.core.state import Generator
    from tinygraph.core.tensor import Tensor


class _Present(threading.local):
    region: Region | _Again | None = None


present = _Present()


class _Held:
    """Everything that a write to a tensor changes, and a copy of the numbers."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = weakref.ref(tensor)
        self.value, self.edge, self.leaf = tensor._value, tensor._edge, tensor._leaf
        self.numbers = self.value.copy() if isinstance(self.value, np.ndarray) else None
        if self.leaf is not None:
            self.facts = self.leaf.types, self.leaf.version, self.leaf.changed_at

    def put_back(self) -> None:
        tensor = self.tensor()
        if tensor is None:
            return
        if self.numbers is not None and self.value.flags.writeable:
            np.copyto(self.value, self.numbers)
        tensor._value, tensor._edge, tensor._leaf = self.value, self.edge, self.leaf
        if self.leaf is not None:
            self.leaf.value = self.value
            self.leaf.types, self.leaf.version, self.leaf.changed_at = self.facts


class Region:
    """One run of a function that is to be run again: `with Region(name) as region: function()`.

    Args:
        name: of the function, for errors.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._outer: Region | _Again | None = None
        self._written: dict[int, _Held] = {}
        self._read: dict[int, tuple[Leaf, int]] = {}
        self._drawn: dict[int, tuple[Any, Any]] = {}

    def __enter__(self) -> Region:
        self._outer, present.region = present.region, self
        return self

    def __exit__(self, *_: object) -> None:
        present.region, self._outer = self._outer, None
        # what the function made for itself is made anew when it runs again
        self._written = {key: held for key, held in self._written.items() if held.tensor() is not None}

    def note_read(self, leaf: Leaf) -> None:
        """Note that a state's present value is used."""
        if self._outer is not None:
            self._outer.note_read(leaf)
        if all(held.leaf is not leaf for held in self._written.values()):
            self._read.setdefault(id(leaf), (leaf, leaf.version))

    def note_write(self, tensor: Tensor) -> None:
        """Note that a tensor is about to be written."""
        if self._outer is not None:
            self._outer.note_write(tensor)
        if id(tensor) not in self._written:
            self._written[id(tensor)] = _Held(tensor)

    def source(self, generator: Generator, numbers: np.random.Generator) -> np.random.Generator:
        """What a generator, whose own numbers are given, draws from here."""
        found = numbers if self._outer is None else self._outer.source(generator, numbers)
        self._drawn.setdefault(id(generator), (generator, found.bit_generator.state))
        return found

    def rely(self, leaves: Iterable[Leaf]) -> None:
        """Note leaves that recorded nodes of the run read."""
        written = {id(held.leaf) for held in self._written.values()}
        for leaf in leaves:
            if id(leaf) not in written:
                self._read.setdefault(id(leaf), (leaf, leaf.version))

    @contextmanager
    def again(self) -> Iterator[None]:
        """A block in which the function finds what it found the first time.

        Raises:
            StaleValueError: something that it read has been written since, and is not known any more.
        """
        written = {id(held.leaf) for held in self._written.values() if held.leaf is not None}
        for leaf, version in self._read.values():
            if leaf.version != version and id(leaf) not in written:
                raise StaleValueError(
                    f"the value of {leaf.describe()} that checkpoint({self.name}) read was changed afterwards"
                    f"{f' at {leaf.changed_at}' if leaf.changed_at else ''}, and the backward pass needs it to compute "
                    f"again: run backward before the update, or compute the output again after it"
                )
        outer = present.region
        tensors = [tensor for held in self._written.values() if (tensor := held.tensor()) is not None]
        now = [_Held(tensor) for tensor in tensors]
        for held in self._written.values():
            held.put_back()
        present.region = _Again(outer, self._drawn)
        try:
            yield
        finally:
            present.region = outer
            for held in now:
                held.put_back()


class _Again:
    """A later run: generators draw what they drew, and its writes are taken back by whoever started it."""

    def __init__(self, outer: Region | _Again | None, drawn: dict[int, tuple[Any, Any]]) -> None:
        self._outer = outer
        self._drawn = drawn
        self._sources: dict[int, tuple[Any, np.random.Generator]] = {}

    def note_read(self, leaf: Leaf) -> None:
        """Reads were noted the first time."""

    def note_write(self, tensor: Tensor) -> None:
        """So were writes."""

    def source(self, generator: Generator, numbers: np.random.Generator) -> np.random.Generator:
        """A copy of a generator, where it stood at the first run's first draw."""
        if id(generator) not in self._sources:
            known = self._drawn.get(id(generator))
            if known is None:
                own = numbers if self._outer is None else self._outer.source(generator, numbers)
                known = (generator, own.bit_generator.state)
            bits = type(numbers.bit_generator)()
            bits.state = known[1]
            self._sources[id(generator)] = (generator, np.random.Generator(bits))
        return self._sources[id(generator)][1]
