"""A residual network on images in folders: augmentation in worker processes, curves, a checkpoint to go on from.

Alone:                   python examples/17_images_on_several_processes.py
On two processes:        tinygraph launch -n 2 --restarts 3 examples/17_images_on_several_processes.py
"""

import os
from pathlib import Path

import numpy as np
from PIL import Image

import tinygraph as tg
from tinygraph import data, nn, optim, parallel, training
from tinygraph.data import augmentation

FOLDER, RUN = Path("images"), Path("run")
epochs = int(os.environ.get("EPOCHS", "4"))


def draw_images():
    """Images to read: discs and crosses of any colour, anywhere, in a folder for each kind."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:16, :16]
    for kind in ("cross", "disc"):
        (FOLDER / kind).mkdir(parents=True, exist_ok=True)
        for number in range(80):
            y, x = rng.integers(4, 12, size=2)
            near = (rows - y) ** 2 + (columns - x) ** 2 < 12
            arms = (abs(rows - y) < 4) & (abs(columns - x) < 4) & ((rows == y) | (columns == x))
            shape = near if kind == "disc" else arms
            pixels = rng.integers(0, 90, size=(16, 16, 3)) + shape[..., None] * rng.integers(60, 160, size=3)
            Image.fromarray(pixels.astype(np.uint8)).save(FOLDER / kind / f"{number}.png")


class Block(nn.Module):
    """Two convolutions and a way around them.

    They have no bias: normalisation subtracts it again, and Adam would make steps of rounding errors.
    """

    def __init__(self, channels):
        super().__init__()
        self.conv1, self.bn1 = (
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.conv2, self.bn2 = (
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(x + self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))


if parallel.rank() == 0:
    draw_images()
    RUN.mkdir(exist_ok=True)
parallel.barrier()

images = data.ImageFolder(FOLDER)
tg.manual_seed(0)
train, test = data.random_split(images, [0.8, 0.2], tg.Generator(0))
moved = augmentation.on_images(augmentation.random_crop(16, padding=2), augmentation.random_flip())
loader = data.DataLoader(data.Transformed(train, moved, seed=0), 32, shuffle=True, num_workers=1)

model = nn.Sequential(
    nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), Block(16), nn.MaxPool2d(2), Block(16), nn.AdaptiveMaxPool2d(1),
    nn.Flatten(), nn.Linear(16, 2),
)  # fmt: skip
model = parallel.SyncBatchNorm.convert_sync_batchnorm(model)
optimizer = parallel.data_parallel(optim.Adam(model.parameters(), lr=0.01))
history = training.fit(
    model,
    loader,
    optimizer=optimizer,
    epochs=epochs,
    validation=data.DataLoader(test, 16),
    checkpoint=RUN / "last.npz",  # goes on from it, if it is there
    callbacks=[training.CSVLog(RUN / "curves.csv")],  # or training.TensorBoardLog(RUN)
    seed=0,
)
if parallel.rank() == 0:
    print(f"trained for {len(history.epochs)} epochs; the curves are in {RUN}/curves.csv")
