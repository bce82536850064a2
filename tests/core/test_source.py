"""The user's line behind a node: not Python's, NumPy's or tinygraph's own, and a backward node has its forward line."""

import contextlib
import dataclasses
import doctest
import functools
import inspect
import operator
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn


@pytest.fixture
def x():
    return tg.tensor([1.0, 2.0], requires_grad=True, name="x")


def line():
    """Where this is called."""
    return f"test_source.py:{inspect.currentframe().f_back.f_lineno}"


def decorated(function):
    @functools.wraps(function)
    def inner(*arguments):
        return function(*arguments)

    return inner


@contextlib.contextmanager
def doubled(x):
    yield x * 2.0


@dataclasses.dataclass
class Model:
    x: object

    def __post_init__(self):
        self.y = self.x * 2.0


class _Closing:
    def __init__(self, function, x, made):
        self.function, self.x, self.made = function, x, made

    def close(self):
        self.made.append(self.function(self.x))


def in_a_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


class TestTheUsersLine:
    def test_functions_that_call_for_the_user(self, x):
        made = [
            (functools.reduce(np.add, [x, x, x]), line()),
            (functools.partial(operator.mul, x)(3.0), line()),
            (functools.cache(lambda: x * 2.0)(), line()),
            (functools.singledispatch(np.sin)(x), line()),
            (next(map(np.sin, [x])), line()),
            (sum([x, x]), line()),
            ([one * 2.0 for one in [x]][0], line()),  # noqa: RUF015
            ((lambda: x * 3.0)(), line()),
            (np.var(x), line()),
            (np.linalg.norm(x), line()),
            (in_a_thread(lambda: x * 2.0), line()),
        ]
        for tensor, where in made:
            assert str(tensor.node.source) == where

    def test_the_line_in_a_function_of_ones_own(self, x):
        found = decorated(lambda x: x * 2.0)(x)
        assert found.node.source.text == "found = decorated(lambda x: x * 2.0)(x)"
        with doubled(x) as y:
            assert y.node.source.text == "yield x * 2.0"
        assert Model(x).y.node.source.text == "self.y = self.x * 2.0"

    def test_context_managers_that_compute_at_their_ends(self, x):
        with contextlib.ExitStack() as stack:
            made = []
            stack.callback(lambda: made.append(np.sin(x)))
            stack.enter_context(contextlib.closing(_Closing(np.exp, x, made)))
        assert [one.node.op.name for one in made] == ["exp", "sin"]
        assert made[1].node.source.text == "stack.callback(lambda: made.append(np.sin(x)))"
        assert made[0].node.source.text == "self.made.append(self.function(self.x))"

    @pytest.mark.parametrize("name", ["<ipython-input-3-1f2e>", "<stdin>", "<string>", "<doctest a[0]>"])
    def test_cells_and_text_that_is_run(self, x, name):
        space = {"x": x}
        exec(compile("z = x\ny = z * 2.0", name, "exec"), space)  # noqa: S102
        assert str(space["y"].node.source) == f"{name}:2"

    def test_a_cell_of_a_notebook_has_the_name_that_ipython_gives_it(self, x, monkeypatch):
        names = {"ipykernel_12/2491340468.py": ("Cell", "In[3]")}
        shell = SimpleNamespace(compile=SimpleNamespace(format_code_name=names.get))
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
        space = {"x": x}
        for name in (*names, "module.py"):
            exec(compile(f"\ny{len(space)} = x * 2.0", name, "exec"), space)  # noqa: S102
        assert [str(one.node.source) for key, one in space.items() if key[0] == "y"] == [
            "In[3]:2",
            "module.py:2",
        ]

    def test_in_a_doctest(self):
        text = (
            ">>> import tinygraph as tg\n>>> y = tg.tensor(1.0, requires_grad=True) * 2\n"
            ">>> str(y.node.source), y.node.source.text\n"
            "('<doctest t[1]>:1', 'y = tg.tensor(1.0, requires_grad=True) * 2')\n"
        )
        test = doctest.DocTestParser().get_doctest(text, {}, "t", "t", 0)
        assert doctest.DocTestRunner().run(test).failed == 0

    def test_a_captured_step_names_lines_of_the_program_alone(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU())
        optimizer = tg.optim.Adam(model.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        compiled = tg.compile(step)
        compiled(np.ones((3, 2), np.float32))
        for stage in (compiled.stages[0], compiled.stages[-1]):
            lines = {node.source.text for node in stage.graph.nodes if node.op is not None}
            assert lines == {"loss = (model(x) ** 2).mean()", "optimizer.step()"}
        rows = compiled.stages[0].graph.summary().splitlines()
        assert all("contextlib" not in row and "engine" not in row for row in rows)


class TestBackwardNodes:
    def test_they_have_the_line_of_what_they_serve(self, x, tmp_path):
        y = np.sin(x)
        first = line()
        loss = (y * y).sum()
        second = line()
        graph = tg.graph_of(loss).gradient(x)
        found = {node.op.name: str(node.source) for node in graph.nodes if node.phase == "backward"}
        here = [f"test_source.py:{int(one.partition(':')[2]) - 1}" for one in (first, second)]
        assert found["cos"] == here[0]
        assert found["add"] == here[1]
        graph.save(tmp_path / "graph.json")
        again = tg.load(tmp_path / "graph.json")
        assert [str(node.source) for node in again.nodes if node.op] == [
            str(node.source) for node in graph.nodes if node.op
        ]

    def test_so_do_those_of_the_second_order(self, x):
        loss = (x**3).sum()
        where = f"test_source.py:{int(line().partition(':')[2]) - 1}"
        loss.backward(create_graph=True)
        penalty = (x.grad**2).sum()
        penalty.backward(create_graph=True)
        nodes = [node for node in tg.graph_of(x.grad.sum()).nodes if node.phase == "backward"]
        assert {str(node.source) for node in nodes if node.served.op.name == "power"} >= {where}
        assert all("engine" not in str(node.source) for node in nodes)

    def test_the_box_says_so(self, x):
        loss = np.exp(x).sum()
        drawing = tg.draw(loss, backward=True, show=("names", "source"))
        where = f"test_source.py:{int(line().partition(':')[2]) - 2}"
        lines = {box.title: box.lines for box in drawing.picture.boxes}
        assert {title for title, found in lines.items() if where in found} == {
            "exp", "sum", "broadcast_to", "multiply"
        }  # fmt: skip
