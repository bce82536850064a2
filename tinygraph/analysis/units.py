"""Amounts with their units: seconds, bytes, operations and shares, as tables, pictures and pages write them.

The one list of units: a page carries them as data.
"""

from __future__ import annotations

from dataclasses import dataclass

_DECIMAL = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


@dataclass(frozen=True, slots=True)
class Unit:
    """How an amount is written: on the largest scale of which there is at least one, with so many digits.

    Attributes:
        scales: (amount, symbol), the largest first; what is smaller than all is written on the last one. Without any,
            the number stands alone.
        digits: significant ones; None for whole numbers, whose thousands are set apart.
    """

    name: str
    scales: tuple[tuple[float, str], ...] = ()
    digits: int | None = 3

    def text(self, amount: float) -> str:
        """An amount in words.

        >>> SECONDS.text(0.00123), BYTES.text(3136), BYTES.text(999_900), SHARE.text(0.25), COUNT.text(1234)
        ('1.23 ms', '3.14 kB', '1 MB', '25 %', '1,234')
        """
        if self.digits is None:
            return f"{int(amount):,}"
        if not self.scales:
            return f"{amount + 0.0:.{self.digits}g}"  # -0 reads like a slip
        found = ((f"{amount / scale:.{self.digits}g}", symbol) for scale, symbol in self.scales)
        least = (f"{amount / self.scales[-1][0]:.{self.digits}g}", self.scales[-1][1])
        # As it is written: 999.9 k is 1 M.
        return " ".join(next((one for one in found if float(one[0]) >= 1), least))


SECONDS = Unit("seconds", ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")))
BYTES = Unit("bytes", tuple((scale, f"{prefix}B") for scale, prefix in _DECIMAL))
OPERATIONS = Unit("operations", _DECIMAL)  # the prefix alone: what is counted stands beside it
SHARE = Unit("share", ((0.01, "%"),))
COUNT = Unit("count", digits=None)
NUMBER = Unit("number", digits=4)
UNITS = {unit.name: unit for unit in (SECONDS, BYTES, OPERATIONS, SHARE, COUNT, NUMBER)}
