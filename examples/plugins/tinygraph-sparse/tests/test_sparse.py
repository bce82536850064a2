"""Laws, and the same products with dense matrices."""

import numpy as np

import tinygraph as tg
from tinygraph.testing import check_grads, check_op


def random_matrix(seed, rows, columns, entries):
    rng = np.random.default_rng(seed)
    where = rng.integers(0, rows, entries), rng.integers(0, columns, entries)
    values = rng.normal(size=entries)
    dense = np.zeros((rows, columns))
    np.add.at(dense, where, values)
    return values, *where, dense


def test_every_law_holds():
    check_op("sparse_matmul")
    check_op("sampled_matmul")
    check_op("csr_rows")
    check_op("csr_matmul")


def test_products_with_the_dense_matrix():
    values, rows, columns, matrix = random_matrix(0, 7, 5, 30)
    dense = np.random.default_rng(1).normal(size=(3, 5, 4))
    found = tg.ops.sparse_matmul(values, rows, columns, dense, shape=(7, 5))
    np.testing.assert_allclose(found, matrix @ dense, atol=1e-12)


def test_scores_are_entries_of_the_full_product():
    rng = np.random.default_rng(2)
    left, right, (rows, columns) = (
        rng.normal(size=(6, 3)),
        rng.normal(size=(4, 3)),
        rng.integers(0, 4, (2, 9)),
    )
    np.testing.assert_allclose(
        tg.ops.sampled_matmul(left, right, rows, columns), (left @ right.T)[rows, columns]
    )


def test_csr_is_coo_sorted_by_row():
    values, rows, columns, matrix = random_matrix(3, 6, 4, 15)
    order = np.argsort(rows, kind="stable")
    offsets = np.searchsorted(rows[order], np.arange(7))
    dense = np.random.default_rng(4).normal(size=(4, 2))
    np.testing.assert_allclose(
        tg.ops.csr_matmul(values[order], offsets, columns[order], dense), matrix @ dense
    )


def test_gradients_of_message_passing_to_third_order():
    _, rows, columns, _ = random_matrix(5, 4, 4, 7)
    rng = np.random.default_rng(6)

    def energy(features, weight):
        scores = tg.ops.sampled_matmul(features @ weight, features, rows, columns)
        return np.sum(np.tanh(tg.ops.sparse_matmul(scores, rows, columns, features, shape=(4, 4))))

    check_grads(energy, rng.normal(size=(4, 3)) * 0.5, rng.normal(size=(3, 3)) * 0.5, order=3)


def test_the_gradient_of_a_large_matrix_stays_sparse():
    size, entries = 20_000, 60_000
    rng = np.random.default_rng(7)
    rows, columns = rng.integers(0, size, (2, entries))
    values, dense = rng.normal(size=entries), rng.normal(size=(size, 2))
    gradient = tg.grad(
        lambda v: np.sum(tg.ops.sparse_matmul(v, rows, columns, dense, shape=(size, size)) ** 2)
    )(values)
    assert gradient.shape == (entries,)
