"""What Python read while a program was captured is watched: the next call sees what an eager call would see."""

import collections
import contextvars
import dataclasses
import enum
import functools
import os
import sys
import threading
import types
import weakref
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.errors import TinygraphWarning
from tinygraph.tracing.facts import Elements, Progress

ONES = np.ones(2)

outside_module = types.ModuleType(
    "outside_module", "Functions and settings in another module than the tests."
)
exec(  # noqa: S102
    """
FACTOR = 2.0

class Settings:
    shift = 1.0

def scaled(x):
    return x * FACTOR

def shifted(x):
    return scaled(x) + Settings.shift
""",
    outside_module.__dict__,
)


def first(result):
    """The first element of a result, as a number."""
    return float(
        np.asarray(result.detach().numpy() if isinstance(result, tg.Tensor) else result).reshape(-1)[0]
    )


def follows(function, changes, *args):
    """Whether a compiled function gives the given numbers: at first, and after each change.

    Args:
        changes: pairs of a change to make (None: none) and the number that belongs to it.
    """
    compiled = tg.compile(function)
    args = args or (ONES,)
    for change, wanted in changes:
        if change is not None:
            change()
        for _ in range(3):
            assert first(function(*args)) == wanted
            assert first(compiled(*args)) == wanted
    return compiled


# -- variables -----------------------------------------------------------------------------------------------------

FACTOR = 2.0
TABLE = {"scale": 2.0, "inner": {"shift": [1.0, 2.0]}}


def set_global(name, value):
    globals()[name] = value


def times_factor(x):
    return x * FACTOR


def via_helper(x):
    return times_factor(x) + 1


def test_global_variables_of_helpers_are_watched():
    follows(
        via_helper,
        [(None, 3), (lambda: set_global("FACTOR", 5.0), 6), (lambda: set_global("FACTOR", 2.0), 3)],
    )


def test_a_helper_that_is_bound_to_another_function_is_noticed(monkeypatch):
    def tripled(x):
        return x * 3

    follows(via_helper, [(None, 3), (lambda: monkeypatch.setitem(globals(), "times_factor", tripled), 4)])
    monkeypatch.undo()
    old = times_factor.__code__
    follows(
        via_helper,
        [
            (None, 3),
            (lambda: setattr(times_factor, "__code__", tripled.__code__), 4),
            (lambda: setattr(times_factor, "__code__", old), 3),
        ],
    )


def test_variables_and_helpers_of_another_module_are_watched(monkeypatch):
    def function(x):
        return outside_module.shifted(x)

    patch = monkeypatch.setattr
    compiled = follows(
        function,
        [
            (None, 3),
            (lambda: patch(outside_module, "FACTOR", 4.0), 5),
            (lambda: patch(outside_module.Settings, "shift", 0.0), 4),
            (lambda: patch(outside_module, "scaled", lambda x: x * 10), 10),
            (lambda: patch(outside_module, "shifted", lambda x: x * 7), 7),
        ],
    )
    assert "'FACTOR' has another value: 4.0, not 2.0" in compiled.explain_recapture()
    assert "'Settings.shift' has another value: 0.0, not 1.0" in compiled.explain_recapture()


def test_closures_of_helpers_are_watched():
    scale = 2.0

    def inner(x):
        return x * scale

    def outer(x):
        return inner(x)

    def change():
        nonlocal scale
        scale = 3.0

    compiled = follows(outer, [(None, 2), (change, 3)])
    assert "'scale'" in compiled.explain_recapture()


def test_default_arguments_are_watched():
    def helper(x, factor=2.0, *, shifts=[1.0]):  # noqa: B006 - changed below
        return x * factor + shifts[0]

    follows(
        lambda x: helper(x),
        [
            (None, 3),
            (lambda: setattr(helper, "__defaults__", (4.0,)), 5),
            (lambda: helper.__kwdefaults__["shifts"].__setitem__(0, 0.0), 4),
            (lambda: helper.__kwdefaults__.update(shifts=[2.0]), 6),
        ],
    )


