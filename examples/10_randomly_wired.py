"""A networkx graph is a model: randomly wired networks, after Xie et al. (2019), trained straight from the generators.

Each node of a random graph sums what comes in, then applies ReLU and a linear layer; edges run from older to newer
nodes, so the graph has no cycles.
"""

import os

import networkx as nx
import numpy as np

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.data import DataLoader, load_digits
from tinygraph.training import evaluate, fit

epochs = int(os.environ.get("EPOCHS", "6"))


class Unit(nn.Linear):
    """A node: the sum of what comes in, ReLU, a linear layer, and a shortcut that keeps deep nodes trainable."""

    def forward(self, *incoming):
        total = sum(incoming[1:], incoming[0])
        return super().forward(tg.ops.relu(total)) + total


class RandomlyWired(nn.Module):
    """A network wired like an acyclic networkx graph.

    What nothing enters reads the input; what nothing reads is averaged into the output.
    """

    def __init__(self, wiring, features_in, width, features_out):
        super().__init__()
        self.wiring = wiring
        self.order = tuple(nx.lexicographical_topological_sort(wiring))
        self.stem = nn.Linear(features_in, width)
        self.units = nn.ModuleDict({str(node): Unit(width, width) for node in self.order})
        self.head = nn.Linear(width, features_out)

    def forward(self, x):
        values = {}
        start = self.stem(x.reshape(len(x), -1))
        for node in self.order:
            incoming = [values[before] for before in self.wiring.predecessors(node)]
            values[node] = self.units[str(node)](*(incoming or [start]))
        ends = [values[node] for node in self.order if not self.wiring.out_degree(node)]
        return self.head(tg.ops.relu(sum(ends[1:], ends[0]) / len(ends)))


def acyclic(graph):
    """The graph with every edge turned from the smaller to the larger node."""
    directed = nx.DiGraph()
    directed.add_nodes_from(sorted(graph))
    directed.add_edges_from(sorted((min(edge), max(edge)) for edge in graph.edges))
    return directed


train, test = load_digits()
wirings = {
    "Erdos-Renyi": nx.gnp_random_graph(10, 0.3, seed=1),
    "Barabasi-Albert": nx.barabasi_albert_graph(10, 2, seed=1),
    "Watts-Strogatz": nx.watts_strogatz_graph(10, 4, 0.5, seed=1),
}
for name, wiring in wirings.items():
    tg.manual_seed(0)
    model = RandomlyWired(acyclic(wiring), 64, 24, 10)
    batches = DataLoader(train, batch_size=64, shuffle=True, seed=0)
    fit(model, batches, optimizer=optim.Adam(model.parameters(), lr=3e-3), epochs=epochs, progress=False)
    loss, accuracy = evaluate(model, DataLoader(test, batch_size=256))
    print(f"{name:16} {wiring.number_of_edges()} edges, test accuracy {accuracy:.1%}")

    # Draw it, a box a node; the drawing is the trained network too.
    images, labels = next(iter(DataLoader(test, batch_size=4)))
    tg.draw(model, f"{name}.svg", inputs=images, zoom="module")
    graph = tg.load(f"{name}.svg")
    assert np.array_equal(graph(images).numpy(), model(images).numpy())

# And back: the graph of the model is a networkx graph again, which any of its algorithms reads.
view = graph.to_networkx()
longest = nx.dag_longest_path_length(nx.DiGraph(view))
print(f"as networkx: {view.number_of_nodes()} nodes, the longest path has {longest} edges")
again = tg.Graph.from_networkx(view)
print("from networkx it computes the same:", np.array_equal(again(images).numpy(), graph(images).numpy()))
