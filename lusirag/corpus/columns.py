"""Python values -> Arrow columns whose types stay together over a whole corpus."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa

# What pyarrow raises for a Python value that does not fit an Arrow type (UnicodeEncodeError is a ValueError).
_CONVERSION_ERRORS = (pa.ArrowException, OverflowError, ValueError, TypeError)


class ColumnTypes:
    """Remembers the type of each column, so that later rows are read alike and a clash is noticed where it happens."""

    def __init__(self) -> None:
        self._known: dict[str, pa.DataType] = {}

    def build(self, name: str, values: Sequence[Any]) -> tuple[pa.Array | None, dict[int, str]]:
        """Make one column of JSON-like values.

        Integers and floats become floats, nothing else is mixed; a type seen in earlier rows binds later ones.

        Returns:
            the column and no complaints, or None and the reason for each row that stands in the way.
        """
        known = self._known.get(name, pa.null())
        try:
            array = pa.array(values)
            wanted = unify(known, array.type)
            if wanted != array.type:
                array = pa.array(values, type=wanted)
        except _CONVERSION_ERRORS:
            return None, _blame(name, values, known)
        self._known[name] = wanted
        return array, {}

    def note(self, schema: pa.Schema, taken: Collection[str]) -> str | None:
        """Take over the types of a batch; return what clashes with those of earlier batches, None if nothing does.

        Args:
            schema: the batch's.
            taken: columns that are none of the user's own, and always have the same type.
        """
        for column in schema:
            if column.name in taken:
                continue
            known = self._known.get(column.name, pa.null())
            try:
                self._known[column.name] = unify(known, column.type)
            except pa.ArrowException:
                return f"field {column.name!r} holds {column.type}, but {known} in the rows before"
        return None


def unify(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """Return the type that can hold values of both.

    Raises:
        pyarrow.ArrowException: there is none, as for strings and integers.
    """
    if first == second:
        return first
    schemas = [pa.schema([("column", first)]), pa.schema([("column", second)])]
    return pa.unify_schemas(schemas, promote_options="permissive").field(0).type


def _blame(name: str, values: Sequence[Any], known: pa.DataType) -> dict[int, str]:
    """Find the rows that keep a column from being made: those that do not go with the rows before them."""
    reasons: dict[int, str] = {}
    for index, value in enumerate(values):
        try:
            known = unify(known, pa.array([value]).type)
        except _CONVERSION_ERRORS as error:
            reasons[index] = _reason(name, known, error)
    for index, value in enumerate(values):
        if index not in reasons:
            try:
                pa.array([value], type=known)
            except _CONVERSION_ERRORS as error:
                reasons[index] = _reason(name, known, error)
    return reasons


def _reason(name: str, known: pa.DataType, error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return f"lone surrogate in field {name!r}"
    if isinstance(error, OverflowError):
        return f"integer beyond 64 bits in field {name!r}"
    if pa.types.is_null(known):
        return f"mixed types in field {name!r}: {' '.join(str(error).split())}"
    return f"mixed types in field {name!r}: not {known} as in the rows before"