# -- attributes ----------------------------------------------------------------------------------------------------


class Settings:
    scale = 1.0

    def __init__(self, **values):
        vars(self).update(values)

    @property
    def doubled(self):
        return self.s * 2

    @classmethod
    def of_class(cls, x):
        return x * cls.scale

    @staticmethod
    def static(x):
        return x * Settings.scale

    def method(self, x):
        return x * self.s

    def __call__(self, x):
        return x * self.s + 1

    def __getitem__(self, name):
        return self.values[name]


class Slotted:
    __slots__ = ("s",)


@dataclasses.dataclass
class Config:
    s: float = 1.0
    parts: list = dataclasses.field(default_factory=lambda: [1.0])


NAMES = ("s",)
READS = {
    "an attribute": lambda cfg: lambda t: t * cfg.s,
    "a method": lambda cfg: cfg.method,
    "a method in a lambda": lambda cfg: lambda t: cfg.method(t),
    "a property": lambda cfg: lambda t: t * cfg.doubled / 2,
    "getattr": lambda cfg: lambda t: t * getattr(cfg, NAMES[0]),
    "vars": lambda cfg: lambda t: t * vars(cfg)["s"],
    "a partial": lambda cfg: functools.partial(lambda c, t: t * c.s, cfg),
    "a default": lambda cfg: lambda t, c=cfg: t * c.s,
    "a list": lambda cfg, held=None: (lambda held: lambda t: t * held[0].s)([cfg]),
    "a dict": lambda cfg: (lambda held: lambda t: t * held["c"].s)({"c": cfg}),
    "a local variable": lambda cfg: lambda t: next(t * c.s for c in [cfg]),
    "an object in between": lambda cfg: (lambda outer: lambda t: t * outer.a.b.s)(
        Settings(a=Settings(b=cfg))
    ),
    "what a helper returns": lambda cfg: (lambda find: lambda t: t * find().s)(lambda: cfg),
    "a wrapper": lambda cfg: functools.wraps(cfg.method)(lambda t: cfg.method(t)),
    "tg.checkpoint": lambda cfg: tg.checkpoint(lambda t: t * cfg.s),
    "another compiled function": lambda cfg: (lambda c: lambda t: c(t))(tg.compile(lambda t: t * cfg.s)),
    "a map": lambda cfg: lambda t: next(map(cfg.method, [t])),
}


@pytest.mark.parametrize("read", READS)
def test_attributes_are_watched_by_every_route(read):
    cfg = Settings(s=1.0)
    compiled = follows(
        READS[read](cfg),
        [(None, 1), (lambda: setattr(cfg, "s", 3.0), 3), (lambda: setattr(cfg, "s", 1.0), 1)],
    )
    assert len(compiled.explain_recapture().splitlines()) <= 3


def test_attributes_of_classes_are_watched():
    class Base:
        scale = 1.0

    class Derived(Base):
        def method(self, x):
            return x * self.scale

    one = Derived()
    follows(
        one.method,
        [
            (None, 1),
            (lambda: setattr(Base, "scale", 2.0), 2),
            (lambda: setattr(Derived, "scale", 3.0), 3),
            (lambda: setattr(one, "scale", 4.0), 4),
            (lambda: delattr(one, "scale"), 3),
            (lambda: delattr(Derived, "scale"), 2),
            (lambda: setattr(Derived, "method", lambda self, x: x * 9), 2),  # the bound method is the old one
        ],
    )
    follows(lambda x: one.method(x), [(None, 9), (lambda: setattr(one, "method", lambda x: x * 8), 8)])


