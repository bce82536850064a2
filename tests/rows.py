"""`@each` in place of `@pytest.mark.parametrize`, for rows that take a millisecond: one test for a whole table.

A test of its own costs more than such a row does. All rows run, and the failure names each that failed.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest


class RowsFailed(AssertionError):
    """Rows of a table failed; `rows` are their names and errors."""

    def __init__(self, rows: list[tuple[str, BaseException]]) -> None:
        shown = "\n".join(f"  [{name}] {type(error).__name__}: {error}" for name, error in rows)
        super().__init__(f"{len(rows)} failed (traceback: of the first)\n{shown}")
        self.rows = rows


def each(
    names: str | tuple[str, ...],
    table: Iterable[Any] | Callable[[], Iterable[Any]],
    ids: Callable[[Any], Any] | Iterable[str] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test for every row of a table.

    Args:
        names: the arguments that a row gives, as `pytest.mark.parametrize` takes them.
        table: the rows, or a function that makes them when the test runs.
        ids: names of the rows, or what makes one of a row's value.
    """
    columns = [one.strip() for one in names.split(",")] if isinstance(names, str) else list(names)

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def over_all_rows(*args: Any, **kwargs: Any) -> None:
            failed: list[tuple[str, BaseException]] = []
            rows = _named(table() if callable(table) else table, ids, len(columns))
            for name, values in rows:
                try:
                    test(*args, **kwargs, **dict(zip(columns, values, strict=True)))
                except RowsFailed as inner:
                    failed += [(f"{name}-{one}", error) for one, error in inner.rows]
                except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - told below
                    failed.append((name, error))
                except pytest.skip.Exception as error:
                    raise AssertionError(f"row {name} wants to be skipped: then it is no row") from error
            if failed:
                raise RowsFailed(failed) from failed[0][1]
            assert rows, "the table is empty"

        signature = inspect.signature(test)
        left = [one for name, one in signature.parameters.items() if name not in columns]
        over_all_rows.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        return over_all_rows

    return decorate


def each_in_part(names: str, *tables: Sequence[Any]) -> Callable[[Callable[..., None]], Any]:
    """Run a test for every combination of rows of several tables: in a part of them fast, in the rest slow.

    In the part every row of every table occurs. CI runs the rest as well.

    Args:
        names: one argument for each table.
        tables: the rows of each.
    """
    whole = list(itertools.product(*map(range, map(len, tables))))
    # the shorter tables are gone through again one row further on each time
    part = [
        tuple((i + i // len(table)) % len(table) for table in tables) for i in range(max(map(len, tables)))
    ]
    chosen = set(part)
    parts = {
        which: [tuple(table[i] for table, i in zip(tables, places, strict=True)) for places in some]
        for which, some in (("part", part), ("rest", [one for one in whole if one not in chosen]))
    }

    def decorate(test: Callable[..., None]) -> Any:
        inner = each(names, parts["part"])(test)

        @functools.wraps(inner)
        def over(*args: Any, which: str, **kwargs: Any) -> None:
            each(names, parts[which])(test)(*args, **kwargs)

        signature = inspect.signature(inner)
        which = inspect.Parameter("which", inspect.Parameter.KEYWORD_ONLY)
        over.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*signature.parameters.values(), which]
        )
        return pytest.mark.parametrize("which", ["part", pytest.param("rest", marks=pytest.mark.slow)])(over)

    return decorate


def _named(
    table: Iterable[Any], ids: Callable[[Any], Any] | Iterable[str] | None, count: int
) -> list[tuple[str, tuple[Any, ...]]]:
    shown = ids if callable(ids) else None
    given = list(ids) if ids is not None and not callable(ids) else []
    rows: list[tuple[str, tuple[Any, ...]]] = []
    for i, row in enumerate(table):
        values, name = tuple(row) if count > 1 else (row,), ""
        if hasattr(row, "marks"):  # pytest.param
            assert not row.marks, "a row has no marks"
            values, name = tuple(row.values), str(row.id or "")
        name = name or (given[i] if given else "-".join(_shown(one, shown) for one in values))
        rows.append((f"{i}: {name}", values))
    return rows


def _shown(value: Any, ids: Callable[[Any], Any] | None) -> str:
    made = ids(value) if ids is not None else None
    if made is not None:
        return str(made)
    return str(getattr(value, "__name__", value)) if callable(value) else repr(value)[:60]
