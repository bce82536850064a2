"""What a plan's arena holds, from addresses, steps and edges alone, against what `analysis/memory.py` says of it."""

import itertools

import numpy as np

from tinygraph import kernels
from tinygraph.analysis.arena import ALIGNMENT, SMALL
from tinygraph.analysis.memory import Memory
from tinygraph.core.node import is_recorded, key_of


def blocks_of(plan):
    """Where each value begins in the arena and how many bytes it takes there, halos included, from its array."""
    begin = plan.arena.__array_interface__["data"][0]
    found = {}
    for key, array in plan.arrays.items():
        layout = plan.layouts.get(key)
        if layout is not None and array.base is not None and array.size:
            array = layout.around(array)
        low, high = np.lib.array_utils.byte_bounds(array) if array.size else (0, 0)
        if begin <= low < begin + plan.arena.nbytes:
            found[key] = low, high
    return found


def held_in(plan):
    """Bytes of the arena that hold what is still read, while each node runs, from addresses, steps and edges alone."""
    nodes = [node for node in plan.graph.nodes if node.op is not None]
    computed = {id(node) for step in plan.steps for node in step.nodes}
    owner, made, last = {}, {}, {}
    for i, node in enumerate(nodes):
        read = [owner.get(key_of(entry), key_of(entry)) for entry in node.inputs if is_recorded(entry)]
        last |= dict.fromkeys(read, i)
        for key in [(id(node), k) for k in range(len(node.output_types))]:
            owner[key] = key if id(node) in computed else read[0]
            if owner[key] == key:
                made[key] = last[key] = i
    last |= {owner.get(key_of(end), key_of(end)): len(nodes) for end in plan.graph.ends if is_recorded(end)}
    blocks = blocks_of(plan)
    held = []
    for i in range(len(nodes)):
        alive = [key for key in made if key in blocks and made[key] <= i <= last[key]]
        places = sorted({blocks[key] for key in alive})
        assert all(one[1] <= two[0] for one, two in itertools.pairwise(places))
        # two values lie in one place only while the one is made of the other, which nothing else reads
        still_read = [blocks[key] for key in alive if last[key] > i]
        assert len(still_read) == len(set(still_read))
        held.append(sum(stop - start for start, stop in places))
    return held


def aligned(number, to=ALIGNMENT):
    return -(-number // to) * to


def assert_byte_for_byte(plan):
    memory = plan.memory
    assert memory.held() == held_in(plan)
    assert all(held <= alive for held, alive in zip(memory.held(), memory.alive(), strict=True))
    assert len(plan.elsewhere) == len(memory.states) + len(memory.lent)
    assert {id(leaf.value) for leaf in memory.states.values()} <= set(map(id, plan.elsewhere))
    # what is allocated is what the analysis says: halos, scratch of kernels, rounding and gaps
    arena = memory.arena(plan.scratch)
    assert (
        plan.arena.nbytes - 2 * ALIGNMENT == plan.arena_bytes == arena.nbytes >= max(memory.held(), default=0)
    )
    start = aligned(plan.arena.__array_interface__["data"][0])
    ends = [(stop - start, stop - first) for first, stop in blocks_of(plan).values()]
    scratch = zip(plan.scratch, arena.offsets[len(memory.lifetimes) :], strict=True)
    ends += [(offset + one.nbytes, one.nbytes) for one, offset in scratch]
    tops = [aligned(end, ALIGNMENT if nbytes > SMALL else 16) for end, nbytes in ends]
    assert max(tops, default=0) == arena.nbytes
    if not kernels.available():  # no layouts: what passes see of a graph is what its plan takes
        assert Memory(plan.graph).held() == memory.held()
