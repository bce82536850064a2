"""How the framework is put together: no knot of imports, no op known by name, nodes filled in one place."""

import ast
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FrameType

import numpy as np

import tinygraph
import tinygraph_ops
from tinygraph.core.doors import Doors, doors
from tinygraph.core.node import Node
from tinygraph.core.registry import BUILTIN_PACKAGE, registry

ROOT = Path(tinygraph.__file__).parent
LARGEST_KNOT = 12

# What is called like an op and is none, or is asked for by name as the public name of something: file or folder ->
# (the names, the reason). Everything else in the framework knows ops by identity, facts and rules.
EXCEPTIONS = {
    "analysis/expansion.py": ("identity exp log square sum mean max min", "functions of expansions"),
    "analysis/terms.py": ("identity exp log square sum mean max min", "functions and reductions of an expansion"),
    "analysis/operation_counts.py": ("identity", "an expansion's function"),
    "drawing/model/neurons.py": ("identity sum mean max min", "words of an expansion's functions"),
    "kernels/elementwise.py": ("sum mean prod max min copy", "the reductions of a kernel, and a keyword of llvmlite"),
    "kernels/program.py": ("cast", "a step of the kernel language itself, beside its constants"),
    "kernels/machine_code.py": ("cbrt hypot sin cos tan sinh cosh", "functions of the C library"),
    "kernels/trigonometry.py": ("sin cos tan", "functions of the C library"),
    "kernels/images/pooling.py": ("index", "what a kernel reads"),
    "kernels/images/window_tables.py": ("index mean maximum", "what a kernel reads, and what it makes of windows"),
    "kernels/images/direct.py": ("convolution", "a kernel's name in error messages"),
    "compiler/building.py": ("cast", "a kernel's label in profiles"),
    "compiler/tables.py": ("all", "the last row of a table"),
    "core/state.py": ("random_uniform random_normal", "a generator's methods, as a tensor's methods name ops"),
    "core/tensor.py": ("index copy", "attributes of Python's operator and of copies"),
    "core/pytorch_names.py": ("*", "names of methods of PyTorch's tensors, keys of a table of what to write here"),
    "core/node.py": ("index", "a slot of a port"),
    "core/op.py": ("convolution", "a kind of ops"),
    "core/views.py": ("convolution", "a kind of ops"),
    "drawing/model/assembly.py": ("convolution", "a kind of ops"),
    "drawing/model/channels.py": ("convolution", "a kind of ops"),
    "drawing/model/sketch.py": ("convolution", "a kind of ops"),
    "drawing/model/overlays.py": ("norm sum", "an overlay's key"),
    "drawing/page/schema.py": ("identity exp log square sum mean max min norm", "words of the page's data"),
    "drawing/page/typescript.py": ("any", "a type of the page's script"),
    "drawing/page/writing.py": ("round", "a key of numbers: of one round of a loop"),
    "drawing/model/planes.py": ("negative", "a colour of numbers"),
    "drawing/dot": ("dot pad", "Graphviz's program and attribute"),
    "interop/onnx": ("*", "names of ONNX's domains and attributes, and the table of how ops are written in ONNX"),
    "numpy/calls.py": ("outer", "a method of NumPy's ufuncs"),
    "explaining/contributions.py": ("norm all", "columns of a table"),
    "tracing/watching.py": ("add sort", "methods of Python's containers"),
    "transforms/checkpointing.py": ("index", "a slot of a port"),
    "interop/graphs/values.py": ("floor", "a key of files: a size rounded down"),
    "cli/one_number": ("convolution relu", "layers' names in the network of the story"),
    "drawing/drawing.py": ("dot", "a format of files"),
    "drawing/volumes.py": ("convolution", "a kind of ops"),
    "cli": ("diff all flatten log mean std", "commands, table words, layers and matplotlib's scales"),
    "nn": ("mean sum max cross_entropy binary_cross_entropy_with_logits relu gelu sigmoid tanh leaky_relu norm "
           "dropout",
           "public names of PyTorch's arguments: reduction=, activation=, nonlinearity=; attributes; in errors"),
    "optim": ("cos min max abs sum", "public names of a schedule's modes and of a slot"),
    "numpy": ("clip where mean maximum minimum", "options of NumPy's functions, and modes of its arguments"),
    "scipy": ("fft hermitian norm", "names of SciPy's: a method, a kind of matrix, a distribution"),
    "pytorch": ("*", "tables from PyTorch's operators, by their names in ATen, to ops"),
    "mpi.py": ("all_reduce all_gather reduce_scatter broadcast sum mean max min", "exchanges between processes"),
    "parallel": ("sum mean", "what processes make of their arrays together"),
    "training": ("sum max", "what processes make of their numbers together"),
    "testing": ("*", "mutations and the linter replace one op's name in source by another's"),
}  # fmt: skip


