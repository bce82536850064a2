"""A small residual network: a Module of one's own, batch normalisation, a shortcut - and the graph they make."""

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim


class ResidualBlock(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, channels_in, channels_out, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU()
        self.shortcut = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False)

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


tg.manual_seed(0)
model = nn.Sequential(
    ResidualBlock(3, 8),
    ResidualBlock(8, 16, stride=2),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(16, 2),
)

# Two kinds of pictures to tell apart: horizontal and vertical stripes.
rng = np.random.default_rng(0)
labels = rng.integers(0, 2, size=64)
stripes = np.sin(np.arange(12) + rng.uniform(0, 6, size=(64, 1, 1)))
images = np.where(labels[:, None, None] == 0, stripes, stripes.swapaxes(1, 2)) * np.ones((64, 12, 12))
images = (images[:, None] + 0.3 * rng.normal(size=(64, 3, 12, 12))).astype(np.float32)

optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
loss_of = nn.CrossEntropyLoss()


def step(images, labels):
    optimizer.zero_grad()
    loss = loss_of(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss


# The whole training step - forward, backward, update, running statistics - becomes one plan.
compiled = tg.compile(step)
for i in range(15):
    loss = compiled(images, labels)
    if i % 5 == 0 or i == 14:
        print(f"step {i:2}: loss {loss.item():.4f}")
print(repr(compiled.plan))

model.eval()
with tg.no_grad():
    accuracy = np.mean(model(images).numpy().argmax(axis=1) == labels)
print(f"accuracy on these pictures {accuracy:.0%}")
