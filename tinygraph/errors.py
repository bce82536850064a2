"""Every exception that tinygraph raises, and the warnings it gives.

    TinygraphError
    ├── ShapeError (ValueError)            operands whose shapes, ranks or sizes do not fit the op
    ├── DTypeError (TypeError)             a dtype the op or transform cannot take
    ├── SettingError (ValueError)          a setting with an impossible value
    ├── OpError                            an op's forward function failed for another reason
    │   └── MatrixError (LinAlgError)      a matrix that has no such inverse or factor
    ├── RuleError                          a derivative rule is malformed, or returned something wrong
    │   └── MissingRuleError               no rule for an argument that wants a gradient
    ├── RecordingError                     something was asked of a value that was not recorded
    ├── StaleValueError                    a saved value was changed before backward could use it
    ├── InPlaceError                       a write that would lose a gradient
    ├── GraphError                         a graph that breaks its own specification
    ├── CaptureError                       a captured (value-less) tensor was used as if it had a value
    ├── UnknownOpError (AttributeError)    no op of that name
    ├── PluginError                        an op package is faulty, or two claim one name
    ├── NumpyFunctionError (TypeError)     a NumPy function without an op met a tensor
    ├── FileFormatError (ValueError)       a graph, data or state file that cannot be read
    ├── StateDictError (KeyError)          missing, unexpected or misshapen entries of a state_dict
    ├── DataError (ValueError)             unusable training data
    ├── ParallelError                      processes that run one program do not agree, or cannot be connected
    ├── AnomalyError                       a value that is not finite, inside tg.detect_anomaly()
    └── DrawingError                       a drawing that cannot be made

Low-level code raises one short error; `apply` enriches it once with the op, its operands and where they came from.
"""

from __future__ import annotations

import numpy as np


def printable(text: str, keep: str = "\n\t") -> str:
    """A text whose control characters are shown, not sent: names come from files, and a terminal obeys what it reads.

    What does not show itself (escapes, marks that turn the direction of writing) is written as in a Python string; line
    breaks and tabs stay, unless `keep` is empty.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else ascii(one)[1:-1] for one in text)


class TinygraphError(Exception):
    """Anything that tinygraph raises on purpose."""

    def __str__(self) -> str:
        return printable(super().__str__())


class ShapeError(TinygraphError, ValueError):
    """Operands whose shapes, ranks or sizes do not fit the op."""


class DTypeError(TinygraphError, TypeError):
    """A dtype that the op or transform cannot take."""


class SettingError(TinygraphError, ValueError):
    """A setting with an impossible value."""


class OpError(TinygraphError):
    """An op's forward function failed for a reason that is neither a shape nor a dtype."""


class MatrixError(OpError, np.linalg.LinAlgError):
    """A matrix that has no such inverse, factor or solution: NumPy's LinAlgError, with the op and its operands."""


class RuleError(TinygraphError):
    """A derivative rule is malformed, or returned something of the wrong shape, dtype or number."""


class MissingRuleError(RuleError):
    """No derivative rule for an argument that wants a gradient."""


class RecordingError(TinygraphError):
    """Something was asked of a value that was not recorded: backward, a drawing, an explanation."""


class StaleValueError(TinygraphError):
    """A value that a derivative rule saved was changed before backward could use it."""


class InPlaceError(TinygraphError):
    """A write that would silently lose a gradient."""


class CaptureError(TinygraphError):
    """A captured tensor, which has a type but no value, was used as if it had one."""


class NoSuchAttributeError(CaptureError, AttributeError):
    """An attribute of tensors is asked of an array or a number that is captured, which has none such eagerly."""


class ParallelError(TinygraphError):
    """Processes that run one program together do not agree, or cannot be connected."""


class AnomalyError(TinygraphError):
    """A value that is not finite was made, inside `tg.detect_anomaly()`. `.reason` is the `Reason`."""

    def __init__(self, reason: object) -> None:
        super().__init__(str(reason))
        self.reason = reason


class GraphError(TinygraphError):
    """A graph that breaks its own specification: arity, types, order or phases."""


class UnknownOpError(TinygraphError, AttributeError):
    """No op of that name is registered."""


class PluginError(TinygraphError):
    """An op package is faulty, or two of them claim one name."""


class NumpyFunctionError(TinygraphError, TypeError):
    """A NumPy function that no op stands for, or a form of it that the op does not take, met a tensor."""


class FileFormatError(TinygraphError, ValueError):
    """A graph, data or state file that is truncated, malformed or of another version."""


class StateDictError(TinygraphError, KeyError):
    """Missing, unexpected or misshapen entries of a state_dict."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument, which would escape the line breaks of a report.
        return printable(str(self.args[0])) if self.args else ""


class DataError(TinygraphError, ValueError):
    """Training data that cannot be used: non-finite values, empty sets, lengths that differ."""


class DrawingError(TinygraphError):
    """A drawing that cannot be made, with what to do about it."""


class TinygraphWarning(UserWarning):
    """Something works, but not as well as it could; the text says what to do."""

    def __str__(self) -> str:
        return printable(super().__str__())


class VmapLoopWarning(TinygraphWarning):
    """An op has no batching rule, so that `tg.vmap` applies it to one example after another."""
