"""Every public function of numpy, numpy.linalg and numpy.fft on tensors: differentiable and checked to second order in
both modes, constant by nature, or refused by its name. The table of calls is in `calls.py`.
"""

import numpy as np
import pytest

import tinygraph as tg
from tests.front.calls import ARRAYS_BY_NAME, CHOSEN_BY_VALUE, WITHOUT_ARRAYS, call_of
from tests.front.checking import call_on_tensors, check_derivatives, check_values, functions_of
from tests.front.coverage import MODULES, linalg_rows, rows_of, special_rows
from tests.front.elsewhere import ASKED_OF_AUTOGRAD, HAVE_GRADIENTS
from tinygraph.errors import NumpyFunctionError, RecordingError

# The only ones, each with a reason in its message.
REFUSED: set[str] = set()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("prefix", MODULES)
def test_every_function_is_differentiated_or_constant(prefix):
    wrong = []
    for name, function in functions_of(MODULES[prefix]).items():
        if name in WITHOUT_ARRAYS or name in ARRAYS_BY_NAME:
            continue
        key = prefix + name
        called, args, options = call_of(key, function)
        try:
            finding, found = call_on_tensors(called, args, options)
            if finding.kind == "refused":
                assert name in REFUSED, finding.words
                continue
            check_values(called, args, options, found, values=name != "empty_like")
            if finding.kind == "differentiable" and name not in CHOSEN_BY_VALUE:
                check_derivatives(called, args, options)
        except Exception as error:  # noqa: BLE001 - each is a row of the table
            wrong.append(f"{key}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("name", sorted(ARRAYS_BY_NAME))
def test_what_makes_arrays_refuses_tensors_with_gradients(name):
    x = tg.tensor([[1.0, 2.0]], requires_grad=True)
    with pytest.raises((RecordingError, NumpyFunctionError), match=r"stack|detach"):
        getattr(np, name)(x)
    with pytest.raises((RecordingError, NumpyFunctionError), match=r"stack|detach"):
        getattr(np, name)([x[0], x[0]])


def test_the_page_says_what_the_table_found():
    from tests.front.coverage import PAGE, WRITTEN_WITH, text

    pytest.importorskip("scipy")
    if not np.__version__.startswith(WRITTEN_WITH):
        pytest.skip(f"written with NumPy {WRITTEN_WITH}, which has other functions")
    assert PAGE.read_text(encoding="utf-8") == text(), "python docs/renew.py numpy"


def test_what_has_a_gradient_elsewhere_has_one_here():
    """98 in 100 of what autograd, JAX or PyTorch differentiates; those that are left are named, with the reason."""
    pytest.importorskip("scipy")
    rows = {
        "numpy": rows_of(""),
        "numpy.linalg": rows_of("linalg."),
        "numpy.fft": rows_of("fft."),
        "scipy.special": special_rows(),
        "scipy.linalg": linalg_rows(),
    }
    kinds = {f"{room}.{name}": kind for room, found in rows.items() for name, kind, _ in found}
    elsewhere = [f"{room}.{name}" for room, names in HAVE_GRADIENTS.items() for name in names]
    assert set(elsewhere) - set(kinds) <= {"numpy.row_stack"}  # gone in NumPy 2.5
    left = {name for name in elsewhere if kinds.get(name, "differentiable") != "differentiable"}
    assert left == {
        "numpy.full",  # has no protocol: the refusal names np.broadcast_to
        "scipy.linalg.rsf2csf",  # of Schur forms, which have no gradient anywhere
        "scipy.special.gammasgn",  # piecewise constant, a rule of zero there
        "scipy.special.round",
    }
    assert len(elsewhere) > 350
    assert len(left) <= 0.02 * len(elsewhere)
    assert set(kinds.values()) == {"differentiable", "constant", "refused"}


@pytest.mark.parametrize("which", ASKED_OF_AUTOGRAD)
def test_what_autograd_has_no_rule_for_is_differentiable(which):
    rows = {prefix + name: kind for prefix in MODULES for name, kind, _ in rows_of(prefix)}
    assert {name: rows[name] for name in ASKED_OF_AUTOGRAD[which] if rows[name] != "differentiable"} == {}
