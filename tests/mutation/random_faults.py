"""Random faults in the framework's own code: an operator flipped, a condition dropped, a statement left out.

    python -m tests.mutation.random_faults --seed 1 --count 30

plants each in a copy of the tree, runs the tests of that file, and names those that survive. What survives and is no
equivalent gets a test, and a row in `faults.py` that keeps it caught.
"""

from __future__ import annotations

import argparse
import ast
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.mutation.planting import ROOT, copied, outcome, planted

VIEWS = "core/test_views.py core/test_random_views.py core/test_kept.py"
CALLS = "compiler/test_recorded_calls.py compiler/test_compile.py compiler/test_side_effects.py"
WATCHING = "compiler/test_watching.py compiler/test_side_effects.py tracing"
TESTS = {
    "tinygraph/core/engine.py": "core/test_engine.py core/test_leaving.py core/test_threads.py core/test_kept.py",
    "tinygraph/core/views.py": VIEWS,
    "tinygraph/core/state.py": "core/test_tensor.py core/test_modes.py compiler/test_side_effects.py nn/test_module.py "
    "optim " + VIEWS,
    "tinygraph/core/fingerprint.py": "core/test_fingerprint.py core/test_kept.py",
    "tinygraph/analysis/memory.py": "compiler/test_plan_memory.py compiler/test_plans.py compiler/test_side_effects.py "
    "compiler/passes compiler/test_layouts.py",
    "tinygraph/compiler/recorded_call.py": CALLS,
    "tinygraph/tracing/watching.py": WATCHING,
}


class Change(NamedTuple):
    """One small change of a file: the text between two places becomes another."""

    file: str
    line: int
    start: int
    end: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.before!r} -> {self.after!r}"


_COMPARED: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
_COMPUTED: dict[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.FloorDiv: "*", ast.BitOr: "&", ast.BitAnd: "|",
}  # fmt: skip


def changes_of(file: str) -> list[Change]:
    """All changes of a file that are made here."""
    text = (ROOT / file).read_text("utf-8")
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    source = text.encode()

    def place(node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    found = []
    tree = ast.parse(text)
    types = {id(one) for annotation in _annotations(tree) for one in ast.walk(annotation)}
    for node in ast.walk(tree):
        if id(node) in types:
            continue
        for target, after in _after(node, lambda one: source[slice(*place(one))].decode()):
            start, end = place(target)
            assert isinstance(target, ast.expr | ast.stmt)
            found.append(Change(file, target.lineno, start, end, source[start:end].decode(), after))
    return [one for one in found if one.before != one.after]


def _annotations(tree: ast.AST) -> Iterator[ast.AST]:
    """What is only for type checkers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name):  # TYPE_CHECKING
            yield node
        for name in ("annotation", "returns"):
            part = getattr(node, name, None)
            if part is not None:
                yield part


def _after(node: ast.AST, text: Callable[[ast.AST], str]) -> Iterator[tuple[ast.AST, str]]:
    """What of a node is exchanged for which text."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARED:
        right = node.comparators[0]
        yield node, f"({text(node.left)} {_COMPARED[type(node.ops[0])]} {text(right)})"
    elif isinstance(node, ast.BoolOp):
        word = " or " if isinstance(node.op, ast.And) else " and "
        yield node, "(" + word.join(f"({text(one)})" for one in node.values) + ")"
        for left_out in node.values:
            rest = [one for one in node.values if one is not left_out]
            own = " and " if isinstance(node.op, ast.And) else " or "
            yield node, "(" + own.join(f"({text(one)})" for one in rest) + ")"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, f"bool({text(node.operand)})"
    elif isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED:
        yield node, f"({text(node.left)} {_COMPUTED[type(node.op)]} {text(node.right)})"
    elif isinstance(node, ast.Constant) and type(node.value) in (bool, int):
        yield node, repr(not node.value if isinstance(node.value, bool) else node.value + 1)
    elif isinstance(node, ast.If):
        yield node.test, "True"
        yield node.test, "False"
    elif isinstance(node, ast.Break | ast.Continue | ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield node, "pass"


def main() -> None:
    """Plant a random choice of changes, and tell which survive."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--count", type=int, default=30)
    asked.add_argument("--file", default="", help="only of files whose name contains this")
    asked.add_argument("--list", action="store_true", help="only tell what would be planted")
    given = asked.parse_args()
    rng = random.Random(given.seed)
    files = [file for file in TESTS if given.file in file]
    made = {file: changes_of(file) for file in files}
    chosen = [rng.choice(made[files[i % len(files)]]) for i in range(given.count)]
    if given.list:
        print("\n".join(map(str, chosen)))
        return
    with tempfile.TemporaryDirectory() as folder:
        tree, survivors = copied(Path(folder)), 0
        for one in chosen:
            text = (tree / one.file).read_bytes()
            changed = text[: one.start] + one.after.encode() + text[one.end :]
            with planted(tree, one.file, changed):
                found = outcome(tree, TESTS[one.file].split(), one.file)
            survivors += found == "green"
            print("SURVIVES" if found == "green" else "caught  ", one, flush=True)
        print(f"{survivors} of {len(chosen)} survive")


if __name__ == "__main__":
    main()
