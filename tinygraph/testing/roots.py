"""One finding a cause: which findings follow from an earlier one, because the same fault breaks several laws.

It rests on the order of the laws, in which the one that names a fault best comes before those that the fault breaks
as well, and on what each law is about. What follows is counted, not shown: once the root is mended it is gone, or
stands alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tinygraph.testing.law import Finding


class Cause(NamedTuple):
    """A finding that follows from no other, and those that follow from it."""

    root: Finding
    following: tuple[Finding, ...]

    @property
    def laws(self) -> tuple[str, ...]:
        """The other laws that fail with the root."""
        return tuple(dict.fromkeys(one.law for one in self.following if one.law != self.root.law))

    def __str__(self) -> str:
        again = sum(one.law == self.root.law for one in self.following)
        lines = [str(self.root)]
        if again:
            lines.append(f"    {'and':13}the same on {again} more sample{'s' * (again != 1)}")
        if self.laws:
            fail = "fails" if len(self.laws) == 1 else "fail"
            lines.append(f"    {'and':13}{', '.join(self.laws)} {fail} with it: mend this and check again")
        return "\n".join(lines)


def causes_of(findings: Iterable[Finding]) -> tuple[Cause, ...]:
    """The findings by their root, in the order of the laws."""
    found: list[tuple[Finding, list[Finding]]] = []
    for one in findings:
        following = next((following for root, following in found if _follows(one, root)), None)
        if following is None:
            found.append((one, []))
        else:
            following.append(one)
    return tuple(Cause(root, tuple(following)) for root, following in found)


def _follows(one: Finding, root: Finding) -> bool:
    if one.place and one.place == root.place:  # both were raised at one line
        return True
    differs = bool(one.operand and root.operand and one.operand != root.operand)
    if one.law == root.law:
        return not differs and (one.about != "apart" or one.what == root.what)
    abouts = {one.about, root.about}
    if "apart" in abouts or abouts == {"arrays"}:
        return False
    return not (differs and abouts <= {"arrays", "one rule"})
