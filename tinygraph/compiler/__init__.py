"""Compile: capture, passes, plan. A function, up to a whole training step, becomes a schedule over planned buffers."""

from tinygraph.compiler.compiled import Compiled as Compiled
from tinygraph.compiler.compiled import compile as compile
from tinygraph.compiler.plan import Plan as Plan
