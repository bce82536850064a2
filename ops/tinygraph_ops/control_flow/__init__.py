"""Loops and choices whose bodies are graphs, and how they run."""

from tinygraph_ops.control_flow import kernels as kernels
from tinygraph_ops.control_flow import ops as ops