def test_class_methods_static_methods_and_calls_are_watched():
    def back():
        Settings.scale = 1.0

    for function in (Settings.of_class, Settings.static, lambda x: Settings.of_class(x)):
        follows(function, [(None, 1), (lambda: setattr(Settings, "scale", 2.0), 2), (back, 1)])
    cfg = Settings(s=2.0, values={"a": 3.0})
    follows(cfg, [(None, 3), (lambda: setattr(cfg, "s", 3.0), 4)])
    follows(lambda x: x * cfg["a"], [(None, 3), (lambda: cfg.values.update(a=4.0), 4)])


def test_slots_namespaces_records_and_enumerations_are_watched():
    slotted, space, config = Slotted(), types.SimpleNamespace(s=1.0), Config()
    slotted.s = 1.0
    for one in (slotted, space, config):
        follows(lambda x, one=one: x * one.s, [(None, 1), (lambda one=one: setattr(one, "s", 2.0), 2)])
    follows(lambda x: x * config.parts[0], [(None, 1), (lambda: config.parts.append(3.0), 1)])
    follows(lambda x: x * config.parts[-1], [(None, 3), (lambda: config.parts.pop(), 1)])
    follows(
        lambda x: x * dataclasses.asdict(config)["s"], [(None, 2), (lambda: setattr(config, "s", 5.0), 5)]
    )

    class Mode(enum.Enum):
        FAST = 1
        SLOW = 2

    space.mode = Mode.FAST
    follows(
        lambda x: x * (2 if space.mode is Mode.FAST else 3),
        [(None, 2), (lambda: setattr(space, "mode", Mode.SLOW), 3)],
    )


def test_an_attribute_that_was_not_there_is_noticed():
    cfg = Settings()
    follows(lambda x: x * getattr(cfg, "late", 2.0), [(None, 2), (lambda: setattr(cfg, "late", 3.0), 3)])
    follows(lambda x: x * (2 if hasattr(cfg, "s") else 1), [(None, 1), (lambda: setattr(cfg, "s", 3.0), 2)])


def test_equal_is_what_no_program_can_tell_apart():
    cfg = Settings(s=True)
    kinds = [(None, 2), (lambda: setattr(cfg, "s", 1), 3), (lambda: setattr(cfg, "s", Fraction(1)), 3)]
    follows(lambda x: x * (2 if cfg.s is True else 3), kinds)
    follows(
        lambda x: x * np.copysign(1.0, cfg.s),
        [(lambda: setattr(cfg, "s", 0.0), 1), (lambda: setattr(cfg, "s", -0.0), -1)],
    )
    compiled = tg.compile(lambda x: x * cfg.s)
    for value in (float("nan"), float("-nan"), float("nan")):
        cfg.s = value
        assert np.isnan(first(compiled(ONES)))
    assert compiled.explain_recapture().count("\n") == 0  # one NaN is as good as another


class Described:
    """A descriptor with a value of its own."""

    def __init__(self, value):
        self.value = value

    def __get__(self, instance, owner=None):
        return self.value


class Meta(type):
    @property
    def doubled(cls):
        return cls.single * 2


class WithMeta(metaclass=Meta):
    single = 1.0
    described = Described(1.0)


class Forwarding:
    def __init__(self):
        self.held = {"s": 1.0}

    def __getattr__(self, name):
        return self.__dict__["held"][name]


class AttributeDict(dict):
    __getattr__ = dict.__getitem__


class Parent:
    def factor(self):
        return 1.0


class Child(Parent):
    def factor(self):
        return super().factor() * 2


def test_attributes_that_classes_make_up_are_watched():
    forwarding, by_key, child = Forwarding(), AttributeDict(s=1.0), Child()
    follows(lambda x: x * WithMeta.doubled, [(None, 2), (lambda: setattr(WithMeta, "single", 2.0), 4)])
    described = vars(WithMeta)["described"]
    follows(lambda x: x * WithMeta.described, [(None, 1), (lambda: setattr(described, "value", 2.0), 2)])
    follows(lambda x: x * forwarding.s, [(None, 1), (lambda: forwarding.held.update(s=2.0), 2)])
    follows(lambda x: x * by_key.s, [(None, 1), (lambda: by_key.update(s=2.0), 2)])
    follows(
        lambda x: x * child.factor(), [(None, 2), (lambda: setattr(Parent, "factor", lambda self: 3.0), 6)]
    )


