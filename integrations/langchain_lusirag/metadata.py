"""LangChain metadata in an index: all of it as JSON, so that it comes back equal, and its scalars as typed columns.

Columns are what filters read. An index gives a column one type, while LangChain lets a key hold anything, so a column
has the type of the first value that the index gets for its key; values of other kinds, lists and dicts are in the JSON
alone. Numbers are one kind: whole ones become floats when a fraction comes.

A column has the name of its key. Names that every index has (id, text, title, language, source and those with a leading
underscore below) get a trailing underscore: metadata["title"] is the column title_. A source that is a str is the
index's own column `source`, which `lusirag search` shows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from lusirag.errors import InvalidArgumentError

METADATA_COLUMN = "_langchain"
RESERVED = ("id", "text", "title", "language", "source", "_chunk", METADATA_COLUMN)

_DATE, _DATETIME, _TUPLE, _DICT = "$date", "$datetime", "$tuple", "$dict"
_TAGS = {_DATE, _DATETIME, _TUPLE, _DICT}  # a dict with one of them as its only key stands for something else

_MOST_COLUMNS = 256  # each is read with each hit
_KINDS = {
    **dict.fromkeys(("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "float", "double"), "number"),
    **dict.fromkeys(("string", "large_string"), "text"),
    "bool": "boolean",
    "date32[day]": "date",
    "timestamp[us]": "time",
    "timestamp[us, tz=UTC]": "time with zone",
    "null": "nothing",
}
_TYPES = {
    "text": pa.string(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "time": pa.timestamp("us"),
    "time with zone": pa.timestamp("us", "UTC"),
    "nothing": pa.null(),
}
_LARGEST = 2**63


def to_json(metadata: Mapping[str, Any], place: str) -> str:
    """Metadata as JSON that `from_json` reads back equal: JSON values, tuples, dates and datetimes.

    Args:
        metadata: of one document.
        place: which document it is, for messages.

    Raises:
        InvalidArgumentError: it holds something else, or a key that is no str.
    """
    try:
        return json.dumps(_tagged(metadata, place, "metadata"))
    except InvalidArgumentError:
        raise
    except (RecursionError, ValueError) as error:  # nested too deep, or a number of thousands of digits
        raise InvalidArgumentError(f"{place}: its metadata cannot be kept ({error}); convert it to str") from None


def from_json(text: str) -> dict[str, Any]:
    """The metadata that `to_json` wrote."""
    metadata: dict[str, Any] = _untagged(json.loads(text))
    return metadata


def column_name(key: str) -> str:
    """The column that holds the scalars of a metadata key; different keys have different columns."""
    return f"{key}_" if key.rstrip("_") in RESERVED or key in RESERVED else key


def is_text(text: str) -> bool:
    """Whether Arrow can hold a str: half of a surrogate pair it cannot, though JSON can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def columns_of(metadatas: Sequence[Mapping[str, Any]], known: Mapping[str, str]) -> dict[str, pa.Array]:
    """The typed columns of some documents' metadata, (n,) each, without those whose values fit none.

    Args:
        metadatas: n of them, already checked by `to_json`.
        known: the index's own columns, name to Arrow type in words (`Index.info()["columns"]`).
    """
    columns: dict[str, pa.Array] = {}
    room = _MOST_COLUMNS - len(known)
    for key in dict.fromkeys(key for metadata in metadatas for key in metadata):
        name = column_name(key)
        if key == "source" or not _can_name(name) or (name not in known and room <= 0):
            continue
        column = _column([metadata.get(key) for metadata in metadatas], known.get(name))
        if column is not None:
            columns[name] = column
            room -= name not in known
    return columns


def _column(values: Sequence[Any], known: str | None) -> pa.Array | None:
    kinds = [_kind(value) for value in values]
    kind = _KINDS.get(known or "null")
    if kind == "nothing":
        kind = next((each for each in kinds if each not in ("nothing", "other")), None)
        if kind is None:
            return pa.nulls(len(values)) if "nothing" in kinds and "other" not in kinds else None
    if kind is None:
        return None
    kept = [value if each == kind else None for value, each in zip(values, kinds, strict=True)]
    if kind != "number":
        return pa.array(kept, _TYPES[kind])
    whole = known not in ("float", "double") and all(
        value is None or (isinstance(value, int) and -_LARGEST <= value < _LARGEST) for value in kept
    )
    return pa.array(kept, pa.int64()) if whole else pa.array([_as_float(value) for value in kept], pa.float64())


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text" if is_text(value) else "other"
    if isinstance(value, datetime):
        return "time" if value.tzinfo is None else "time with zone"
    return "date" if isinstance(value, date) else "other"


def _as_float(value: float | None) -> float | None:
    try:
        return None if value is None else float(value)
    except OverflowError:
        return math.inf if value and value > 0 else -math.inf


def _can_name(name: str) -> bool:
    return bool(name) and "\0" not in name and is_text(name)


def _tagged(value: Any, place: str, path: str) -> Any:
    """The value in what JSON has; what it lacks as a dict with one of the tags."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InvalidArgumentError(f"{place}: {path} has the key {key!r}; keys must be str")
        items = {key: _tagged(item, place, f"{path}[{key!r}]") for key, item in value.items()}
        return {_DICT: items} if len(items) == 1 and next(iter(items)) in _TAGS else items
    if isinstance(value, list | tuple):
        parts = [_tagged(item, place, f"{path}[{at}]") for at, item in enumerate(value)]
        return {_TUPLE: parts} if isinstance(value, tuple) else parts
    if isinstance(value, datetime):
        return {_DATETIME: value.isoformat()}
    if isinstance(value, date):
        return {_DATE: value.isoformat()}
    raise InvalidArgumentError(
        f"{place}: {path} is a {type(value).__name__}, which an index cannot keep; "
        "give str, numbers, bool, None, dates, lists, tuples or dicts of them"
    )


def _untagged(value: Any) -> Any:
    if isinstance(value, list):
        return [_untagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    tag, inner = next(iter(value.items())) if len(value) == 1 else (None, None)
    if tag == _DATETIME:
        return datetime.fromisoformat(str(inner))
    if tag == _DATE:
        return date.fromisoformat(str(inner))
    if tag == _TUPLE:
        return tuple(_untagged(inner))
    items = inner if tag == _DICT and isinstance(inner, dict) else value
    return {key: _untagged(item) for key, item in items.items()}
