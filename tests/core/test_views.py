"""Writes through views: values as NumPy's, gradients as the finite differences of the same program in NumPy."""

import gc
import weakref

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph.core.op import Op
from tinygraph.core.state import write
from tinygraph.errors import CaptureError, DTypeError, InPlaceError, RuleError, ShapeError
from tinygraph.plugin import op, ops


def leaf(value, **options):
    return tg.tensor(np.asarray(value, float), requires_grad=True, **options)


# -- values and gradients --------------------------------------------------------------------------------------------


def test_a_write_to_a_slice_reaches_the_tensor_it_was_taken_from():
    v = leaf([1, 2, 3])
    y = v * 2
    z = y[0:2]
    z += 1
    assert y.sum().item() == 14
    assert z.tolist() == [3, 5]
    (y * y).sum().backward()
    assert v.grad.tolist() == [12, 20, 24]


def test_the_gradient_of_what_was_overwritten_is_gone():
    v = leaf([1, 2, 3])
    y = v * 2
    y[0:2][0] = 7.0
    y.sum().backward()
    assert y.tolist() == [7, 4, 6]
    assert v.grad.tolist() == [0, 2, 2]


def test_rows_of_a_loop():
    m = leaf([[1, 2], [3, 4]])
    y = m * 1
    for row in y:
        row += row[0] * 10
    assert y.tolist() == [[11, 12], [33, 34]]
    y.sum().backward()
    assert m.grad.tolist() == [[21, 1], [21, 1]]


@each(
    ("write", "expected"),
    [
        (lambda y: y.T.__setitem__((0, 1), 9.0), [[0, 1, 2], [9, 4, 5]]),
        (lambda y: y.T[2].__iadd__(1), [[0, 1, 3], [3, 4, 6]]),
        (lambda y: y.reshape(-1).__setitem__(slice(4, None), 0.0), [[0, 1, 2], [3, 0, 0]]),
        (lambda y: y.ravel().__imul__(2), [[0, 2, 4], [6, 8, 10]]),
        (lambda y: np.ravel(y).__imul__(2), [[0, 2, 4], [6, 8, 10]]),
        (lambda y: y.swapaxes(0, 1)[0].__isub__(1), [[-1, 1, 2], [2, 4, 5]]),
        (lambda y: y.transpose()[1].__itruediv__(2), [[0, 0.5, 2], [3, 2, 5]]),
        (lambda y: np.expand_dims(y, 0)[0, 1].__setitem__(0, 8.0), [[0, 1, 2], [8, 4, 5]]),
        (lambda y: np.squeeze(y[0:1]).__iadd__(5), [[5, 6, 7], [3, 4, 5]]),
        (lambda y: np.moveaxis(y, 0, 1)[:, 0].__imul__(0), [[0, 0, 0], [3, 4, 5]]),
        (lambda y: np.flip(y, 0)[0].__setitem__(..., -1.0), [[0, 1, 2], [-1, -1, -1]]),
        (lambda y: np.split(y, 3, axis=1)[1].__iadd__(1), [[0, 2, 2], [3, 5, 5]]),
        (lambda y: np.array_split(y, [1, 2], axis=1)[2].__iadd__(1), [[0, 1, 3], [3, 4, 6]]),
        (lambda y: y.real[0].__iadd__(1), [[1, 2, 3], [3, 4, 5]]),
        (lambda y: y[0][1:].__setitem__(1, 6.0), [[0, 1, 6], [3, 4, 5]]),
        (lambda y: y[:, ::-2][1].__iadd__([1, 2]), [[0, 1, 2], [5, 4, 6]]),
        (lambda y: y[None, 1, :, None].__iadd__(1), [[0, 1, 2], [4, 5, 6]]),
        (lambda y: y[0, 1, ...].__iadd__(1), [[0, 2, 2], [3, 4, 5]]),
        (lambda y: y[()].__iadd__(1), [[1, 2, 3], [4, 5, 6]]),
        (lambda y: y[0].__setitem__(slice(None), y[1]), [[3, 4, 5], [3, 4, 5]]),
        (lambda y: y[1].__setitem__([2, 0], [1.0, 2.0]), [[0, 1, 2], [2, 4, 1]]),
        (lambda y: y.T.reshape(-1).__iadd__(1), [[0, 1, 2], [3, 4, 5]]),  # a copy in NumPy, too
        (lambda y: y[[0, 1]].__iadd__(1), [[0, 1, 2], [3, 4, 5]]),
        (lambda y: y.flatten().__iadd__(1), [[0, 1, 2], [3, 4, 5]]),
        (lambda y: y.astype(float).__iadd__(1), [[0, 1, 2], [3, 4, 5]]),
        (lambda y: y.copy()[0].__iadd__(1), [[0, 1, 2], [3, 4, 5]]),
        (lambda y: (+y).__iadd__(1), [[0, 1, 2], [3, 4, 5]]),
        (lambda y: np.take(y, 0, axis=0).__iadd__(1), [[0, 1, 2], [3, 4, 5]]),
        (lambda y: np.roll(y, 0).__iadd__(1), [[0, 1, 2], [3, 4, 5]]),
        (lambda y: np.tile(y, (1, 1)).__iadd__(1), [[0, 1, 2], [3, 4, 5]]),
    ],
)
@each("kind", ["recorded", "plain", "parameter", "captured", "compiled"])
def test_every_view_writes_through_as_in_numpy(write, expected, kind):
    start = np.arange(6.0).reshape(2, 3)
    array = start.copy()
    write(array)
    assert array.tolist() == expected

    def program(x):
        y = x * 1.0
        write(y)
        return y

    if kind in ("captured", "compiled"):
        run = tg.capture(program, start) if kind == "captured" else tg.compile(program)
        assert np.asarray(run(start)).tolist() == expected
    elif kind == "parameter":
        parameter = leaf(start)
        with tg.no_grad():
            write(parameter)
        assert parameter.tolist() == expected
        assert parameter.is_leaf
    else:
        y = program(leaf(start) if kind == "recorded" else tg.tensor(start))
        assert y.tolist() == expected
        assert y.requires_grad is (kind == "recorded")


