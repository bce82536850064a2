"""A model as a graph: capture it, read it, differentiate it as a graph, draw it, save it, load it, run it."""

import tempfile
from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph import nn

tg.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3)
)
x = np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype(np.float32)

# Capturing runs the model on types alone. The graph refers to the model's parameters, and follows them as they learn.
graph = tg.capture(model, x)
print(graph)
print(graph.summary())

# The gradient of a graph is a graph, in which every backward node knows the forward node it serves.
loss = tg.capture(lambda x: (model(x) ** 2).mean(), x)
backward = loss.gradient()
pairs = [(node.op.name, node.forward_node.op.name) for node in backward.nodes if node.forward_node]
print("backward nodes and what they serve:", pairs[:5], "...")
value, *gradients = backward(x)
print("loss:", value.item(), "- gradients:", [gradient.shape for gradient in gradients])

# To networkx, for any algorithm on graphs ...
view = graph.to_networkx()
print("networkx sees", view.number_of_nodes(), "nodes and", view.number_of_edges(), "edges")

# ... and to files: a picture, and a graph that runs elsewhere without this program.
with tempfile.TemporaryDirectory() as folder:
    tg.draw(graph, Path(folder) / "model.svg")
    graph.save(Path(folder) / "model.safetensors")
    loaded = tg.load(Path(folder) / "model.safetensors")
print("the loaded graph computes the same:", np.array_equal(loaded(x).detach(), graph(x).detach()))
