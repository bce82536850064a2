"""Batches made by worker processes: the same in the same order for any number, and faults named with their sample."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

from tinygraph import data
from tinygraph.errors import DataError, SettingError


class Odd(data.Dataset):
    """Squares; at one sample it does what it is told to."""

    def __init__(self, fault=None, at=-1):
        self.fault, self.at = fault, at

    def __len__(self):
        return 13

    def __getitem__(self, index):
        if index == self.at:
            if self.fault == "raise":
                raise ValueError(f"no picture {index}")
            if self.fault == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.fault == "exit":
                os._exit(7)
            time.sleep(30)
        return np.float64(index) ** 2, np.full(3, index)


def walks(workers, dataset, **options):
    loader = data.DataLoader(dataset, 4, True, seed=3, num_workers=workers, **options)
    return [[[part.tolist() for part in batch] for batch in loader] for _ in range(2)]


def test_batches_do_not_depend_on_the_number_of_workers():
    for dataset in (Odd(), data.TensorDataset(np.arange(26.0).reshape(13, 2), np.arange(13))):
        alone = walks(0, dataset)
        assert len(alone[0]) == 4
        assert alone[0] != alone[1]
        for workers in (1, 2, 3):
            assert walks(workers, dataset, prefetch_factor=workers) == alone


def test_augmentation_does_not_depend_on_the_number_of_workers():
    def noise(sample, rng):
        return sample[0] + rng.normal(), sample[1]

    noisy = data.Transformed(Odd(), noise, seed=5)
    alone = walks(0, noisy)
    assert walks(2, noisy) == alone
    assert sorted(x for batch in alone[0] for x in batch[0]) != sorted(
        x for batch in alone[1] for x in batch[0]
    )


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("raise", r"sample 6 of the dataset cannot be read: ValueError: no picture 6(.|\n)*__getitem__"),
        ("die", r"worker process 1 died \(killed by SIGKILL\) at sample 6 .* samples \[4, 5, 6, 7\]"),
        ("exit", r"worker process 1 died \(exit status 7\) at sample 6"),
        ("hang", r"worker process 1 has taken more than 0.5 s; it is at sample 6"),
    ],
)
def test_a_fault_is_named_with_its_sample(fault, words):
    loader = data.DataLoader(Odd(fault, 6), 4, num_workers=2, timeout=0.5 if fault == "hang" else 0)
    began = time.monotonic()
    with pytest.raises(DataError, match=words):
        list(loader)
    assert time.monotonic() - began < 20
    import multiprocessing

    assert not multiprocessing.active_children()


def test_a_walk_that_is_left_ends_its_workers():
    import multiprocessing

    walk = iter(data.DataLoader(Odd(), 2, num_workers=2))
    next(walk)
    assert len(multiprocessing.active_children()) == 2
    walk.close()
    assert not multiprocessing.active_children()


def test_a_dataset_with_a_generator_is_refused():
    dataset = Odd()
    dataset.numbers = np.random.default_rng(0)
    with pytest.raises(SettingError, match=r"numbers is a Generator.*data\.Transformed"):
        data.DataLoader(dataset, 2, num_workers=1)


def test_samplers_and_joined_datasets():
    both = data.ConcatDataset([data.TensorDataset(np.arange(2)), data.TensorDataset(np.arange(5, 8))])
    loader = data.DataLoader(both, 2, sampler=[4, 0, 3])
    assert len(loader) == 2
    assert [part.tolist() for (part,) in loader] == [[7, 0], [6]]
    assert both[-1] == (7,)
    with pytest.raises(IndexError):
        both[5]
    with pytest.raises(SettingError, match="not both"):
        data.DataLoader(both, 2, True, sampler=[1])
    weighted = data.WeightedRandomSampler([0, 1, 0, 3, 0], 1000, seed=0)
    counts = np.bincount(list(weighted), minlength=5)
    assert counts[[0, 2, 4]].tolist() == [0, 0, 0]
    assert 700 < counts[3] < 800
    assert list(data.SequentialSampler(both)) == [0, 1, 2, 3, 4]
    assert sorted(data.RandomSampler(both, seed=0)) == [0, 1, 2, 3, 4]


def test_the_place_in_a_walk_with_workers():
    straight = data.DataLoader(Odd(), 4, True, seed=1, num_workers=2)
    walk = iter(straight)
    next(walk)
    place = straight.state_dict()
    rest = [batch[0].tolist() for batch in walk]
    resumed = data.DataLoader(Odd(), 4, True, seed=9)
    resumed.load_state_dict(place)
    assert [batch[0].tolist() for batch in resumed] == rest