def test_what_a_mask_or_a_number_picks_is_a_copy():
    y = leaf([1, 2, 3]) * 1
    picked, one = y[y > 1], y[0]
    picked += 1
    one += 1
    for element in y:
        element *= 5
    assert (picked.tolist(), one.item(), y.tolist()) == ([3, 4], 2, [1, 2, 3])


def test_siblings_parents_and_children_all_see_a_write():
    y = leaf(np.zeros((2, 3))) * 1
    row, column, part, turned = y[0], y[:, 1], y[0][1:], y.T
    part += 1
    column[1] = 5.0
    assert y.tolist() == [[0, 1, 1], [0, 5, 0]]
    assert [one.tolist() for one in (row, column, part)] == [[0, 1, 1], [1, 5], [1, 1]]
    assert turned.tolist() == [[0, 0], [1, 5], [1, 0]]
    y += 1
    assert part.tolist() == [2, 2]
    assert turned[1].tolist() == [2, 6]


def test_what_was_computed_before_a_write_keeps_the_old_value():
    v = leaf([1, 2])
    y = v * 3
    z = y[:1]
    before = z * z
    z *= 2
    after = z * z
    assert (before.item(), after.item()) == (9, 36)
    (before + after).sum().backward()
    assert v.grad.tolist() == [2 * 9 + 2 * 36, 0]


def test_plain_data_becomes_recorded_through_its_view():
    x, data = leaf([2.0, 3.0]), tg.tensor(np.zeros((2, 2)))
    data[1] += x * x
    row = data[0]
    row += x
    assert data.tolist() == [[2, 3], [4, 9]]
    data.sum().backward()
    assert x.grad.tolist() == [5, 7]


def test_a_written_slice_is_written_once():
    y = leaf([1.0, 2.0, 3.0]) * 1
    y[0:2] += 1  # NumPy's own order: take, add, put back
    assert y.tolist() == [2, 3, 3]
    assert [node.op.name for node in tg.graph_of(y).nodes if node.inputs] == [
        "multiply",
        "index",
        "add",
        "index_set",
    ]