def test_what_lies_behind_views_and_variables_of_the_system_is_watched(monkeypatch):
    held, context, local = {"a": 1.0}, contextvars.ContextVar("context", default=1.0), threading.local()
    local.s = 1.0
    proxy, keys, chain = types.MappingProxyType(held), held.keys(), collections.ChainMap({}, held)
    cfg = Settings(s=1.0)
    reference, memory = weakref.ref(cfg), memoryview(raw)
    masked = np.ma.array([1.0, 2.0], mask=[False, True])
    monkeypatch.setenv("TINYGRAPH_TEST_FACTOR", "1")
    for function, change in [
        (lambda x: x * proxy["a"], lambda: held.update(a=2.0)),
        (lambda x: x * len(keys), lambda: held.update(b=1.0)),
        (lambda x: x * chain["c"], lambda: chain.update(c=2.0)),
        (lambda x: x * context.get(), lambda: context.set(2.0)),
        (lambda x: x * local.s, lambda: setattr(local, "s", 2.0)),
        (lambda x: x * reference().s, lambda: setattr(cfg, "s", 2.0)),
        (lambda x: x * memory[0], lambda: raw.__setitem__(0, 2)),
        (lambda x: x * (1 + masked.mask[0]), lambda: masked.__setitem__(0, np.ma.masked)),
        (
            lambda x: x * float(os.environ["TINYGRAPH_TEST_FACTOR"]),
            lambda: monkeypatch.setenv("TINYGRAPH_TEST_FACTOR", "2"),
        ),
        (
            lambda x: x * float(os.getenv("TINYGRAPH_TEST_FACTOR")),
            lambda: monkeypatch.setenv("TINYGRAPH_TEST_FACTOR", "2"),
        ),
        (lambda x: x * eval("FACTOR"), lambda: set_global("FACTOR", 2.0)),  # noqa: S307
        (lambda x: x * globals()["FACTOR"], lambda: set_global("FACTOR", 2.0)),
    ]:
        raw[0], held["c"] = 1, 1.0
        set_global("FACTOR", 1.0)
        monkeypatch.setenv("TINYGRAPH_TEST_FACTOR", "1")
        if len(held) > 2:
            held.pop("b")
        before = first(function(ONES))
        change_to = {1.0: 2.0, 2.0: 3.0}[before]
        follows(function, [(None, before), (change, change_to)])
    set_global("FACTOR", 2.0)


def test_modules_that_a_function_imports_when_it_runs_are_watched(monkeypatch):
    monkeypatch.setitem(sys.modules, "outside_module", outside_module)

    def whole(x):
        import outside_module

        return x * outside_module.FACTOR

    def part(x):
        from outside_module import FACTOR as factor

        return x * factor

    for function in (whole, part):
        follows(function, [(None, 2), (lambda: setattr(outside_module, "FACTOR", 3.0), 3)])
        outside_module.FACTOR = 2.0


# -- containers and arrays -----------------------------------------------------------------------------------------


