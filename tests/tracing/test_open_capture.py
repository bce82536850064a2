"""The capture under which graphs are differentiated and read from files: it lets reads through and refuses writes."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core.modes import mode, modes
from tinygraph.core.state import buffer, read, write
from tinygraph.errors import CaptureError
from tinygraph.tracing.open_capture import OpenCapture


@pytest.fixture
def under_open_capture():
    with mode(capture=OpenCapture()):
        yield


@pytest.mark.usefixtures("under_open_capture")
def test_a_write_to_a_state_is_refused_in_words():
    state = buffer([1.0, 2.0], name="mean")
    with pytest.raises(CaptureError, match=r"buffer 'mean' is written while a graph is differentiated"):
        write(state, np.zeros(2))
    assert state._value.tolist() == [1.0, 2.0]


@pytest.mark.usefixtures("under_open_capture")
def test_a_write_to_a_gradient_is_refused_in_words():
    x = tg.tensor([1.0, 2.0], requires_grad=True, name="w")
    with pytest.raises(CaptureError, match=r"'w' is written while a graph is differentiated"):
        x.grad = np.ones(2)
    assert x.grad is None


@pytest.mark.usefixtures("under_open_capture")
def test_a_parameter_is_not_updated_in_place():
    x = tg.tensor([1.0, 2.0], requires_grad=True, name="w")
    with pytest.raises(CaptureError, match="is written while a graph"), tg.no_grad():
        x -= 1.0
    assert x._value.tolist() == [1.0, 2.0]


@pytest.mark.usefixtures("under_open_capture")
def test_states_have_no_value_to_ask_for_and_plain_data_has():
    assert tg.tensor([1.0, 2.0]).tolist() == [1.0, 2.0]
    with pytest.raises(CaptureError, match="is state"):
        buffer([1.0]).tolist()


@pytest.mark.usefixtures("under_open_capture")
def test_a_state_is_read_as_itself():
    state = buffer([1.0, 2.0])
    taken = read(state)
    assert taken._value is None
    assert taken._leaf is state._leaf
    assert modes.current.capture.is_state(state)
