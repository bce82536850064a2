"""A training in a notebook: a bar that is replaced as it goes on, and a history that plots itself."""

from __future__ import annotations

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

TRAINING = """
import numpy as np, tinygraph as tg
from tinygraph import nn, optim, training
tg.manual_seed(0)
x = np.random.default_rng(0).normal(size=(640, 4)).astype(np.float32)
y = (x[:, 0] > 0).astype(int)
training.progress.NotebookBar.SECONDS = 0.0  # every batch is shown
model = nn.Linear(4, 2)
history = training.fit(model, (x, y), optimizer=optim.SGD(model.parameters(), lr=0.1), epochs=3, validation=(x, y))
history
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_progress_and_history_in_a_notebook(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(TRAINING)])
    seen = []

    class Client(nbclient.NotebookClient):
        def process_message(self, message, cell, cell_index):
            if message["msg_type"] in ("display_data", "update_display_data"):
                seen.append(message["content"]["data"].get("text/html", ""))
            return super().process_message(message, cell, cell_index)

    Client(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    bars = [html for html in seen if "<progress value=" in html]
    assert len(bars) == 60  # 3 epochs of 20 batches
    assert "epoch 1/3  loss" in bars[0]
    assert 'value="0.0167"' in bars[0]
    assert 'value="1.0000"' in bars[-1]
    assert "samples/s" in bars[-1]
    assert "0:00 left" in bars[-1]
    progress, history = notebook.cells[0].outputs
    text = progress["data"]["text/html"]
    assert "<progress" not in text  # the bar goes when the training ends, the lines stay
    assert "steps are compiled" in text
    assert text.count("validation loss") == 3
    shown = history["data"]["text/html"]
    assert shown.count("<tr>") >= 3
    assert history["output_type"] == "execute_result"
