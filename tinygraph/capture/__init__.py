"""Capture: a Python function becomes a typed `Graph`, without values."""

from tinygraph.capture.trace import capture as capture
