"""Short calls of compiled functions: of arrays alone, and nothing else. What they leave out, others still ask."""

import sys
import threading

import numpy as np
import pytest

import tinygraph as tg

pytest.importorskip("llvmlite")


def calls_in(function, *arguments):
    """The names of the functions in Python that a call runs, its own among them."""
    names = []

    def note(frame, event, argument):
        if event == "call":
            names.append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function(*arguments)
    finally:
        sys.setprofile(before)
    return names


def warm(function, *arguments):
    """A function whose next call is as later ones are."""
    function(*arguments)
    function(*arguments)
    return function


@pytest.fixture
def one_thread():
    before = tg.get_threads()
    tg.set_threads(1)
    yield
    tg.set_threads(before)


def test_calls_of_arrays_run_five_functions_in_python(one_thread):
    x = np.array([1.0, 2.0, 4.0])
    function = warm(tg.compile(lambda x, y: (x * y + 1.0) / 2.0), x, x)
    names = calls_in(function, x, x)
    assert len(names) <= 5, names
    np.testing.assert_array_equal(function(x, x), [1.0, 2.5, 8.5])


@pytest.mark.parametrize("size", [3, 5000, 100_000])  # copied in, and read where they are
def test_results_are_fresh_and_arguments_stay(size, one_thread):
    x = np.full(size, 3.0)
    function = warm(tg.compile(lambda x: (x + 1.0, np.sum(x))), x)
    first, total = function(x)
    x[...] = 5.0
    second, _ = function(x)
    assert first[0] == first[-1] == 4.0
    assert second[0] == second[-1] == 6.0
    assert total == 3.0 * size
    assert type(total) is np.float64
    assert first.base is None
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(x, second)


def test_a_result_that_is_an_argument_is_a_copy():
    x = np.array([1.0, 2.0])
    function = warm(tg.compile(lambda x: (x, x * 2.0)), x)
    same, _ = function(x)
    same[0] = 9.0
    assert x[0] == 1.0


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        (np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0])),
        (np.array([1.0, 2.0], np.float32), np.array([2.0, 3.0], np.float32)),
        (np.array([[1.0, 2.0]]), np.array([[2.0, 3.0]])),
        (np.float64(3.0), np.float64(4.0)),
        (3, 4),
    ],
)
def test_other_kinds_of_arguments_are_captured_anew(other, wanted):
    x = np.array([1.0, 2.0])
    function = warm(tg.compile(lambda x: x + 1), x)
    found = function(other)
    np.testing.assert_array_equal(found, wanted)
    assert np.asarray(found).dtype == np.asarray(wanted).dtype
    np.testing.assert_array_equal(function(x), [2.0, 3.0])


def test_tensors_keywords_and_missing_arguments_are_no_short_calls():
    x = np.array([1.0, 2.0])
    function = warm(tg.compile(lambda x: x + 1), x)
    assert type(function(tg.tensor([1.0, 2.0]))) is tg.Tensor
    assert warm(function, x)(x=np.array([7.0, 8.0]))[0] == 8.0
    with pytest.raises(TypeError):
        warm(function, x)()


class Masked(np.ndarray):
    pass


def test_arrays_of_other_classes_and_byte_orders_are_asked_as_before():
    x = np.array([1.0, 2.0])
    function = warm(tg.compile(lambda x: x * 2.0), x)
    np.testing.assert_array_equal(function(x.view(Masked)), [2.0, 4.0])
    np.testing.assert_array_equal(function(x.astype(">f8")), [2.0, 4.0])
    np.testing.assert_array_equal(warm(function, x[::-1])(x[::-1]), [4.0, 2.0])
    np.testing.assert_array_equal(function(x), [2.0, 4.0])


scale = 2.0
settings = {"shift": 1.0}


def test_variables_that_python_code_read_are_watched(monkeypatch):
    x = np.array([1.0, 2.0])
    function = warm(tg.compile(lambda x: x * scale), x)
    monkeypatch.setattr(sys.modules[__name__], "scale", 3.0)
    np.testing.assert_array_equal(function(x), [3.0, 6.0])


