"""A small GPT on text files: characters in, characters out; curves in TensorBoard's format, a checkpoint to go on from.

Alone:                   python examples/18_gpt_on_several_processes.py [FILE.txt ...]
On two processes:        tinygraph launch -n 2 --restarts 3 examples/18_gpt_on_several_processes.py [FILE.txt ...]
The curves:              tensorboard --logdir run
"""

import os
import sys
from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph import data, nn, optim, parallel, training

WIDTH, HEADS, LAYERS, CONTEXT = 64, 4, 2, 32
RUN = Path("run")
epochs = int(os.environ.get("EPOCHS", "4"))


class Texts(data.Dataset):
    """Every window of some characters of some text files, and the same window one character later."""

    def __init__(self, files):
        text = "\n".join(Path(file).read_text(encoding="utf-8") for file in files)
        self.characters = sorted(set(text))
        numbers = {character: number for number, character in enumerate(self.characters)}
        self.codes = np.array([numbers[character] for character in text])

    def __len__(self):
        return (len(self.codes) - 1) // CONTEXT

    def __getitem__(self, i):
        window = self.codes[i * CONTEXT : (i + 1) * CONTEXT + 1]
        return window[:-1], window[1:]


class Block(nn.Module):
    """Causal attention and a perceptron, each normalised first and with a way around it."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        later = np.triu(np.ones((x.shape[1], x.shape[1]), bool), 1)
        y = self.norm1(x)
        x = x + self.attention(y, y, y, attn_mask=later, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Tables of characters and places, blocks, and a score for each next character: (batch, characters, length)."""

    def __init__(self, characters):
        super().__init__()
        self.words, self.places = nn.Embedding(characters, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, characters)

    def forward(self, x):
        x = self.words(x) + self.places(np.arange(x.shape[1]))
        return self.head(self.norm(self.blocks(x))).swapaxes(1, 2)


texts = Texts(sys.argv[1:] or [__file__])  # without files it reads itself
tg.manual_seed(0)
loader = data.DataLoader(texts, 16, shuffle=True)
model = GPT(len(texts.characters))
optimizer = parallel.data_parallel(optim.AdamW(model.parameters(), lr=3e-3))
if parallel.rank() == 0:
    RUN.mkdir(exist_ok=True)
parallel.barrier()
history = training.fit(
    model,
    loader,
    optimizer=optimizer,
    epochs=epochs,
    clip_grad_norm=1.0,
    checkpoint=RUN / "last.npz",  # goes on from it, if it is there
    callbacks=[training.CSVLog(RUN / "curves.csv"), training.TensorBoardLog(RUN)],
    seed=0,
)

if parallel.rank() == 0:
    written = list(texts.codes[:CONTEXT])
    with tg.no_grad():
        for _ in range(40):
            scores = model(np.array([written[-CONTEXT:]])).numpy()[0, :, -1]
            written.append(int(scores.argmax()))
    print("".join(texts.characters[code] for code in written[CONTEXT:]))
    print(f"trained for {len(history.epochs)} epochs, loss {history.losses[-1]:.3f}; the curves are in {RUN}")
