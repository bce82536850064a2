"""The registry: names, two claims on one, reserved names, and op packages that are faulty."""

import sys
from importlib import metadata

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core.registry import ENTRY_POINT_GROUP, registry
from tinygraph.errors import NumpyFunctionError, PluginError, RuleError, TinygraphWarning, UnknownOpError
from tinygraph.plugin import op

GOOD = """
import numpy as np
from tinygraph.plugin import op
@op(kind="elementwise")
def {name}(x):
    return {factor} * x
@{name}.vjp("x")
def {name}_wrt_x(g):
    return {factor} * g
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make packages of the given sources look installed."""
    registry._load_builtin()  # or restoring the snapshot would leave the built-in ops out
    before, plugins, modules = registry._snapshot(), registry._plugins, set(sys.modules)

    def installed(**sources):
        monkeypatch.syspath_prepend(tmp_path)
        points = []
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
            points.append(metadata.EntryPoint(name, name, ENTRY_POINT_GROUP))
        monkeypatch.setattr(metadata, "entry_points", lambda group: tuple(points))
        registry._plugins = None
        registry.resolved.clear()

    yield installed
    registry._restore(before)
    registry._plugins = plugins
    for name in set(sys.modules) - modules:
        if name.startswith("tgtest_"):
            del sys.modules[name]


def test_an_installed_op_is_found_by_its_name(install):
    install(tgtest_a=GOOD.format(name="tgtest_triple", factor=3))
    x = tg.tensor(2.0, requires_grad=True)
    tg.ops.tgtest_triple(x).backward()
    assert x.grad.item() == 3.0
    assert "tgtest_triple" in tg.ops


def test_a_name_that_two_packages_claim_belongs_to_neither(install):
    install(
        tgtest_a=GOOD.format(name="tgtest_same", factor=2), tgtest_b=GOOD.format(name="tgtest_same", factor=5)
    )
    with pytest.raises(PluginError, match=r"'tgtest_a'.*'tgtest_b'.*qualified"):
        _ = tg.ops.tgtest_same
    assert tg.ops["tgtest_a:tgtest_same"](1.0) == 2.0
    assert tg.ops["tgtest_b:tgtest_same"](1.0) == 5.0


def test_a_faulty_package_is_reported_once_and_skipped(install):
    install(
        tgtest_bad=GOOD.format(name="tgtest_half", factor=2) + "\n\nraise RuntimeError('no licence')\n",
        tgtest_good=GOOD.format(name="tgtest_triple", factor=3),
    )
    with pytest.warns(TinygraphWarning, match=r"'tgtest_bad'.*no licence.*tgtest_bad.py:\d+"):
        assert tg.ops.tgtest_triple(1.0) == 3.0
    with pytest.raises(UnknownOpError):  # nothing of it stays, and no second warning
        _ = tg.ops.tgtest_half


def test_a_package_without_ops_is_reported(install):
    install(tgtest_empty="")
    with pytest.warns(TinygraphWarning, match="'tgtest_empty'.*no op"), pytest.raises(UnknownOpError):
        _ = tg.ops.tgtest_nothing


def test_names_of_built_in_ops_are_reserved(install):
    install(tgtest_a=GOOD.format(name="exp", factor=2))
    assert tg.ops.exp(0.0) == 1.0
    with pytest.warns(TinygraphWarning, match="'tgtest_a'.*'exp'.*reserved"), pytest.raises(UnknownOpError):
        _ = tg.ops.tgtest_unknown
    assert tg.ops.exp(0.0) == 1.0


def test_a_numpy_function_has_one_op(install):
    source = GOOD.format(name="tgtest_exp", factor=2).replace('"elementwise"', '"elementwise", numpy=np.exp')
    install(tgtest_a=source)
    with pytest.warns(TinygraphWarning, match="np.exp.*'exp'"), pytest.raises(UnknownOpError):
        _ = tg.ops.tgtest_exp


def test_an_op_of_a_plugin_answers_its_numpy_function(install):
    source = GOOD.format(name="tgtest_i0", factor=2).replace('"elementwise"', '"elementwise", numpy=np.i0')
    install(tgtest_a=source)
    assert np.i0(tg.tensor(3.0)).item() == 6.0


def test_unknown_names_come_with_near_ones():
    with pytest.raises(UnknownOpError, match=r"did you mean.*relu"):
        _ = tg.ops.relux
    with pytest.raises(AttributeError):
        _ = tg.ops.relux
    assert not hasattr(tg.ops, "__wrapped__")


def test_an_op_is_declared_with_a_sound_signature():
    def default(x, y=2.0):
        return x + y

    def reserved(g):
        return g

    def starred(x, **settings):
        return x

    for function, words in ((default, "keyword-only"), (reserved, "reserved"), (starred, "one by one")):
        with pytest.raises(RuleError, match=words):
            op(function, declare=False)
    with pytest.raises(RuleError, match="kind 'unary' is none of"):
        op(lambda x: x, kind="unary", declare=False)


@pytest.mark.parametrize(
    ("attach", "words"),
    [
        (lambda made: made.vjp("y")(lambda g: g), "no operand 'y'.*its operands are x"),
        (lambda made: made.vjp("x")(lambda cotangent: cotangent), "must take 'g' first"),
        (
            lambda made: made.vjp("x")(lambda g, z: g),
            "asks for 'z'.*may ask for out, wanted, x, x_type, axis",
        ),
        (lambda made: made.jvp("x")(lambda g, x: g), "must take 't' first"),
        (lambda made: (made.vjp("x")(lambda g: g), made.vjp("x")(lambda g: g)), "already has a rule"),
    ],
)
def test_a_rule_names_only_what_the_op_has(attach, words):
    @op(declare=False)
    def made(x, *, axis=0):
        return x

    with pytest.raises(RuleError, match=words):
        attach(made)


def test_numpy_functions_without_an_op_name_a_way_out():
    with pytest.raises(NumpyFunctionError, match=r"np.is_busday has no differentiable op.*detach\(\)"):
        np.is_busday(tg.tensor(1.0))


def test_a_file_that_was_just_edited_is_read_as_it_is(tmp_path):
    """Of equal length and within the same second: bytecode that was kept of the first would pass for the second."""
    path = tmp_path / "edited_ops.py"
    text = "from tinygraph.plugin import op\n\n@op(kind='elementwise')\ndef edited(x):\n    return x + 1\n"
    for number in (1, 2, 3):
        path.write_text(text.replace("x + 1", f"x + {number}"))
        (made,) = tg.load_plugin(path)
        assert made(1.0) == 1.0 + number
