"""Filters as SQL text: one boolean expression over the columns passes, and nothing else does.

DuckDB parses the text; what is looked at here is the tree that it made, not the text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import pyarrow as pa

from lusirag.errors import InvalidArgumentError
from lusirag.index.filters.database import ROWS, cursor
from lusirag.index.filters.expression import Column, Columns, Expression, lower, shown

_LONGEST = 100_000
# The kinds of node that an expression over one row consists of.
_ALLOWED = {
    *("BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON"),
    *("CONJUNCTION", "CONSTANT", "FUNCTION", "LAMBDA", "OPERATOR", "TYPE"),
}
_REFUSED = {
    "SUBQUERY": "a subquery (for lists there is list_contains(column, value))",
    "WINDOW": "a window function",
    "PARAMETER": "a parameter; write the value itself, or give where as a dict",
    "STAR": "a star; name the columns",
    "POSITIONAL_REFERENCE": "a column by its number; name it",
}
# Words that SQL reads as functions of the time where no column has their name.
_TIME_WORDS = {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
_TIME_FUNCTIONS = {
    *("now", "today", "ago", "age", "transaction_timestamp", "get_current_time", "get_current_timestamp"),
    *("current_date", "current_localtime", "current_localtimestamp"),
}
# NOTE: besides what changes from call to call: what tells of the database instead of the row, and what makes a small
# value large, so that a short filter cannot fill the memory.
_NO_FUNCTIONS = {
    *("current_catalog", "current_database", "current_query", "current_role", "current_schema", "current_schemas"),
    *("current_setting", "current_user", "getvariable", "in_search_path", "session_user", "user", "version"),
    *("txid_current", "get_block_size", "parse_duckdb_log_message", "json_serialize_sql", "json_serialize_plan"),
    *("range", "generate_series", "generate_subscripts", "repeat", "lpad", "rpad", "list_resize", "array_resize"),
}
_NO_PREFIXES = ("pg_", "has_", "inet_", "__internal")


@lru_cache(maxsize=128)
def from_sql(text: str, columns: Columns) -> Expression:
    """Check that `text` is one boolean expression over the columns.

    Raises:
        InvalidArgumentError: it is not, or it names a column or function that is not there.
    """
    if not text.strip():
        raise InvalidArgumentError("where is empty; give a condition, or leave it out (None) to take everything")
    if len(text) > _LONGEST or "\0" in text:
        problem = (
            "has a NUL character" if "\0" in text else f"has {len(text):,} characters; at most {_LONGEST:,} are read"
        )
        raise InvalidArgumentError(f"where {problem}; for many values give it as a dict with $in")
    found = _Names(columns)
    try:
        found.visit(_expression(text), frozenset())
    except RecursionError:
        raise InvalidArgumentError("where is nested too deeply; write it with fewer levels") from None
    used = tuple(Column(name, name, columns.types[name]) for name in found.columns)
    for column in used:
        alike = [other.name for other in used if lower(other.name) == lower(column.name)]
        if len(alike) > 1:
            raise InvalidArgumentError(
                f"where names the columns {' and '.join(map(repr, alike))}, which SQL does not tell apart; "
                "give where as a dict"
            )
    # NOTE: the line's end closes a comment that the text may end with.
    expression = Expression(f"{text}\n", used, repeatable=found.repeatable)
    _check_boolean(expression)
    return expression


def _expression(text: str) -> Any:
    """The tree of the only expression in a text.

    In parentheses it must mean what it means alone, and alone it must be all that is said: that leaves no room for a
    second expression, another clause, a name, a semicolon or parentheses that close others than their own.
    """
    alone, enclosed = _parse(f"SELECT {text}\n"), _parse(f"SELECT ({text}\n)")
    if "statements" not in alone or "statements" not in enclosed:
        wrong = alone if "statements" not in alone else enclosed
        line = str(wrong.get("error_message") or "it cannot be parsed").splitlines()[0]
        if "expression depth" in line:
            raise RecursionError
        raise InvalidArgumentError(f"where is no SQL expression: {line}; it takes one, such as year > 1990")
    selected = [part for statement in alone["statements"] for part in statement["node"].get("select_list", [])]
    if alone != enclosed or len(selected) != 1:
        raise InvalidArgumentError(
            f"where must be one SQL expression, such as year > 1990 AND language = 'de', not {shown(text.strip())}"
        )
    return selected[0]


def _parse(statement: str) -> dict[str, Any]:
    with cursor() as own:
        tree = json.loads(own.execute("SELECT json_serialize_sql($1::VARCHAR)", [statement]).fetchall()[0][0])
    found: dict[str, Any] = _without_places(tree)
    return found


def _without_places(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_places(part) for key, part in node.items() if not key.startswith("query_location")}
    return [_without_places(part) for part in node] if isinstance(node, list) else node


class _Names:
    """Walks a tree and notes the columns that it names."""

    def __init__(self, known: Columns) -> None:
        self._known = known
        self.columns: dict[str, None] = {}
        self.repeatable = True

    def visit(self, node: Any, parameters: frozenset[str]) -> None:
        """Look at a node and all below it; `parameters` are the names that lambdas around it bind."""
        if isinstance(node, dict):
            kind = node.get("class")
            if kind is not None and (kind not in _ALLOWED or node.get("type") == "GROUPING_FUNCTION"):
                raise InvalidArgumentError(
                    f"where must be an expression over the columns of one row, without {_REFUSED.get(kind, kind)}"
                )
            if kind == "COLUMN_REF":
                self._column(node["column_names"][0], parameters)
            elif kind == "FUNCTION":
                self._function(node)
            elif kind == "LAMBDA":
                # NOTE: json -> 'key' is parsed as a lambda too; a column at its left is a column.
                names = {lower(name[0]) for name in _column_names(node["lhs"]) if name[0] not in self._known.types}
                parameters |= names
            for part in node.values():
                self.visit(part, parameters)
        elif isinstance(node, list):
            for part in node:
                self.visit(part, parameters)

    def _column(self, name: str, parameters: frozenset[str]) -> None:
        if lower(name) in parameters:
            return
        if lower(name) in _TIME_WORDS and not any(lower(known) == lower(name) for known in self._known.types):
            self.repeatable = False
            return
        self.columns[self._known.find_in_sql(name)] = None

    def _function(self, node: dict[str, Any]) -> None:
        name = str(node["function_name"])
        if node.get("schema") or node.get("catalog"):
            raise InvalidArgumentError(f"where calls {name!r} with something before its name; write {name}(...)")
        row_functions, aggregates = _functions()
        if lower(name) in aggregates or node.get("filter") or node.get("distinct") or node.get("export_state"):
            raise InvalidArgumentError(f"where calls {name!r}, an aggregate; a filter looks at one row at a time")
        if lower(name) not in row_functions:
            close = get_close_matches(lower(name), row_functions, n=1, cutoff=0.8)
            raise InvalidArgumentError(
                f"where calls the function {name!r}, which filters do not have"
                + (f"; did you mean {close[0]!r}?" if close else "")
            )
        self.repeatable = self.repeatable and lower(name) not in _TIME_FUNCTIONS


def _column_names(node: Any) -> Iterator[list[str]]:
    if isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            yield node["column_names"]
        node = list(node.values())
    for part in node if isinstance(node, list) else ():
        yield from _column_names(part)


@lru_cache(maxsize=1)
def _functions() -> tuple[frozenset[str], frozenset[str]]:
    """DuckDB's functions of one row that a filter may call, and its aggregates; names in lower case."""
    with cursor() as own:
        rows = own.execute("SELECT function_name, function_type, stability FROM duckdb_functions()").fetchall()
    changing = {name for name, _, stability in rows if stability == "VOLATILE"}
    allowed = {
        lower(name)
        for name, kind, _ in rows
        if kind in ("scalar", "macro") and name not in changing | _NO_FUNCTIONS and not name.startswith(_NO_PREFIXES)
    }
    return frozenset(allowed), frozenset(lower(name) for name, kind, _ in rows if kind == "aggregate")


def _check_boolean(expression: Expression) -> None:
    empty = pa.table({column.alias: pa.nulls(0, column.type) for column in expression.columns} or {"none": pa.nulls(0)})
    with cursor() as own:
        own.register(ROWS, empty)
        kind = own.execute(f'DESCRIBE SELECT ({expression.sql}) AS found FROM "{ROWS}"').fetchall()[0][1]
    if kind != "BOOLEAN":
        raise InvalidArgumentError(
            f"where must be true or false of a row, not {kind.strip(chr(34))}: {shown(expression.sql.strip())}; "
            "compare it with something"
        )
