"""Datasets, splits and loaders: what a batch holds, in which order, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import data
from tinygraph.errors import DataError, SettingError


class Words(data.Dataset):
    """Samples that are dicts of arrays and numbers."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, object]:
        return {"word": np.full(2, index), "length": index}


def test_batches_hold_every_sample_once_in_an_order_that_the_seed_decides() -> None:
    numbers = data.TensorDataset(np.arange(10))
    epochs = [
        np.concatenate([batch for (batch,) in loader])
        for loader in [data.DataLoader(numbers, 3, True, seed=5)] * 2
    ]
    again = np.concatenate([batch for (batch,) in data.DataLoader(numbers, 3, True, seed=5)])
    np.testing.assert_array_equal(epochs[0], again)
    assert not np.array_equal(epochs[0], epochs[1])
    assert sorted(epochs[1]) == list(range(10))
    tg.manual_seed(1)
    first = [batch.tolist() for (batch,) in data.DataLoader(numbers, 3, True)]
    tg.manual_seed(1)
    assert [batch.tolist() for (batch,) in data.DataLoader(numbers, 3, True)] == first


def test_the_last_short_batch() -> None:
    numbers = data.TensorDataset(np.arange(7), np.arange(7.0))
    loader = data.DataLoader(numbers, 3)
    assert [len(x) for x, _ in loader] == [3, 3, 1]
    assert len(loader) == 3
    loader = data.DataLoader(numbers, 3, drop_last=True)
    assert [len(x) for x, _ in loader] == [3, 3]
    assert len(loader) == 2


def test_samples_are_stacked_part_by_part() -> None:
    (batch,) = data.DataLoader(Words(), 4)
    assert batch["word"].shape == (4, 2)
    assert batch["length"].tolist() == [0, 1, 2, 3]
    (total,) = data.DataLoader(
        Words(), 4, collate_fn=lambda samples: sum(sample["length"] for sample in samples)
    )
    assert total == 6
    (pairs,) = data.DataLoader([(1, 2.0), (3, 4.0)], 2)
    assert [part.tolist() for part in pairs] == [[1, 3], [2.0, 4.0]]


def test_subsets_and_splits() -> None:
    numbers = data.TensorDataset(np.arange(10) * 10)
    parts = data.random_split(numbers, [0.5, 0.25, 0.25], tg.Generator(0))
    assert [len(part) for part in parts] == [6, 2, 2]  # the remainder goes round, as in PyTorch
    held = np.concatenate([part.take(np.arange(len(part)))[0] for part in parts])
    assert sorted(held) == list(range(0, 100, 10))
    assert [len(part) for part in data.random_split(numbers, [4, 6])] == [4, 6]
    subset = data.Subset(data.Subset(numbers, [5, 6, 7]), [2, -1])
    assert subset[0] == (70,)
    assert subset.take([1])[0].tolist() == [70]


def test_what_is_refused() -> None:
    with pytest.raises(DataError, match="one length"):
        data.TensorDataset(np.ones(3), np.ones(4))
    with pytest.raises(DataError, match="at least one"):
        data.TensorDataset()
    with pytest.raises(DataError, match="axis"):
        data.TensorDataset(np.float32(3))
    with pytest.raises(DataError, match="empty"):
        data.DataLoader(data.TensorDataset(np.ones((0, 2))))
    with pytest.raises(SettingError, match="batch_size"):
        data.DataLoader(Words(), 0)
    with pytest.raises(SettingError, match="not both"):
        data.DataLoader(Words(), 1, generator=tg.Generator(0), seed=0)
    with pytest.raises(SettingError, match="add up"):
        data.random_split(Words(), [1, 2])
    with pytest.raises(SettingError, match="negative"):
        data.random_split(Words(), [-1, 5])
    with pytest.raises(DataError, match="4 samples"):
        data.Subset(Words(), [4])
    with pytest.raises(DataError, match="collate_fn"):
        list(data.DataLoader([np.ones(2), np.ones(3)], 2))


def test_digits() -> None:
    pytest.importorskip("sklearn", reason="the extra `data` is not installed")
    train, test = data.load_digits()
    images, labels = train.arrays
    assert (images.dtype, images.shape[1:], len(train) + len(test)) == (np.float32, (1, 8, 8), 1797)
    assert (images.min(), images.max()) == (0.0, 1.0)
    shares = np.bincount(test.arrays[1]) / np.bincount(np.concatenate([labels, test.arrays[1]]))
    assert abs(shares - 0.2).max() < 0.004
    again, _ = data.load_digits()
    np.testing.assert_array_equal(again.arrays[0], images)
    other, _ = data.load_digits(seed=1)
    assert not np.array_equal(other.arrays[1], labels)
    assert len(data.load_digits(test_size=0)[1]) == 0
    with pytest.raises(SettingError, match="test_size"):
        data.load_digits(test_size=1.0)
