"""LlamaIndex's metadata filters as filters of a lusirag index.

Each means what it means in LlamaIndex's own store in memory: a node without the key matches `!=`, `nin` and `is_empty`
alone; true is 1 and false is 0; `contains`, `any` and `all` look into lists, and into texts for a part of them. Where
that store would end with a TypeError, as where a text is compared with a number, nothing matches.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from llama_index_lusirag.columns import KEYS, REF_DOC, Kind, Layout, empty, filled
from lusirag.errors import InvalidArgumentError

Where = dict[str, Any]

NOTHING: Where = {"id": {"$in": []}}
EVERYTHING: Where = {"id": {"$nin": []}}

_COMPARISONS: dict[FilterOperator, tuple[str, Callable[[Any, Any], bool]]] = {
    FilterOperator.EQ: ("$eq", operator.eq),
    FilterOperator.GT: ("$gt", operator.gt),
    FilterOperator.GTE: ("$gte", operator.ge),
    FilterOperator.LT: ("$lt", operator.lt),
    FilterOperator.LTE: ("$lte", operator.le),
}
_TEXT = {FilterOperator.TEXT_MATCH: "$contains", FilterOperator.TEXT_MATCH_INSENSITIVE: "$icontains"}
_OPPOSITE = {FilterOperator.NE: FilterOperator.EQ, FilterOperator.NIN: FilterOperator.IN}


def where_of(
    layout: Layout,
    filters: MetadataFilters | None = None,
    *,
    node_ids: Sequence[str] | None = None,
    doc_ids: Sequence[str] | None = None,
) -> Where | None:
    """The filter that lets through what all of these do; None when there are none.

    Raises:
        InvalidArgumentError: a value that does not go with its operator.
    """
    parts = [] if filters is None else [_filters(layout, filters)]
    if node_ids is not None:
        parts.append({"id": {"$in": list(node_ids)}})
    if doc_ids is not None:
        parts.append({REF_DOC: {"$in": list(doc_ids)}} if layout.find(REF_DOC) else NOTHING)
    return {"$and": parts} if parts else None


def _filters(layout: Layout, filters: MetadataFilters) -> Where:
    parts = [
        _filters(layout, part) if isinstance(part, MetadataFilters) else _filter(layout, part)
        for part in filters.filters
    ]
    if not parts:
        return EVERYTHING
    if filters.condition == FilterCondition.NOT:
        return _not(_any(parts))
    return _any(parts) if filters.condition == FilterCondition.OR else {"$and": parts}


def _filter(layout: Layout, wanted: MetadataFilter) -> Where:
    kind, key, value = wanted.operator, wanted.key, wanted.value
    if kind in _OPPOSITE:
        return _not(_filter(layout, wanted.model_copy(update={"operator": _OPPOSITE[kind]})))
    if kind == FilterOperator.IS_EMPTY:
        return _is_empty(layout, key)
    columns = layout.find(key)
    if kind in _COMPARISONS:
        if value is None and kind == FilterOperator.EQ:
            return NOTHING  # as in LlamaIndex: what is null equals nothing
        return _any(_compare(column, of, kind, _single(wanted)) for column, of in columns)
    if kind == FilterOperator.IN:
        values = _several(wanted)
        return _any(_compare(column, of, FilterOperator.EQ, values) for column, of in columns)
    if kind in _TEXT:
        if not isinstance(value, str):
            raise _unfit(wanted, "a text")
        return _any({column: {_TEXT[kind]: value}} for column, of in columns if of == "text")
    if kind == FilterOperator.CONTAINS:
        return _contains(columns, _single(wanted))
    found = [_contains(columns, each) for each in _several(wanted)]
    if kind == FilterOperator.ANY:
        return _any(found)
    return {"$and": found} if found else _not(_absent(layout, key))


def _compare(column: str, kind: Kind, comparison: FilterOperator, value: Any) -> Where:
    """A comparison with one value, or equality with any of a list of them, for a column of one kind."""
    several = isinstance(value, list)
    values = [each for each in (value if several else [value]) if _goes_with(each, kind)]
    name, holds = _COMPARISONS[comparison]
    if kind == "bool":
        return {column: {"$in": [flag for flag in (True, False) if any(holds(flag, each) for each in values)]}}
    if several:
        return {column: {"$in": values}}
    return {column: {name: values[0]}} if values else NOTHING


def _contains(columns: Iterable[tuple[str, Kind]], value: Any) -> Where:
    inside: dict[Kind, Kind] = {"text": "text", "texts": "text", "ints": "int", "floats": "float"}
    return _any(
        {column: {"$contains": value}} for column, kind in columns if kind in inside and _goes_with(value, inside[kind])
    )


def _goes_with(value: Any, kind: Kind) -> bool:
    return isinstance(value, str) == (kind == "text") and kind in ("text", "int", "float", "bool")


def _is_empty(layout: Layout, key: str) -> Where:
    columns = layout.find(key)
    if (REF_DOC, "text") in columns:
        return {REF_DOC: None}
    return _not({KEYS: {"$contains": filled(key)}})


def _absent(layout: Layout, key: str) -> Where:
    if (REF_DOC, "text") in layout.find(key):
        return {REF_DOC: None}
    return _not(_any([{KEYS: {"$contains": filled(key)}}, {KEYS: {"$contains": empty(key)}}]))


def _single(wanted: MetadataFilter) -> str | int | float:
    if wanted.value is None or isinstance(wanted.value, list):
        raise _unfit(wanted, "one text or number")
    return wanted.value


def _several(wanted: MetadataFilter) -> list[Any]:
    if not isinstance(wanted.value, list):
        raise _unfit(wanted, "a list of texts or numbers")
    return list(wanted.value)


def _unfit(wanted: MetadataFilter, allowed: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"the filter {wanted.operator.value!r} on {wanted.key!r} has the value {wanted.value!r}; it takes {allowed}"
    )


def _any(parts: Iterable[Where]) -> Where:
    found = list(parts)
    return {"$or": found} if found else NOTHING


def _not(part: Where) -> Where:
    return {"$not": part}
