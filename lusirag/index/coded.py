"""Columns of a segment as numbers of their distinct values.

A filter over one column of few values then looks at each value once, and not at each row.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lusirag.index.columns import numbers

MOST = 1 << 16  # values of a column that is coded
_ONE_IN = 8  # and rows that there must be for each
_ROWS_AT_ONCE = 1 << 16


class Coded(NamedTuple):
    """A column.

    Attributes:
        codes: (rows,) the number of each row's value, as uint8 or uint16.
        values: the distinct ones, null among them where the column has some.
    """

    codes: npt.NDArray[Any]
    values: pa.Array


class CodedColumns:
    """The columns of one segment that were asked for.

    They are coded from the second time on, since that takes as long as a filter over the rows, or several times as long
    where there are thousands of values.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, pa.DataType], Coded | None] = {}
        self._asked: set[tuple[str, pa.DataType]] = set()

    def find(self, name: str, kind: pa.DataType, column: Callable[[], pa.ChunkedArray]) -> Coded | None:
        """A column; None the first time, where its values are too many, or of a type that is not coded.

        Args:
            name: of the column.
            kind: its type.
            column: gives its values.
        """
        if not _is_coded(kind):
            return None
        key = name, kind
        with self._lock:
            if key not in self._asked:
                self._asked.add(key)
                return None
            if key not in self._known:
                self._known[key] = coded(column())
            return self._known[key]


def coded(column: pa.ChunkedArray) -> Coded | None:
    """Code a column; None where its values are too many, which is found out without taking all of them into memory."""
    import pyarrow.compute as pc

    most = min(MOST, len(column) // _ONE_IN)
    values = pa.array([], column.type)
    for start in range(0, len(column), _ROWS_AT_ONCE):
        values = pa.concat_arrays([values, _distinct(column.slice(start, _ROWS_AT_ONCE))]).unique()
        if len(values) > most:
            return None
    kind = np.min_scalar_type(max(len(values) - 1, 0))
    found = pc.index_in(column, value_set=values)
    return Coded(np.concatenate([numbers(chunk).astype(kind) for chunk in found.chunks]), values)


def _distinct(column: pa.ChunkedArray) -> pa.Array:
    return column.unique()


def _is_coded(kind: pa.DataType) -> bool:
    """Whether values of a type that are equal are the same: of floats, 0 and -0 are not."""
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean, pa.types.is_date)
    return any(check(kind) for check in checks)
