"""Operands that are not what they seem: masked arrays, matrices, and one list where several operands belong."""

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph import nn
from tinygraph.core.state import buffer, write
from tinygraph.errors import DTypeError, SettingError

MASKED = np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])


@each("value", [MASKED, np.ones((1, 3)).view(np.matrix)], ids=["masked", "matrix"])
@each(
    "use",
    [
        lambda x, a: tg.tensor(a),
        lambda x, a: tg.tensor([a, a]),
        lambda x, a: x * a,
        lambda x, a: np.add(x, a),
        lambda x, a: tg.ops.sum(a),
        lambda x, a: tg.ops.var(a),
        lambda x, a: tg.ops.where(a > 1, x, 0.0),
        lambda x, a: np.stack([x, a]),
        lambda x, a: tg.grad(lambda y: (y * 2).sum())(a),
        lambda x, a: tg.vjp(lambda y: y * 2, a),
        lambda x, a: tg.compile(lambda y: y * 2)(a),
        lambda x, a: tg.capture(lambda y: y * 2, a),
        lambda x, a: (x * 1).backward(a),
        lambda x, a: setattr(x, "grad", a),
        lambda x, a: buffer(a),
        lambda x, a: write(buffer(np.ones(3)), a),
        lambda x, a: nn.Linear(3, 1).double()(a),
        lambda x, a: tg.data.TensorDataset(a),
    ],
)
def test_arrays_that_compute_otherwise_are_refused(use, value):
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    with pytest.raises(DTypeError, match=r"filled|np\.asarray"):
        use(x, value)


@pytest.mark.parametrize("op", ["concatenate", "stack"])
@pytest.mark.parametrize("make", [np.ones, lambda n: tg.tensor(np.ones(n), requires_grad=True)])
@pytest.mark.parametrize("container", [list, tuple])
def test_one_list_is_not_several_operands(op, make, container):
    with pytest.raises(DTypeError, match=rf"{op}\(\*xs"):
        tg.ops[op](container([make(3), make(3)]), axis=0)


def test_operands_one_by_one_and_lists_of_numbers_are_taken():
    assert tg.ops.concatenate(np.ones(3), np.ones(3), axis=0).tolist() == [1.0] * 6
    assert tg.ops.concatenate([1.0, 2.0], [3.0], axis=0).tolist() == [1.0, 2.0, 3.0]
    assert tg.ops.concatenate(np.ones(3), axis=0).tolist() == [1.0] * 3
    with pytest.raises(SettingError, match="2 operands"):
        tg.ops.einsum([np.ones(3), np.ones(3)], subscripts="i,i->")
