"""Compiled functions that call themselves, forked processes and Ctrl-C: nothing waits for ever, or is half done."""

import os
import sys
import threading
import time

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core.locks import _locks
from tinygraph.core.modes import modes
from tinygraph.errors import OpError, RecordingError, StaleValueError
from tinygraph.plugin import op


def T(value):
    return tg.tensor(np.asarray(value, float), requires_grad=True)


def calling(function):
    """An op whose forward calls a function that may be replaced."""

    @op(declare=False)
    def callback(x):
        return made.function(x)

    @callback.types
    def callback_types(x):
        return x

    made = callback
    made.function = function
    return made


# -- a compiled function that calls itself -------------------------------------------------------------------------


@pytest.mark.parametrize("through", ["itself", "another"])
def test_a_plan_that_runs_itself_raises_at_once(through):
    inner = calling(lambda x: x * 2.0)
    compiled = tg.compile(lambda x: inner(x) + 1.0)
    other = tg.compile(lambda x: inner.second(x) * 1.0)
    inner.second = calling(lambda x: compiled(x))
    np.testing.assert_array_equal(compiled(np.ones(2)), [3.0, 3.0])
    inner.function = (lambda x: compiled(x)) if through == "itself" else (lambda x: other(x))
    with pytest.raises(OpError, match="calls itself"):
        compiled(np.ones(2))
    inner.function = lambda x: x * 2.0  # what was refused left nothing locked
    np.testing.assert_array_equal(compiled(np.ones(2)), [3.0, 3.0])


def test_a_recorded_call_that_runs_itself_raises_at_once():
    inner, w = calling(lambda x: x * 2.0), T([1.0, 1.0])
    compiled = tg.compile(lambda x: (inner(x) * w).sum())
    assert compiled(np.ones(2)).item() == 4.0
    inner.function = lambda x: compiled(x)
    with pytest.raises(OpError, match="calls itself"):
        compiled(np.ones(2))


def test_a_capture_of_itself_without_end_raises():
    @tg.compile
    def forever(x):
        return forever(x) + 1.0

    with pytest.raises(RecordingError, match="'forever' calls itself"):
        forever(np.ones(2))


def test_a_recursion_that_ends_is_captured():
    @tg.compile
    def power(x, steps):
        return x if steps == "." else x * power(x, steps[1:])

    np.testing.assert_array_equal(power(np.array([2.0, 3.0]), "...."), [16.0, 81.0])


# -- fork ----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_runs_what_another_thread_of_its_parent_was_running():
    begun, go = threading.Event(), threading.Event()
    inner, w = calling(lambda x: x * 2.0), T([1.0, 2.0])
    compiled = tg.compile(lambda x: inner(x) + 1.0)
    recorded = tg.compile(lambda x: x * w)
    compiled(np.ones(2))
    recorded(np.ones(2))

    def wait(x):
        begun.set()
        go.wait(30)
        return x * 2.0

    inner.function = wait
    thread = threading.Thread(target=lambda: compiled(np.ones(2)))
    thread.start()
    assert begun.wait(30)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            go.set()
            right = (compiled(np.ones(2)) == 3.0).all()
            recorded(np.ones(2)).sum().backward()
            status = 0 if right and w.grad.tolist() == [1.0, 1.0] else 2
        finally:
            os._exit(status)
    deadline = time.monotonic() + 30
    done, status = 0, None
    while not done and time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.02)
    if not done:
        os.kill(child, 9)
        os.waitpid(child, 0)
    go.set()
    thread.join(30)
    assert done
    assert os.waitstatus_to_exitcode(status) == 0


# -- Ctrl-C --------------------------------------------------------------------------------------------------------


class Interrupt:
    """Raises KeyboardInterrupt at the n-th event of tinygraph's own code."""

    def __init__(self, at):
        self.at, self.count = at, 0

    def __call__(self, frame, event, argument):
        if "tinygraph" not in frame.f_code.co_filename:
            return None
        self.count += 1
        if self.count == self.at:
            raise KeyboardInterrupt
        return self

    def run(self, function):
        before = sys.gettrace()
        sys.settrace(self)
        try:
            function()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)


