"""The source of a new op: a formula to be replaced, with rules, samples and expected values that agree with it.

The formula is a function of the first operand, times the other operands and a factor from each setting. What samples
expect is computed here with `math`, number by number, and not with the op.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tinygraph.scaffold.request import Request, Setting

_VALUES = (0.5, -1.25, 2.0, 0.75, -0.4, 1.5, -1.75, 1.1, -0.9, 0.3, 1.8, -0.6)
_WIDTH = 110


class Formula(NamedTuple):
    """A function of the first operand: in NumPy, its derivative in ops, in words, and in `math`."""

    forward: str
    in_ops: str
    derivative: str
    words: str
    value: Callable[[float], float]


def _formulas(request: Request) -> list[Formula]:
    """One formula for each output."""
    x = request.operands[0]

    def power(n: int) -> Formula:
        lower = f"{n} * {x}" + (f"**{n - 1}" if n > 2 else "")
        return Formula(f"{x}**{n}", f"{x}**{n}", lower, f"{x}^{n}", lambda value: value**n)

    if request.kind == "reduction":
        return [power(n + 2) for n in range(request.outputs)]
    functions = [
        Formula(f"np.sin({x})", f"ops.sin({x})", f"ops.cos({x})", f"sin({x})", math.sin),
        Formula(f"np.cos({x})", f"ops.cos({x})", f"-ops.sin({x})", f"cos({x})", math.cos),
        Formula(f"np.tanh({x})", f"ops.tanh({x})", f"(1 - ops.tanh({x}) ** 2)", f"tanh({x})", math.tanh),
    ]
    return [*functions, *map(power, range(2, request.outputs))][: request.outputs]


def op_source(request: Request) -> str:
    """The whole module, in ruff's format."""
    parts = [
        *_word_settings(request),
        *([_SPREAD] if request.kind == "reduction" else []),
        _op(request),
        *(_rule(request, i) for i in range(request.inputs)),
    ]
    body = "\n\n\n".join(part.strip("\n") for part in parts)
    gap = "\n\n" if body.startswith("_") else "\n\n\n"  # as ruff has it before a constant, or a function
    return f"{_opening(request).strip()}{gap}{body}\n"


def _opening(request: Request) -> str:
    names = ["Sample", "op", "ops"]
    if _error_samples(request):
        names.append("ErrorSample")
    if any(isinstance(default, str) for _, default in request.settings):
        names.append("SettingError")
    if request.inputs > 1 or request.kind == "reduction":
        names.append("ShapeError")
    if request.kind == "reduction":
        names += ["broadcast_shapes"] * (request.inputs > 1) + ["reduced_shape"]
    listed = ", ".join(sorted(names, key=lambda name: (not name[0].isupper(), name)))
    needs_numpy = request.kind == "reduction" or any("np." in one.forward for one in _formulas(request))
    line = f"from tinygraph.plugin import {listed}"
    if len(line) > _WIDTH:
        line = "from tinygraph.plugin import (\n    " + ",\n    ".join(listed.split(", ")) + ",\n)"
    return f'''"""The op `{request.name}`. Replace the formula by your own: forward, rules and samples."""

from __future__ import annotations

from typing import Any

{"import numpy as np" if needs_numpy else ""}

{line}
'''


# -- settings ----------------------------------------------------------------------------------------------------------


def _other_word(default: str) -> str:
    return "negated" if default != "negated" else "same"


def _word_settings(request: Request) -> Iterator[str]:
    """A table and a function for each setting that is a word."""
    for name, default in request.settings:
        if isinstance(default, str):
            yield f'''_{name.upper()} = {{{_quoted(default)}: 1.0, {_quoted(_other_word(default))}: -1.0}}


def _{name}_factor({name}: str) -> float:
    """What {name} multiplies the result by."""
    if {name} not in _{name.upper()}:
        raise SettingError(f"{name} is {{{name}!r}}; it must be one of {{', '.join(_{name.upper()})}}")
    return _{name.upper()}[{name}]
'''


def _factors(request: Request) -> list[str]:
    """What each setting multiplies the result by, as an expression."""
    return [
        f"(-1 if {name} else 1)"
        if isinstance(default, bool)
        else f"_{name}_factor({name})"
        if isinstance(default, str)
        else name
        for name, default in request.settings
    ]


def _factor_line(request: Request) -> list[str]:
    """Several of them have a line of their own."""
    factors = _factors(request)
    return [f"    factor = {' * '.join(factors)}"] if len(factors) > 1 else []


def _shared_factor(request: Request) -> list[str]:
    """What stands for all of them in a product."""
    factors = _factors(request)
    return ["factor"] if len(factors) > 1 else factors


def _factor(default: Setting, value: Setting) -> float:
    """The same as a number."""
    if isinstance(value, bool):
        return -1.0 if value else 1.0
    if isinstance(value, str):
        return 1.0 if value == default else -1.0
    return float(value)


