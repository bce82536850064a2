"""Rotary position embedding for tinygraph: importing this package declares the op `rotary`."""

from tinygraph_rotary.rotary import rotary as rotary
