"""The table of PyTorch's names: every row is true, and asking a tensor for one of them says what to write."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core.pytorch_names import METHODS

START = np.array([[0.5, 2.0, 1.5], [3.0, 0.25, 1.0]])
MASK = np.array([[True, False, True], [False, True, False]])
INDEX = np.array([[2, 0], [1, 1]])
NOT_VALUES = {
    "contiguous",
    "cuda",
    "grad_fn",
    "data",
    "requires_grad_",
    "retain_grad",
    "add_",
    "mul_",
    "copy_",
    "fill_",
    "zero_",
}


def value(text, **names):
    return eval(text, {"np": np, "tg": tg, **names})  # noqa: S307 - rows of our own table


def test_every_row_means_what_pytorch_means():
    torch = pytest.importorskip("torch")
    theirs = {"t": torch.tensor(START), "m": torch.tensor(MASK), "i": torch.tensor(INDEX), "torch": torch}
    for name, row in METHODS.items():
        if name in NOT_VALUES:
            continue
        wanted = value(row.theirs, **theirs)
        ours = {"t": tg.tensor(START, requires_grad=True), "m": MASK, "i": INDEX}
        found = value(row.ours, **ours)
        array = found.detach().numpy() if isinstance(found, tg.Tensor) else np.asarray(found)
        np.testing.assert_allclose(array, np.asarray(wanted), err_msg=name)


def test_asking_for_one_says_what_to_write():
    t = tg.tensor(START)
    for name, row in METHODS.items():
        if not hasattr(np.ndarray, name) and not isinstance(getattr(type(t), name, None), property):
            with pytest.raises(AttributeError) as raised:
                getattr(t, name)
            assert row.ours in str(raised.value), name
    with pytest.raises(AttributeError, match=r"np\.expand_dims\(t, 1\)"):
        t.unsqueeze(1)
    assert not hasattr(t, "unsqueeze")
    assert "unsqueeze" not in dir(t)
    assert "reshape" in dir(t)
