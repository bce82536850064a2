"""Plain arrays that nodes keep: whoever writes them between forward and backward is told, with both lines."""

from fractions import Fraction

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph.core.fingerprint import fingerprint, may_change
from tinygraph.errors import StaleValueError


def leaf(value, **options):
    return tg.tensor(np.asarray(value, float), requires_grad=True, **options)


def line_of(mark):
    with open(__file__, encoding="utf-8") as file:
        return next(number for number, line in enumerate(file, 1) if line.rstrip().endswith(mark))


def test_a_batch_that_is_written_before_the_backward_pass():
    w, batch = leaf([[1], [2]]), np.ones((3, 2))
    y = (batch @ w).sum()  # keeps the batch
    batch[:] = 50
    with pytest.raises(StaleValueError, match=r"an array \(float64\[3,2\]\)") as raised:
        y.backward()  # finds it changed
    assert f"matmul at test_fingerprint.py:{line_of('# keeps the batch')}" in str(raised.value)
    assert f"and test_fingerprint.py:{line_of('# finds it changed')}" in str(raised.value)
    assert w.grad is None
    batch[:] = 1  # as it was
    y.backward()
    assert w.grad.tolist() == [[3], [3]]


def images(w, x):
    return tg.ops.convolution(x, w.reshape(1, 1, 2, 2)).sum()


@pytest.mark.parametrize(
    ("compute", "array", "change"),
    [
        (lambda w, x: (w * x).sum(), np.ones(4), lambda x: x.__imul__(2)),
        (lambda w, x: (w * x[1:5]).sum(), np.ones(6), lambda x: x.__setitem__(1, 0)),
        (lambda w, x: (w * x[::2]).sum(), np.arange(8.0), lambda x: x.__setitem__(slice(None), x[::-1].copy())),
        (lambda w, x: (w * x.T[0]).sum(), np.ones((4, 2)), lambda x: x[:, 0].fill(3)),
        (lambda w, x: (np.sin(w) * x).sum(), np.ones(4), lambda x: x.fill(np.nan)),
        (lambda w, x: w[x].sum(), np.array([0, 2, 0]), lambda x: x.__setitem__(0, 1)),
        (lambda w, x: w[x].sum(), np.array([True, False, True, True]), lambda x: x.__setitem__(0, False)),
        (lambda w, x: np.where(x, w, 0.0).sum(), np.array([True, False] * 2), lambda x: np.logical_not(x, out=x)),
        (lambda w, x: tg.ops.cross_entropy(w.reshape(2, 2), x).sum(), np.array([0, 1]), lambda x: x.__setitem__(0, 1)),
        (lambda w, x: ((w - x) ** 2 * x).sum(), np.ones(4, np.float32), lambda x: x.__iadd__(1)),
        (
            lambda w, x: tg.nn.Linear(4, 1, dtype=float)(w * x).sum(),
            np.ones((2, 4)),
            lambda x: x.__setitem__((0, 0), 7),
        ),
        (images, np.arange(9.0).reshape(1, 1, 3, 3), lambda x: x.__setitem__((0, 0, 2, 2), 0)),
        (lambda w, x: images(w, x[None, None]), np.ones((3, 3)), lambda x: x.__setitem__((2, 2), 0)),
        (lambda w, x: (w * (1 + 1j) * x).real.sum(), np.ones(4, complex), lambda x: x.__imul__(-1)),
    ],
)  # fmt: skip
def test_whatever_is_kept_is_watched(compute, array, change):
    w = leaf(np.arange(4.0))
    y = compute(w, array)
    y.backward()
    change(array)
    with pytest.raises(StaleValueError, match="was changed between"):
        y.backward()


def test_a_batch_given_to_a_module_is_watched_and_so_are_views_of_it():
    layers = tg.nn.Sequential(tg.nn.Flatten(), tg.nn.Linear(6, 2, dtype=float))
    batch = np.ones((4, 2, 3))
    for change in (lambda: batch[3].fill(2), lambda: batch.T[0].fill(5)):
        loss = layers(batch).sum()
        change()
        with pytest.raises(StaleValueError, match="was changed between"):
            loss.backward()
        layers(batch).sum().backward()


def test_an_array_that_no_rule_needs_may_be_written():
    w, shift, factor = leaf([1, 2]), np.ones(2), np.ones(2)
    y = (w + shift).sum()
    z = (w * factor).sum()
    shift[:] = 9
    y.backward()
    assert w.grad.tolist() == [1, 1]
    z.backward()
    factor[:] = 9  # after the pass
    assert w.grad.tolist() == [2, 2]


