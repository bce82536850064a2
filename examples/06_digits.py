"""Real handwritten digits: a convolutional network, trained, measured, and one of its weights explained.

`tinygraph demo` does this too, and writes a report with pictures.
"""

import os

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.data import DataLoader, load_digits
from tinygraph.training import evaluate, fit

epochs = int(os.environ.get("EPOCHS", "5"))

tg.manual_seed(0)
train, test = load_digits()
model = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(64, 10),
)
optimizer = optim.Adam(model.parameters(), lr=3e-3)
history = fit(
    model, DataLoader(train, batch_size=32, shuffle=True, seed=0), optimizer=optimizer, epochs=epochs
)
loss, accuracy = evaluate(model, DataLoader(test, batch_size=256))
print(f"test accuracy {accuracy:.1%}")

# Why does one weight of the first kernel move the way it does? Its impacts on one batch say it.
images, labels = next(iter(DataLoader(test, batch_size=4)))
loss = tg.ops.cross_entropy(model(images), labels)
impacts = tg.explain(loss, wrt=model[0].weight, element=(0, 0, 1, 1))
print(f"{len(impacts)} impacts, together {impacts.total:.6f}")
