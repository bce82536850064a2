"""Containers keep their order and their type on the way through transforms, checkpoints and compiled functions."""

import dataclasses
from collections import Counter, OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core.trees import flatten

Point = namedtuple("Point", "x y")
Other = namedtuple("Point", "y x")  # another class of the same name


class Config(dict):
    """A dict of the user's own, with an attribute."""

    title = "none"


class Series(list):
    """A list of the user's own."""


class Pair(tuple):
    """A tuple of the user's own, which is built from one iterable."""

    __slots__ = ()


@dataclasses.dataclass
class Record:
    left: float
    right: float
    total: float = dataclasses.field(init=False, default=0.0)


def folded(d):
    """7 for b=1, a=5 in that order; 11 for the other."""
    x = 0
    for value in d.values():
        x = 2 * x + value
    return x


GIVEN = {"b": 1.0, "a": 5.0}


@pytest.mark.parametrize("make", [dict, OrderedDict, Config, lambda d: defaultdict(float, d), Counter])
def test_a_dict_is_not_sorted(make):
    given = make(GIVEN)
    assert folded(given) == 7
    assert tg.compile(folded)(given) == 7
    gradient = tg.grad(folded)(given)
    assert list(gradient.items()) == [("b", 2.0), ("a", 1.0)]
    assert type(gradient) is type(given)
    assert tg.vjp(folded, given)[1](1.0)[0] == {"b": 2, "a": 1}
    assert tg.jvp(folded, (given,), ({"a": 10.0, "b": 1.0},))[1] == 12  # by name, in whatever order
    assert tg.capture(folded, given)(1.0, 5.0) == 7
    tensors = make({name: tg.tensor(value, requires_grad=True) for name, value in GIVEN.items()})
    out = tg.checkpoint(folded)(tensors)
    out.backward()
    assert (out.item(), tensors["b"].grad.item(), tensors["a"].grad.item()) == (7, 2, 1)


def test_the_order_of_a_dict_decides_which_capture_serves():
    compiled = tg.compile(folded)
    assert [compiled({"b": 1.0, "a": 5.0}), compiled({"a": 5.0, "b": 1.0})] == [7, 11]
    assert [compiled({"b": 1.0, "a": 5.0}), compiled({"a": 5.0, "b": 1.0})] == [7, 11]


def test_a_dict_that_is_returned_is_not_sorted():
    result = tg.compile(lambda x: OrderedDict(b=x, a=x * 2))(np.ones(1))
    assert (type(result), list(result)) == (OrderedDict, ["b", "a"])
    out, pull = tg.vjp(lambda x: {"b": x, "a": 3 * x}, 2.0)
    assert list(out.items()) == [("b", 2.0), ("a", 6.0)]
    assert pull({"a": 1.0, "b": 10.0})[0] == 13


@pytest.mark.parametrize(
    "value",
    [
        Config(b=1, a=[2, (3,)]),
        OrderedDict(b=1, a=2),
        Counter(b=1, a=2),
        Series([1, 2]),
        Pair((1, 2)),
        Point(1, 2),
        {1: 1, "a": {(2, "b"): 2}},
        {"b": None, "a": []},
    ],
)
def test_a_container_comes_back_as_what_it_was(value):
    leaves, tree = flatten(value)
    again = tree.unflatten(leaves)
    assert again == value
    assert type(again) is type(value)
    assert flatten(again)[1] == tree
    assert hash(flatten(again)[1]) == hash(tree)


def test_what_belongs_to_a_container_stays_with_it():
    config = Config(a=1)
    config.title = "mine"
    leaves, tree = flatten(config)
    assert tree.unflatten(leaves).title == "mine"
    leaves, tree = flatten(defaultdict(list, a=1))
    assert tree.unflatten(leaves).default_factory is list
    record = Record(1.0, 2.0)
    record.total = 3.0
    leaves, tree = flatten(record)
    assert leaves == [1.0, 2.0, 3.0]
    assert tree.unflatten([4.0, 5.0, 6.0]).total == 6


def test_trees_of_other_classes_are_others():
    assert flatten(Point(1, 2))[1] != flatten(Other(1, 2))[1]
    assert flatten({True: 1})[1] != flatten({1: 1})[1]
    assert flatten({"a": 1, "b": 2})[1] != flatten({"b": 2, "a": 1})[1]
    assert flatten([1])[1] != flatten((1,))[1]
    assert flatten(Config(a=1))[1] != flatten({"a": 1})[1]
