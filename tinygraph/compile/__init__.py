"""Compile: capture, passes, plan. A function, up to a whole training step, becomes a schedule over planned buffers."""

from tinygraph.compile.compiled import Compiled as Compiled
from tinygraph.compile.compiled import compile as compile
from tinygraph.compile.plan import Plan as Plan
