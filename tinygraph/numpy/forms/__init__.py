"""Forms: NumPy functions written in NumPy, which therefore run on tensors as on arrays, in the ops behind each line.

Imported when a function is first called that no op stands for.
"""

from tinygraph.numpy.forms import assigning as assigning
from tinygraph.numpy.forms import calculus as calculus
from tinygraph.numpy.forms import joining as joining
from tinygraph.numpy.forms import polynomials as polynomials
from tinygraph.numpy.forms import selecting as selecting
from tinygraph.numpy.forms import shapes as shapes
from tinygraph.numpy.forms import statistics as statistics
from tinygraph.numpy.forms import ufuncs as ufuncs
