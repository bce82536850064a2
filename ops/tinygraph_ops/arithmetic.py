"""Arithmetic: + - * / and their kin. Powers are in `powers.py`, exp and log in `exponential.py`."""

import numpy as np

from tinygraph.plugin import Sample, op, ops


@op(kind="elementwise", numpy=np.add, linear=("x", "y"), samples=[Sample([1.0, 2.0], [[3.0], [4.0]])])
def add(x, y):
    """x + y"""
    return x + y


@add.vjp("x")
def add_wrt_x(g):
    return g


@add.vjp("y")
def add_wrt_y(g):
    return g


@op(kind="elementwise", numpy=np.multiply, linear=("x", "y"), samples=[Sample([1.0, 2.0], [[3.0], [4.0]])])
def multiply(x, y):
    """x * y;  d/dx = y,  d/dy = x."""
    return x * y


@multiply.vjp("x")
def multiply_wrt_x(g, y):
    return g * y


@multiply.vjp("y")
def multiply_wrt_y(g, x):
    return g * x
