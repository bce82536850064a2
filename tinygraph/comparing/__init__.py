"""Semantic differences of two graphs: structure, settings, types, values and gradients. `tg.diff` is the door."""

from tinygraph.comparing.difference import Change as Change
from tinygraph.comparing.difference import Difference as Difference
from tinygraph.comparing.front import diff as diff
