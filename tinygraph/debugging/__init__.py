"""Debugging: why a gradient is missing, zero or not finite, where that began, and what a step changed."""

from tinygraph.debugging.anomaly import detect_anomaly as detect_anomaly
from tinygraph.debugging.changing import Changes as Changes
from tinygraph.debugging.changing import changes as changes
from tinygraph.debugging.front import why as why
from tinygraph.debugging.reason import Reason as Reason
