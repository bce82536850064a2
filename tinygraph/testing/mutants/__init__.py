"""Known-wrong copies of an op, each with one mistake in one derivative rule: what its samples should catch.

Whether they do is found in `tinygraph.testing.mutation`. The op in the registry is never touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice, zip_longest

from tinygraph.core.op import Op, Rule
from tinygraph.testing.mutants.mutant import Mutant as Mutant
from tinygraph.testing.mutants.mutant import Planting
from tinygraph.testing.mutants.mutant import Witness as Witness
from tinygraph.testing.mutants.source_edits import source_mutants
from tinygraph.testing.mutants.value_edits import argument_mutants, exchange_mutants, result_mutants


def mutants_of(op: Op, limit: int | None = None) -> list[Mutant]:
    """The mutants of an op, rule by rule, always the same ones in the same order.

    Args:
        limit: at most so many, with every kind of mistake in every rule represented as long as it lasts.
    """
    seen: set[str] = set()
    every: list[Mutant] = []
    for planting in _plantings(op):
        every += source_mutants(planting, seen)
        every += chain(argument_mutants(planting), exchange_mutants(planting), result_mutants(planting))
    if limit is None or len(every) <= limit:
        return every
    groups: dict[tuple[str, str, str], list[int]] = {}
    for place, mutant in enumerate(every):
        groups.setdefault((mutant.mode, mutant.rule, mutant.kind), []).append(place)
    turns = chain.from_iterable(zip_longest(*groups.values()))
    chosen = islice((place for place in turns if place is not None), limit)
    return [every[place] for place in sorted(chosen)]


def _plantings(op: Op) -> Iterator[Planting]:
    distinct: dict[int, tuple[Rule, str]] = {}
    for mode, rule in chain(
        (("vjp", rule) for rule in op.rules.values()), (("jvp", rule) for rule in op.tangent_rules.values())
    ):
        distinct.setdefault(id(rule), (rule, mode))
    for rule, mode in distinct.values():
        yield Planting(op, rule, "vjp" if mode == "vjp" else "jvp")