def test_two_slices_that_overlap():
    v = leaf([1, 1, 1])
    y = v * 2
    left, right = y[:2], y[1:]
    left *= 3
    right += left
    assert y.tolist() == [6, 12, 8]
    (y * np.array([1.0, 10.0, 100.0])).sum().backward()
    np.testing.assert_allclose(v.grad.numpy(), [6 + 60, 60 + 600, 200])


def test_complex_parts_are_views():
    z = tg.tensor(np.array([1 + 2j, 3 + 4j]), requires_grad=True) * 1
    z.imag[0] = 7.0
    part = np.real(z)
    part += 1
    assert z.tolist() == [2 + 7j, 4 + 4j]


def test_a_chain_of_views_longer_than_the_stack():
    y = leaf(np.zeros(3)) * 1
    views = [y]
    for _ in range(5000):
        views.append(views[-1][:])
    views[2500] += 1
    y[0] = 5.0
    assert views[-1].tolist() == [5, 1, 1]


# -- leaves ----------------------------------------------------------------------------------------------------------


def test_parameters_are_written_through_their_views():
    p = leaf([[1, 2], [3, 4]], name="p")
    with tg.no_grad():
        p[0][1] = 5
        p.T[0] += 1
        for row in p:
            row *= 2
        p.reshape(-1)[3] = 0
    assert p.tolist() == [[4, 10], [8, 0]]


def test_a_parameter_is_written_in_its_own_memory():
    p = leaf(np.zeros((3, 2)))
    memory = p.numpy()
    row = p[1]
    with tg.no_grad():
        row += 1
        p[0][...] = 2
    assert memory.tolist() == [[2, 2], [1, 1], [0, 0]]
    (row * row).sum().backward()
    assert p.grad.tolist() == [[0, 0], [2, 2], [0, 0]]


def test_a_parameter_written_through_a_view_makes_what_was_saved_stale():
    p = leaf([1.0, 2.0], name="p")
    y = p * p
    with tg.no_grad():
        p[:1] += 1
    with pytest.raises(tg.errors.StaleValueError, match="'p'"):
        y.sum().backward()


@pytest.mark.parametrize(
    "write",
    [
        lambda p: p[0:1].__iadd__(1),
        lambda p: p.T.__setitem__(0, 1.0),
        lambda p: p.reshape(-1)[:2].__imul__(2),
    ],
)
def test_a_view_of_a_parameter_cannot_be_written_while_recording(write):
    p = leaf(np.ones((2, 2)), name="p")
    with pytest.raises(InPlaceError, match="'p' requires a gradient"):
        write(p)
    assert p.tolist() == [[1, 1], [1, 1]]


def test_views_follow_a_parameter_that_is_written_or_converted():
    p = leaf([1.0, 2.0, 3.0])
    part = p[1:]
    with tg.no_grad():
        p -= 1
    assert part.tolist() == [1, 2]
    layer = tg.nn.Linear(2, 2)
    row = layer.weight[0]
    layer.double()
    with tg.no_grad():
        row[...] = 3.0
    assert layer.weight.numpy()[0].tolist() == [3, 3]


def test_copies_of_a_parameter_stay_as_they_are():
    p = leaf([1.0, 2.0])
    copies = [p.astype(float), p[:].astype(float), p.flatten(), +p, p.copy(), np.copy(p)]
    with tg.no_grad():
        p += 1
    assert [one.tolist() for one in copies] == [[1, 2]] * 6


def test_a_buffer_is_written_through_its_view():
    norm = tg.nn.BatchNorm1d(3)
    norm.running_mean[1:] += 2
    assert norm.running_mean.tolist() == [0, 2, 2]
    norm.eval()
    assert norm(np.ones((1, 3), np.float32)).numpy()[0].round(3).tolist() == [1, -1, -1]


# -- captured programs -----------------------------------------------------------------------------------------------