def test_containers_that_change_inside_are_noticed():
    sizes, table, names, queue = [1.0, 2.0], {"a": {"b": 1.0}}, {"x"}, collections.deque([1.0])
    follows(
        lambda x: x * sum(sizes), [(None, 3), (lambda: sizes.append(4.0), 7), (lambda: sizes.reverse(), 7)]
    )
    follows(
        lambda x: x * table["a"]["b"],
        [(None, 1), (lambda: table["a"].update(b=5.0), 5), (lambda: table.update(a={"b": 6.0}), 6)],
    )
    follows(lambda x: x * len(names), [(None, 1), (lambda: names.add("y"), 2), (lambda: names.clear(), 0)])
    follows(lambda x: x * queue[0], [(None, 1), (lambda: queue.appendleft(2.0), 2)])
    follows(
        lambda x: functools.reduce(lambda a, b: 2 * a + b, ordered.values(), 0) * x,
        [(None, 7), (lambda: ordered.move_to_end("b"), 11)],
    )
    follows(lambda x: x * user["a"], [(None, 1), (lambda: user.update(a=2.0), 2)])
    follows(lambda x: x * raw[0], [(None, 1), (lambda: raw.__setitem__(0, 2), 2)])


ordered = collections.OrderedDict(b=1, a=5)
user = collections.UserDict(a=1.0)
raw = bytearray([1])


def test_arrays_are_never_half_of_what_they_were():
    a = np.array([2.0, 3.0])
    compiled = tg.compile(lambda t: t * a + a.sum())
    assert compiled(ONES).tolist() == [7, 8]
    a[:] = 10
    assert compiled(ONES).tolist() == [30, 30]
    a[1] = np.nan
    assert np.isnan(compiled(ONES)).all()
    assert "contents of a changed" in compiled.explain_recapture()


def test_what_code_may_ask_of_an_array_is_watched_with_its_elements():
    a, b, c, table = np.ones(3), np.ones((2, 2)), np.ones(4), Table()
    table.own = np.ones(2)
    follows(lambda x: x * (2 if a.flags.writeable else 3), [(None, 2), (lambda: a.setflags(write=False), 3)])
    follows(
        lambda x: x * (2 if table.own.flags["WRITEABLE"] else 3),
        [
            (None, 2),
            (lambda: table.own.setflags(write=False), 3),
            (lambda: table.own.setflags(write=True), 2),
        ],
    )
    follows(lambda x: x * b.shape[0], [(None, 2), (lambda: setattr(b, "shape", (4, 1)), 4)])
    follows(lambda x: x * c.dtype.itemsize, [(None, 8), (lambda: setattr(c, "dtype", np.int64), 8)])
    follows(lambda x: x * (c.dtype.kind == "f"), [(None, 0), (lambda: setattr(c, "dtype", np.float64), 1)])


HELD = np.array([2.0, 3.0])


class Table:
    rows = np.array([[2.0], [3.0]])


def test_arrays_are_watched_wherever_they_lie():
    big = np.zeros(100_000)
    view = big[::2]
    fractions = np.array([Fraction(1), Fraction(2)])
    nested = Settings(parts=[{"a": np.array(2.0)}])
    follows(lambda x: x * HELD[0], [(None, 2), (lambda: HELD.__setitem__(0, 4.0), 4)])
    follows(lambda x: x * Table.rows.max(), [(None, 3), (lambda: Table.rows.__imul__(2), 6)])
    follows(lambda x: x + big.sum(), [(None, 1), (lambda: big.__setitem__(99_999, 2.0), 3)])
    follows(lambda x: x + view.sum(), [(None, 1), (lambda: big.__setitem__(50_000, 2.0), 3)])
    follows(
        lambda x: x * float(fractions.sum()), [(None, 3), (lambda: fractions.__setitem__(0, Fraction(5)), 7)]
    )
    follows(
        lambda x: x * nested.parts[0]["a"], [(None, 2), (lambda: nested.parts[0]["a"].__setitem__((), 5), 5)]
    )


def test_a_tensor_that_was_detached_is_read_as_it_is():
    p = tg.tensor([1.0, 2.0], requires_grad=True)
    shared = p.detach()

    def change():
        with tg.no_grad():
            p.__iadd__(1.0)

    follows(lambda x: x * shared, [(None, 1), (change, 2)])


# -- modules -------------------------------------------------------------------------------------------------------


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.scale = 2.0

    def forward(self, x):
        return self.drop(x) * self.scale


