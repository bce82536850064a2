"""A model from a small text file: read it, train it, draw it - and load the drawing, which is the model too."""

import os
from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.data import DataLoader, load_digits
from tinygraph.training import evaluate, fit

epochs = int(os.environ.get("EPOCHS", "3"))

tg.manual_seed(0)
model = nn.load_model(Path(__file__).with_name("model.toml"))
print(model)

train, test = load_digits()
optimizer = optim.Adam(model.parameters(), lr=3e-3)
fit(model, DataLoader(train, batch_size=32, shuffle=True, seed=0), optimizer=optimizer, epochs=epochs)
loss, accuracy = evaluate(model, DataLoader(test, batch_size=256))
print(f"test accuracy {accuracy:.1%}")

# The picture is the program: a saved drawing carries the graph with its values.
images, labels = next(iter(DataLoader(test, batch_size=4)))
tg.draw(model, "model.svg", inputs=images)
graph = tg.load("model.svg")
print(
    "the picture computes what the model does:", np.array_equal(graph(images).numpy(), model(images).numpy())
)

# A mistake is refused with its line.
Path("wrong.toml").write_text('[[layers]]\nlayer = "Linear"\nin_features = 4\nout_feature = 2\n')
try:
    nn.load_model("wrong.toml")
except tg.errors.FileFormatError as error:
    print(error)