def test_a_buffer_that_is_filled_anew_for_each_step():
    w, batch = leaf([1.0, 2.0]), np.empty(2)
    for step in range(3):
        batch[:] = step
        (w * batch).sum().backward()
    assert w.grad.tolist() == [3, 3]


def test_memory_of_a_parameter_that_was_detached_is_watched():
    w, p = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = (w * p.detach()).sum()
    with tg.no_grad():
        p += 1
    with pytest.raises(StaleValueError, match="was changed between"):
        y.backward()


def test_data_under_checkpoint():
    def weighted(w, x):
        return np.sin(w + x).sum()  # keeps no x, but reads it again

    for data in (np.ones(2), tg.tensor(np.ones(2))):
        w = leaf([1.0, 2.0])
        y = tg.checkpoint(weighted)(w, data)
        if isinstance(data, tg.Tensor):
            data[0] = 9.0  # gives the tensor another array
            y.backward()
            np.testing.assert_allclose(w.grad.numpy(), np.cos([2.0, 3.0]))
        else:
            data[0] = 9.0
            with pytest.raises(StaleValueError, match=r"checkpoint\(weighted\).*other data"):
                y.backward()


@pytest.mark.parametrize(
    "change", [lambda d: d["x"].fill(2), lambda d: d.update(x=np.zeros(2)), lambda d: d.update(s=3.0)]
)
def test_what_a_checkpointed_function_reads_besides(change):
    held = {"x": np.ones(2), "s": 2.0}
    w = leaf([1.0, 2.0])
    y = tg.checkpoint(lambda w: (w * w * held["x"] * held["s"]).sum())(w)
    change(held)
    with pytest.raises(StaleValueError, match="other data"):
        y.backward()


def test_primals_of_vjp_are_copied():
    x = np.array([1.0, 2.0])
    _, pull = tg.vjp(lambda x: (x * x).sum(), x)
    x[:] = 50
    assert pull(1.0)[0].tolist() == [2, 4]
    p = leaf([1.0, 2.0])
    frozen = tg.nn.Parameter(np.array([1.0, 2.0]), requires_grad=False)
    _, pull = tg.vjp(lambda x: (x * x).sum(), frozen)
    with tg.no_grad():
        frozen += 1
    assert pull(1.0)[0].tolist() == [2, 4]
    _, pull = tg.vjp(lambda x: (x * x).sum(), p)
    with tg.no_grad():
        p += 1
    assert pull(1.0)[0].tolist() == [2, 4]


# -- fingerprints ----------------------------------------------------------------------------------------------------


CHANGES = {
    "one bit": lambda a: a.view(np.uint8).reshape(-1).__setitem__(-1, a.view(np.uint8).reshape(-1)[-1] ^ 1),
    "all signs": lambda a: np.negative(a, out=a),
    "some signs": lambda a: np.negative(a[3:9], out=a[3:9]),
    "two rows of signs": lambda a: np.negative(a[2:4], out=a[2:4]),
    "two rows": lambda a: a.__setitem__([0, 1], a[[1, 0]]),
    "two elements": lambda a: a.reshape(-1).__setitem__([5, -1], a.reshape(-1)[[-1, 5]]),
    "all rows": lambda a: a.__setitem__(slice(None), np.random.default_rng(0).permutation(a)),
    "order": lambda a: a.__setitem__(slice(None), a[::-1].copy()),
    "scale": lambda a: a.__imul__(2),
    "rolled": lambda a: a.__setitem__(slice(None), np.roll(a, 1, 0)),
    "nan": lambda a: a.__setitem__((7, 7), np.nan),
    "sign of zero": lambda a: a.__setitem__((0, 0), -0.0),
}


@each("dtype", [np.float64, np.float32, np.float16, np.complex128])
@each("shape", [(16, 16), (64, 33), (128, 784)])
@each("change", CHANGES.values(), ids=CHANGES)
def test_changes_are_noticed(change, shape, dtype):
    array = np.random.default_rng(1).normal(size=shape).astype(dtype)
    array[0, 0] = 0
    before, kept = fingerprint(array), array.copy()
    assert fingerprint(kept) == before
    change(array)
    assert fingerprint(array) != before
    array[...] = kept
    assert fingerprint(array) == before


