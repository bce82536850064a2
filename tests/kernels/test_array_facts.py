"""What kernels ask of arrays: addresses and names of dtypes, against NumPy's own answers."""

import subprocess
import sys

import numpy as np
import pytest

from tinygraph.kernels import array_facts
from tinygraph.kernels.array_facts import address_of, dtype_name

BASE = np.arange(24.0).reshape(4, 6)


def read_only():
    made = np.ones(3)
    made.flags.writeable = False
    return made


@pytest.mark.parametrize(
    "array",
    [
        BASE,
        BASE[1:, 2:],
        BASE[::-1, ::-1],
        BASE.T,
        np.array(3.0),
        np.empty((0, 5)),
        read_only(),
        np.broadcast_to(np.ones(1), (5, 5)),
        np.ma.masked_array([1.0, 2.0], [True, False]),
        np.frombuffer(b"12345678", np.uint8),
        np.array([None, 1], object),
    ],
    ids=repr,
)
def test_addresses_are_those_of_the_array_interface(array):
    assert address_of(array) == array.__array_interface__["data"][0]
    assert array_facts._asked_address(array) == array.__array_interface__["data"][0]


def test_addresses_follow_the_axes():
    assert address_of(BASE[2, 3:]) - address_of(BASE) == (2 * 6 + 3) * 8
    assert address_of(BASE[::-1]) - address_of(BASE) == 3 * 6 * 8


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "<f8", ">f4", np.bool_, np.int8, np.dtype("complex64"), float]
)
def test_names_of_dtypes_are_those_of_numpy(dtype):
    assert dtype_name(dtype) == np.dtype(dtype).name
    assert dtype_name(np.dtype(dtype)) == np.dtype(dtype).name


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the library may have to be looked for")
def test_the_c_library_is_found_without_starting_programs(monkeypatch):
    pytest.importorskip("llvmlite")
    from tinygraph.kernels import machine_code

    def refuse(*args, **kwargs):
        raise AssertionError("a program is started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr("os.popen", refuse)
    found = machine_code._library_functions.__wrapped__()
    assert set(found) == {name + end for name in machine_code.LIBRARY_FUNCTIONS for end in ("", "f")}
    assert all(found.values())
