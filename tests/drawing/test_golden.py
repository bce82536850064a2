"""The same program gives the same bytes: twice in one process, and in processes with other hashes and other histories.

What the pictures look like is held by the gallery, which `test_gallery.py` compares.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import hashlib, json, os, sys, warnings
import numpy as np
import tinygraph as tg
from tinygraph import nn

junk = [tg.tensor(1.0, requires_grad=True) * i for i in range(int(sys.argv[1]))]  # other ids, other numbers of nodes


def residual(x, weight, bias):
    with tg.core.modes.scope("block"):
        return x + tg.ops.tanh(x @ weight + bias)


def made():
    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 1, 8, 8))
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3)
    ).double()
    loss = tg.capture(lambda image, labels: nn.functional.cross_entropy(net(image), labels), image, np.array([0, 2]))
    words = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).double()
    optimizer = tg.optim.Adam(net.parameters(), lr=0.01)

    def step(image, labels):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(image), labels)
        loss.backward()
        optimizer.step()
        return loss

    x = tg.tensor(rng.normal(size=(1, 4)), requires_grad=True, name="x")
    weight = tg.tensor(rng.normal(size=(4, 4)).round(1), requires_grad=True, name="weight")
    bias = tg.tensor(rng.normal(size=4).round(1), requires_grad=True, name="bias")
    deep = residual(residual(x, weight, bias), weight, bias)
    given = (image, np.array([0, 2]))
    yield "tree", tg.draw(net)
    for zoom in ("module", "composite", "op"):
        yield zoom, tg.draw(loss, zoom=zoom)
    yield "both passes", tg.draw(loss, backward=True)
    yield "numbers", tg.draw(loss, zoom="module", inputs=given, show=("names", "values", "gradients", "flops"))
    yield "planes", tg.draw(net, inputs=image, zoom="channel", element=(1, 0))
    yield "neuron", tg.draw(loss, inputs=given, zoom="neuron", element=("0.weight", (1, 0, 0, 0)))
    yield "step", tg.draw(tg.capture(step, *given), zoom="module")
    yield "transformer", tg.draw(words, inputs=rng.normal(size=(1, 3, 8)), zoom="module")
    yield "fold", tg.draw(deep, fold=True)
    yield "focus", tg.draw(deep, focus="weight", style="dark")
    yield "branches", tg.draw(tg.contributions(deep.sum(), "x"))
    yield "difference", tg.diff(tg.graph_of(deep), tg.graph_of(residual(x, weight, bias))).draw()


def digest(content):
    return hashlib.sha256(content).hexdigest()[:16]


runs = []
for _ in range(2):
    run = {}
    for name, drawing in made():
        run[name, "dot"], run[name, "svg"] = digest(drawing.source.encode()), digest(drawing.svg().encode())
        run[name, "file.svg"] = digest(drawing.save("picture.svg").read_bytes())
        run[name, "file.dot"] = digest(drawing.save("picture.dot").read_bytes())
        if name == "both passes":
            run[name, "page"] = digest(drawing.save("page.html").read_bytes())
    runs.append(run)
changed = [key for key in runs[0] if runs[0][key] != runs[1][key]]
assert not changed, f"differs the second time in one process: {changed}"
print(json.dumps({" ".join(key): value for key, value in run.items()}))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What each picture is, as processes with different hashes and histories make it."""
    found = []
    for seed, junk in (("1", "0"), ("2", "77")):
        folder = tmp_path_factory.mktemp(f"seed{seed}")
        (folder / "program.py").write_text(PROGRAM)
        environment = os.environ | {
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
        }
        run = subprocess.run(
            [sys.executable, "program.py", junk],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        found.append(json.loads(run.stdout))
    return found


@pytest.mark.parametrize("format", ["dot", "svg", "file.svg", "file.dot", "page"])
def test_pictures_do_not_depend_on_the_process(runs, format):
    one, other = ({key: value for key, value in run.items() if key.endswith(f" {format}")} for run in runs)
    assert one
    assert [key for key in one if one[key] != other[key]] == []
