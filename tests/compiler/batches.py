"""Many calls compiled as one function, each compared with what it gives eagerly.

A capture, its passes and a plan cost more than most kernels of a test; together they are paid once. A call that raises
eagerly must raise compiled as well, and is compiled alone; so are all where they cannot be compiled together, which
finds the one that is to blame.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import tinygraph as tg


class Call(NamedTuple):
    """A call, with arguments of its own and a name for it when it fails."""

    label: str
    function: Callable[..., Any]
    arguments: Sequence[Any]


def results(function, *arguments):
    """What a call gives, as arrays, or the error that it raises."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = function(*arguments)
        except Exception as error:  # noqa: BLE001 - that both raise is all that is asked
            return error
    return [np.asarray(one) for one in (found if isinstance(found, tuple) else (found,))]


def assert_compiled_as_eager(calls, alike, may_refuse=lambda call, error: False):
    """Compare calls with themselves compiled.

    Args:
        calls: what is called.
        alike: asserts that what a call gives eagerly and compiled is alike, lists of arrays.
        may_refuse: whether a compiled call may raise this error though the eager one does not.
    """
    eager = [results(call.function, *call.arguments) for call in calls]
    running = [(call, found) for call, found in zip(calls, eager, strict=True) if isinstance(found, list)]
    for call, found in zip(calls, eager, strict=True):
        if isinstance(found, Exception):
            alone = results(tg.compile(call.function), *call.arguments)
            assert isinstance(alone, Exception), (
                f"{call.label}: eager raises {found!r}, compiled gives {alone}"
            )
    if not running:
        return
    together = results(tg.compile(_together([call for call, _ in running])), *_arguments(running))
    if isinstance(together, Exception):
        _one_by_one(running, alike, may_refuse, together)
        return
    for call, found in running:
        own, together = together[: len(found)], together[len(found) :]
        _compare(call, alike, found, own)
    assert together == []


def _together(calls):
    """One function of all arguments of some calls, which returns all they return."""

    def all_of_them(*arguments):
        found = []
        for call in calls:
            own, arguments = arguments[: len(call.arguments)], arguments[len(call.arguments) :]
            out = call.function(*own)
            found += (
                out if hasattr(out, "count") else (out,)
            )  # a tuple: captured values may not tell their class
        return tuple(found)

    return all_of_them


def _arguments(running):
    return [one for call, _ in running for one in call.arguments]


def _one_by_one(running, alike, may_refuse, error):
    refused = 0
    for call, found in running:
        alone = results(tg.compile(call.function), *call.arguments)
        if isinstance(alone, Exception):
            assert may_refuse(call, alone), f"{call.label}: eager gives {found}, compiled raises {alone!r}"
            refused += 1
        else:
            _compare(call, alike, found, alone)
    assert refused, f"each can be compiled, not so all together: {error!r}"


def _compare(call, alike, eager, compiled):
    try:
        alike(eager, compiled)
    except AssertionError as error:
        raise AssertionError(f"{call.label}: {error}") from None