def _away(default: Setting) -> Setting:
    """Another value than the default, for samples."""
    if isinstance(default, bool):
        return not default
    if isinstance(default, str):
        return _other_word(default)
    return default + 2 if isinstance(default, int) else default + (0.5 if default != -0.5 else 1.5)


def _default_text(default: Setting) -> str:
    return _quoted(default) if isinstance(default, str) else repr(default)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# -- the op ------------------------------------------------------------------------------------------------------------


_SPREAD = '''
def _spread(g: Any, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Any:
    """The cotangent of the result, at each element that went into it."""
    kept = g if keepdims else ops.reshape(g, shape=reduced_shape(shape, axis, True))
    return ops.broadcast_to(kept, shape=shape)
'''


def _op(request: Request) -> str:
    reduction = request.kind == "reduction"
    settings = [
        f"{name}: {type(default).__name__} = {_default_text(default)}" for name, default in request.settings
    ]
    if reduction:
        settings = ["axis: Any = None", "keepdims: bool = False", *settings]
    parameters = [f"{name}: Any" for name in request.operands] + (["*", *settings] if settings else [])
    options = ['kind="reduction"' if reduction else 'kind="elementwise"']
    if request.outputs > 1 and not reduction:
        options = ['kind="other"', 'types="elementwise"']
    if request.inputs > 1:
        linear = ", ".join(map(_quoted, request.operands[1:]))
        options.append(f"linear=({linear},)" if request.inputs == 2 else f"linear=({linear})")
    returned = [_forward(request, formula) for formula in _formulas(request)]
    lines = ["@op(", *(f"    {one}," for one in options), "    samples=["]
    lines += [f"        {one}," for one in _samples(request)]
    lines.append("    ],")
    if _error_samples(request):
        lines += ["    error_samples=[", *(f"        {one}," for one in _error_samples(request)), "    ],"]
    lines += [
        ")",
        _wrapped(f"def {request.name}(", parameters, ") -> Any:"),
        f'    """{_formula_line(request)}"""',
    ]
    lines += _factor_line(request)
    lines.append(
        f"    return {returned[0]}" if len(returned) == 1 else _wrapped("    return (", returned, ")")
    )
    return "\n".join(lines)


def _forward(request: Request, formula: Formula) -> str:
    product = " * ".join([formula.forward, *request.operands[1:]])
    if request.kind == "reduction":
        product = f"np.sum({product}, axis=axis, keepdims=keepdims)"
    return " * ".join([*_shared_factor(request), product])


def _formula_line(request: Request) -> str:
    """The docstring's first line: drawings and errors show it."""
    parts = []
    for formula in _formulas(request):
        product = " * ".join([formula.words, *request.operands[1:]])
        factors = [name for name, default in request.settings if not isinstance(default, bool | str)]
        whole = f"sum of {product} over `axis`" if request.kind == "reduction" else product
        parts.append(" * ".join([*factors, whole]))
    return "; ".join(parts)[: _WIDTH - 12] + "."


def _rule(request: Request, i: int) -> str:
    """The rule for operand i: what the result depends on is asked for, and nothing else."""
    name = request.operands[i]
    reduction = request.kind == "reduction"
    asks = [f"{one}: Any" for one in request.operands if i == 0 or one != name]
    if i > 0 and reduction:
        asks.append(f"{name}_type: Any")
    asks += ["axis: Any", "keepdims: bool"] if reduction else []
    asks += [f"{one}: {type(default).__name__}" for one, default in request.settings]
    head = _wrapped(f"def {request.name}_wrt_{name}(", ["g: Any", *asks], ") -> Any:")
    body = [*_shape_line(request, i), *_factor_line(request)]
    local = [formula.derivative if i == 0 else formula.in_ops for formula in _formulas(request)]
    rest = [*(one for one in request.operands[1:] if one != name), *_shared_factor(request)]
    if len(local) == 1:
        g = "_spread(g, shape, axis, keepdims)" if reduction else "g"
        body.append(f"    return {' * '.join([g, local[0], *rest])}")
    else:
        parts = [
            f"_spread(g[{k}], shape, axis, keepdims)" if reduction else f"g[{k}]" for k in range(len(local))
        ]
        terms = [f"{g} * {derivative}" for g, derivative in zip(parts, local, strict=True)]
        body += [f"    total = {terms[0]}", *(f"    total = total + {term}" for term in terms[1:])]
        body.append(f"    return {' * '.join(['total', *rest])}")
    return "\n".join([f'@{request.name}.vjp("{name}")', head, *body])


def _shape_line(request: Request, i: int) -> list[str]:
    """The shape over which a reduction's cotangent is spread."""
    if request.kind != "reduction":
        return []
    shapes = [f"{one}{'_type' * (0 < k == i)}.shape" for k, one in enumerate(request.operands)]
    whole = shapes[0] if len(shapes) == 1 else f"broadcast_shapes({', '.join(shapes)})"
    return [f"    shape = {whole}"]