class Middle(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()
        self.sizes = [1.0]

    def forward(self, x):
        return self.inner(x) * self.sizes[0]


class Outer(nn.Module):
    """An eager module, a part of which is compiled; `route` makes the function that is."""

    def __init__(self, route):
        super().__init__()
        self.inner = Middle()
        self.route = route

    def forward(self, x):
        return tg.compile(self.route(self))(x)


class Keeping(Outer):
    def __init__(self, route):
        super().__init__(route)
        self.compiled = None

    def forward(self, x):
        if self.compiled is None:
            self.compiled = tg.compile(self.route(self))
        return self.compiled(x)


ROUTES = {
    "module": lambda outer: outer.inner,
    "method": lambda outer: outer.inner.forward,
    "lambda": lambda outer: lambda x: outer.inner(x),
    "partial": lambda outer: functools.partial(Middle.__call__, outer.inner),
    "closure": lambda outer: (lambda part: lambda x: part.inner(x) * part.sizes[0])(outer.inner),
}


@pytest.mark.parametrize("kind", [Outer, Keeping])
@pytest.mark.parametrize("route", ROUTES)
def test_a_compiled_part_of_an_eager_module_follows_it(kind, route):
    model = kind(ROUTES[route])
    x = tg.tensor(np.ones(64))
    tg.manual_seed(0)
    assert set(model(x).numpy().tolist()) == {0.0, 4.0}
    model.eval()
    for _ in range(2):
        assert model(x).tolist() == model.inner(x).tolist() == [2.0] * 64
    model.inner.inner.scale = 3.0
    assert model(x).tolist() == [3.0] * 64
    model.inner.sizes[0] = 2.0
    assert model(x).tolist() == [6.0] * 64
    model.inner.inner.drop = nn.Identity()
    model.train()
    assert model(x).tolist() == [6.0] * 64


def test_a_compiled_child_is_a_child():
    model = nn.Sequential(nn.Linear(2, 2), nn.Identity())
    model.block = tg.compile(Middle())
    model.deep = nn.Sequential()
    model.deep.part = tg.compile(nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5)))
    assert [name for name, _ in model.named_parameters()] == [
        "0.weight",
        "0.bias",
        "deep.part.0.weight",
        "deep.part.0.bias",
    ]
    assert model.get_submodule("deep.part.1").p == 0.5
    tg.manual_seed(0)
    assert set(model.block(tg.tensor(np.ones(64))).numpy().tolist()) == {0.0, 4.0}
    model.eval()
    assert model.block(tg.tensor(np.ones(64))).tolist() == [2.0] * 64
    x = np.ones((1, 2), np.float32)
    assert model.deep.part(x).tolist() == model.deep.part.function(x).tolist()
    model.load_state_dict({name: value * 0 + 1 for name, value in model.state_dict().items()})
    assert model.deep.part(x).tolist() == [[3, 3, 3]]
    assert model(x).tolist() == [[13, 13, 13]]


