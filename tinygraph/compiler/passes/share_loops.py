"""Let a loop whose body makes more stand for one that makes less of the same.

The gradient of a loop runs it again, with results that only the gradient reads; both are one here. Ops say which of
their settings holds a body that may return more (`facts`: "extends").
"""

from __future__ import annotations

from typing import Any

from tinygraph.compiler.passes.merge_duplicates import identity
from tinygraph.compiler.passes.rewriting import Rewriting, edges, make_node
from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node
from tinygraph.core.subgraphs import Subgraph


def share_loops(graph: Graph) -> Graph:
    """Drop loops that another one on the same operands contains; it stands where the first of them stood."""
    alike: dict[Any, list[Node]] = {}
    for node in graph.nodes:
        if not isinstance(node, Leaf) and "extends" in node.op.facts:
            alike.setdefault(_but_for_the_body(node), []).append(node)
    stands: dict[int, Node] = {}
    for nodes in alike.values():
        longest = max(nodes, key=lambda node: len(_body(node).graph.outputs))
        if len(nodes) > 1 and all(_contains(_body(longest), _body(node)) for node in nodes):
            stands |= {id(node): longest for node in nodes}
    if not stands:
        return graph
    rewriting = Rewriting(graph)
    made: dict[int, tuple[Any, ...]] = {}
    for node in graph.nodes:
        if isinstance(node, Leaf):
            continue
        longest_now = stands.get(id(node))
        if longest_now is None:
            rewriting.keep(node)
            continue
        if id(longest_now) not in made:
            settings = longest_now.settings
            inputs = rewriting.entries(node.inputs)
            new = make_node(node.op, inputs, settings, longest_now.types, like=node)
            made[id(longest_now)] = edges(new)
        rewriting.put(node, made[id(longest_now)])
    return rewriting.graph()


def _body(node: Node) -> Subgraph:
    body: Subgraph = node.settings[node.op.facts["extends"]]
    return body


def _but_for_the_body(node: Node) -> Any:
    settings = [(name, repr(value)) for name, value in sorted(node.settings.items())]
    name = node.op.facts["extends"]
    return node.op, tuple(map(identity, node.inputs)), tuple(pair for pair in settings if pair[0] != name)


def _contains(body: Subgraph, part: Subgraph) -> bool:
    """Whether the first results of a body are those of another."""
    return body == part or body.beginning(len(part.graph.outputs)) == part