@cache
def sources(root: Path = ROOT) -> list[tuple[str, ast.Module]]:
    return [
        (path.relative_to(root).as_posix(), ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(root.rglob("*.py"))
    ]


def strings(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The string literals that are no docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value, node.lineno


def test_the_framework_names_no_op():
    names = {op.name for op in registry.all_ops() if op.package == BUILTIN_PACKAGE}
    assert {"sin", "where", "cast", "convolution"} <= names
    unknown, used = [], set()
    for file, tree in sources():
        excepted = [key for key in EXCEPTIONS if file == key or file.startswith(f"{key}/")]
        allowed = {word: key for key in excepted for word in EXCEPTIONS[key][0].split()}
        for text, line in strings(tree):
            if text not in names:
                continue
            if text in allowed or "*" in allowed:
                used.add((allowed.get(text) or allowed["*"], text if text in allowed else "*"))
            else:
                unknown.append(f"{file}:{line}: {text!r}")
    assert not unknown, "ops known by name; ask for a fact, a rule or identity instead:\n" + "\n".join(
        unknown
    )
    listed = {(key, word) for key, (words, _) in EXCEPTIONS.items() for word in words.split()}
    assert listed == used, f"exceptions that nothing needs: {sorted(listed - used)}"


def test_no_op_is_compared_by_name():
    """`op.name == "sin"` and `op.name in {...}`; `comparing` asks whether two ops share a name, to say so."""
    found = [
        file
        for file, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and any(
            isinstance(side, ast.Attribute)
            and side.attr == "name"
            and isinstance(side.value, ast.Attribute)
            and side.value.attr == "op"
            for side in (node.left, *node.comparators)
        )
    ]
    assert found == ["comparing/front.py"]


# -- imports -----------------------------------------------------------------------------------------------------------


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(node: ast.AST, at_load: bool = True) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """The import statements of a module, each with whether it runs when the module is loaded."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_load
        elif not is_type_checking(child):
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(child, at_load and not inside)


def import_graph(*, inside_functions: bool) -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports, types aside."""
    trees = {
        "tinygraph." + file.removesuffix(".py").removesuffix("/__init__").replace("/", "."): tree
        for file, tree in sources()
        if file != "__init__.py"
    }
    graph: dict[str, set[str]] = {name: set() for name in trees}
    for name, tree in trees.items():
        for statement, at_load in imports(tree):
            if not (at_load or inside_functions):
                continue
            if isinstance(statement, ast.Import):
                targets = [alias.name for alias in statement.names]
            else:
                inner = [f"{statement.module}.{alias.name}" for alias in statement.names]
                targets = [one if one in trees else str(statement.module) for one in inner]
            graph[name].update(one for one in targets if one in trees and one != name)
    return graph


def knots(graph: dict[str, set[str]]) -> list[set[str]]:
    """The strongly connected components of more than one module, the largest first."""

    def reach(start: str, edges: dict[str, set[str]]) -> set[str]:
        seen, pending = {start}, [start]
        while pending:
            for one in edges[pending.pop()] - seen:
                seen.add(one)
                pending.append(one)
        return seen

    back: dict[str, set[str]] = {name: set() for name in graph}
    for name, targets in graph.items():
        for one in targets:
            back[one].add(name)
    found: list[set[str]] = []
    left = set(graph)
    while left:
        start = next(iter(left))
        component = reach(start, graph) & reach(start, back)
        left -= component
        if len(component) > 1:
            found.append(component)
    return sorted(found, key=len, reverse=True)


def test_knots_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert knots(graph) == [{"a", "b", "c"}, {"d", "e"}]


def test_modules_load_without_a_knot():
    assert knots(import_graph(inside_functions=False)) == []


def test_the_knot_of_imports_inside_functions_is_small():
    found = knots(import_graph(inside_functions=True))
    assert found, "the core imports inside functions"
    assert len(found[0]) <= LARGEST_KNOT, sorted(found[0])


def test_every_door_is_hung_by_a_room_above_the_core():
    declared = list(Doors.__annotations__)
    assert sorted(vars(doors)) == sorted(declared)
    for name in declared:
        room = getattr(doors, name).__module__.split(".")
        assert room[0] == "tinygraph", name
        assert room[1] not in ("core", "packages", "errors"), name


# -- numbers -----------------------------------------------------------------------------------------------------------

LONGEST_FUNCTION = 79  # lines, docstring included
MOST_ANY = 753  # lines that annotate something with Any: half of the 1,507 there once were


def functions(node: ast.AST, public: bool = True) -> Iterator[tuple[ast.FunctionDef, bool]]:
    """The functions of a module, each with whether others may use it: named without underscore, and in no function."""
    for child in ast.iter_child_nodes(node):
        seen = public and not getattr(child, "name", "").startswith("_")
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child, seen
            yield from functions(child, public=False)
        else:
            yield from functions(child, seen)


def test_functions_are_short_documented_and_typed():
    """Longest function, docstrings of public functions, and annotations that say nothing, of framework and ops."""
    trees = {"tinygraph": sources(), "ops": sources(Path(tinygraph_ops.__file__).parent)}
    found = [
        (f"{file}:{function.lineno} {function.name}", package, function, public)
        for package, files in trees.items()
        for file, tree in files
        for function, public in functions(tree)
    ]
    lengths = {place: one.end_lineno - one.lineno + 1 for place, _, one, _ in found}
    assert {place: length for place, length in lengths.items() if length > LONGEST_FUNCTION} == {}
    for package, least in (("tinygraph", 0.8), ("ops", 0.9)):
        documented = [
            bool(ast.get_docstring(one)) for _, where, one, public in found if public and where == package
        ]
        assert sum(documented) >= least * len(documented), package
    lines = [
        line
        for root in (ROOT, Path(tinygraph_ops.__file__).parent)
        for path in root.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if ": Any" in line
    ]
    assert len(lines) <= MOST_ANY


# -- nodes -------------------------------------------------------------------------------------------------------------


def test_nodes_are_made_in_one_place_and_in_the_eager_path():
    """A node's slots are set in `new_node`, in `apply`, and in `Leaf`, which has values of its own."""
    slots = set(Node.__slots__) - {"hooks"}  # which is there only where somebody registered one
    filled: dict[str, set[str]] = {}
    for file, tree in sources():
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef):
                continue
            makes = {
                target.id
                for node in ast.walk(function)
                if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
                if ast.unparse(node.value) in ("object.__new__(Node)", "_new(Node)", "Node()")
                for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
                if isinstance(target, ast.Name)
            }
            if makes:
                filled[f"{file}:{function.name}"] = {
                    node.attr
                    for node in ast.walk(function)
                    if isinstance(node, ast.Attribute)
                    and isinstance(node.ctx, ast.Store)
                    and isinstance(node.value, ast.Name)
                    and node.value.id in makes
                }
    assert filled == {"core/apply.py:apply": slots, "core/node.py:new_node": slots}


def calls_in(function: Callable[[], object]) -> list[str]:
    """The files of the framework and its ops in which functions run while one is called, a call each."""
    roots = str(ROOT), str(Path(tinygraph_ops.__file__).parent)
    found: list[str] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(roots) and not code.co_name.startswith("<"):
            found.append(code.co_filename)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return found


def test_walks_are_short():
    """From an op to the tape, back through a convolution, and the next call of a compiled step."""
    x = tinygraph.tensor([1.0, 2.0], requires_grad=True)
    images, kernel, bias = (
        tinygraph.tensor(np.ones(shape), requires_grad=True) for shape in ((2, 3, 6, 6), (4, 3, 3, 3), (4,))
    )

    def loss():
        return np.sum(tinygraph.ops.convolution(images, kernel, bias, padding=1))

    compiled = tinygraph.compile(lambda x: np.sin(x) * 2)
    for walk, calls, files in (
        (lambda: np.sin(x), 10, 8),
        (lambda: loss().backward(), 240, 19),
        (lambda: compiled(np.ones(2)), 60, 15),
    ):
        walk()
        found = calls_in(walk)
        assert len(found) <= calls
        assert len(set(found)) <= files


def test_both_captures_do_all_that_the_protocol_asks():
    from tinygraph.core.capture import Capture
    from tinygraph.tracing.open_capture import OpenCapture
    from tinygraph.tracing.trace import Trace

    asked = {name for name in dir(Capture) if not name.startswith("_")} | set(Capture.__annotations__)
    for made in (OpenCapture(), Trace()):
        missing = {name for name in asked if not hasattr(made, name)}
        assert not missing, type(made).__name__
