"""Scikit-learn's 1,797 real handwritten digits, 8x8 pixels each, which come with its wheel: nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.data.dataset import TensorDataset
from tinygraph.errors import DataError, SettingError


def load_digits(*, test_size: float = 0.2, seed: int = 0) -> tuple[TensorDataset, TensorDataset]:
    """The digits as (images, labels), divided into training and test data with equal shares of each digit.

    Args:
        test_size: the share of the samples that is kept for testing, from 0 to below 1.
        seed: decides which.

    Returns:
        training and test data: images (n, 1, 8, 8) float32 in [0, 1], labels (n,) int64.

    Raises:
        DataError: scikit-learn is not installed.
        SettingError: a share out of range.

    >>> train, test = load_digits()
    >>> train, len(test)
    (TensorDataset(float32[1438, 1, 8, 8], int64[1438]), 359)
    """
    if not 0 <= test_size < 1:
        raise SettingError(f"load_digits: test_size={test_size!r} is a share from 0 to below 1")
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DataError(
            "the digits come with scikit-learn, which is not installed: pip install scikit-learn"
        ) from error
    found = datasets.load_digits()
    images = (found.images[:, None] / 16.0).astype(np.float32)
    labels = found.target.astype(np.int64)
    testing = _stratified(labels, test_size, np.random.default_rng(seed))
    return TensorDataset(images[~testing], labels[~testing]), TensorDataset(images[testing], labels[testing])


def _stratified(
    labels: np.ndarray[Any, Any], share: float, random: np.random.Generator
) -> np.ndarray[Any, Any]:
    """A mask that chooses the share of each class."""
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        (members,) = np.nonzero(labels == label)
        chosen[random.permutation(members)[: round(share * len(members))]] = True
    return chosen
