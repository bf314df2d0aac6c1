"""A filter that was checked and can be run, and the columns that it may name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from reprlib import Repr
from typing import Any, NamedTuple

import pyarrow as pa

from lusirag.errors import InvalidArgumentError
from lusirag.index.columns import user_fields

Where = str | Mapping[str, Any]

# `id` is the document's, also where a document was split into passages.
FIXED_COLUMNS = ("id", "title", "language", "source", "text")


_short = Repr()
_short.maxstring, _short.maxother = 60, 80


def shown(value: object) -> str:
    """A value as a message shows it, however long or deep it is."""
    return _short.repr(value)


class Column(NamedTuple):
    """A column that a filter reads.

    Attributes:
        name: as the user knows it.
        alias: what it is called in the expression's SQL.
        type: its type in the index as a whole; a segment may hold a narrower one, or lack the column.
    """

    name: str
    alias: str
    type: pa.DataType


@dataclass(frozen=True, slots=True)
class Expression:
    """A boolean SQL expression over some columns.

    Attributes:
        sql: the expression.
        columns: all that it names, by their aliases.
        values: its parameters $1, $2 and so on; a tuple stands for a list.
        repeatable: False when it depends on more than the columns, such as the time.
    """

    sql: str
    columns: tuple[Column, ...]
    values: tuple[Any, ...] = ()
    repeatable: bool = True


class Columns:
    """The columns of an index that a filter may name, each with its type. Hashable, as schemas are."""

    def __init__(self, schema: pa.Schema) -> None:
        fields = [*map(schema.field, FIXED_COLUMNS), *user_fields(schema)]
        # DuckDB has no floats of 16 bits; those of 32 hold them.
        self.types: dict[str, pa.DataType] = {
            field.name: pa.float32() if pa.types.is_float16(field.type) else field.type for field in fields
        }
        self._key = tuple(self.types.items())

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Columns) and self._key == other._key

    def find(self, name: str) -> str:
        """The column that a dict means by `name`.

        Raises:
            InvalidArgumentError: there is none; names those there are.
        """
        if name not in self.types:
            raise self.unknown(name)
        return name

    def find_in_sql(self, name: str) -> str:
        """The column that SQL means by `name`: that very name, else the only one that differs in ASCII case.

        Raises:
            InvalidArgumentError: there is none, or several; names those there are.
        """
        if name in self.types:
            return name
        alike = [known for known in self.types if lower(known) == lower(name)]
        if len(alike) > 1:
            raise InvalidArgumentError(
                f'where: {name!r} may be any of the columns {", ".join(map(repr, alike))}; quote one: "{alike[0]}"'
            )
        if not alike:
            raise self.unknown(name)
        return alike[0]

    def unknown(self, name: str) -> InvalidArgumentError:
        """The error for a column that is not there."""
        own = [known for known in self.types if known not in FIXED_COLUMNS]
        its = f"its own columns {', '.join(own)}" if own else "no columns of its own"
        return InvalidArgumentError(
            f"where names the column {name!r}, which this index does not have; "
            f"it has {', '.join(FIXED_COLUMNS)} and {its}"
        )


def lower(name: str) -> str:
    """A name as DuckDB compares names: without ASCII case."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)
