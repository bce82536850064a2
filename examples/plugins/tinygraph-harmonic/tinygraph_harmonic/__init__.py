"""Cosine and Hartley transforms for tinygraph: importing this package declares its ops."""

from tinygraph_harmonic.harmonic import dct as dct
from tinygraph_harmonic.harmonic import hartley as hartley