def test_a_compiled_step_writes_parameters_through_views():
    p = leaf(np.ones((2, 2)))

    def step(x):
        with tg.no_grad():
            p[0] += 1
            p.T[1][0] = x.sum()
        return (p * x).sum()

    compiled = tg.compile(step)
    assert compiled(np.ones((2, 2))).item() == 2 + 4 + 1 + 1
    assert p.tolist() == [[2, 4], [1, 1]]
    assert compiled(np.ones((2, 2))).item() == 3 + 4 + 1 + 1
    assert p.tolist() == [[3, 4], [1, 1]]


@pytest.mark.parametrize("times", [1, 3])
def test_plain_data_written_at_an_index_in_a_compiled_program_is_read_as_written(times):
    state = tg.tensor(np.array([1.0, 2.0, 3.0]))

    def step(x):
        state[0] = 5.0
        state[1:] *= 2.0
        state.reshape(-1)[1] += 1.0
        return state * x

    compiled = tg.compile(step)
    for _ in range(times):
        out = compiled(np.ones(3))
    expected = {1: [5, 5, 6], 3: [5, 23, 24]}[times]
    assert out.tolist() == state.tolist() == expected


def test_an_empty_index_of_a_captured_number():
    assert tg.compile(lambda x: x[()])(np.array(0.75)).item() == 0.75
    assert tg.compile(lambda x: x[()] * 2)(np.ones(2)).tolist() == [2, 2]


@pytest.mark.parametrize("take", [lambda x: x[0], lambda x: x.T, lambda x: x.reshape(-1)])
def test_a_view_of_an_argument_of_a_captured_function_is_not_written(take):
    def program(x):
        view = take(x)
        view += 1
        return x

    with pytest.raises(InPlaceError, match="'x' is an argument of a captured function"):
        tg.capture(program, np.ones((2, 2)))


def test_a_view_from_before_a_capture_is_not_written_in_it():
    data = tg.tensor(np.zeros((2, 2)))
    row = data[0]

    def program(x):
        nonlocal row
        row += x.sum()
        return data * x

    with pytest.raises(CaptureError, match="index inside the captured function"):
        tg.capture(program, np.ones((2, 2)))
    assert row.tolist() == [0, 0]


def test_a_captured_write_that_depends_on_the_layout_is_refused():
    def program(x):
        y = x.T * 2  # lies in columns: NumPy's reshape copies it
        flat = y.reshape(-1)
        flat += 1
        return y

    x = np.arange(4.0).reshape(2, 2)
    assert program(tg.tensor(x)).tolist() == program(x).tolist() == [[0, 4], [2, 6]]
    with pytest.raises(InPlaceError, match=r"depends on how its operand lies in memory.*\.copy\(\)"):
        tg.capture(program, x)


# -- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "take",
    [
        lambda y: np.diagonal(y),
        lambda y: np.diag(y),
        lambda y: np.diagonal(y)[1:],
        lambda y: np.broadcast_to(y, (3, 2, 2)),
        lambda y: np.broadcast_to(y[0], (3, 2))[1],
        lambda y: np.einsum("ij->ji", y),
        lambda y: np.einsum("ii->i", y),
    ],
)
@pytest.mark.parametrize("captured", [False, True])
def test_read_only_views_refuse_the_write(take, captured):
    def program(x):
        view = take(x * 1)
        view += 1
        return view

    with pytest.raises(InPlaceError, match=r"cannot be written.*\.copy\(\)"):
        tg.capture(program, np.ones((2, 2))) if captured else program(leaf(np.ones((2, 2))))
    assert take(leaf(np.ones((2, 2)))).copy().__iadd__(1).tolist() is not None


def test_a_view_keeps_its_shape_and_dtype():
    y = leaf(np.ones(3)) * 1
    part = y[:2]
    with pytest.raises(ShapeError, match="shape"):
        part += np.ones((2, 2))
    small = tg.tensor(np.ones(3, np.float32), requires_grad=True) * 1
    part = small[:2]
    with pytest.raises(DTypeError, match="float64"):
        part += np.ones(2)
    assert y.tolist() == small.tolist() == [1, 1, 1]
    whole = tg.tensor(np.array([1, 2, 3]))
    with pytest.raises(DTypeError, match="float64"):
        whole[:2] += 0.5