def test_parameters_buffers_and_modules_that_are_replaced_are_noticed():
    class Leaf(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter([2.0, 2.0])
            self.register_buffer("shift", np.zeros(2))

        def forward(self, x):
            return x * self.weight + self.shift

    model = nn.Sequential(nn.Sequential(nn.Sequential(Leaf())))
    leaf = model[0][0][0]

    def own(x):
        return x * leaf.weight + leaf.shift

    for function in (model, lambda x: model(x), own):
        follows(
            function,
            [
                (lambda: setattr(leaf, "weight", nn.Parameter([2.0, 2.0])), 2),
                (lambda: setattr(leaf, "weight", nn.Parameter([3.0, 3.0])), 3),
                (lambda: setattr(leaf, "shift", tg.core.state.buffer([1.0, 1.0])), 4),
                (lambda: setattr(leaf, "shift", tg.core.state.buffer([0.0, 0.0])), 3),
            ],
        )
    follows(model, [(None, 3), (lambda: model[0][0].__setitem__(0, nn.Identity()), 1)])


def test_a_module_that_is_nobodys_child_is_watched():
    drop = nn.Dropout(0.5)

    class Using(nn.Module):
        def forward(self, x):
            return drop(x) + 1

    compiled = tg.compile(Using())
    compiled(np.ones(4))
    drop.eval()
    assert compiled(np.ones(4)).tolist() == [2.0] * 4


# -- optimizers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: optim.Adam(p, lr=0.1),
        lambda p: optim.RMSprop(p, lr=0.1, momentum=0.5),
    ],
)
def test_an_optimizer_state_that_is_cleared_is_noticed(make):
    w, v = (tg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    by_plan, eager = make([w]), make([v])

    def step(p, optimizer):
        optimizer.zero_grad()
        (p * p * p).sum().backward()
        optimizer.step()

    compiled = tg.compile(lambda: step(w, by_plan))
    for i in range(8):
        if i in (3, 5):
            for optimizer in (by_plan, eager):
                optimizer.state.clear() if i == 3 else optimizer.state.pop(next(iter(optimizer.state)))
        compiled()
        step(v, eager)
        np.testing.assert_allclose(w.numpy(), v.numpy(), rtol=1e-12)
    assert len(compiled.explain_recapture().splitlines()) == 3
    assert "state was replaced or cleared" in compiled.explain_recapture()


def test_momentum_starts_anew_after_clearing():
    w = tg.tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1, momentum=0.9)

    @tg.compile
    def step():
        optimizer.zero_grad()
        (w * 2).sum().backward()
        optimizer.step()

    step()
    step()
    before = w.item()
    optimizer.state.clear()
    step()
    assert before - w.item() == pytest.approx(0.2)


# -- arguments -----------------------------------------------------------------------------------------------------


Point = collections.namedtuple("Point", "x y")
Reversed = collections.namedtuple("Point", "y x")


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Always:
    """Equal to every other of its kind, whatever is in it."""

    def __init__(self, s):
        self.s = s

    def __eq__(self, other):
        return isinstance(other, Always)

    def __hash__(self):
        return 1


def test_the_key_of_the_cache_tells_apart_what_a_program_can():
    for values, function in [
        ([True, Fraction(1), True, np.True_], lambda x, n: x * (2 if n is True else 3)),
        ([Level.LOW, 1.0, Level.HIGH, Level.LOW], lambda x, n: x * (2 if n is Level.LOW else 3)),
        (
            [Fraction(1, 2), "1/2", Fraction(1, 2), None],
            lambda x, n: x * (2 if isinstance(n, Fraction) else 3),
        ),
        ([Point(1.0, 2.0), Reversed(1.0, 2.0), Point(3.0, 4.0)], lambda x, p: x * p.x),
        ([Always(1.0), Always(2.0), Always(1.0)], lambda x, one: x * one.s),
        (
            [frozenset([1]), frozenset([True]), frozenset([1.0])],
            lambda x, s: x * (2 if True in map(_is_true, s) else 3),
        ),
        (
            [np.dtype("f4"), np.dtype("f8"), np.float32],
            lambda x, d: x * (2 if d is np.float32 else np.dtype(d).itemsize),
        ),
        ([False, 0, 0.0], lambda x, n: x * (2 if n is False else 3)),
    ]:
        compiled = tg.compile(function)
        for value in values * 2:
            assert first(compiled(ONES, value)) == first(function(ONES, value)), value


def _is_true(value):
    return value is True


def test_after_true_a_fraction_is_no_truth():
    compiled = tg.compile(lambda x, n: x * (2 if n is True else 3))
    assert [first(compiled(ONES, True)), first(compiled(ONES, Fraction(1)))] == [2, 3]


