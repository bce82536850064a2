"""Semantic differences of two graphs: structure, settings, types, values and gradients. `tg.diff` is the door."""

from tinygraph.diff.difference import Change as Change
from tinygraph.diff.difference import Difference as Difference
from tinygraph.diff.front import diff as diff