def test_contents_that_python_code_read_are_watched(monkeypatch):
    table = np.array([1.0, 10.0])
    x = np.array([1.0, 2.0])
    function = warm(tg.compile(lambda x: x + settings["shift"] + table), x)
    monkeypatch.setitem(settings, "shift", 0.0)
    np.testing.assert_array_equal(function(x), [2.0, 12.0])
    warm(function, x)
    table[0] = 0.0
    np.testing.assert_array_equal(function(x), [1.0, 12.0])


def test_order_in_memory_that_decides_what_is_a_view_is_asked():
    def program(x):
        y = x + 0.0  # lies as x does
        flat = y.reshape(-1)
        flat *= 2.0
        return y

    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    function = warm(tg.compile(program), rows)
    np.testing.assert_array_equal(function(rows), [[2.0, 4.0], [6.0, 8.0]])
    with pytest.raises(tg.errors.InPlaceError, match="how its operand lies in memory"):
        function(rows.T)  # whose `flat` would be a copy


@pytest.fixture
def line():
    """The model 2 x + 1."""
    model = tg.nn.Linear(1, 1)
    model.load_state_dict({"weight": np.array([[2.0]], np.float32), "bias": np.ones(1, np.float32)})
    return model


def test_models_are_short_calls_where_nothing_is_recorded(line, one_thread):
    x = np.array([[3.0]], np.float32)
    function = tg.compile(line)
    with tg.no_grad():
        warm(function, x)
        names = calls_in(function, x)
        found = function(x)
    assert "_entry" not in names
    assert type(found) is tg.Tensor
    assert found.numpy().tolist() == [[7.0]]
    assert not found.requires_grad


def test_models_are_recorded_where_gradients_are_wanted(line):
    x = np.array([[3.0]], np.float32)
    function = tg.compile(line)
    with tg.no_grad():
        warm(function, x)
    out = function(x)
    assert out.requires_grad
    out.sum().backward()
    assert line.weight.grad.numpy().tolist() == [[3.0]]
    with tg.no_grad():
        assert not function(x).requires_grad


def test_states_are_read_as_they_are_in_each_call(line):
    x = np.array([[3.0]], np.float32)
    function = tg.compile(line)
    with tg.no_grad():
        warm(function, x)
        line.bias[...] = np.float32(5.0)
        assert warm(function, x)(x).item() == 11.0
        line.weight = tg.nn.Parameter(np.array([[1.0]], np.float32))
        assert warm(function, x)(x).item() == 8.0
        line.load_state_dict({"weight": np.array([[4.0]], np.float32), "bias": np.zeros(1, np.float32)})
        assert function(x).item() == 12.0


def test_modes_of_modules_are_watched(line):
    model = tg.nn.Sequential(line, tg.nn.Dropout(1.0))
    x = np.array([[3.0]], np.float32)
    function = tg.compile(model)
    with tg.no_grad():
        model.eval()
        assert warm(function, x)(x).item() == 7.0
        model.train()
        assert warm(function, x)(x).item() == 0.0
        model.eval()
        assert function(x).item() == 7.0


def test_parameters_that_need_no_gradient_are_watched(line):
    x = np.array([[3.0]], np.float32)
    function = tg.compile(line)
    for parameter in line.parameters():
        parameter.requires_grad = False
    assert not warm(function, x)(x).requires_grad
    line.bias.requires_grad = True
    function(x).sum().backward()
    assert line.bias.grad.numpy().tolist() == [1.0]
    assert line.weight.grad is None


def test_a_closed_over_parameter_that_begins_to_need_a_gradient_gets_one():
    factor = tg.nn.Parameter(np.array([2.0, 3.0]))
    factor.requires_grad = False
    x = np.array([1.0, 10.0])
    function = warm(tg.compile(lambda x: x * factor), x)
    assert not function(x).requires_grad
    factor.requires_grad = True
    function(x).sum().backward()
    assert factor.grad.numpy().tolist() == [1.0, 10.0]


