"""Explaining one number of a gradient: every path it comes through, with the numbers. `tg.explain` is the door.

`tg.contributions` splits a whole gradient by branch.
"""

from tinygraph.explain.contributions import Contribution as Contribution
from tinygraph.explain.contributions import Contributions as Contributions
from tinygraph.explain.contributions import contributions as contributions
from tinygraph.explain.front import explain as explain
from tinygraph.explain.impacts import Impact as Impact
from tinygraph.explain.impacts import Impacts as Impacts
