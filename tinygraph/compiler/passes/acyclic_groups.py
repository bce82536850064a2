"""Nodes joined into groups, so that the graph of the groups stays free of cycles.

An order of the groups is kept while they join (after Pearce and Kelly, "A dynamic topological sort algorithm for
directed acyclic graphs", 2006): whether joining two makes a cycle is looked for between them in that order alone, from
both ends at once, and given up after a fixed number of steps. So a pass takes time in proportion to its graph.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import pairwise

# Edges that are followed from each end before two groups are taken to lie too far apart to be joined.
MOST_STEPS = 256
_GAP = 1 << 64  # between the labels of neighbours: room for those that move there


class NodeGroup:
    """Nodes, by number.

    Attributes:
        members: in no order.
        above, below: the numbers of nodes that they read, and of those that read them; members may be among them.
    """

    __slots__ = ("above", "below", "label", "later", "members", "sooner")

    def __init__(self, node: int, above: Sequence[int], below: Sequence[int]) -> None:
        self.members = [node]
        self.above, self.below = set(above), set(below)
        self.label = node * _GAP
        # its neighbours in the order, by a node of theirs, so that no two groups keep each other alive
        self.sooner: int | None = None
        self.later: int | None = None


class AcyclicGroups:
    """Groups of nodes, at first of one each.

    Attributes:
        of: the group of each node.

    >>> groups = AcyclicGroups([[], [0], [0, 1]])  # node 2 reads 0, also through 1
    >>> groups.join(groups.of[0], groups.of[2]) is None
    True
    >>> sorted(groups.join(groups.of[1], groups.of[2]).members)
    [1, 2]
    """

    def __init__(self, above: Sequence[Sequence[int]]) -> None:
        """Groups of one node each.

        Args:
            above: for each node the numbers of those that it reads, which are smaller than its own.
        """
        below: list[list[int]] = [[] for _ in above]
        for i, several in enumerate(above):
            for j in several:
                below[j].append(i)
        self.of = [NodeGroup(i, above[i], below[i]) for i in range(len(above))]
        for i, j in pairwise(range(len(above))):
            self.of[i].later, self.of[j].sooner = j, i
        self._first = 0 if self.of else None

    def join(self, first: NodeGroup, second: NodeGroup) -> NodeGroup | None:
        """One group of two, of which the second reads the first; None if that makes a cycle, or they lie far apart."""
        between = self._between(first, second)
        if between is None:
            return None
        is_above, moved = between
        moved.sort(key=lambda group: group.label)
        stays, goes = (first, second) if is_above else (second, first)
        for group in (*moved, goes):
            self._take_out(group)
        for group in moved if is_above else reversed(moved):
            self._put_beside(stays, group, before=is_above)
        return self._merged(stays, goes)

    def in_order(self, last: Sequence[int]) -> Iterator[NodeGroup]:
        """The groups, each after all that it reads, otherwise in the order of these of their members."""
        done: set[int] = set()
        for node in last:
            stack = [self.of[node]]
            while stack:
                group = stack[-1]
                if id(group) in done:
                    stack.pop()
                    continue
                read = (self.of[i] for i in sorted(group.above))
                needed = [one for one in read if one is not group and id(one) not in done]
                if needed:
                    stack += needed
                else:
                    done.add(id(stack.pop()))
                    yield group

    def _between(self, first: NodeGroup, second: NodeGroup) -> tuple[bool, list[NodeGroup]] | None:
        """What must move out of the way so that two groups may take one place in the order.

        Returns:
            Whether they are those that the second depends on, or those that depend on the first; and they themselves.
        """
        walks = (True, self._walk(second, first, True)), (False, self._walk(first, second, False))
        for _ in range(MOST_STEPS):
            for is_above, walk in walks:
                try:
                    if next(walk):
                        return None
                except StopIteration as end:
                    return is_above, end.value
        return None

    def _walk(
        self, start: NodeGroup, other: NodeGroup, is_above: bool
    ) -> Generator[bool, None, list[NodeGroup]]:
        """Go from one group towards another; each step says whether it arrived there, the direct one left out.

        Returns:
            The groups that were met, if it did not.
        """
        low, high = sorted((start.label, other.label))
        found: list[NodeGroup] = []
        seen = {id(start)}
        stack = [start]
        while stack:
            group = stack.pop()
            for i in group.above if is_above else group.below:
                near = self.of[i]
                if near is other:
                    yield group is not start
                    continue
                if id(near) not in seen and low < near.label < high:
                    seen.add(id(near))
                    found.append(near)
                    stack.append(near)
                yield False
        return found

    def _take_out(self, group: NodeGroup) -> None:
        self._link(group.sooner, group.later)

    def _link(self, sooner: int | None, later: int | None) -> None:
        """Make two groups neighbours; None is the beginning, or the end."""
        if sooner is not None:
            self.of[sooner].later = later
        else:
            self._first = later
        if later is not None:
            self.of[later].sooner = sooner

    def _put_beside(self, group: NodeGroup, new: NodeGroup, before: bool) -> None:
        here, node = group.members[0], new.members[0]
        sooner, later = (group.sooner, here) if before else (here, group.later)
        self._link(sooner, node)
        self._link(node, later)
        low = self.of[sooner].label if sooner is not None else (group.label - 2 * _GAP)
        high = self.of[later].label if later is not None else (group.label + 2 * _GAP)
        new.label = (low + high) // 2
        if new.label == low:  # no room is left: rare, since a gap can be halved 64 times
            self._label_anew()

    def _label_anew(self) -> None:
        node, label = self._first, 0
        while node is not None:
            group = self.of[node]
            group.label = label
            label += _GAP
            node = group.later

    def _merged(self, stays: NodeGroup, goes: NodeGroup) -> NodeGroup:
        for member in goes.members:
            self.of[member] = stays
        stays.members += goes.members
        for one, other in ((stays.above, goes.above), (stays.below, goes.below)):
            one |= other
            if len(one) < MOST_STEPS:
                one.difference_update([i for i in one if self.of[i] is stays])
        return stays
