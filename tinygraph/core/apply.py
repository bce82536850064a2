"""`apply`: the one choke point. Every node is made here, eager or captured, and every error is explained here.

apply(op, *operands, **settings)
  plain arrays only   the op's forward, nothing else
  a tensor among them forward, then a node if recording is on and an operand is recorded
  while capturing     the op's type rule instead of the forward
"""

from __future__ import annotations

from sys import _getframe, getprofile, setprofile
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.doors import doors
from tinygraph.core.fingerprint import fingerprint, may_change
from tinygraph.core.modes import modes
from tinygraph.core.node import Leaf, Node, Port, next_order
from tinygraph.core.source import is_library, library
from tinygraph.core.stand_ins import lies_in
from tinygraph.core.state import Generator
from tinygraph.core.tensor import CapturedArray, CapturedNumber, Handle, Tensor, left_behind
from tinygraph.core.types import (
    SCALAR_TYPES,
    array_type,
    as_value,
    require_plain,
    type_of,
)
from tinygraph.core.unwatched import RESTING
from tinygraph.core.views import link
from tinygraph.errors import (
    DTypeError,
    MatrixError,
    OpError,
    PluginError,
    RuleError,
    SettingError,
    ShapeError,
    TinygraphError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from tinygraph.core.op import Op

# Operand classes that forwards take as they are; anything else is made an array first.
_READY = frozenset({np.ndarray, bool, int, float, complex, type(None), Generator, *SCALAR_TYPES})
_VALUES = frozenset({np.ndarray, *SCALAR_TYPES})
_OWN = _READY | {
    Tensor,
    CapturedArray,
    CapturedNumber,
}  # operands that run no code of the user's when they are made arrays
_IMMUTABLE = frozenset({bool, int, float, str, type(None)})  # settings that are kept as they are
_array_class = np.ndarray
_LARGE = 8192  # elements: from there on generated kernels are worth looking for
_new: Any = object.__new__


def apply(op: Op, *operands: object, **settings: object) -> Tensor | Any:
    """Apply an op: arrays if every operand is one, else tensors; a tuple for several outputs. Errors name operands."""
    mode = modes.current
    if mode.capture is not None and (hook := _unneeded(op, operands)) is not None:
        return _resting(hook, op, operands, settings)
    for x in operands:
        if x.__class__ not in _READY:
            break
    else:  # as rules call ops in an eager backward pass, all the time
        return _plain(op, operands, settings)
    values: list[Any] = []
    entries: list[Any] = []
    entry: object
    # a bit for each operand that is recorded; is a leaf, written later perhaps; is nobody's array, written unseen
    mask, leaves, plain, tensors, bit = 0, 0, 0, 0, 1
    for x in operands:
        if x.__class__ is Tensor or isinstance(x, Handle):
            tensors = 1
            value = x._value
            if value is None and mode.capture is None:
                raise left_behind(f"op {op.name!r}", x)
            if (entry := x._edge) is not None:
                mask |= bit
                if entry.__class__ is Leaf:
                    leaves |= bit
            elif (entry := x._leaf) is not None:
                leaves |= bit
            else:
                entry = value
                if value.__class__ is _array_class:
                    plain |= bit
        else:
            value = entry = x if x.__class__ in _READY else _as_array(op, x, len(operands))
            if value.__class__ is _array_class:
                plain |= bit
        values.append(value)
        entries.append(entry)
        bit <<= 1
    if not tensors:  # of a list, say, arrays were made
        return _plain(op, tuple(values), settings)
    if settings:
        _freeze(settings)
    if mode.capture is not None:
        return mode.capture.apply(op, operands, entries, settings)
    try:
        out = op.forward(*values, **settings) if op.lowering is None else _computed(op, values, settings)
    except Exception as error:  # noqa: BLE001 - whatever it was, it is raised again with more words
        raise explained(op, operands, settings, error) from _unless_ours(error)
    if out.__class__ not in _VALUES:
        out = tuple(map(as_value, out)) if isinstance(out, tuple) else as_value(out)
    if not mask or not mode.recording:
        return _unrecorded(op, operands, settings, values[0], out)
    # Every line counts: a scalar op costs about as much as this. Live rules are found by mask and operand count.
    known = op.known_tangent_rules if mode.tangents else op.known_rules
    rules = known.get(mask | bit) or op.live_rules(mask, len(values), mode.tangents)
    node = _new(Node)
    node.op, node.inputs, node.settings = op, tuple(entries), settings
    node.live_rules, node.place, node.name, node.order = rules, mode.place, None, next_order()
    only = rules.only_value
    node.saved = (values[only],) if only is not None else rules.save(values, out) if rules.slots else ()
    kept = (leaves | plain) & rules.value_mask or (leaves and out.__class__ not in SCALAR_TYPES)
    node.versions = _versions(entries, values, out, leaves, plain, rules.value_mask) if kept else None
    frame: FrameType | None = _getframe(1)
    while frame is not None and is_library(frame.f_code.co_filename):
        frame = frame.f_back
    node.code, node.offset = (frame.f_code, frame.f_lasti) if frame is not None else (None, 0)
    if out.__class__ is tuple:
        return _several(node, operands, values[0], out)
    result = _new(Tensor)
    result._value, result._edge, result._leaf = out, node, None
    types = SCALAR_TYPES.get(out.__class__)
    if types is None:
        types = array_type((out.shape, out.dtype))
        if out.base is not None or out is values[0]:
            link(op, operands, settings, result, values[0])
    node.types = types
    return result


def _plain(op: Op, operands: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """The op's forward on what it takes as it is."""
    if settings:
        _freeze(settings)
    try:
        return op.forward(*operands, **settings) if op.lowering is None else _computed(op, operands, settings)
    except Exception as error:  # noqa: BLE001 - whatever it was, it is raised again with more words
        raise explained(op, operands, settings, error) from _unless_ours(error)


def _computed(op: Op, values: Sequence[Any], settings: dict[str, Any]) -> Any:
    """What a generated kernel makes of values if one of them is large, or else the op's forward."""
    for value in values:
        if value.__class__ is _array_class and value.size >= _LARGE:
            out = doors.run_eagerly(op, values, settings)
            if out is not None:
                return out
            break
    return op.forward(*values, **settings) if settings else op.forward(*values)


def _unneeded(op: Op, operands: tuple[Any, ...]) -> Any:
    """The hook that watches for code of the user's, if an op on these operands runs none; it sees each call here."""
    hook: Any = getprofile()
    if hook.__class__ is not FunctionType or "may_rest" not in hook.__dict__ or not library[op.origin.file]:
        return None
    for x in operands:
        if type(x) not in _OWN:
            return None
    return hook


def _resting(hook: Any, op: Op, operands: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """Apply an op while the hook that watches for code of the user's rests."""
    setprofile(RESTING)
    try:
        return apply(op, *operands, **settings)
    finally:
        setprofile(hook)


def _unless_ours(error: Exception) -> Exception | None:
    """The cause to be named beside an explanation, which an error of ours does not need."""
    return None if isinstance(error, TinygraphError) else error


def _unrecorded(
    op: Op, operands: tuple[Any, ...], settings: dict[str, Any], first: object, out: object
) -> Tensor | tuple[Tensor, ...]:
    """Tensors of results that no node remembers; `first` is the value of the first operand."""
    made: Any
    if out.__class__ is tuple:
        made = tuple(map(Tensor, out))
    else:
        made = _new(Tensor)
        made._value, made._edge, made._leaf = out, None, None
    if (out.__class__ is _array_class and out.base is not None) or op.put is not None:
        link(op, operands, settings, made, first)
    return made  # type: ignore[no-any-return]


def _several(
    node: Node, operands: tuple[Any, ...], first: object, out: tuple[Any, ...]
) -> tuple[Tensor, ...]:
    """The tensors of a node that has several outputs."""
    node.types = tuple(map(type_of, out))
    results = tuple(Tensor(value, Port(node, i)) for i, value in enumerate(out))
    if node.op.put is not None:
        link(node.op, operands, node.settings, results, first)
    return results


def _versions(
    entries: list[Any], values: list[Any], out: object, leaves: int, plain: int, asked: int
) -> tuple[tuple[Any, Any], ...] | None:
    """What tells whether kept values have changed: the version of each leaf, the fingerprint of each plain array.

    `leaves`, `plain` and `asked` are masks of operands. A view of a leaf counts as kept: what is computed from it keeps
    the leaf's memory, and goes stale with it; numbers are no views.
    """
    plain &= asked
    if not leaves and not plain & (plain - 1):  # one array alone, as in most calls
        value = values[plain.bit_length() - 1]
        changes = value.base is not None or value.flags.writeable  # as `may_change`
        return ((value, fingerprint(value)),) if changes else None
    if not (leaves and lies_in(out, values[0])):
        leaves &= asked
    if not leaves | plain:
        return None
    versions: list[tuple[Any, Any]] = []
    bit = 1
    for entry, value in zip(entries, values):  # noqa: B905 - of one length; `strict` costs as much as the loop
        if leaves & bit:
            versions.append((entry, entry.version))
            # such as a batch given to a module: memory of the user's, who counts nothing
            if entry.leaf_kind == "input" and not entry.requires_grad and may_change(entry.value):
                versions.append((entry.value, fingerprint(entry.value)))
        elif plain & bit and may_change(value):
            versions.append((value, fingerprint(value)))
        bit <<= 1
    return tuple(versions) or None


def _as_array(op: Op, x: object, count: int) -> Any:
    """An operand that is no array yet: a list, a Fraction, an array subclass."""
    if count == 1 and isinstance(x, list | tuple) and op.signature.operands[0].variadic:
        raise DTypeError(
            f"op {op.name!r} got one {type(x).__name__}, and takes its operands one by one: write "
            f"{op.name}(*{op.signature.operands[0].name}, ...) with a star"
        )
    require_plain(x)
    if isinstance(x, list | tuple) and any(isinstance(one, Tensor) for one in x):
        raise DTypeError(
            f"op {op.name!r} got a {type(x).__name__} with tensors inside, which would lose their gradients; "
            f"join them with tg.ops.stack(*tensors, axis=0) first"
        )
    if isinstance(x, str | bytes | dict | set):
        raise DTypeError(
            f"op {op.name!r} got a {type(x).__name__} where an array belongs; settings are keyword-only"
        )
    array = np.asarray(x)
    if array.dtype.kind not in "biufcO":
        raise DTypeError(f"op {op.name!r} got an array of dtype {array.dtype}; operands must be numeric")
    return array


def _freeze(settings: dict[str, Any]) -> None:
    """Make the settings of a call immutable, in place: they are nobody else's."""
    for name, setting in settings.items():
        if setting.__class__ not in _IMMUTABLE:
            settings[name] = _frozen(setting)


def _frozen(setting: object) -> Any:
    """A setting as an immutable value that JSON can hold: lists become tuples, dtypes names."""
    if setting.__class__ in _IMMUTABLE:
        return setting
    if setting.__class__ is tuple:  # of immutable values, or of tuples of them: patterns of indices
        for one in setting:
            if one.__class__ not in _IMMUTABLE and (
                one.__class__ is not tuple or not _IMMUTABLE.issuperset(map(type, one))
            ):
                break
        else:
            return setting
    if isinstance(setting, list | tuple):
        return tuple(map(_frozen, setting))
    if isinstance(setting, np.bool_ | np.number):
        return setting.item()
    if isinstance(setting, np.dtype) or (isinstance(setting, type) and issubclass(setting, np.generic)):
        return np.dtype(setting).name
    if setting in (float, int, bool, complex):
        return np.dtype(setting).name
    if isinstance(setting, Tensor | np.ndarray):
        raise SettingError(
            "a setting must be an immutable Python value, not an array or tensor; arrays are positional operands"
        )
    return setting


def explained(op: Op, operands: tuple[Any, ...], settings: dict[str, Any], error: Exception) -> Exception:
    """The error of a forward or type rule, with the op, its operands and where each came from."""
    for name, value in settings.items():
        if name not in op.signature.settings:
            known = ", ".join(op.signature.settings) or "none"
            return SettingError(
                f"op {op.name!r} has no setting {name!r} (given {value!r}); its settings are: {known}"
            )
    if len(operands) > len(op.signature.operands) and not op.signature.operands[-1].variadic:
        names = ", ".join(operand.name for operand in op.signature.operands)
        return SettingError(
            f"op {op.name!r} takes {len(op.signature.operands)} operand(s) ({names}) but got {len(operands)}; "
            f"settings are keyword-only: {', '.join(op.signature.settings) or 'none'}"
        )
    cause: Exception = error
    if op.typed and not isinstance(error, TinygraphError):
        # the type rule usually says more precisely what does not fit
        try:
            op.type_rule(*(_operand_type(x) for x in operands), **settings)
        except TinygraphError as better:
            cause = better.with_traceback(None)  # whose frames lead to this one, and keep the operands alive
        except Exception:  # noqa: BLE001 - the rule itself stumbled: the first error stands
            cause = error
    if isinstance(cause, np.linalg.LinAlgError):
        kind: type[TinygraphError] = MatrixError
    elif isinstance(cause, ShapeError | ValueError | IndexError) and not isinstance(
        cause, SettingError | DTypeError
    ):
        kind = ShapeError
    elif isinstance(cause, DTypeError | TypeError):
        kind = DTypeError
    else:
        kind = type(cause) if isinstance(cause, SettingError | RuleError | PluginError) else OpError
    lines = [f"op {op.name!r}: {cause if str(cause) else type(cause).__name__}"]
    for i, x in enumerate(operands):
        if x is not None:
            lines.append(f"    {op.operand_at(i).name}: {_described(x)}")
    for name, value in settings.items():
        lines.append(f"    {name} = {value!r}")
    return kind("\n".join(lines))


def _operand_type(x: object) -> Any:
    if isinstance(x, Tensor):
        return x.type
    return x if x is None or isinstance(x, bool | int | float | complex) else type_of(x)


def _described(x: object) -> str:
    if isinstance(x, Tensor):
        node = x.node if x.node is not None else x._leaf
        return f"{x.type}" + (f", {node.describe()}" if node is not None else "")
    return f"{x!r}" if isinstance(x, bool | int | float | complex) else f"{type_of(x)}, an array"
