"""Capture: a Python function becomes a typed `Graph`, without values."""

from tinygraph.tracing.capturing import capture as capture
