"""Random programs as source text: Python state between calls, writes inside steps, numbers and dtypes of every kind.

A program is a few lists of lines that run by themselves: what stands at the top of the file, the body of one function,
and the calls of it with changes between them. How the function is run - eagerly, compiled, checkpointed ... - is one line
more (`VARIANTS`). Which lines fit together is found by trying them. How two runs are compared is in `comparing.py`.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tinygraph.errors import TinygraphError

# Kinds of lines, and ways to run programs, that are switched off: known to give other numbers until the mends of an area
# are there, which are named beside them. Delete a line with its mend.
SWITCHED_OFF: dict[str, str] = {}
# Lines with known faults, and what is wrong with them: a body with one of them is not made. Delete a line with its mend.
KNOWN: dict[str, str] = {
    "alias += 1.0": "NumPy's scalars are not written in place; captures refuse, eager tensors are written, as PyTorch's",
}

PROLOGUE = """\
import math
import random
import threading
from collections import namedtuple
from fractions import Fraction

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim

ops = tg.ops
tg.manual_seed(0)
random.seed(0)
log = []


def leaves(out):
    if isinstance(out, dict):
        out = list(out.values())
    if isinstance(out, (tuple, list)):
        return [leaf for one in out for leaf in leaves(one)]
    return [out] if isinstance(out, float) or getattr(out, "dtype", np.dtype(bool)).kind == "f" else []


def total(out):
    return sum((np.sum(leaf * (0.5 + 0.25 * i)) for i, leaf in enumerate(leaves(out))), 0.0)


def T(value):
    return tg.tensor(value, requires_grad=np.asarray(value).dtype.kind == "f")
"""

# How `body` is run. `inner` is what a program calls; the first of them is the reference.
VARIANTS = {
    "eager": "inner = body",
    "compiled": "inner = tg.compile(body)",
    "checkpointed": "inner = tg.checkpoint(body)",
    "reloaded": """
def inner(x, y, n, d):
    with tempfile.TemporaryDirectory() as folder:
        tg.capture(body, x, y, n, d).save(folder + "/graph.json")
        graph = tg.load(folder + "/graph.json")
    numbers = (tg.Tensor, np.ndarray, np.generic)  # and Python's, but for bools and fractions, are a graph's inputs
    return graph(*(a for a in (x, y, n, *d.values()) if isinstance(a, numbers) or type(a) in (int, float)))
""",
    "in a thread": """
def inner(*args):
    found = []

    def work():
        try:
            found.append(body(*args))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]
""",
    "compiled in threads": """
compiled = tg.compile(body)


def plain(leaf):
    return np.asarray(leaf.detach() if isinstance(leaf, tg.Tensor) else leaf)


def inner(*args):
    found = []

    def work():
        try:
            found.append(compiled(*args))
        except Exception as error:
            found.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in found:
        if isinstance(one, Exception):
            raise one
    for one in found[1:]:
        for a, b in zip(map(plain, leaves(one)), map(plain, leaves(found[0]))):
            assert np.array_equal(a, b, equal_nan=True), "two threads got two results"
    return found[0]
""",
    "compiled inside compiled": "inner = tg.compile(lambda *args: once(*args))\nonce = tg.compile(body)",
    "recorded": "inner = lambda *args: body(*(T(a) if isinstance(a, np.ndarray) else a for a in args))",
}

# How a program uses `inner`: calls it, or differentiates through it.
MODES = {
    "call": "f = inner",
    "step": "f = inner",
    "backward": """
def f(*args):
    for one in (w, v):
        one.grad = None
    args = [T(a) if isinstance(a, np.ndarray) else a for a in args]
    out = inner(*args)
    loss = total(out)
    if isinstance(loss, tg.Tensor) and loss.requires_grad:
        loss.backward()
    return out, [getattr(a, "grad", None) for a in (*args, w, v)]
""",
    "grad": """
def f(x, *rest):
    return tg.grad(lambda t: total(inner(t, *rest)) + 0.0 * total(t))(x)
""",
    "second order": """
