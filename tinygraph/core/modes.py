"""What this thread is doing: recording or not, capturing or not, and the place new nodes belong to.

A `Mode` is immutable; entering one swaps the thread's current mode and leaving restores it, so an exception can
never leave a mode behind. Nothing here knows of tensors or nodes beyond passing them on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ContextDecorator
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from weakref import ref

    from tinygraph.core.capture import Capture
    from tinygraph.core.node import Node
    from tinygraph.core.tensor import Tensor

Phase = Literal["forward", "backward", "update"]
Scope = tuple[tuple[str, int], ...]
LookBack = Callable[["Node", Any, dict["Node", Any]], None]


class CompositeName(str):
    """The name of the group that a composite op makes: told from a module's or the user's of the same name."""

    __slots__ = ()


class ModuleName(str):
    """The name of the group that a call of a module makes, and which module that was.

    Attributes:
        kind: the module's class.
        whole: whether pictures of layers show it as one box, whatever modules it is made of.
        module: the module while it lives, or what `extra_repr` said of it when it was saved.
    """

    __slots__ = ("kind", "module", "whole")
    kind: str
    whole: bool
    module: Callable[[], Any] | str

    def __new__(cls, name: str, kind: str, whole: bool, module: Callable[[], Any] | str) -> ModuleName:
        made = super().__new__(cls, name)
        made.kind, made.whole, made.module = kind, whole, module
        return made

    def __getnewargs__(self) -> tuple[str, str, bool, str]:  # type: ignore[override]  # str gives itself alone
        return str(self), self.kind, self.whole, self.settings

    @property
    def settings(self) -> str:
        """What the module's `repr` shows in brackets; nothing once it is gone."""
        if isinstance(self.module, str):
            return self.module
        module = self.module()
        return "" if module is None else str(module.extra_repr())


class Place:
    """Where a node belongs: its scope, its phase and, for a backward node, the forward node it serves."""

    __slots__ = ("calls", "origin", "phase", "scope")

    def __init__(self, scope: Scope = (), phase: Phase = "forward", origin: Node | None = None) -> None:
        self.scope = scope
        self.phase: Phase = phase
        self.origin = origin
        self.calls: dict[str, int] | None = None  # most places are those of nodes, where nothing is entered

    def enter(self, name: str) -> Place:
        """The place inside a group called `name`, numbered by how often this place has called that name."""
        if self.calls is None:
            self.calls = {}
        number = self.calls.get(name, 0)
        self.calls[name] = number + 1
        return Place((*self.scope, (name, number)), self.phase, self.origin)


class Mode:
    """One setting of everything that changes what `apply` does."""

    __slots__ = ("capture", "place", "primals", "recording", "tangents")

    def __init__(
        self,
        recording: bool = True,
        tangents: bool = False,
        capture: Capture | None = None,
        place: Place | None = None,
        primals: tuple[Node, ...] = (),
    ) -> None:
        self.recording = recording
        # whether nodes must also save what forward-mode rules need
        self.tangents = tangents
        self.capture = capture
        self.place = place if place is not None else Place()
        # with respect to what the transforms that are running differentiate
        self.primals = primals


class _Modes(threading.local):
    def __init__(self) -> None:
        self.current = Mode()
        # what this thread last called `backward()` on, as long as somebody holds it
        self.last_output: ref[Tensor] | None = None
        # what looks at the cotangents of a backward pass; see `engine.looking_back`
        self.look_back: LookBack | None = None


modes = _Modes()


class mode(ContextDecorator):
    """Run a block in a changed mode; what is not given stays as it is. Primals join those of transforms outside.

    A class, since an eager training step enters dozens: `contextmanager` would make seven calls of each. Ctrl-C may
    arrive with any call, so that the mode is set by the last step of entering and the first of leaving.
    """

    def __init__(
        self,
        *,
        recording: bool | None = None,
        tangents: bool | None = None,
        capture: Capture | None = None,
        place: Place | None = None,
        primals: tuple[Node, ...] = (),
    ) -> None:
        self._changes = recording, tangents, capture, place, primals
        self._before: list[Mode] = []  # as deep as this object is entered

    def __enter__(self) -> None:
        before = modes.current
        recording, tangents, capture, place, primals = self._changes
        self._before.append(before)
        modes.current = Mode(
            before.recording if recording is None else recording,
            before.tangents if tangents is None else tangents,
            before.capture if capture is None else capture,
            before.place if place is None else place,
            before.primals + primals,
        )

    def __exit__(self, *_: object) -> None:
        modes.current = self._before[-1]
        del self._before[-1]

    def _recreate_cm(self) -> mode:
        """A new one for each call of a decorated function, which threads may call at once."""
        recording, tangents, capture, place, primals = self._changes
        return mode(recording=recording, tangents=tangents, capture=capture, place=place, primals=primals)


def scope(name: str) -> AbstractContextManager[None]:
    """Context manager: nodes made inside belong to the group `name` within the present one."""
    return mode(place=modes.current.place.enter(name))


def phase(name: Phase) -> AbstractContextManager[None]:
    """Context manager: nodes made inside belong to the given phase (an optimizer's are "update")."""
    place = modes.current.place
    return mode(place=Place(place.scope, name, place.origin))


def no_grad() -> mode:
    """Context manager (and, called, a decorator): nothing inside is recorded.

    >>> import tinygraph as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> with tg.no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """
    return mode(recording=False)
