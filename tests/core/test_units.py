"""Amounts with their units, in literal words."""

from __future__ import annotations

import pytest

from tinygraph.analysis.units import BYTES, COUNT, NUMBER, OPERATIONS, SECONDS, SHARE, UNITS, Unit


@pytest.mark.parametrize(
    ("unit", "amount", "text"),
    [
        (SECONDS, 2.5, "2.5 s"),
        (SECONDS, 0.00123, "1.23 ms"),
        (SECONDS, 0.9996, "1 s"),  # as it is written: no 1e+03 ms
        (SECONDS, 4e-9, "0.004 µs"),
        (SECONDS, 0.0, "0 µs"),
        (BYTES, 96, "96 B"),
        (BYTES, 999.4, "999 B"),
        (BYTES, 999.6, "1 kB"),
        (BYTES, 999_900, "1 MB"),
        (BYTES, 12e6, "12 MB"),
        (BYTES, 3e15, "3e+03 TB"),
        (OPERATIONS, 2e9, "2 G"),
        (OPERATIONS, 96, "96 "),
        (SHARE, 0.25, "25 %"),
        (SHARE, 0.0004, "0.04 %"),
        (SHARE, 1.0, "100 %"),
        (COUNT, 1234.0, "1,234"),
        (NUMBER, 1 / 3, "0.3333"),
        (NUMBER, -0.0, "0"),
        (NUMBER, float("inf"), "inf"),
    ],
)
def test_an_amount_is_written_on_the_largest_scale_that_has_one(unit: Unit, amount: float, text: str) -> None:
    assert unit.text(amount) == text


def test_every_unit_has_a_name_of_its_own() -> None:
    assert len(UNITS) == 6
    assert all(unit.name == name for name, unit in UNITS.items())
