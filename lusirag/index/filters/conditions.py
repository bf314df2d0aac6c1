"""Filters as dicts: {"year": {"$gte": 1990}, "$or": [{"language": "de"}, {"title": None}]}.

Every condition is true or false of a row, never unknown: a column that is null equals None and nothing else, so it
matches $neq, $nin and $not, and no comparison. NaN equals itself and is larger than every number.

$contains asks whether a text has another one in it, or a list an element; $icontains is the same for texts without
case, both sides in DuckDB's lower case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from lusirag.errors import InvalidArgumentError
from lusirag.index.filters.expression import Column, Columns, Expression, shown
from lusirag.index.filters.values import is_list, is_text, parameter

_COMPARISONS = {"$eq": "=", "$neq": "<>", "$ne": "<>", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_CONTAINS = ("$contains", "$icontains")
_COLUMN_OPERATORS = (*_COMPARISONS, "$in", "$nin", *_CONTAINS, "$not")
_JOINS = {"$and": "AND", "$or": "OR"}
_DEEPEST = 100
# From so many values on DuckDB looks them up in a hash table instead of trying one after the other.
_MANY = 50


def from_dict(where: Mapping[str, Any], columns: Columns) -> Expression:
    """Turn a dict into an expression; its values become parameters.

    Raises:
        InvalidArgumentError: an unknown column or operator, a value that does not go together with its column, or a
            dict that says nothing.
    """
    building = _Building(columns)
    sql = building.all_of(where, depth=0)
    return Expression(sql, tuple(building.columns.values()), tuple(building.values))


class _Building:
    """The columns and parameters of an expression in the making."""

    def __init__(self, known: Columns) -> None:
        self._known = known
        self.columns: dict[str, Column] = {}
        self.values: list[Any] = []

    def all_of(self, where: Any, depth: int) -> str:
        if not isinstance(where, Mapping):
            raise InvalidArgumentError(
                f"where has {shown(where)} where a dict is needed, such as {{'year': {{'$gt': 1990}}}}"
            )
        if not where:
            raise InvalidArgumentError("where has a dict that is empty; leave it out (None) to take everything")
        if depth > _DEEPEST:
            raise InvalidArgumentError(f"where is nested more than {_DEEPEST} deep; write it with fewer levels")
        return _joined("AND", [self._item(key, value, depth + 1) for key, value in where.items()])

    def _item(self, key: Any, value: Any, depth: int) -> str:
        if key in _JOINS:
            if isinstance(value, str | Mapping) or not isinstance(value, Sequence) or not value:
                raise InvalidArgumentError(f"where gives {key} {shown(value)}; it takes a list of at least one dict")
            return _joined(_JOINS[key], [self.all_of(part, depth) for part in value])
        if key == "$not":
            return f"(NOT {self.all_of(value, depth)})"
        if not isinstance(key, str):
            raise InvalidArgumentError(f"where has the key {key!r}; keys are names of columns, $and, $or and $not")
        if key.startswith("$") and key not in self._known.types:
            raise InvalidArgumentError(
                f"where has {key!r} in the place of a column; there $and, $or and $not are known, "
                f"and within a column {', '.join(_COLUMN_OPERATORS)}"
            )
        return self._conditions(self._column(self._known.find(key)), value, depth)

    def _conditions(self, column: Column, value: Any, depth: int) -> str:
        if not isinstance(value, Mapping):
            return self._compare(column, "$eq", value)
        unknown = [key for key in value if key not in _COLUMN_OPERATORS]
        if unknown or not value or depth > _DEEPEST:
            given = f"the operator {unknown[0]!r}" if unknown else "too many $not" if value else "no operator"
            raise InvalidArgumentError(
                f"where gives the column {column.name!r} {given}; it takes {', '.join(_COLUMN_OPERATORS)}"
            )
        return _joined("AND", [self._operation(column, key, operand, depth + 1) for key, operand in value.items()])

    def _operation(self, column: Column, operator: str, operand: Any, depth: int) -> str:
        if operator == "$not":
            return f"(NOT {self._conditions(column, operand, depth)})"
        if operator in ("$in", "$nin"):
            found = self._among(column, operator, operand)
            return found if operator == "$in" else f"(NOT {found})"
        if operator in _CONTAINS:
            return self._contains(column, operator, operand)
        return self._compare(column, operator, operand)

    def _compare(self, column: Column, operator: str, value: Any) -> str:
        unequal = _COMPARISONS[operator] == "<>"
        if value is None and (unequal or operator == "$eq"):
            return f"({column.alias} IS {'NOT ' if unequal else ''}NULL)"
        if value is None or isinstance(value, list | tuple | set | frozenset):
            raise InvalidArgumentError(
                f"where compares the column {column.name!r} by {operator} with {shown(value)}; give "
                + ("a value" if value is None else "one value, or {'$in': [...]} for any of several")
            )
        compared = f"{column.alias} {_COMPARISONS[operator]} {self._parameter(parameter(value, column))}"
        return f"coalesce({compared}, {'true' if unequal else 'false'})"

    def _among(self, column: Column, operator: str, values: Any) -> str:
        if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
            raise InvalidArgumentError(
                f"where gives {operator} of {column.name!r} {shown(values)}; it takes a list of values"
            )
        given = list(values)
        found = [parameter(value, column) for value in given if value is not None]
        if pa.types.is_integer(column.type):
            # What is no whole number is in no column of integers; without it DuckDB need not round the column.
            found = [value for value in found if isinstance(value, int)]
        parts = [f"{column.alias} IS NULL"] if any(value is None for value in given) else []
        if len(found) >= _MANY:
            parts.append(f"coalesce({column.alias} IN (SELECT unnest({self._parameter(tuple(found))})), false)")
        elif found:
            names = ", ".join(self._parameter(value) for value in found)
            parts.append(f"coalesce({column.alias} IN ({names}), false)")
        return _joined("OR", parts) if parts else "false"

    def _contains(self, column: Column, operator: str, value: Any) -> str:
        kind = column.type
        whole = operator == "$contains"
        if whole and is_list(kind):
            element = parameter(value, Column(column.name, column.alias, kind.value_type))
            return f"coalesce(list_contains({column.alias}, {self._parameter(element)}), false)"
        if pa.types.is_null(kind):
            return "false"
        if not is_text(kind):
            raise InvalidArgumentError(
                f"where gives {operator} to the column {column.name!r}, which holds {kind}; "
                f"it is for text{' and lists' if whole else ''}"
            )
        name = self._parameter(parameter(value, column))
        if whole:
            return f"coalesce(contains({column.alias}, {name}), false)"
        return f"coalesce(contains(lower({column.alias}), lower({name})), false)"

    def _parameter(self, value: Any) -> str:
        self.values.append(value)
        return f"${len(self.values)}"

    def _column(self, name: str) -> Column:
        if name not in self.columns:
            self.columns[name] = Column(name, f"c{len(self.columns)}", self._known.types[name])
        return self.columns[name]


def _joined(word: str, parts: Sequence[str]) -> str:
    return f"({f' {word} '.join(parts)})"
