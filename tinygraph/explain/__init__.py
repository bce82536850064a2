"""Explaining one number of a gradient: every path it comes through, with the numbers. `tg.explain` is the door."""

from tinygraph.explain.front import explain as explain
from tinygraph.explain.impacts import Impact as Impact
from tinygraph.explain.impacts import Impacts as Impacts