def f(x, *rest):
    return tg.grad(lambda u: np.sum(tg.grad(lambda t: total(inner(t, *rest)) + np.sum(t * t))(u) * 1.5))(x)
""",
}
# Which variants can run which modes.
FITTING = {
    "call": ("compiled", "checkpointed", "reloaded", "in a thread", "compiled in threads", "compiled inside compiled",
             "recorded"),
    "step": ("compiled", "in a thread", "compiled inside compiled"),
    "backward": ("compiled", "checkpointed", "in a thread", "compiled in threads", "compiled inside compiled"),
    "grad": ("compiled", "checkpointed", "reloaded", "in a thread", "compiled in threads", "compiled inside compiled"),
    "second order": ("compiled", "checkpointed", "reloaded", "in a thread"),
}  # fmt: skip


class Piece(NamedTuple):
    """Something that programs read, write and change between calls.

    `reads` are expressions of an operand {a}, `blocks` statements that make {t} (and may use {a} and {b}), `changes`
    lines between calls, and `watched` expressions whose values are compared after every line.
    """

    feature: str
    setup: str = ""
    reads: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    writes: bool = False  # whether calling twice is not calling once
    steps: bool = False  # whether its blocks belong to training steps


PIECES = (
    Piece(
        "attributes",
        "class Config:\n    pass\n\n\ncfg = Config()\ncfg.s = 1.5\ncfg.flag = True\ncfg.inner = Config()\ncfg.inner.k = 0.5",
        ("{a} * cfg.s", "({a} + 1.0 if cfg.flag else {a} * 2.0)", "{a} + cfg.inner.k", "{a} * getattr(cfg, 's')",
         "{a} * cfg.__dict__['s']", "{a} * vars(cfg)['s']", "({a} * 3.0 if hasattr(cfg, 'more') else {a})"),
        changes=("cfg.s = 3.0", "cfg.s = 2", "cfg.flag = False", "cfg.flag = True", "cfg.inner.k = 4.0", "cfg.s = np.float64(0.25)",
                 "cfg.more = 1.0", "cfg.inner = Config(); cfg.inner.k = -1.0", "cfg.s = True", "cfg.s = -0.0"),
    ),
    Piece(
        "class attributes",
        "class Settings:\n    k = 2.0\n\n    @staticmethod\n    def of(t):\n        return t * Settings.k\n\n    @property\n    def p(self):\n"
        "        return self.k * 2.0\n\n\nsettings = Settings()",
        ("{a} * Settings.k", "Settings.of({a})", "{a} * settings.k", "{a} * settings.p"),
        changes=("Settings.k = 5.0", "Settings.k = 0.5", "settings.k = 7.0", "Settings.of = staticmethod(lambda t: t - 1.0)"),
    ),
    Piece(
        "globals",
        "SCALE = 2.0\nSWITCH = 'plus'",
        ("{a} * SCALE", "({a} + 1.0 if SWITCH == 'plus' else {a} - 1.0)", "{a} * globals()['SCALE']"),
        changes=("SCALE = 4.0", "SCALE = 4", "SCALE = tg.tensor(3.0)", "SCALE = np.array(1.5)", "SWITCH = 'minus'", "SCALE = False"),
    ),
    Piece(
        "helpers",
        "OFFSET = 1.0\n\n\ndef deeper(t):\n    return t * OFFSET\n\n\ndef helper(t, k=0.5):\n    return deeper(t) + k",
        ("helper({a})", "deeper({a})", "(lambda t: helper(t) * 2.0)({a})", "[helper(t) for t in ({a}, {b})][0]"),
        changes=("OFFSET = -1.0", "def deeper(t):\n    return t - 3.0", "helper = lambda t, k=0.5: t * k", "helper.__defaults__ = (2.5,)",
                 "deeper = np.tanh", "OFFSET = np.float32(2.0)"),
    ),
    Piece(
        "closures",
        "def make(k):\n    def inside(t):\n        return t * k\n\n    def change(value):\n        nonlocal k\n        k = value\n\n    return inside, change\n\n\n"
        "inside, change = make(2.0)",
        ("inside({a})", "inside({a}) + inside({b})"),
        changes=("change(7.0)", "change(3)", "change(np.array(0.5))", "inside, change = make(-1.0)"),
    ),
    Piece(
        "arrays",
        "K = np.array([2.0, 3.0, 0.5])\nI = np.array([2, 0, 1])",
        ("{a} * K", "{a} + K.sum()", "{a} * K + float(K[0])", "{a}[..., I]", "{a} * len(K)", "np.where(K > 1.0, {a}, 0.0)"),
        changes=("K[:] = 10.0", "K[0] = -1.0", "K = np.array([1.0, 1.0, 2.0])", "K *= 2.0", "I[:] = [0, 1, 2]", "K = K.astype('float32')"),
    ),
    Piece(
        "dicts",
        "D = {'b': 1.5, 'a': 2.0}",
        ("{a} * D['a']", "({a} * 2.0 if 'c' in D else {a})", "{a} * len(D)", "{a} * D.get('c', 3.0)"),
        ("{t} = {a}\nfor value in D.values():\n    {t} = 2.0 * {t} + value", "{t} = {a}\nfor key in D:\n    {t} = {t} * 2.0 + len(key) + (key == 'a')"),
        ("D['a'] = 5.0", "D['c'] = 1.0", "D = {'a': 2.0, 'b': 1.5}", "D['b'] = D.pop('b')", "D.clear(); D['a'] = 1.0"),
    ),
    Piece(
        "lists",
        "L = [1.0, 2.0]",
        ("{a} * sum(L)", "{a} * len(L)", "{a} + L[0]", "({a} if L else {a} * 2.0)"),
        ("{t} = {a}\nfor k in L:\n    {t} = {t} * k + 1.0",),
        ("L.append(3.0)", "L[0] = 9.0", "L.clear(); L.append(1.0)", "L = [2.0, 1.0]", "L.reverse()"),
    ),
    Piece(
        "modules",
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.l = nn.Linear(3, 3, dtype='float64')\n"
        "        self.drop = nn.Dropout(0.5)\n        self.norm = nn.BatchNorm1d(3, dtype='float64')\n        self.k = 2.0\n\n"
        "    def forward(self, t):\n        t = self.l(t) * self.k\n        return self.drop(t) if self.k > 0 else t\n\n\nm = Net()",
        ("m({a})", "m.l({a})", "m.norm({a})", "({a} * 2.0 if m.training else {a})", "m.forward({a})", "m.drop({a})", "{a} * m.k"),
        changes=("m.eval()", "m.train()", "m.k = -1.0", "m.k = 3.0", "m.drop.p = 0.1", "m.l = nn.Linear(3, 3, dtype='float64')", "m.drop.eval()",
                 "m.l.weight = nn.Parameter(np.full((3, 3), 0.25))", "m.norm.momentum = 0.5", "m.norm.eval()",
                 "with tg.no_grad():\n    m.l.bias[...] = 1.0", "m.l.bias = None", "m.drop = nn.Identity()", "m.norm.eps = 0.5",
                 "m.l.forward = lambda t: t * 5.0", "m.load_state_dict({k: np.asarray(p) * 0 + 1 for k, p in m.state_dict().items()})"),
        watched=("m.state_dict()",),
        writes=True,
    ),
    Piece(
        "parameters",
        "",
        ("{a} * w", "{a} + v", "{a} * w[0]", "w * v", "{a} * v.item()", "{a} * (w.detach() + 1.0)", "np.sum({a} * w)", "{a} * w.shape[0]"),
        ("with tg.no_grad():\n    w[...] = w * 0.5 + 1.0\n{t} = {a} * w", "with tg.no_grad():\n    w[0] = 3.0\n{t} = w * 2.0"),
        changes=("with tg.no_grad():\n    w *= 2.0", "w.grad = None", "v = tg.tensor(3.0, requires_grad=True)", "with tg.no_grad():\n    w[0] = 5.0",
                 "w = tg.tensor(np.array([1.0, 0.0, -1.0]), requires_grad=True)", "w.requires_grad = False", "w.requires_grad = True"),
    ),
    Piece(
        "states",
        "s = tg.tensor(np.array([1.0, 2.0, 3.0]))\nc = tg.tensor(0.0)",
        ("{a} + s", "{a} * c", "{a} + s[0]", "s * 2.0"),
        ("s[...] = s * 0.5 + 1.0\n{t} = s + {a}", "s[0] = 5.0\n{t} = s * 1.0", "s += 1.0\n{t} = s * 2.0", "c += 1.0\n{t} = c + {a}", "s *= 0.5\ns -= 1.0\n{t} = s * {a}",
         "{t} = s + 0.0\ns[...] = {t} * 2.0\n{t} = {t} + s", "c += np.sum({a})\n{t} = c * 1.0", "s[...] = np.sum({a})\n{t} = {a} * s", "s[1:] *= 2.0\n{t} = s + 0.0",
         "old = s\ns[...] = s + 1.0\n{t} = old * 1.0", "{t} = s[0:2]\ns[...] = s * 3.0\n{t} = {t} + 0.0"),
        ("s[...] = 0.5", "s = tg.tensor(np.ones(3))", "c[...] = 4.0", "s[0] = 7.0", "c += 1.0"),
        ("s", "c"),
        writes=True,
    ),
    Piece(
        "views",
        "",
        (),
        ("{t} = {a} * 2.0\nz = {t}[0:1]\nz += 1.0", "{t} = {a} * 2.0\nz = {t}.T\nz *= 3.0", "{t} = {a} + 0.5\nfor row in {t}:\n    row += 1.0",
         "{t} = {a} + 0.0\nz = {t}.reshape(-1)\nz[0] = 5.0", "{t} = {a} * 1.0\n{t}[..., 0] = 1.5", "{t} = {a} * 1.0\n{t}[0] += {b}", "{t} = {a} * 1.0\n{t}[{t} > 0.5] = 0.25",
         "{t} = {a} * 1.0\nz = {t}[0:2][0:1]\nz *= 2.0\n{t} = {t} * z", "{t} = {a} * 2.0\nalias = {t}\nalias += 1.0", "z = {a} * 1.0\n{t} = z[0:1] * 2.0\nz += 1.0\n{t} = {t} + z",
         "{t} = {a} * 1.0\nz = {t}[::-1]\n{t}[0] = 9.0\n{t} = {t} + z", "{t} = np.copy({a})\n{t} -= 1.0", "{t} = {a} * 1.0\nz = np.transpose({t})\nz[0] = 2.0",
         "{t} = {a} * 1.0\n{t} = np.add({t}, 1.0)\n{t} /= 2.0"),
    ),
    Piece(
        "random",
        "",
        ("ops.dropout({a}, p=0.5)", "ops.dropout({a} + 1.0, p=0.25)"),
        changes=("tg.manual_seed(7)",),
        writes=True,
    ),
    Piece(
        "host randomness",
        "rng = np.random.default_rng(0)",
        ("{a} + rng.random()", "{a} * random.random()", "{a} + rng.normal(size=3)"),
        changes=("rng = np.random.default_rng(5)", "random.seed(3)"),
        writes=True,
    ),
    Piece(
        "side effects",
        "class Counter:\n    n = 0\n\n\ncounter = Counter()",
        ("{a} * (1.0 + len(log))", "{a} + counter.n"),
        ("log.append(1)\n{t} = {a} * 1.0", "counter.n += 1\n{t} = {a} * counter.n", "log.append(len(log))\n{t} = {a} + log[-1]"),
        ("log.clear()",),
        ("list(log)", "counter.n"),
        writes=True,
    ),
    Piece(
        "numbers",
        "",
        ("n * n", "abs(n)", "round(n)", "{a} * n", "{a} + n", "n - {a}", "{a} / n", "n / 3", "{a} // n", "{a} % n", "-n", "n + True", "{a} + (n > 2)", "n % 3", "{a} ** n",
         "max(n, 2)", "n ** 2", "n // 2", "{a} * (n * n)", "np.where({a} > 0, n, {a})", "np.maximum({a}, n)", "{a} * (n / 7)", "np.multiply(n, n)", "{a} * abs(n)",
         "np.clip({a}, n, n + 1)", "{a} == n", "n < {a}", "np.float64(n) * {a}", "{a} + round(n / 3)", "({a} + n) - n", "n * 0.1 + {a}", "np.sum({a}) * n", "n"),
    ),
    Piece(
        "identity of numbers",
        "",
        ("{a} * (2 if n is True else 3)", "{a} * (2 if isinstance(n, int) else 3)", "{a} * (2 if isinstance(n, bool) else 3)", "{a} + (type(n) is float)",
         "{a} * (2.0 if isinstance(n, Fraction) else 0.5)"),
    ),
    Piece(
        "small dtypes",
        "",
        ("({a} * 3).astype('float16')", "{a}.astype('int8')", "{a}.astype('float32')", "({a} * 100).astype('int8') * 2", "{a}.astype('uint8') + 250", "{a}.astype(bool)",
         "np.where({a}.astype('int8') > 0, {a}.astype('int8'), 1)", "np.clip({a}.astype('int8'), -1, 1)", "np.triu({a}.astype('int16'))", "{a}.astype('float16') * 300 * 300",
         "({a} > 0) * {b}", "({a} > 0) + ({b} > 0)", "np.sum({a} > 0)", "np.mean({a} > 0)", "{a}.astype('float16').sum()", "{a}.astype('int32') // 2", "-{a}.astype('uint8')",
         "{a}.astype('int8') * {b}.astype('float16')", "{a}.astype('int64') ** 2", "abs({a}.astype('int8'))"),
    ),
    Piece(
        "comparisons",
        "",
        ("{a} > {b}", "({a} > 0) == y", "{a} == {b}", "{a} != 0", "np.logical_and({a} > 0, {b} > 0)", "({a} > 0) & ({b} > 0)", "~({a} > 0)", "np.where({a} > {b}, {a}, {b})",
         "({a} > {b}).sum()", "np.any({a} > 1)", "np.isfinite({a} / {b})", "np.sign({a})", "np.where(y, {a}, {b})", "np.maximum(y, {a})", "y * {a}", "y + {a}", "y == {a}",
         "y.sum() * {a}", "np.where({a} > 0, y, 0)"),
    ),
    Piece(
        "containers",
        "Pair = namedtuple('Pair', 'first second')",
        ("{a} * d['a']", "{a} + list(d.values())[0]", "Pair({a}, {b}).first"),
        ("{t} = {a}\nfor value in d.values():\n    {t} = 2.0 * {t} + value", "{t} = {a}\nfor key, value in d.items():\n    {t} = {t} + (2.0 if key == 'a' else 3.0) * value",
         "both = {{'z': {a}, 'k': {b}}}\n{t} = list(both.values())[0] * 2.0"),
    ),
    Piece(
        "requires_grad",
        "",
        ("({a} * 2.0 if getattr({a}, 'requires_grad', False) else {a})", "({a} * 3.0 if w.requires_grad else {a})", "({a} if isinstance({a}, tg.Tensor) else {a})"),
    ),
    Piece(
        "optimizers",
        "opt = optim.SGD([w, v], lr=0.1, momentum=0.9)\nsched = optim.lr_scheduler.ExponentialLR(opt, 0.5)",
        ("{a} * opt.param_groups[0]['lr']",),
        ("opt.zero_grad()\nloss = total({a} * w) + v * v\nloss.backward()\nopt.step()\n{t} = loss",
         "loss = np.sum(w * w) * v + total({a} * w)\nloss.backward()\nopt.step()\n{t} = loss * 1.0",
         "opt.zero_grad()\n(total({a}) * v).backward()\n(total({a}) * v).backward()\nopt.step()\n{t} = v + 0.0",
         "opt.zero_grad()\nnp.sum(np.tanh(w * {a})).backward()\nwith tg.no_grad():\n    w -= 0.1 * w.grad\n{t} = w * 1.0",
         "opt.zero_grad()\nnp.sum(w * {a} + v).backward()\nopt.step()\nopt.zero_grad()\nnp.sum(w * w).backward()\nopt.step()\n{t} = w.grad * 1.0"),
        ("opt.param_groups[0]['lr'] = 0.5", "opt.param_groups[0]['momentum'] = 0.0", "opt.state.clear()", "opt.zero_grad()", "opt.param_groups[0]['weight_decay'] = 0.1",
         "sched.step()", "w.grad = None", "opt.param_groups[0]['nesterov'] = True", "opt.load_state_dict(opt.state_dict())", "opt = optim.Adam([w, v], lr=0.1)",
         "opt.param_groups[0]['maximize'] = True", "v.grad = tg.tensor(1.0)", "with tg.no_grad():\n    w[...] = 1.0"),
        ("w.grad", "v.grad", "[dict(group, params=0) for group in opt.param_groups]"),
        writes=True,
        steps=True,
    ),
)  # fmt: skip

# What needs no state: the rest of every body.
PLAIN = (
    "np.tanh({a})", "{a} * {b}", "{a} + {b}", "{a} - {b}", "{a} / {b}", "np.exp(-np.abs({a}))", "np.abs({a})", "-{a}", "np.sum({a})", "np.mean({a})", "{a}.T",
    "{a}.reshape(-1)", "np.sin({a})", "ops.relu({a})", "np.clip({a}, -1, 1)", "np.sqrt(np.abs({a}) + 0.5)", "{a} ** 2", "{a} ** 0.5", "np.floor({a})", "{a}[()]",
    "{a}[..., 0]", "{a}[0:2]", "np.max({a})", "np.cumsum({a})", "np.maximum({a}, {b})", "{a} // {b}", "{a} % {b}", "np.hypot({a}, {b})", "np.concatenate([{a}, {a}])",
    "{a} @ {b}", "np.round({a}, 1)", "1.0 / ops.relu({a})", "np.log(np.abs({a}) + 1.0)", "np.sort({a})", "{a} * 0.0", "np.stack([{a}, {a}])", "np.prod({a})", "np.var({a})",
    "np.squeeze({a})", "{a}.copy()", "np.square({a}) - {a} * {a}", "ops.softmax({a}, axis=-1)", "np.power(np.abs({a}), {b})", "np.arctan2({a}, {b})", "np.outer({a}, {b})",
    "np.sum({a}, axis=0)", "np.zeros_like({a}) + 1.0", "{a}[None]", "np.expand_dims({a}, 0)", "np.minimum({a}, 0.0)", "np.linalg.norm({a})", "np.dot({a}, {b})",
)  # fmt: skip

ARRAYS = (
    "np.array([0.5, -1.25, 2.0])", "np.array([[0.5, -1.25, 2.0], [1.5, 0.0, -0.75]])", "np.array(0.75)", "np.array([[1.0, -2.0, 0.5]])",
    "np.array([0.5, -1.25, 2.0], 'float32')", "np.array([1.5, -0.5, 3.0], 'float16')", "np.array([-0.0, 0.0, 1.0])", "np.zeros((0, 3))",
    "np.array([[0.3, 0.1, -0.2], [0.7, -0.9, 1.1], [0.2, 2.5, -1.0]])", "np.array([0.25, 4.0, -3.0])[::-1]", "np.array([np.inf, -1.0, 0.0])", "np.array([2.5])",
)  # fmt: skip
OTHERS = (
    *ARRAYS[:6], "np.array([True, False, True])", "np.array(True)", "np.array([1, -2, 3])", "np.array([100, -100, 7], 'int8')", "np.array([200, 3, 0], 'uint8')",
    "np.array(3)", "np.array([[1, 0, 2]], 'int32')", "np.array([2**62, 1, -1])", "np.array([30000, 1, -5], 'int16')",
)  # fmt: skip
NUMBERS = (
    "3", "0", "1", "-2", "True", "False", "0.5", "-0.0", "2 ** 40", "2 ** 70", "2.5", "1.0", "Fraction(1)", "Fraction(1, 3)", "np.int8(3)", "np.float32(0.1)", "np.True_",
    "-7", "float('inf')", "np.int64(1)", "10 ** 12", "1e-3",
)  # fmt: skip
ENTRIES = ("1.5", "2", "np.array([1.0, 2.0, 3.0])", "-1", "np.array(0.5)")


class Program(NamedTuple):
    """A random program: lines at the top, of the function's body, and of the calls and changes after it."""

    mode: str
    setup: tuple[str, ...]
    body: tuple[str, ...]
    result: tuple[str, ...]
    driver: tuple[str, ...]
    watched: tuple[str, ...]
    writes: bool

    def definition(self, variant: str) -> str:
        """Everything before the calls."""
        body = [*self.body, f"return {self._returned()}"]
        indented = "\n".join("    " + line for block in body for line in block.split("\n"))
        names = "\n".join(
            f"    global {name}" for name in ("w",) if any(f"{name} -=" in one for one in self.body)
        )
        function = f"def body(x, y, n, d):\n{names}{chr(10) if names else ''}{indented}"
        parts = (*self.setup, function, VARIANTS[variant].strip(), MODES[self.mode].strip())
        header = "import tempfile\n" if "tempfile" in VARIANTS[variant] else ""
        return header + "\n\n\n".join(part for part in (PROLOGUE.strip(), *parts) if part) + "\n"

    def _returned(self) -> str:
        if len(self.result) == 1:
            return self.result[0]
        first, *rest = self.result
        if "containers" in SWITCHED_OFF:
            return f"({first}, {', '.join(rest)})"
        return "{'z': " + first + ", 'b': (" + "".join(f"{one}, " for one in rest) + "), 'n': 3}"

    def text(self, variant: str) -> str:
        """The program as a file that can be run."""
        lines = [*self.driver, *(f"print({one!r}, {one})" for one in self.watched)]
        printed = ["print(last)" if line.startswith("last = ") else "" for line in self.driver]
        shown = [part for pair in zip(self.driver, printed, strict=True) for part in pair if part]
        return self.definition(variant) + "\n" + "\n".join([*shown, *lines[len(self.driver) :]]) + "\n"

    def smaller(self) -> Iterator[Program]:
        """Programs with something left out, the largest cuts first."""
        for name in ("driver", "body", "setup", "result", "watched"):
            items: tuple[str, ...] = getattr(self, name)
            least = 1 if name in ("driver", "result") else 0
            size = len(items)
            while size >= 1:
                for start in range(0, len(items), size):
                    rest = items[:start] + items[start + size :]
                    if len(rest) >= least:
                        yield self._replace(**{name: rest})
                size //= 2
        for i, line in enumerate(self.body):  # a statement by its operand alone
            head, _, expression = line.partition(" = ")
            if "\n" not in line and expression not in ("x", "y"):
                for one in ("x", "y"):
                    yield self._replace(body=(*self.body[:i], f"{head} = {one}", *self.body[i + 1 :]))


