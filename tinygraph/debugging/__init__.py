"""Debugging: why a gradient is missing, zero or not finite, and where the first value that is not finite was made."""

from tinygraph.debugging.anomaly import detect_anomaly as detect_anomaly
from tinygraph.debugging.front import why as why
from tinygraph.debugging.reason import Reason as Reason