def test_attributes_of_arguments_are_watched():
    cfg = Settings(s=2.0)
    follows(lambda x, c: x * c.s, [(None, 2), (lambda: setattr(cfg, "s", 3.0), 3)], ONES, cfg)
    follows(lambda x, c: c.method(x), [(None, 3), (lambda: setattr(cfg, "s", 4.0), 4)], ONES, cfg)
    follows(lambda x, f: f(x), [(None, 4), (lambda: setattr(cfg, "s", 5.0), 5)], ONES, cfg.method)


def test_requires_grad_answers_as_eagerly():
    w = tg.tensor([2.0, 2.0], requires_grad=True)
    found = []

    def function(x):
        with tg.no_grad():
            quiet = x * w
        parts = (x, x * 2, x * w, w, w > 0, w.detach(), quiet, w.sum() * 2)
        found.append("".join("1" if one.requires_grad else "0" for one in parts))
        return x * (3 if x.requires_grad else 2)

    x = tg.tensor([1.0, 1.0])
    assert first(function(x)) == first(tg.capture(function, x)(x)) == 2
    assert found == ["00110001"] * 2

    def differentiated(x):
        return (x * (3 if (x * 1).requires_grad else 2)).sum()

    assert tg.grad(differentiated)(ONES).tolist() == [3, 3]
    assert tg.compile(tg.grad(differentiated))(ONES).tolist() == [3, 3]


# -- what is not a fact --------------------------------------------------------------------------------------------


def test_what_a_program_does_not_read_may_change():
    class Trainer:
        def __init__(self):
            self.model, self.steps, self.losses = nn.Linear(2, 2), 0, []

        def step(self, x):
            return self.model(x).sum()

        def run(self, x):
            self.losses.append(self.compiled(x).item())
            self.steps += 1

    trainer = Trainer()
    trainer.compiled = tg.compile(trainer.step)
    for _ in range(4):
        trainer.run(np.ones((1, 2), np.float32))
    assert trainer.compiled.explain_recapture().count("\n") == 0
    assert trainer.steps == len(trainer.losses) == 4


def test_memories_of_results_are_filled_once():
    class Lazy:
        table: ClassVar = {}

        def __init__(self):
            self.mask = None

        @functools.cached_property
        def factor(self):
            return 2.0

        def __call__(self, x):
            if self.mask is None:
                self.mask = np.arange(x.shape[0]) + 1.0
            if x.shape not in self.table:
                self.table[x.shape] = 3.0
            return x * self.mask * self.factor * self.table[x.shape]

    lazy = Lazy()
    compiled = tg.compile(lazy)
    for _ in range(4):
        assert compiled(ONES).tolist() == [6, 12]
    assert len(compiled.explain_recapture().splitlines()) == 2
    lazy.mask = np.array([5.0, 5.0])
    assert compiled(ONES).tolist() == [30, 30]
    lazy.table[(2,)] = 1.0
    assert compiled(ONES).tolist() == [10, 10]


def test_what_a_program_leaves_in_an_attribute_is_what_eager_leaves():
    cfg = Settings()

    def function(x):
        cfg.size = x.shape[0]
        return x * cfg.size

    compiled = tg.compile(function)
    assert first(compiled(ONES)) == 2
    assert first(compiled(ONES)) == 2
    again = r"captured again and again.*'cfg\.size'.*test_watching\.py:\d+"
    for x, wanted in ((np.ones(3), 3), (ONES, 2)):
        with pytest.warns(TinygraphWarning, match=again):
            assert first(compiled(x)) == wanted
    assert cfg.size == 2


def test_an_array_of_another_shape_and_an_iterator_that_went_on_are_changes():
    array, iterator = np.zeros((2, 3)), iter([1, 2, 3])
    elements, progress = Elements(array, "array", ""), Progress(iterator, "iterator", "")
    assert elements.holds()
    assert progress.holds()
    array.resize((3, 2), refcheck=False)
    assert not elements.holds()
    assert next(iterator) == 1
    assert not progress.holds()