def random_program(seed: int, mode: str | None = None) -> Program:
    """The program of a seed: always the same one."""
    rng = random.Random(seed)
    mode = mode or rng.choice(
        ("call", "call", "call", "backward", "backward", "grad", "second order", "step", "step")
    )
    usable = [
        piece for piece in PIECES if piece.feature not in SWITCHED_OFF and piece.steps <= (mode == "step")
    ]
    if mode in (
        "backward",
        "grad",
        "second order",
    ):  # what is written would be written by every pass of the transform
        usable = [
            piece
            for piece in usable
            if piece.feature not in ("side effects", "host randomness", "random", "modules")
        ]
    pieces = rng.sample(usable, min(len(usable), rng.randint(1, 4)))
    if mode == "step":
        pieces = [*(one for one in pieces if not one.steps), *(one for one in usable if one.steps)]
    setup = [
        "w = tg.tensor(np.array([0.5, -1.0, 2.0]), requires_grad=True)",
        "v = tg.tensor(1.5, requires_grad=True)",
    ]
    setup += [piece.setup for piece in pieces if piece.setup]
    calls = _calls(rng)
    writer = _Writer(rng, setup, calls[0])
    for _ in range(rng.randint(1, 6)):
        piece = rng.choice(pieces) if pieces and rng.random() < 0.65 else None
        blocks = piece.blocks if piece is not None and not piece.steps else ()
        reads = piece.reads if piece is not None else PLAIN
        writer.add(rng.choice((*reads, *blocks)) if reads or blocks else rng.choice(PLAIN))
    for piece in pieces:
        if piece.steps:
            writer.add(rng.choice(piece.blocks))
    changes = [line for piece in pieces for line in piece.changes]
    driver = [calls[0]]
    for call in calls[1:]:
        driver += rng.sample(changes, min(len(changes), rng.choice((0, 1, 1, 1, 2))))
        driver.append(call)
    names = writer.made or ["x"]
    result = list(dict.fromkeys([names[-1], *rng.sample(names, min(len(names), rng.choice((0, 0, 1, 2))))]))
    watched = ["w", "v", *(one for piece in pieces for one in piece.watched)]
    writes = any(piece.writes for piece in pieces) or any("no_grad" in line for line in writer.lines)
    return Program(
        mode, tuple(setup), tuple(writer.lines), tuple(result), tuple(driver), tuple(watched), writes
    )


