"""Small faults in the framework's own code, as data: each with the tests that must go red when it is planted.

A snippet occurs exactly once in its file. Ops have mutants of their own (`tinygraph.testing.mutants`).
"""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One fault.

    Attributes:
        name: what is wrong with it, in words.
        file: below the root of the repository.
        snippet, replacement: the text that is there, and what stands in its place.
        tests: the files or folders that must go red, below `tests/`: those of that code, not the laws of built-in ops.
        equivalent: why no program can tell the difference; empty if some can.
    """

    name: str
    file: str
    snippet: str
    replacement: str
    tests: tuple[str, ...]
    equivalent: str = ""


PLANS = (
    "compiler/test_plans.py compiler/test_compile.py compiler/test_layouts.py compiler/test_side_effects.py "
    "compiler/test_profile.py compiler/test_bad_input.py compiler/test_models.py"
)
MEMORY = "compiler/test_plan_memory.py compiler/test_layouts.py compiler/test_plans.py compiler/test_side_effects.py"
_TABLES = {  # (file, tests): faults
    ("tinygraph/analysis/memory.py", MEMORY): [
        (
            "an operand that somebody reads later gives its place up",
            "if last[one] == i and one not in after",
            "if one not in after",
        ),
        (
            "two results take one place over",
            "if last[one] == i and one not in after",
            "if last[one] == i",
        ),
        ("results give their places up", "last[buffer] = end", "last[buffer] += 0"),
        (
            "a view has memory of its own",
            "self._buffer[id(node), 0] = self._buffer[keys[0]]",
            "self._buffer[id(node), 0] = self._new(node.types.nbytes, i)",
        ),
        (
            "an update is written though a later node reads the old value",
            "return last < i or (last == i and",
            "return True or (last == i and",
        ),
        (
            "an update is written where its own node reads the old value elsewhere",
            "(last == i and is_pointwise(self.nodes[i]) and self._reads_only_whole(i, home))",
            "(last == i and self._reads_only_whole(i, home))",
        ),
        (
            "an update is written where its own node reads the old value through a view",
            "(last == i and is_pointwise(self.nodes[i]) and self._reads_only_whole(i, home))",
            "(last == i and is_pointwise(self.nodes[i]))",
        ),
        ("the old value of a state leaves", " or home in self.lasting:", ":"),
        ("an update of another type", "if entry_type(value) != leaf.types or", "if"),
        (
            "a view is a state's new value",
            "key in self._views_in_rows or written in self.states",
            "written in self.states",
        ),
        (
            "sums are written where what they add lies",
            "if is_reduced(self.nodes[i], key[1]):",
            "if False:",
        ),
        ("a gradient lies in a state", "or buffer in self.states or", "or"),
        ("a gradient that is no whole value is lent", "and entry_type(value).size == whole.size", ""),
        (
            "results lie in operands of another type",
            "if key is None or edge_type(entry) != types or key in",
            "if key is None or key in",
        ),
        (
            "results lie in operands of another layout",
            "self.maker[source] >= 0 and layouts.get(key) == layout",
            "self.maker[source] >= 0",
        ),
        (
            "results lie in parameters",
            "self.maker[source] >= 0 and layouts.get(key) == layout",
            "layouts.get(key) == layout",
        ),
        (
            "results lie in what their node reads through a view as well",
            "if alike and self._reads_only_whole(i, source):",
            "if alike:",
        ),
        ("reductions lie where their terms do", "and not is_reduced(self.nodes[i], index)", ""),
        ("places are free one node early", "changes[end + 1] -= nbytes", "changes[end] -= nbytes"),
        (
            "halos take no memory",
            "types.nbytes if layout is None else layout.size(types.shape) * types.dtype.itemsize",
            "types.nbytes",
        ),
    ],
    ("tinygraph/analysis/memory.py", "compiler/test_plan_memory.py"): [
        (
            "states are written in arrays that are read-only",
            "        and value.flags.c_contiguous\n        and value.flags.writeable",
            "        and value.flags.c_contiguous",
        ),
    ],
    ("tinygraph/core/fingerprint.py", "core/test_fingerprint.py"): [
        (
            "read-only views of what is written are not watched",
            "(array.base is not None or array.flags.writeable)",
            "array.flags.writeable",
        ),
        (
            "what nobody can write is watched",
            "return isinstance(array, np.ndarray) and (array.base is not None or array.flags.writeable)",
            "return isinstance(array, np.ndarray)",
        ),
        ("all of a large array is remembered", "if array.nbytes <= _EXACT and not", "if not"),
        ("small arrays are summed", "if array.nbytes <= _EXACT and not", "if False and not"),
    ],
    ("tinygraph/compiler/places.py", MEMORY): [
        (
            "scratch memory lies where values are",
            "offsets[len(lifetimes) :]",
            "offsets[: len(scratch)]",
        ),
        ("scratch memory of one node is another's", "else nbytes, i, i)", "else nbytes, 0, 0)"),
        ("a state is a copy", "return leaf.value if isinstance(leaf.value, np.ndarray) else", "return"),
        (
            "updates are made beside their states",
            "if leaf is not None:\n            found = self.arrays[id(leaf), 0]",
            "if False:\n            found = self.arrays[id(leaf), 0]",
        ),
        ("inputs lie in rows", "layout.size(types.shape) if layout else types.size", "types.size"),
        ("the arena is not aligned", "start = -self.arena.ctypes.data % ALIGNMENT", "start = 8"),
        (
            "what takes a place over has another halo",
            "for buffer in lifetime.buffers[1:])",
            "for buffer in lifetime.buffers)",
        ),
    ],
    (
        "tinygraph/compiler/building.py",
        MEMORY + " compiler/test_python_numbers.py compiler/test_bad_input.py",
    ): [
        (
            "halos are not cleared",
            "if (id(node), i) not in self._places.cleared:",
            "if False:",
        ),
        (
            "an update that is another state's old value",
            "any(np.may_share_memory(value, home) for _, home in places.states)",
            "False",
        ),
        (
            "states that are written in place are copied as well",
            "if id(leaf) not in written:",
            "if True:",
        ),
        (
            "another step wrote a state",
            "self.written += [(len(self.steps), state) for state in self._states_made(i)]",
            "self.written += [(len(self.steps) + 1, state) for state in self._states_made(i)]",
        ),
        (
            "a number is read before it is there",
            "self._end_run()  # the number itself comes first",
            "pass",
        ),
        (
            "Python numbers keep their own dtype",
            "return dtype if dtype != types.dtype else None",
            "return None",
        ),
        (
            "a rule that answered for other layouts is not asked again",
            "if asked is not None and asked.layouts == layouts:",
            "if asked is not None:",
        ),
        (
            "a gradient is not lent",
            "return is_recorded(value) and memory.lent.get(memory.buffer(value)) is leaf",
            "return False",
        ),
    ],
    ("tinygraph/core/engine.py", "core/test_engine.py"): [
        (
            "gradients of one output of several do not add up",
            "parts[edge.index] = gradient if old is None else _sum(old, gradient)",
            "parts[edge.index] = gradient",
        ),
        (
            "gradients of one node do not add up",
            "gradients[entry] = gradient if old is None else _sum(old, gradient)",
            "gradients[entry] = gradient",
        ),
        (
            "a real operand gets a complex gradient",
            'if dtype.kind == "c" and types.dtype.kind != "c":\n            gradient = ops.real(gradient)',
            "",
        ),
        (
            "a gradient of any shape is taken",
            "return all(a in (1, b) for a, b in",
            "return all(True for a, b in",
        ),
        (
            "a gradient of fewer axes than its operand is taken",
            "if len(small) > len(large):\n        return False",
            "if len(small) > len(large):\n        return True",
        ),
        (
            "outputs without a cotangent are absent instead of zero",
            "if part is None and types.differentiable:",
            "if False:",
        ),
        (
            "rules run for operands that nobody asks for",
            "if live is not None and not any(_leads(inputs[served], live) for served, _ in serves):",
            "if False:",
        ),
        (
            "what is handed out may lie in what nodes saved",
            "if array.base is not None or not array.flags.writeable or id(array) in taken:",
            "if array.base is not None or not array.flags.writeable:",
        ),
        (
            "what is handed out may be a view",
            "if array.base is not None or not array.flags.writeable or id(array) in taken:",
            "if not array.flags.writeable or id(array) in taken:",
        ),
        (
            "a second pass replaces .grad",
            "write_grad(leaf, new if old is None else add(old, new))",
            "write_grad(leaf, new)",
        ),
        ("rules may write into what they are given", "view.setflags(False)", "view.setflags(True)"),
        ("backward starts anywhere", "if types.size != 1:", "if False:"),
        (
            "a complex cotangent for a real output",
            'if given.dtype.kind == "c" and types.dtype.kind not in "cO":',
            "if False:",
        ),
        (
            "a joint rule that returns too little",
            "if not isinstance(result, tuple | list) or place >= len(result):",
            "if not isinstance(result, tuple | list) or place > len(result):",
        ),
        (
            "a wanted node in the middle is passed by",
            "if node.__class__ is Leaf or (wanted is not None and node in wanted):",
            "if node.__class__ is Leaf:",
        ),
        ("a cotangent of another shape is taken", "if seed.shape != types.shape:", "if False:"),
    ],
    ("tinygraph/core/views.py", "core/test_views.py"): [
        ("what is unsure is taken again", "if shared.unsure:", "if False:"),
        ("views of views keep what was written", "stack.append(view)", "pass"),
        (
            "old views are forgotten",
            "views[:] = [one for one in views if one() is not None]",
            "views.clear()",
        ),
        ("a write elsewhere is taken for one in place", "and shared.settings == settings", ""),
        (
            "a transposed value lies in rows",
            '            or node.op.facts.get("permutation")\n',
            "",
        ),
        ("a view takes another shape", "if new.shape != view.shape:", "if False:"),
        ("inner views are taken again first", "for one in reversed(chain):", "for one in chain:"),
        ("a write changes the layout", "made[...] = new\n    return made", "return new"),
        ("a copy is still a view", "shared.base = None\n    return result", "return result"),
    ],
    ("tinygraph/compiler/passes/fuse_elementwise.py", "compiler/passes"): [
        (
            "forward and backward nodes are fused",
            "and first.phase == second.phase",
            "",
        ),
        ("groups of any size", "<= LARGEST_GROUP", "<= 10**9"),
        ("a group reads its own reduction", "and not self._reads_an_end(first, second)", ""),
        (
            "reductions over different axes in one loop",
            "and (first.axes is None or second.axes is None or first.axes == second.axes)",
            "",
        ),
        (
            "results that leave the graph stay inside",
            "if i in self._ends or any(reader not in inside for reader in self._readers[i])",
            "if any(reader not in inside for reader in self._readers[i])",
        ),
        (
            "operands are not cast to the dtype they meet in",
            "if dtypes[value] != np.bool_ and wanted != np.bool_ and dtypes[value] != wanted:",
            "if False:",
        ),
        ("reductions of nothing are fused", "and types.size\n", "\n"),
        (
            "reductions of another dtype",
            "and types.dtype == node.types.dtype\n",
            "\n",
        ),
    ],
    ("tinygraph/kernels/program.py", "compiler/passes"): [
        (
            "sums of bools as if of numbers",
            'if only_bools and not emission.bools and node.dtype != np.float64 and node.kind != "comparison":',
            "if False:",
        ),
    ],
    ("tinygraph/compiler/passes/acyclic_groups.py", "compiler/passes"): [
        ("groups that read each other are joined", "yield group is not start", "yield False"),
        ("nothing moves out of the way", "low < near.label < high", "False"),
    ],
    ("tinygraph/compiler/passes/merge_duplicates.py", "compiler/passes"): [
        ("random draws are merged", "if not node.op.repeatable:", "if False:"),
        (
            "1, True and 1.0 are the same",
            'return "number", type(entry), repr(entry)',
            'return "number", entry',
        ),
        ("ops of one name are the same", "return node.op, tuple(", "return node.op.name, tuple("),
        (
            "constants of several dtypes are the same",
            'return "value", entry.dtype.str, entry.shape, entry.tobytes()',
            'return "value", entry.shape, entry.tobytes()',
        ),
        (
            "constants of several shapes are the same",
            'return "value", entry.dtype.str, entry.shape, entry.tobytes()',
            'return "value", entry.dtype.str, entry.tobytes()',
        ),
        (
            "outputs of one node are the same",
            "return key\n",
            "return key[0]\n",
        ),
        ("settings do not count", "settings_key(node.settings).text", '""'),
    ],
    ("tinygraph/compiler/passes/fold_constants.py", "compiler/passes"): [
        (
            "large values are folded",
            "if sum(types.nbytes for types in node.output_types) > LARGEST_FOLD:",
            "if False:",
        ),
        ("random draws are folded", "if not node.op.repeatable or any(", "if any("),
    ],
    ("tinygraph/compiler/passes/simplify_algebra.py", "compiler/passes"): [
        ("involutions of other settings cancel", "and source.settings == node.settings", ""),
        (
            "a neutral operand that broadcasts",
            "and is_recorded(other) and same_type(other, node):",
            "and is_recorded(other):",
        ),
        (
            "a zero of the other sign is neutral",
            "np.signbit(np.asarray(entry, node.dtype)) == np.signbit(number)",
            "[True]",
        ),
        (
            "a number that is not neutral",
            "if not np.all(entry == number):",
            "if not np.any(entry == number):",
        ),
    ],
    ("tinygraph/compiler/passes/cancel_shapes.py", "compiler/passes"): [
        (
            "casts there and back cancel whatever lies between",
            "return None if origin == types else settings",
            "return None",
        ),
        (
            "an op that keeps the type is kept",
            'if node.op.facts.get("identity_on_same_type") and same_type(source, node):',
            "if False:",
        ),
        (
            "ops of two kinds are joined",
            "if join is None or first.op is not then.op:",
            "if join is None:",
        ),
    ],
    ("tinygraph/compiler/passes/schedule.py", "compiler/passes"): [
        (
            "random draws change places",
            "wanted |= {last_once} if last_once >= 0 else set()",
            "pass",
        ),
        ("a backward node comes before its forward node", "if origin < i:", "if False:"),
        ("what does not help is moved", "if lowered < peak:", "if lowered <= peak:"),
    ],
    ("tinygraph/compiler/passes/recompute.py", "compiler/passes"): [
        (
            "random draws are drawn again",
            "return node.op.kind in kinds if kinds else node.op.repeatable",
            "return node.op.kind in kinds if kinds else True",
        ),
        (
            "what does not help is repeated",
            "better = max(alive) < self.peak",
            "better = max(alive) <= self.peak",
        ),
        ("a budget that is met is warned about", "if lowered > budget:", "if lowered >= budget:"),
        (
            "what leaves the graph is dropped",
            "or buffer in live.lasting or not repeatable[maker]",
            "or not repeatable[maker]",
        ),
    ],
    ("tinygraph/analysis/memory.py", "compiler/passes/test_memory_passes.py"): [
        ("outputs do not live to the end", "left[buffer] += 1", "left[buffer] += 0"),
        (
            "what nobody reads stays",
            "for buffer in self.makes[i]:\n                if not left[buffer]:",
            "for buffer in self.makes[i]:\n                if False:",
        ),
    ],
    ("tinygraph/analysis/arena.py", PLANS): [
        (
            "a value takes the place of one that its node reads",
            "if other.start > one.end or other.end < one.start:",
            "if other.start > one.end or other.end <= one.start:",
        ),
        (
            "a value fits where it is too large",
            "if offset + _size(one) <= offsets[k]:",
            "if offset <= offsets[k]:",
        ),
        (
            "small values lie in one place",
            "total += -(-one.nbytes // _SMALL_ALIGNMENT) * _SMALL_ALIGNMENT",
            "total += 0",
        ),
    ],
    ("tinygraph/compiler/plan.py", PLANS + " compiler/test_python_numbers.py"): [
        (
            "two threads run one plan at once",
            "with self.lock.held:\n            if present.region",
            "if True:\n            if present.region",
        ),
        (
            "a state that was replaced is not read",
            "if leaf.value is not home:\n                home[...] = leaf.value",
            "pass",
        ),
        (
            "an update that is another state's old value",
            "value.copy() if among_states else value",
            "value",
        ),
        ("results lie in the plan's memory", 'self.outputs[i].copy("C")[()]', "self.outputs[i][()]"),
        ("writes are not counted", "leaf.version += 1", "leaf.version += 0"),
        (
            "profiling changes states",
            "np.copyto(array, value)\n        return [float",
            "pass\n        return [float",
        ),
        (
            "a gradient that is read is the old one",
            "np.copyto(held._value, leaf.grad._value)",
            "pass",
        ),
        ("numbers are not filled in", 'np.copyto(narrow, wide, casting="unsafe")', "pass"),
        (
            "a failed step has not written",
            "for step, leaf in self.written if step <= position]",
            "for step, leaf in self.written if step < position]",
        ),
        (
            "an interrupted step has not written",
            "for step, leaf in self.written if step <= numbers[-1]]",
            "for step, leaf in self.written if step < numbers[0]]",
        ),
        (
            "a plan fits states of another dtype",
            'home.ndim or getattr(leaf.value, "ndim", 0) or leaf.types.dtype != home.dtype',
            "False",
        ),
        ("gradients of earlier calls", "np.copyto(value, source)", "pass"),
        ("gradients are not handed out", "if leaf._grad is not tensor:", "if False:"),
        (
            "inputs are those of the first call",
            "array[...] = value\n        for leaf, held",
            "pass\n        for leaf, held",
        ),
        (
            "what the user writes to .grad is found in the next one",
            "tensor._value = value  # whoever wrote the tensor gave it an array of its own",
            "pass",
        ),
    ],
    ("tinygraph/compiler/plan.py", "kernels/test_teams.py"): [
        ("a plan fits any number of threads", "if self.threads != get_threads():", "if False:"),
    ],
    ("tinygraph/interop/graphs/description.py", "interop"): [
        (
            "arrays of any number of dimensions",
            "shape: Annotated[tuple[Count, ...], Meta(max_length=64)]",
            "shape: tuple[Count, ...]",
        ),
        ("names of any length", "Meta(max_length=MOST_LETTERS)", "Meta()"),
        (
            "negative numbers where counts belong",
            "Count = Annotated[int, Meta(ge=0)]",
            "Count = Annotated[int, Meta()]",
        ),
    ],
    ("tinygraph/interop/graphs/reopening.py", "interop"): [
        ("a negative port is taken", "if not 0 <= number < len(table):", "if not number < len(table):"),
        (
            "one vast dimension beside an empty one",
            "if math.prod(record.shape) > LARGEST or max(record.shape, default=0) > LARGEST:",
            "if math.prod(record.shape) > LARGEST:",
        ),
        ("an input twice", "if len(set(description.inputs)) != len(inputs):", "if False:"),
        ("a Python number with a shape", "if record.weak and record.shape:", "if False:"),
        (
            "integers that require a gradient",
            "if record.requires_grad and not types.differentiable:",
            "if False:",
        ),
        (
            "a value of another type than is stated",
            "elif value is not None and ArrayType(np.shape(value), value.dtype) != types:",
            "elif False:",
        ),
        (
            "nodes of different operands are taken for alike",
            "parts += (read.types, read.leaf, read.requires_grad, output)",
            "parts += (read.leaf, read.requires_grad, output)",
        ),
        ("an absent output", "if any(output is None for output in outputs):", "if False:"),
        (
            "settings of a leaf",
            "if record.inputs or record.settings or len(record.types) != 1:",
            "if record.inputs or len(record.types) != 1:",
        ),
        (
            "a constant that is a text",
            "if not isinstance(number, bool | int | float | complex):",
            "if False:",
        ),
    ],
    ("tinygraph/interop/graphs/values.py", "interop"): [
        (
            "integers of any length are read",
            "and isinstance(content, str) and len(content) < _MOST_DIGITS:",
            "and isinstance(content, str):",
        ),
        ("integers of any length are written", "if number.bit_length() > MOST_BITS:", "if False:"),
        ("too many bytes", "if len(data) != types.nbytes:", "if len(data) < types.nbytes:"),
        ("too many objects", "if len(elements) != types.size:", "if len(elements) < types.size:"),
        (
            "a stored array of another type",
            "if (stored.shape, stored.dtype) != (expected.shape, expected.dtype):",
            "if False:",
        ),
        ("the sign of a fraction's denominator 1", "numbers[: 1 + (numbers[1] != 1)]", "numbers[:1]"),
    ],
    ("tinygraph/interop/reading.py", "interop"): [
        ("an archive that fills memory", "if total > most_unpacked(size):", "if False:"),
        (
            "an array of another size than announced",
            "if announced != found or min(shape, default=0) < 0:",
            "if min(shape, default=0) < 0:",
        ),
        ("a device is read", "check_regular(path)  # first", "pass  # first"),
    ],
    ("tinygraph/drawing/page/layout.py", "drawing/page/test_layout.py"): [
        (
            "boxes stand 10 px beside their places",
            "(round(x - w / 2 + dx, 1), round(y - h / 2 + dy, 1))",
            "(round(x - w / 2 + dx + 10, 1), round(y - h / 2 + dy, 1))",
        ),
        (
            "curves arrive from the wrong side",
            "(end[0], end[1] - reach), end])",
            "(end[0], end[1] + reach), end])",
        ),
        (
            "curves leave to the side",
            "(points[1][0] + dx, points[1][1]), *points[2:]]",
            "(points[1][0], points[1][1]), *points[2:]]",
        ),
        (
            "ports stand left of their places",
            "return (port * shown // count + 0.5) / shown",
            "return (port * shown // count) / shown",
        ),
        (
            "what goes up is drawn down",
            "return [Piece(piece.kind, piece.points[::-1]) for piece in reversed(curve)]",
            "return [Piece(piece.kind, piece.points[::-1]) for piece in curve]",
        ),
        (
            "a box of other proportions than its interior",
            "full_height = full_width * box[1] / box[0]",
            "full_height = height",
        ),
        (
            "links to an earlier row count for its rank",
            "rank[head] = max(rank[head], rank[tail] + 1)",
            "rank[head] = rank[tail] + 1",
        ),
        (
            "a link across goes through what is between",
            "if end[0] - start[0] > 1.5 * BRIDGE:  # past another one",
            "if False:",
        ),
        (
            "parallel curves change places",
            "sorted(points, key=lambda one: (one[0], one[-1]), reverse=True)",
            "sorted(points, key=lambda one: (one[0], one[-1]))",
        ),
    ],
    ("tinygraph/drawing/page/folding.py", "drawing/page"): [
        (
            "a control point of a cut curve",
            "return [row[0] for row in rows], [row[-1] for row in reversed(rows)]",
            "return [row[-1] for row in rows], [row[-1] for row in reversed(rows)]",
        ),
        (
            "columns stand in one another",
            "return (column * (self.draft.width + self.gutter), self.turn - self.tops[column])",
            "return (column * self.draft.width, self.turn - self.tops[column])",
        ),
        (
            "gaps that a box reaches into",
            "low = max(low, bottom)",
            "low = bottom",
        ),
    ],
    ("tinygraph/drawing/page/script/places.js", "drawing/page"): [
        (
            "a read one place outside its operand",
            "if (at < 0 || at >= read.shape[a]) return -1;",
            "if (at < 0 || at > read.shape[a]) return -1;",
        ),
        ("a mean is a sum", "return mean ? total / count : total;", "return total;"),
        ("offsets of reads do not count", "let at = row[row.length - 1];", "let at = 0;"),
        (
            "a factor's impact leaves out the mean",
            'let local = bias ? 1 : e.reduce === "mean" ? 1 / count : 1;',
            "let local = 1;",
        ),
        (
            "padding has no value",
            "outside(read) { return this.expansion.padding ?? NaN; }",
            "outside(read) { return 1; }",
        ),
    ],
    ("tinygraph/drawing/page/script/items.js", "drawing/page"): [
        (
            "the page stands 10 px beside its places",
            "get x() { return this.bx + (this.bw - this.s * this.w) / 2; }",
            "get x() { return this.bx + 10 + (this.bw - this.s * this.w) / 2; }",
        ),
        (
            "interiors are not in the middle of their boxes",
            "get y() { return this.by + (this.bh - this.s * this.h) / 2; }",
            "get y() { return this.by; }",
        ),
    ],
    ("tinygraph/drawing/page/script/channels.js", "drawing/page"): [
        (
            "another kernel is shown",
            "ravel(leading, read.shape.slice(0, -e.planes)) * product(sizes)",
            "0 * product(sizes)",
        ),
    ],
    ("tinygraph/tracing/facts.py", "compiler/test_watching.py"): [
        (
            "an array of another shape holds the same bytes",
            "if _layout(value) != self.type:",
            "if False:",
        ),
        (
            "the end of a large array is not compared",
            "for start in range(0, now.size, _CHUNK)",
            "for start in range(0, now.size - _CHUNK, _CHUNK)",
        ),
        (
            "what is added to a list is not noticed",
            "if len(value) != len(before):\n            return False\n        return all(map(is_, value, before)) or all(map(same, value, before))",
            "return all(map(is_, value, before)) or all(map(same, value, before))",
        ),
        (
            "what is added to a dict is not noticed",
            "if len(value) != len(self.keys):",
            "if False:",
        ),
        (
            "the order of a dict does not count",
            "elif not all(map(same, keys, self.keys)):",
            "elif False:",
        ),
        (
            "how far an iterator has come does not count",
            "return bool(_progress(self.value) == self.before)",
            "return True",
        ),
        (
            "the bytes of a bytearray do not count",
            "return bool(bytes(self.value) == self.before)",
            "return True",
        ),
    ],
    ("tinygraph/compiler/recorded_call.py", "compiler/test_recorded_calls.py"): [
        (
            "an argument's gradient is lost in a backward pass inside",
            "if wanted and self._trace.ran_backward:",
            "if False:",
        ),
        (
            "a state's new value stands for the one that the gradient needs",
            "if overwritten is not None and not wanted:",
            "if False:",
        ),
        (
            "results that carry no gradient do",
            "edge = own if own is not None else out._edge if carries else None",
            "edge = own if own is not None else out._edge",
        ),
        (
            "what was detached carries a gradient",
            "if isinstance(node, Leaf) or node.op is detach:",
            "if isinstance(node, Leaf):",
        ),
        (
            "draws are made once",
            "self._draws = [node for node in graph.nodes if _draws(node)]",
            "self._draws = []",
        ),
    ],
    ("tinygraph/kernels/images/planes.py", "kernels"): [
        (
            "rows without their halo",
            "return (self.halo[2] + self.width + self.halo[3]) * self.pixel",
            "return (self.halo[2] + self.width) * self.pixel",
        ),
        (
            "images without their halo",
            "return (self.halo[0] + self.height + self.halo[1]) * self.row",
            "return (self.halo[0] + self.height) * self.row",
        ),
        (
            "the first pixel in the halo",
            "self.halo[0] * self.row + self.halo[2] * self.pixel",
            "self.halo[0] * self.row",
        ),
        (
            "channels are cut",
            "return -(-number // multiple) * multiple",
            "return number // multiple * multiple",
        ),
    ],
    ("tinygraph/kernels/images/direct.py", "kernels"): [
        (
            "a gradient halo too narrow at its end",
            "max(0, last // self.stride[i] - (outputs - 1))",
            "max(0, last // self.stride[i] - outputs)",
        ),
        (
            "taps of another phase",
            "if (start + pad - k * step) % stride == 0",
            "if (start - k * step) % stride == 0",
        ),
    ],
    ("tinygraph/kernels/images/pooling.py", "kernels"): [
        ("positions out of range are taken", "Check(strays, complain)", "Check(strays, lambda: None)"),
        (
            "what is scattered to is not cleared",
            "code.nest([sizes[axis] for axis in cleared[:-1]], clear)",
            "pass",
        ),
    ],
    ("tinygraph/kernels/images/window_tables.py", "kernels"): [
        ("the rest of a row", "if whole < stop:", "if False:"),
        ("windows without dilation", "code.offset(first, (tap, apart))", "code.offset(first, tap)"),
        ("a row of a window is counted twice", "given = [nothing] if mean else held", "given = held"),
        (
            "the last window that reads an element",
            'np.arange(size), side="right")\n    stop',
            "np.arange(size))\n    stop",
        ),
        (
            "windows alike of other shares",
            "(last.taps, last.share) == (count, share)",
            "last.taps == count",
        ),
    ],
    ("tinygraph/kernels/images/packing.py", "kernels"): [
        (
            "halos are cleared but for the last row",
            "code.loop(0, planes.height - 1, 1, row)",
            "code.loop(0, planes.height - 2, 1, row)",
        ),
        (
            "taps are not reversed",
            "code.offset((tap, -step), (taps - 1) * step),  # in reverse",
            "code.offset((tap, step)),  # in reverse",
        ),
    ],
}

FAULTS = [
    Fault(name, file, snippet, replacement, tuple(tests.split()))
    for (file, tests), rows in _TABLES.items()
    for name, snippet, replacement in rows
] + [
    Fault(
        "a leaf is written where it no longer lies",
        "tinygraph/core/views.py",
        "if not target.flags.writeable or not np.may_share_memory(target, leaf.value):",
        "if not target.flags.writeable:",
        ("core/test_views.py",),
        "only `state.convert` gives a leaf another array, and it outdates all views of it first; a leaf that is a number "
        "has no array; and what a view op copied is no view (`_lies_in`), so a view's array lies in its leaf's",
    ),
    Fault(
        "a gradient is lent twice",
        "tinygraph/analysis/memory.py",
        "or buffer in self.lent or",
        "or",
        ("compiler/test_plan_memory.py",),
        "the table of lent buffers has one leaf for a buffer in any case: the last one that may have it instead of the "
        "first; the gradients of the others are copied, as they are of what is not lent",
    ),
    Fault(
        "two states in one place",
        "tinygraph/analysis/memory.py",
        "key in self._views_in_rows or written in self.states",
        "key in self._views_in_rows",
        ("compiler/test_plan_memory.py",),
        "the table of places has one state for a value in any case: the last one that may have it instead of the first; "
        "the others get copies",
    ),
    Fault(
        "integers carry a gradient",
        "tinygraph/compiler/recorded_call.py",
        "is_recorded(out) and id(edge_node(out)) in live and edge_type(out).differentiable",
        "is_recorded(out) and id(edge_node(out)) in live",
        ("compiler/test_recorded_calls.py",),
        "the body and the op that refuses give an edge to differentiable results alone, so that an integer gets none",
    ),
]
