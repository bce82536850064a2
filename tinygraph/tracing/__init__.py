"""Capture: a Python function becomes a typed `Graph`, without values."""

from tinygraph.tracing.trace import capture as capture