def _calls(rng: random.Random) -> list[str]:
    """The text of two to four calls; mostly one changes something in the arguments."""
    numbers = [one for one in NUMBERS if one != "2 ** 70" or "numbers" not in SWITCHED_OFF]
    x, y, n = (
        rng.choice(ARRAYS[:4] if rng.random() < 0.5 else ARRAYS),
        rng.choice(OTHERS),
        rng.choice(numbers),
    )
    d = [("b", rng.choice(ENTRIES)), ("a", rng.choice(ENTRIES))]
    wrapped = rng.random() < 0.4
    calls = []
    for i in range(rng.randint(2, 4)):
        if i and rng.random() < 0.4:
            which = rng.randrange(4)
            x = rng.choice(ARRAYS) if which == 0 else x
            y = rng.choice(OTHERS) if which == 1 else y
            n = rng.choice(numbers) if which == 2 else n
            d = d[::-1] if which == 3 else d
        entries = ", ".join(f"{key!r}: {value}" for key, value in d)
        shown = f"tg.tensor({x})" if wrapped else x
        calls.append(f"last = f({shown}, {y}, {n}, {{{entries}}})")
    return calls


class _Writer:
    """Writes a body line by line, keeping what runs on the first call's arguments."""

    def __init__(self, rng: random.Random, setup: list[str], call: str) -> None:
        self.rng = rng
        self.lines: list[str] = []
        self.made: list[str] = []
        self.names: dict[str, Any] = {}
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec("\n".join([PROLOGUE, *setup]), self.names)  # noqa: S102 - programs of our own
            arguments = call.removeprefix("last = f(").removesuffix(")")
            exec(f"x, y, n, d = {arguments}", self.names)  # noqa: S102

    def add(self, template: str) -> None:
        name = f"t{len(self.made)}"
        for _ in range(3):
            pool = ["x", "y", *self.made, *self.made, "x"]
            filled = template.format(a=self.rng.choice(pool), b=self.rng.choice(pool), t=name)
            line = filled if "{t}" in template else f"{name} = {filled}"
            if self._runs(line, name):
                self.lines.append(line)
                self.made.append(name)
                return
            template = self.rng.choice(PLAIN) if self.rng.random() < 0.5 else template

    def _runs(self, line: str, name: str) -> bool:
        if any(known in line for known in KNOWN):
            return False
        names = dict(self.names)
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(line, names)  # noqa: S102
        except (TinygraphError, ArithmeticError, ValueError, TypeError, AttributeError, LookupError):
            return False
        made = names[name]
        if getattr(made, "size", 1) > 60 or getattr(made, "dtype", np.dtype(float)).kind not in "fiubO":
            return False
        self.names[name] = names[name]
        return True
