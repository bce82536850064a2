"""Leave out nodes that no output, update or gradient needs."""

from tinygraph.core.graph import Graph


def remove_unused(graph: Graph) -> Graph:
    """The same graph without nodes that nothing needs: a graph lists what its ends depend on, and no more."""
    return Graph(
        graph.inputs,
        graph.outputs,
        result=graph.result,
        updates=graph.updates,
        gradients=graph.gradients,
        name=graph.name,
    )