def test_a_plugin_op_may_declare_a_view_and_one_that_does_not_is_refused():
    def declared(name):
        @op(kind="shape", name=name, declare=False)
        def every_other(x):
            return x[::2]

        return every_other

    writable, silent = declared("every_other"), declared("silent")

    @writable.view
    def every_other_put(value, x):
        return ops.index_set(x, value, pattern=(("slice", None, None, 2),))

    y = tg.tensor(np.zeros(4))
    view = writable(y)
    view += 1
    assert y.tolist() == [1, 0, 1, 0]
    view = silent(y)
    with pytest.raises(InPlaceError, match="'silent' shares memory"):
        view += 1
    with pytest.raises(RuleError, match="must take 'value' and 'x' first"):
        silent.view(lambda x, value: x)


@each("name", [name for name in tg.ops if isinstance(getattr(tg.ops, name), Op)])
def test_the_view_rule_of_an_op_undoes_the_op(name):
    one = getattr(tg.ops, name)
    if one.put is None:
        return
    for sample in one.samples:
        x, rest = sample.operands[0], sample.operands[1:]
        if rest or not x.ndim:
            continue
        out = one.forward(x, **sample.settings)
        for number, part in enumerate(out if isinstance(out, tuple) else (out,)):
            value = part + 10
            output = number if isinstance(out, tuple) else None
            whole = one.put(value, x, sample.settings, output)
            again = one.forward(whole, **sample.settings)
            np.testing.assert_array_equal(again if output is None else again[output], value)
            np.testing.assert_array_equal(one.put(part, x, sample.settings, output), x)


# -- the price -------------------------------------------------------------------------------------------------------


def test_views_leave_no_cycles_and_nothing_behind():
    p = leaf(np.zeros((50, 2)))
    gc.disable()
    try:
        y = p * 1
        gone = weakref.ref(y)
        rows = [y[i] for i in range(50)]
        rows[3] += 1
        del y, rows
        assert gone() is None
    finally:
        gc.enable()
    for _ in range(1000):
        p[0]
    assert len(p._shared.views) < 20


def test_tensors_that_share_nothing_carry_nothing():
    x = leaf(np.ones(3))
    assert not hasattr(x * 2, "_shared")
    assert not hasattr(leaf(1.0) * 2, "_shared")


def test_a_part_is_written_over_another_part():
    for make in (
        lambda: tg.tensor([1.0, 2.0, 3.0]),
        lambda: tg.tensor([1.0, 2.0, 3.0], requires_grad=True) * 1,
    ):
        x = make()
        x[0:2] = x[1:3]
        assert x.tolist() == [2.0, 3.0, 3.0]
        x[0] += 5.0
        assert x.tolist() == [7.0, 3.0, 3.0]


def test_each_of_many_views_sees_a_write():
    x = tg.tensor(np.arange(40.0), requires_grad=True) * 1
    views = [x[i : i + 1] for i in range(40)]
    x[...] = 7.0
    assert [one.item() for one in views] == [7.0] * 40


def test_what_may_be_a_view_or_a_copy_is_not_read_after_a_write():
    def program(x):
        y = np.sin(x.T)
        flat = y.reshape(-1)  # a view if y lies in rows
        y += 1.0
        return flat * 2

    with pytest.raises(InPlaceError, match=r"was written, and whether 'reshape' made a view or a copy"):
        tg.capture(program, np.ones((2, 3)))


# -- what faults survived ----------------------------------------------------------------------------------------------


def test_a_view_keeps_its_shape():
    y = leaf([1, 2, 3]) * 2
    part = y[0:2]
    with pytest.raises(ShapeError, match=r"cannot change the shape \(2,\) into \(2, 2\)"):
        part += np.ones((2, 2))
    assert y.tolist() == [2, 4, 6]


def test_a_write_leaves_the_layout_so_that_what_was_a_view_still_is_one():
    t = tg.tensor(np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    write(t, np.arange(6.0).reshape(2, 3) + 1)  # in rows
    t.T.reshape(-1)[1] = 9.0
    assert t.tolist() == [[1, 2, 3], [9, 5, 6]]
