"""Random numbers, clocks, counters and logs inside of a captured function are refused at the user's line."""

import cProfile
import datetime as dt
import io
import itertools
import logging
import os
import random
import re
import secrets
import sys
import threading
import time
import uuid
import warnings

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph import nn
from tinygraph.errors import CaptureError, TinygraphWarning

ONES = np.ones(2)
RNG = np.random.default_rng(0)
LEGACY = np.random.RandomState(0)
OWN = random.Random(0)
FILE = os.path.basename(__file__)


class Holder:
    def __init__(self):
        self.rng = np.random.default_rng(0)
        self.n = 0
        self.log = []
        self.seen = set()
        self.counts = {"calls": 0}

    def noise(self):
        return self.rng.normal()


def helper():
    return random.random()


# -- random numbers ------------------------------------------------------------------------------------------------

HOLDER = Holder()
DRAWS = {
    "random.random": lambda: random.random(),
    "random.gauss": lambda: random.gauss(0, 1),
    "random.choice": lambda: random.choice([1.0, 2.0]),
    "random.shuffle": lambda: random.shuffle([1, 2, 3]) or 1,
    "random.seed": lambda: random.seed(3) or 1,
    "a Random": lambda: OWN.random(),
    "a helper": helper,
    "np.random.rand": lambda: np.random.rand(),
    "np.random.normal": lambda: np.random.normal(size=2),
    "np.random.seed": lambda: np.random.seed(1) or np.random.rand(),
    "a RandomState": lambda: LEGACY.rand(),
    "a generator": lambda: RNG.random(),
    "a generator in an attribute": lambda: HOLDER.rng.normal(),
    "a generator in a method": HOLDER.noise,
    "an unseeded generator": lambda: np.random.default_rng().random(),
    "an unseeded generator of Python": lambda: random.Random().random(),
    "a generator seeded anew": lambda: (lambda own: (own.seed(), own.random())[1])(random.Random(1)),
    "SystemRandom": lambda: random.SystemRandom().random(),
    "secrets": lambda: secrets.randbelow(10),
    "os.urandom": lambda: os.urandom(1)[0],
    "uuid4": lambda: uuid.uuid4().int % 7,
    "tg permutation": lambda: tg.core.state.default_generator.permutation(2),
    "tg.manual_seed": lambda: tg.manual_seed(0) or 1,
    "a seeded tinygraph generator": lambda: tg.Generator(0).uniform((2,)),
}
CLOCKS = {
    "time.time": lambda: time.time(),
    "perf_counter": lambda: time.perf_counter(),
    "monotonic": lambda: time.monotonic_ns() % 7,
    "datetime.now": lambda: dt.datetime.now().second,
    "date.today": lambda: dt.date.today().day,
    "strftime": lambda: float(time.strftime("%S")),
}


def positions():
    return (
        random.getstate(),
        str(np.random.get_state()),
        RNG.bit_generator.state,
        OWN.getstate(),
        str(LEGACY.get_state()),
        HOLDER.rng.bit_generator.state,
        tg.core.state.default_generator.state,
    )


@each("draw", [*DRAWS, *CLOCKS])
def test_random_numbers_and_clocks_are_refused_at_the_users_line(draw):
    function = {**DRAWS, **CLOCKS}[draw]
    before = positions()
    for capture in (tg.compile(lambda t: t + function()), lambda t: tg.capture(lambda t: t + function(), t)):
        with pytest.raises(CaptureError, match="in every call") as error:
            capture(ONES)
        assert re.search(rf"{re.escape(FILE)}:\d+", str(error.value))
        assert re.search("argument|outside", str(error.value))
    assert positions() == before  # what was refused drew nothing
    assert sys.getprofile() is None


def test_a_generator_that_is_passed_as_an_argument_is_refused_too():
    with pytest.raises(CaptureError, match=rf"drawn from g at {re.escape(FILE)}:\d+"):
        tg.compile(lambda t, g: t + g.random())(ONES, np.random.default_rng(0))


def test_a_draw_that_the_program_hides_is_refused_all_the_same():
    def function(t):
        try:
            return t + time.time()
        except CaptureError:
            return t

    with pytest.raises(CaptureError, match=r"time\.time\(\) at"):
        tg.compile(function)(ONES)


def test_seeded_generators_of_the_programs_own_repeat_eagerly_too():
    def function(t):
        return t * np.random.default_rng(0).random() + random.Random(0).random()

    compiled = tg.compile(function)
    for _ in range(3):
        assert compiled(ONES).tolist() == function(ONES).tolist()


