"""A character-level transformer, written with the layers one knows, learning a short text by heart."""

import os

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim

TEXT = "how can the convolution layer learn anything? it computes, and every weight hears of every error it made. "
WIDTH, HEADS, CONTEXT = 32, 4, 16
steps = int(os.environ.get("STEPS", "150"))

characters = sorted(set(TEXT))
codes = np.array([characters.index(c) for c in TEXT])


class Block(nn.Module):
    """Causal self-attention, then a two-layer perceptron, each with a way around it."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.softmax = nn.Softmax(dim=-1)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def attend(self, x):
        batch, length, _ = x.shape
        q, k, v = (
            part.reshape(batch, length, HEADS, -1).swapaxes(1, 2)
            for part in np.split(self.qkv(x), 3, axis=-1)
        )
        scores = q @ k.swapaxes(-1, -2) * (WIDTH // HEADS) ** -0.5
        later = np.triu(np.ones((length, length), bool), 1)
        weights = self.softmax(np.where(later, np.float32(-1e9), scores))
        return self.out((weights @ v).swapaxes(1, 2).reshape(batch, length, WIDTH))

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Embeddings of characters and positions, two blocks, and a score for each next character."""

    def __init__(self):
        super().__init__()
        self.characters = nn.Embedding(len(characters), WIDTH)
        self.positions = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(Block(), Block())
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, len(characters))

    def forward(self, x):
        x = self.characters(x) + self.positions(np.arange(x.shape[1]))
        return self.head(self.norm(self.blocks(x)))


tg.manual_seed(0)
rng = np.random.default_rng(0)
model = Transformer()
optimizer = optim.AdamW(model.parameters(), lr=3e-3)


@tg.compile
def step(x, y):
    optimizer.zero_grad()
    loss = tg.ops.cross_entropy(model(x).reshape(-1, len(characters)), y.reshape(-1))
    loss.backward()
    optimizer.step()
    return loss


for i in range(steps):
    starts = rng.integers(0, len(codes) - CONTEXT, size=16)
    windows = codes[starts[:, None] + np.arange(CONTEXT + 1)]
    loss = step(windows[:, :-1], windows[:, 1:])
    if i % 50 == 0 or i == steps - 1:
        print(f"step {i:3}: loss {loss.item():.3f}")

written = list(codes[:CONTEXT])
with tg.no_grad():
    for _ in range(40):
        scores = model(np.array([written[-CONTEXT:]]))
        written.append(int(scores.numpy()[0, -1].argmax()))
print("".join(characters[code] for code in written))
