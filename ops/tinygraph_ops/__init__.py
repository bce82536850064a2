"""The built-in ops: one module a family, declared through `tinygraph.plugin` like anybody's."""

from tinygraph_ops import arithmetic as arithmetic
