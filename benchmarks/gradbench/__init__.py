"""Evals of GradBench, the independent benchmark of autodiff tools, in plain NumPy: `python -m benchmarks.gradbench`."""