def in_a_thread(function):
    """What a function returns in another thread, which would wait for a lock that this one left behind."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()), daemon=True)
    thread.start()
    thread.join(30)
    assert found, "the call waits for a lock"
    return found[0]


# Python may drop a generator that the interruption hit, and says so
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupted_call_leaves_nothing_locked_or_half_cached():
    w = T([1.0, 2.0, 3.0])

    def function(x):
        return (np.sin(x * w) ** 2).sum()

    def run(call):
        w.grad = None
        out = call(np.arange(3.0))
        out.backward()
        return out.item(), w.grad.tolist()

    expected = run(function)
    counting = Interrupt(at=-1)
    counting.run(lambda: run(tg.compile(function)))
    assert counting.count > 1000
    for at in sorted(np.random.default_rng(0).integers(1, counting.count, 40)):
        compiled = tg.compile(function)
        Interrupt(at).run(lambda compiled=compiled: run(compiled))
        value, gradient = in_a_thread(lambda compiled=compiled: run(compiled))
        np.testing.assert_allclose(value, expected[0], rtol=1e-12)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-12)


def test_an_interrupted_update_is_noticed():
    w = tg.core.state.buffer(np.zeros(3))
    x = T([1.0, 2.0, 3.0])
    interrupting = calling(lambda x: x)

    @tg.compile
    def step(t):
        w.__iadd__(1.0)
        return interrupting(t * w) * 1.0

    step(np.ones(3))
    out = (x * w).sum()

    def stop(x):
        raise KeyboardInterrupt

    interrupting.function = stop
    with pytest.raises(KeyboardInterrupt):
        step(np.ones(3))
    assert w.tolist() == [2.0, 2.0, 2.0]  # written where it lives, before the op that was interrupted
    with pytest.raises(StaleValueError):
        out.backward()
    interrupting.function = lambda x: x
    in_a_thread(lambda: step(np.ones(3)))


# -- Ctrl-C at every call ------------------------------------------------------------------------------------------


def interrupted_at(number, function):
    """Run a function with KeyboardInterrupt at one of its calls; whether it came to that.

    Where a signal may be handled: when a function of Python's begins, and when one in C has returned. Before one in C
    is called is no such place: the end of `with lock.held` is one call in C, which no signal divides.
    """
    left, before = number, sys.getprofile()

    def hook(frame, event, arg):
        nonlocal left
        if event in ("call", "c_return"):
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

    sys.setprofile(hook)
    try:
        function()
        left = 0
    except KeyboardInterrupt:
        return True
    finally:
        left = 0
        sys.setprofile(before)
    return False


def eager():
    x = T([1.0, 2.0])
    with tg.no_grad():
        y = x * 2.0
    (x * y).sum().backward(create_graph=True)


def first_call():
    w = T([1.0, 2.0])
    tg.compile(lambda x: (np.sin(x) * w).sum())(np.ones(2))


def capture():
    tg.capture(lambda x: np.sin(x) * 2.0, np.ones(2))


# Python may drop what the interruption hit while memory is freed, and says so
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("run", "stride"), [(eager, 1), (capture, 1), (first_call, 97)])
def test_an_interruption_at_any_call_leaves_no_mode_and_no_lock_behind(run, stride):
    run()  # what is imported when first needed
    before, number = modes.current, 2
    while interrupted_at(number, run):
        # a block's own leaving can be interrupted as well; what runs next is right even then
        modes.current, left = before, modes.current
        assert left.capture is None
        assert not [lock for lock in list(_locks) if lock.is_mine]
        number += stride
    assert number > 100
    x = T([1.0, 2.0])
    (tg.compile(lambda x: x * x)(x)).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]
