"""Benchmarks: side by side, alternating, medians of ratios, results checked equal first. Run one with `python -m`."""