@pytest.mark.parametrize("places", [(5, 5 + 511), (3 * 511 + 4, 3 * 511 + 9), (4998, 4999)])
def test_two_elements_in_one_column_or_one_row_are_told_apart(places):
    array = np.random.default_rng(0).normal(size=5000)
    before = fingerprint(array)
    array[list(places)] = array[list(places[::-1])]
    assert fingerprint(array) != before


def test_labels_and_masks_that_change_places_are_noticed():
    rng = np.random.default_rng(0)
    labels, mask = rng.integers(0, 10, 5000), rng.random((300, 300)) < 0.5
    codes = np.eye(10)[labels]
    for array in (labels, mask, codes, codes.astype(np.uint8)):
        for _ in range(300):
            i, j = rng.choice(len(array), 2, replace=False)
            if np.array_equal(array[i], array[j]) or (array is codes and abs(i - j) % 511 == 0):
                continue
            before = fingerprint(array)
            array[[i, j]] = array[[j, i]]
            assert fingerprint(array) != before


@pytest.mark.parametrize(
    "view", [lambda a: a.T, lambda a: a[::2], lambda a: a[:, 1:], lambda a: a[::-1, ::-1], lambda a: a[3]]
)
def test_fingerprints_of_views(view):
    array = np.random.default_rng(0).normal(size=(101, 103))
    before = fingerprint(view(array))
    view(array)[..., 2] += 1
    assert fingerprint(view(array)) != before


def test_arrays_of_objects():
    w = tg.tensor(np.array([Fraction(1, 2), Fraction(1, 3)]), requires_grad=True)
    data = np.array([Fraction(2), Fraction(3)], dtype=object)
    y = (w * data).sum()
    data[0] = Fraction(5)
    with pytest.raises(StaleValueError):
        y.backward()


def test_objects_count_by_value():
    array = np.array([Fraction(1, 3), 2**70], object)
    before = fingerprint(array)
    array[0], array[1] = Fraction(2, 6), 2**69 * 2
    assert fingerprint(array) == before
    array[0] = Fraction(2, 3)
    assert fingerprint(array) != before


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int8", "int64"])
def test_changes_that_keep_every_sum_of_rows_and_columns_are_noticed(dtype):
    """Four elements at the corners of a rectangle, two raised and two lowered: in any order of rows and columns."""
    for width in (511, 512, 1022, 1024, 97):
        for raised in (1, -1, 2):  # -1 changes signs of ones, the highest bit of a word, in all four
            a = np.ones((70, width), dtype)
            before = fingerprint(a)
            a[3, 5] = a[60, 90] = 1 + raised if raised > 0 else -1
            a[3, 90] = a[60, 5] = 1 - raised if raised > 0 else -1
            assert fingerprint(a) != before, (width, raised)
            a[3, 5] = a[60, 90] = a[3, 90] = a[60, 5] = 1
            assert fingerprint(a) == before


def test_whatever_is_added_to_words_is_noticed():
    """Differences of words that add up to nothing, along rows and columns of any block and of the whole."""
    random = np.random.default_rng(0)
    a = random.integers(-(2**62), 2**62, 70 * 511)
    before = fingerprint(a)
    for _ in range(300):
        count = int(random.integers(2, 6))
        places = random.integers(0, 69 * 511 - 511, count)
        amount = 1 << int(random.integers(0, 63))
        changed = a.copy()
        with np.errstate(over="ignore"):
            for one in places:
                changed[[one, one + 511]] += amount
                changed[[one + 1, one + 512]] -= amount
        assert (fingerprint(changed) != before) == (changed != a).any()


def test_views_that_are_read_only_are_watched_and_arrays_that_nobody_can_write_are_not():
    w, base = leaf(np.ones(4)), np.ones(4)
    shown = base.view()
    shown.flags.writeable = False
    y = (w * shown).sum()
    base[0] = 5
    with pytest.raises(StaleValueError):
        y.backward()
    alone = np.ones(4)
    alone.flags.writeable = False
    assert may_change(shown)
    assert may_change(base)
    assert not may_change(alone)
    assert not may_change(np.float64(1.0))
    assert not may_change(1.0)


def test_what_is_remembered_of_a_large_array_is_small():
    sums, rest = fingerprint(np.zeros(10**6))
    assert len(sums) + len(rest) < 10**6 * 8 // 100
    assert len(fingerprint(np.zeros(1024))) == 8192  # few bytes are remembered as they are
