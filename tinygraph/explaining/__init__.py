"""Explaining one number of a gradient: every path it comes through, with the numbers. `tg.explain` is the door.

`tg.contributions` splits a whole gradient by branch.
"""

from tinygraph.explaining.contributions import Contribution as Contribution
from tinygraph.explaining.contributions import Contributions as Contributions
from tinygraph.explaining.contributions import contributions as contributions
from tinygraph.explaining.front import explain as explain
from tinygraph.explaining.impacts import Impact as Impact
from tinygraph.explaining.impacts import Impacts as Impacts
