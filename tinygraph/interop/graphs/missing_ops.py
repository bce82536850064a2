"""Stand-ins for ops that are not installed: a saved graph that uses one opens, draws and types all the same.

A stand-in knows what the file says of the op - name, kind, operands, output types, where to get it - and raises that
when it is evaluated or differentiated. It is never registered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinygraph.core.op import Op, Operand, Origin, Rule, Signature
from tinygraph.core.registry import BUILTIN_PACKAGE
from tinygraph.core.types import ArrayType
from tinygraph.errors import PluginError


@dataclass(eq=False, repr=False)
class MissingOp(Op):
    """An op that a file uses and this Python does not have.

    Attributes:
        provider: the distribution that declares it.
        version: that distribution's version when the file was written; empty if unknown.
        said: what to do to have it, where that is not to install the distribution.
    """

    provider: str = ""
    version: str = ""
    said: str = ""

    @property
    def identity(self) -> Any:
        """All that files say of it."""
        return (self.name, self.package, self.version)

    @property
    def distribution(self) -> str:
        return self.provider or self.package

    @property
    def advice(self) -> str:
        """What to do to have the op."""
        if self.said:
            return self.said
        if self.package in ("__main__", "builtins"):
            return "it was declared in a program, not in a package: run that declaration before tg.load"
        wanted = f"{self.distribution}=={self.version}" if self.version else self.distribution
        return f"pip install {wanted}"

    def __repr__(self) -> str:
        return f"<missing op {self.name} of {self.distribution}: {self.advice}>"


def missing_op(
    name: str,
    kind: str,
    package: str,
    distribution: str,
    version: str,
    operands: tuple[str, ...],
    settings: tuple[str, ...],
    types: tuple[ArrayType, ...],
    advice: str = "",
) -> MissingOp:
    """The stand-in for one op with given output types."""
    variadic = len(operands) - 1

    def refuse(*values: object, **given: object) -> Any:
        raise PluginError(
            f"it is not installed here: it comes from {made.distribution}"
            f"{f' {version}' if version else ''}; {made.advice}"
        )

    def refuse_gradient(*values: object) -> Any:
        raise PluginError(f"the gradient of op {name!r} is not known here; {made.advice}")

    made = MissingOp(
        name=name,
        forward=refuse,
        kind=kind,
        # the last operand may be variadic: the file lists names, not how often each was given
        signature=Signature(
            tuple(Operand(operand, True, i == variadic) for i, operand in enumerate(operands)),
            dict.fromkeys(settings),
        ),
        package=package,
        origin=Origin(package, "", 0),
        type_rule=lambda *operands, **settings: types if len(types) > 1 else types[0],
        typed=True,
        rules={operand: Rule(refuse_gradient, (operand,), ()) for operand in operands},
        provider=distribution if package != BUILTIN_PACKAGE else "tinygraph-autodiff",
        version=version,
        said=advice,
    )
    return made
