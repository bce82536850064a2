"""Memory that plans of one function share: they never run at the same time, so their arrays lie one over the other."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from tinygraph.core.locks import Lock
from tinygraph.core.types import Array

_GROWTH = 1.5  # of a block that is too small: plans for longer and longer inputs then leave little behind
# bytes from which that is done; below, a block is as large as it is asked for
_FEWEST = 2**15


class PlanMemory:
    """Blocks of bytes by name. Whoever runs in one holds the lock.

    >>> memory = PlanMemory()
    >>> first, second = memory.block("arena", 100), memory.block("arena", 60)
    >>> np.shares_memory(first, second)
    True
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self._blocks: dict[Hashable, Array] = {}

    def block(self, name: Hashable, nbytes: int) -> Array:
        """Bytes that others of the name may write between two runs."""
        found = self._blocks.get(name)
        if found is None or found.nbytes < nbytes:
            grown = int(_GROWTH * found.nbytes) if found is not None and nbytes >= _FEWEST else 0
            # zeros take no memory before they are written
            found = self._blocks[name] = np.zeros(max(nbytes, grown), np.uint8)
        return found[:nbytes]

    def release(self) -> None:
        """Let go of the blocks: what still runs in one holds it."""
        self._blocks.clear()

    def count_bytes(self) -> int:
        """What the blocks take."""
        return sum(block.nbytes for block in self._blocks.values())
