"""The frames of a picture: the tree of groups around its boxes, with their titles and the numbers of calls.

Which nodes make a group is decided in `levels.py` and `phases.py`; here a group becomes a frame, or a caption where
it has a single box.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tinygraph.analysis.phases import Phases, is_join
from tinygraph.core.modes import Scope
from tinygraph.core.node import Leaf
from tinygraph.drawing.model.iterations import ConditionName, LoopName
from tinygraph.drawing.model.labels import shorten
from tinygraph.drawing.model.layers import class_of
from tinygraph.drawing.model.levels import Part
from tinygraph.drawing.model.picture import Frame, Identifiers
from tinygraph.drawing.model.selection import Repeats

DEEPEST_FRAME = 8  # deeper groups are drawn inside the frame at this depth


class Frames:
    """The tree of groups, made as boxes are put into it; calls are numbered by their order in this graph."""

    def __init__(
        self,
        parts: Sequence[Part],
        identifiers: Identifiers,
        repeats: Repeats,
        phases: Phases,
    ) -> None:
        self.phases = phases
        self.repeats = repeats
        self.identifiers = identifiers
        self.root = Frame("g0", "")
        self._groups: dict[Scope, Frame] = {(): self.root}
        self._calls: dict[tuple[Scope, str], dict[int, int]] = {}
        self._paths: dict[Scope, list[str]] = {}
        self._lone = _lone_groups(parts)
        # Every op of both passes: frames would push the two columns apart, so each box says where it belongs.
        self._flat = any(
            part.single and part.order and not isinstance(part.nodes[0], Leaf) and not is_join(part.nodes[0])
            for part in parts
        )
        for part in parts:
            self._number(part.scope)
            if part.name is not None:
                self._number((*part.scope, (part.name, part.call)))

    def _number(self, scope: Scope) -> None:
        for depth, (name, number) in enumerate(scope):
            calls = self._calls.setdefault((scope[:depth], name), {})
            calls.setdefault(number, len(calls))

    def _title(self, scope: Scope, name: str, number: int) -> str:
        calls = self._calls[scope, name]
        title = shorten(name) if len(calls) == 1 else f"{shorten(name)} · call {calls[number] + 1}"
        return self.repeats.title((*scope, (name, number)), title)

    def title(self, part: Part) -> str:
        """What a collapsed part is called."""
        assert part.name is not None
        return self._title(part.scope, part.name, part.call)

    def path(self, scope: Scope) -> list[str]:
        """The titles of the frames around something, outermost first."""
        found = self._paths.get(scope)
        if found is None:
            titles = [self._title(scope[:depth], *call) for depth, call in enumerate(scope)]
            found = self._paths[scope] = titles
        return found

    def caption(self, scope: Scope) -> str:
        """The name of the group around a box that is alone in it, and so needs no frame."""
        return shorten(" / ".join(self.path(scope)[self._framed(scope) :]))

    def _framed(self, scope: Scope) -> int:
        """How many of the groups around a box are drawn as frames."""
        depth = min(len(scope), DEEPEST_FRAME)
        if self._flat and not self.phases.is_update(scope):
            loops = [i for i, (name, _) in enumerate(scope[:depth], 1) if isinstance(name, LoopName)]
            depth = max(loops, default=0)
        while depth and scope[:depth] in self._lone:
            depth -= 1
        return depth

    def open(self, scope: Scope, title: str) -> Frame:
        """A frame for the interior of an op."""
        made = Frame(self.identifiers.make("g", title), title)
        self._group(scope[: self._framed(scope)]).groups.append(made)
        return made

    def put(self, box: str, scope: Scope) -> None:
        self._group(scope[: self._framed(scope)]).boxes.append(box)

    def boxes_in(self, scope: Scope) -> list[str]:
        """The boxes directly within the frame of a group, if it has one."""
        return self._groups[scope].boxes if scope in self._groups else []

    def merge_chains(self) -> None:
        """A frame with nothing in it but another frame becomes one with it."""
        for group in self._groups.values():
            while group is not self.root and not group.boxes and len(group.groups) == 1:
                inner = group.groups[0]
                group.title = f"{group.title} / {inner.title}"
                group.boxes, group.groups, group.path = inner.boxes, inner.groups, inner.path

    def _group(self, scope: Scope) -> Frame:
        group = self._groups.get(scope)
        if group is None:
            path = self.path(scope)
            found = class_of(scope)
            title = f"{path[-1]}  {found}" if found and found != path[-1] else path[-1]
            group = self._groups[scope] = Frame(self.identifiers.make("g", path), title)
            group.path = dotted(scope)
            group.title_below = isinstance(scope[-1][0], ConditionName)
            self._group(scope[:-1]).groups.append(group)
        return group


def dotted(scope: Scope) -> str:
    """A group's path as people write it."""
    return ".".join(name for name, _ in scope)


def _lone_groups(parts: Sequence[Part]) -> set[Scope]:
    """The groups with a single box in them."""
    sizes = Counter(scope for part in parts for scope in _prefixes(part.scope))
    return {scope for scope, size in sizes.items() if size == 1}


def _prefixes(scope: Scope) -> list[Scope]:
    return [scope[:depth] for depth in range(1, min(len(scope), DEEPEST_FRAME) + 1)]