def test_a_call_inside_another_capture_is_part_of_its_graph(monkeypatch):
    x = np.array([1.0, 2.0])
    inner = warm(tg.compile(lambda x: x * scale), x)
    outer = warm(tg.compile(lambda y: y + inner(x)), x)
    np.testing.assert_array_equal(outer(x), [3.0, 6.0])
    monkeypatch.setattr(sys.modules[__name__], "scale", 5.0)
    np.testing.assert_array_equal(outer(x), [6.0, 12.0])


def test_another_number_of_threads_plans_anew(one_thread):
    x = np.arange(4.0)
    function = warm(tg.compile(lambda x: x + 1.0), x)
    plan = function.plan
    tg.set_threads(2)
    np.testing.assert_array_equal(function(x), [1.0, 2.0, 3.0, 4.0])
    assert function.plan.threads == 2
    assert plan.threads == 1


def test_a_released_function_is_captured_again():
    x = np.arange(3.0)
    function = warm(tg.compile(lambda x: x + 1.0), x)
    function.release()
    assert function.nbytes == 0
    np.testing.assert_array_equal(function(x), [1.0, 2.0, 3.0])
    assert function.explain_recapture().count("capture") == 2


def test_functions_that_draw_or_count_are_called_in_full():
    tg.manual_seed(0)
    drop = warm(tg.compile(lambda x: tg.nn.functional.dropout(x, 0.5)), np.ones(100))
    assert not np.array_equal(drop(np.ones(100)), drop(np.ones(100)))
    total = tg.nn.Parameter(np.zeros(3))

    def add(x):
        with tg.no_grad():
            total.__iadd__(x)
        return x * 1.0

    step = warm(tg.compile(add), np.ones(3))
    step(np.ones(3))
    np.testing.assert_array_equal(total.numpy(), [3.0, 3.0, 3.0])


def test_threads_share_one_function():
    function = warm(tg.compile(lambda x: np.sin(x) ** 2 + np.cos(x) ** 2 + x), np.zeros(50))
    off = []

    def run(number):
        x = np.full(50, float(number))
        off.append(max(abs(function(x) - (number + 1.0)).max() for _ in range(300)))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(off) == 4
    assert max(off) < 1e-12


@pytest.mark.parametrize("size", [3, 100_000])  # copied in, and read where they are
def test_what_comes_in_between_does_not_write_over_a_run(size, one_thread):
    """As a signal handler or a finalizer may: here a profiler, when the run copies its result out."""
    x, y = np.full(size, 3.0), np.full(size, 50.0)
    function = warm(tg.compile(lambda x: (x + 1.0, np.sum(x))), x)
    refused = []

    def between(frame, event, argument):
        if event == "c_call" and argument.__name__ in ("copy", "empty"):
            try:
                function(y)
            except tg.errors.RecordingError as error:
                refused.append(str(error))

    before = sys.getprofile()
    sys.setprofile(between)
    try:
        plus, total = function(x)
    finally:
        sys.setprofile(before)
    assert refused
    assert "while this thread runs it" in refused[0]
    assert plus[0] == plus[-1] == 4.0
    assert total == 3.0 * size
    np.testing.assert_array_equal(function(y)[0][:2], [51.0, 51.0])


def test_a_plan_that_is_run_within_itself_says_so(one_thread):
    function = warm(tg.compile(lambda x: np.sort(x) + 1.0), np.zeros(3))
    plan, refused = function.plan, []

    def between(frame, event, argument):
        if event == "c_call" and argument.__name__ == "copy":
            try:
                plan([np.full(3, 50.0)])
            except tg.errors.RecordingError as error:
                refused.append(error)

    before = sys.getprofile()
    sys.setprofile(between)
    try:
        (found,) = plan([np.array([3.0, 1.0, 2.0])])
    finally:
        sys.setprofile(before)
    assert refused
    np.testing.assert_array_equal(found, [2.0, 3.0, 4.0])