def _wrapped(opening: str, items: list[str], closing: str) -> str:
    """A call or signature on one line, or with one item a line."""
    line = opening + ", ".join(items) + closing
    return line if len(line) <= _WIDTH else _one_a_line(opening, items, closing)


def _one_a_line(opening: str, items: list[str], closing: str) -> str:
    indent = " " * (len(opening) - len(opening.lstrip()))
    return "\n".join([opening, *(f"{indent}    {item}," for item in items), indent + closing])


# -- samples -----------------------------------------------------------------------------------------------------------


def _grid(start: int, *shape: int) -> Any:
    """Nested lists of values that differ from one another."""
    values = itertools.cycle(_VALUES[start:] + _VALUES[:start])

    def build(sizes: tuple[int, ...]) -> Any:
        return [build(sizes[1:]) for _ in range(sizes[0])] if sizes else next(values)

    return build(shape)


def _samples(request: Request) -> list[str]:
    defaults = dict(request.settings)
    away = {name: _away(default) for name, default in request.settings}
    changed = [f"{name}={_default_text(value)}" for name, value in away.items()]
    line = [_grid(5 * i, 3) for i in range(request.inputs)]
    if request.kind == "reduction":
        matrices = [_grid(5 * i, 2, 3) for i in range(request.inputs)]
        columns = [[[row[j] for row in matrix] for j in range(3)] for matrix in matrices]
        found = [
            _sample(line, [], _expected(request, line, defaults, sum)),
            _sample(
                matrices,
                ["axis=0", *changed],
                [
                    [_expected_of(request, k, [column[j] for column in columns], away, sum) for j in range(3)]
                    for k in range(request.outputs)
                ],
            ),
            _sample([_grid(5 * i, 2, 3) for i in range(request.inputs)], ["axis=-1", "keepdims=True"]),
            _sample([_grid(5 * i, 2, 3, 2) for i in range(request.inputs)], ["axis=(0, -1)", *changed]),
        ]
        if request.inputs > 1:
            found.append(
                _sample(
                    [_grid(5 * i, 3, 1) if i % 2 else _grid(i, 2) for i in range(request.inputs)], ["axis=0"]
                )
            )
        return found
    found = [_sample(line, [], _expected(request, line, defaults, list))]
    if changed:
        found.append(_sample(line, changed, _expected(request, line, away, list)))
    shapes = itertools.cycle([(2, 1), (3,), ()]) if request.inputs > 1 else [(2, 3)]
    found.append(
        _sample(
            [_grid(5 * i + 1, *shape) for i, shape in zip(range(request.inputs), shapes, strict=False)],
            changed,
        )
    )
    return found


def _expected(
    request: Request, operands: list[Any], settings: dict[str, Setting], gather: object
) -> list[Any]:
    return [_expected_of(request, k, operands, settings, gather) for k in range(request.outputs)]


def _expected_of(
    request: Request, k: int, operands: list[Any], settings: dict[str, Setting], gather: Any
) -> Any:
    """What output k is for one line of numbers, gathered as a list or summed."""
    formula = _formulas(request)[k]
    factor = math.prod(_factor(default, settings[name]) for name, default in request.settings)
    found = gather(formula.value(x) * math.prod(others) for x, *others in zip(*operands, strict=True))
    return [factor * one for one in found] if isinstance(found, list) else factor * found


def _sample(operands: list[Any], settings: list[str], expected: list[Any] | None = None) -> str:
    items = [*map(repr, operands), *settings]
    if expected is not None:
        literals = list(map(_literal, expected))
        found = literals[0] if len(literals) == 1 else f"({', '.join(literals)})"
        items.append(f"expected={found}")
        if len(literals) > 1 and len(items[-1]) + 13 > _WIDTH:  # a line of its own, with indent and comma
            items[-1] = _one_a_line("            expected=(", literals, ")").lstrip()
    line = f"Sample({', '.join(items)})"
    fits = len(line) + 9 <= _WIDTH and "\n" not in line
    return line if fits else _one_a_line("        Sample(", items, ")").lstrip()


def _literal(value: object) -> str:
    """Numbers with all their digits, but not the last, which is rounding."""
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return repr(float(f"{value:.15g}"))


def _error_samples(request: Request) -> list[str]:
    found = []
    short, long = "[1.0, 2.0]", "[1.0, 2.0, 3.0]"
    if request.inputs > 1:
        operands = ", ".join([short, long, *["1.0"] * (request.inputs - 2)])
        found.append(f'ErrorSample({operands}, error=ShapeError, match="broadcast")')
    same = ", ".join([short, *["1.0"] * (request.inputs - 1)])
    if request.kind == "reduction":
        found.append(f'ErrorSample({same}, axis=1, error=ShapeError, match="axis 1")')
    for name, default in request.settings:
        if isinstance(default, str):
            found.append(f'ErrorSample({same}, {name}="other", error=SettingError, match="other")')
    return found