def test_generators_of_tinygraph_draw_anew():
    generator, twin = tg.Generator(0), tg.Generator(0)
    compiled = tg.compile(lambda t: t + generator.uniform((2,)))
    for _ in range(3):
        assert compiled(ONES).tolist() == (ONES + twin.uniform((2,))).tolist()


def test_drawing_between_calls_is_nobodys_business():
    compiled = tg.compile(lambda t: t * (2 if HOLDER.rng is not None else 1))
    for _ in range(3):
        assert compiled(ONES).tolist() == [2, 2]
        HOLDER.rng.random()
        np.random.rand()
    assert compiled.explain_recapture().count("\n") == 0


# -- counters and logs ---------------------------------------------------------------------------------------------

COUNT = 0


def count_globally():
    global COUNT
    COUNT += 1


def nonlocal_counter():
    count = 0

    def counting():
        nonlocal count
        count = count + 1

    return counting


COUNTING = nonlocal_counter()


class Counted(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


BUFFER = np.zeros(2)
LOG = []
EFFECTS = {
    "an attribute": (lambda holder: setattr_n(holder), "holder.n"),
    "a global variable": (lambda holder: count_globally(), "COUNT"),
    "a variable of a closure": (lambda holder: COUNTING(), "count"),
    "list.append": (lambda holder: holder.log.append(1), "holder.log"),
    "a list": (lambda holder: LOG.extend([1, 2]), "LOG"),
    "set.add": (lambda holder: holder.seen.add(len(holder.seen)), "holder.seen"),
    "an entry of a dict": (lambda holder: add_entry(holder), "holder.counts"),
    "dict.update": (lambda holder: holder.counts.update(calls=holder.counts["calls"] + 1), "holder.counts"),
    "an element of an array": (lambda holder: BUFFER.__setitem__(0, BUFFER[0] + 1), "BUFFER"),
}


def setattr_n(holder):
    holder.n += 1


def add_entry(holder):
    holder.counts["calls"] += 1


@pytest.mark.parametrize("effect", EFFECTS)
def test_counters_and_logs_are_refused_at_the_users_line(effect):
    act, name = EFFECTS[effect]
    holder = Holder()

    def function(x):
        act(holder)
        return x * 2

    with pytest.raises(CaptureError, match=rf"{re.escape(name)}.*{re.escape(FILE)}:\d+.*[Rr]eturn the value"):
        tg.compile(function)(ONES)


def test_the_line_is_the_one_that_counts():
    holder = Holder()

    def function(x):
        y = x * 2
        holder.n += 1
        holder.log.append(1)
        return y

    first = function.__code__.co_firstlineno
    with pytest.raises(
        CaptureError, match=rf"'holder\.n' has another value: 1, not 0 at {re.escape(FILE)}:{first + 2} "
    ):
        tg.compile(function)(ONES)
    holder.n = None  # None becomes 1: no counter
    function.__code__ = function.__code__.replace()
    with pytest.raises((CaptureError, TypeError)):
        tg.compile(function)(ONES)


def test_a_module_that_counts_its_calls_is_refused():
    for model in (Counted(), nn.Sequential(nn.Sequential(Counted()))):
        with pytest.raises(CaptureError, match=r"calls' has another value: 1, not 0"):
            tg.compile(model)(ONES)


def test_a_log_of_captured_tensors_is_kept_as_eagerly_and_warned_of():
    log = []

    def function(x):
        log.append(x * 2)
        return x

    compiled = tg.compile(function)
    compiled(ONES)
    with pytest.warns(TinygraphWarning, match=rf"contents of log.*{re.escape(FILE)}:\d+"):
        compiled(ONES)
    assert len(log) == 2
    with pytest.raises(CaptureError, match="left behind"):
        log[0].sum()


def endless():
    number = 0
    while True:
        number += 1
        yield number


ITERATORS = {
    "a list": lambda: iter([1.0, 2.0]),
    "count": lambda: itertools.count(1),
    "zip": lambda: zip([1.0, 2.0], [3.0, 4.0], strict=True),
    "enumerate": lambda: enumerate([1.0, 2.0]),
    "a generator": endless,
    "a generator expression": lambda: (one for one in [1.0, 2.0]),
}


@pytest.mark.parametrize("kind", ITERATORS)
def test_an_item_taken_from_an_iterator_is_refused(kind):
    items = ITERATORS[kind]()
    with pytest.raises(CaptureError, match=rf"items.*{re.escape(FILE)}:\d+"):
        tg.compile(lambda x: x * np.sum(next(items)))(ONES)
    untouched = ITERATORS[kind]()
    assert tg.compile(lambda x: x * (2 if untouched is not None else 1))(ONES).tolist() == [2, 2]


def test_objects_of_the_programs_own_may_count():
    class Scratch:
        def __init__(self):
            self.n, self.log = 0, []

    def function(x):
        scratch, total = Scratch(), 0
        for _ in range(3):
            scratch.n += 1
            scratch.log.append(x)
            total += 1

        def inner():
            nonlocal total
            total += 1

        inner()
        return sum(scratch.log) * scratch.n + total

    compiled = tg.compile(function)
    assert compiled(ONES).tolist() == compiled(ONES).tolist() == [13, 13]
    assert compiled.explain_recapture().count("\n") == 0


def _loud(x):
    print("captured")
    return x * 2


def _written(x):
    sys.stdout.write("captured\n")
    return x * 2


def _logged(x):
    logging.getLogger("tests.compiler").warning("captured")
    return x * 2


def _helped(x):
    return _loud(x)


@pytest.mark.parametrize("function", [_loud, _written, _logged, _helped])
def test_printing_warns_once_at_the_users_line(capsys, caplog, function):
    """What is printed is printed by the capture alone, and the line says so."""
    compiled = tg.compile(function)
    line = (_loud if function is _helped else function).__code__.co_firstlineno + 1
    with pytest.warns(TinygraphWarning, match="prints or logs .* later calls will not") as caught:
        assert compiled(ONES).tolist() == compiled(ONES).tolist() == [2, 2]
    assert [(os.path.basename(one.filename), one.lineno) for one in caught] == [(FILE, line)]
    said = caplog.text if function is _logged else capsys.readouterr().out
    assert said.count("captured") == 1


def test_a_warning_of_the_users_and_a_text_in_memory_are_no_printing():
    def warned(x):
        warnings.warn("mine", UserWarning, stacklevel=1)
        return x * 2

    def formatted(x):
        text = io.StringIO()
        text.write("abcd")
        return x * len(text.getvalue())

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert tg.compile(warned)(ONES).tolist() == [2, 2]
        assert tg.compile(formatted)(ONES).tolist() == [4, 4]
    assert [str(one.message) for one in caught] == ["mine"]


# -- the hook ------------------------------------------------------------------------------------------------------


def test_a_profiler_goes_on_after_a_capture():
    seen = []

    def hook(frame, event, argument):
        seen.append(event)

    sys.setprofile(hook)
    try:
        tg.compile(lambda x: x * 2)(ONES)
        assert sys.getprofile() is hook
    finally:
        sys.setprofile(None)
    assert "call" in seen
    with cProfile.Profile() as profile:
        tg.compile(lambda x: x * 2)(ONES)
        sorted([2, 1])
    assert any("sorted" in str(one.code) for one in profile.getstats())


def test_a_capture_that_fails_takes_its_hook_away():
    with pytest.raises(ZeroDivisionError):
        tg.compile(lambda x: x * (1 // 0))(ONES)
    assert sys.getprofile() is None


def test_files_and_threads_are_refused_in_captures(tmp_path):
    path = tmp_path / "scale.txt"
    path.write_text("2.0")

    def opened(x):
        with open(path) as file:
            return x * float(file.read())

    def read_text(x):
        return x * float(path.read_text())

    def in_a_thread(x):
        found = []
        one = threading.Thread(target=lambda: found.append(2.0))
        one.start()
        one.join()
        return x * found[0]

    for function, words in ((opened, "opens a file"), (read_text, "opens a file"), (in_a_thread, "thread")):
        with pytest.raises(CaptureError, match=rf"test_side_effects.py:\d+ .*{words}|{words}"):
            tg.compile(function)(np.ones(2))

    def warning(x):
        warnings.warn("shown with its line", UserWarning, stacklevel=1)
        return x * 2

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        np.testing.assert_array_equal(tg.compile(warning)(np.ones(2)), [2, 2])


def test_what_finds_modules_while_they_are_imported_is_no_part_of_the_program(monkeypatch, tmp_path):
    """A finder of the user's, as setuptools has one, runs once and keeps lists of its own."""
    asked = []

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            asked.append(getattr(path, "name", name))

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    (tmp_path / "factor_of_a_test.py").write_text("FACTOR = 3.0\n")
    monkeypatch.syspath_prepend(tmp_path)

    def program(x):
        import factor_of_a_test

        return x * factor_of_a_test.FACTOR

    compiled = tg.compile(program)
    np.testing.assert_array_equal(compiled(np.array([1.0, 2.0])), [3.0, 6.0])
    assert "factor_of_a_test" in asked
    np.testing.assert_array_equal(compiled(np.array([1.0, 2.0])), [3.0, 6.0])
    sys.modules["factor_of_a_test"].FACTOR = 4.0
    np.testing.assert_array_equal(compiled(np.array([1.0, 2.0])), [4.0, 8.0])
    del sys.modules["factor_of_a_test"]
