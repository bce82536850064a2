"""A law that does not end is a finding, and the timer of whoever runs the check goes on."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from tinygraph.packages.time_limit import TimeLimit, limited_to
from tinygraph.plugin import Sample, op
from tinygraph.testing import LawBroken, check_op

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals")


@op(declare=False, kind="elementwise", samples=[Sample([0.5, 1.5], expected=[0.5, 1.5])])
def endless(x):
    """x, with a rule that does not end."""
    return x * 1.0


@endless.vjp("x")
def endless_wrt_x(g):
    while True:
        try:
            time.sleep(0.01)
        except Exception:  # noqa: BLE001 - even an op that swallows everything is stopped
            continue


def test_a_hanging_op_is_named_with_its_line():
    started = time.monotonic()
    report = check_op(endless, report=True, time_limit=0.2)
    assert time.monotonic() - started < 30  # it has no end of its own
    assert report.hung
    assert not report.ok
    [finding] = report.findings
    assert "it hangs: no end after 0.2 s (test_time_limit.py:" in finding.what
    assert (finding.op, finding.law) == ("endless", "inputs unchanged")
    assert "Sample(" in finding.sample
    with pytest.raises(LawBroken, match="it hangs"):
        check_op(endless, time_limit=0.2)


def test_the_runners_own_timer_goes_on():
    rang = []
    before = signal.signal(signal.SIGALRM, lambda *_: rang.append(time.monotonic()))
    outer = signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with limited_to(5):
            time.sleep(0.05)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 0.96
        with pytest.raises(TimeLimit), limited_to(0.05):
            time.sleep(5)
        while not rang:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(rang) == 1
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *outer)


def test_elsewhere_than_on_the_main_thread_there_is_no_limit():
    done = []

    def work():
        with limited_to(0.01):
            time.sleep(0.05)
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
