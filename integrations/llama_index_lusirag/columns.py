"""Which columns of an index hold the metadata of nodes, so that filters find it.

A column has one type, and a metadata key may have a number in one node and a text in another. So the values of a key
are kept by kind: the kind that comes first in the column with the key's own name ("year"), others in "_text:year",
"_int:year" and so on. Of a list the texts and the numbers are kept, of an object its keys, as that is what Python's
`in` looks at. A node's metadata itself is not read from here, but from its JSON; see `nodes`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa

Kind = Literal["text", "int", "float", "bool", "texts", "ints", "floats"]

TYPES: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "texts": pa.list_(pa.string()),
    "ints": pa.list_(pa.int64()),
    "floats": pa.list_(pa.float64()),
}
_KINDS: dict[str, Kind] = {str(kind): name for name, kind in TYPES.items()}

REF_DOC = "ref_doc_id"
# As `node_to_metadata_dict` names it for other vector stores.
REF_DOC_KEYS = (REF_DOC, "doc_id", "document_id")
NODE, NODE_TYPE, KEYS = "_node", "_node_type", "_keys"
# What an index has in any case; metadata of these names is never in a column of the same name.
_TAKEN = {"id", "text", "title", "language", "source", *REF_DOC_KEYS}
_FILLED, _EMPTY = "+", "-"


class Layout:
    """The columns of metadata that an index has.

    Args:
        columns: their types by name, as `Index.info` gives them.
    """

    def __init__(self, columns: Mapping[str, str]) -> None:
        self._kinds = {name: _KINDS[kind] for name, kind in columns.items() if kind in _KINDS}

    def __bool__(self) -> bool:
        return NODE in self._kinds

    def find(self, key: str) -> list[tuple[str, Kind]]:
        """The columns that hold values of a metadata key, with the kind of each."""
        if key in REF_DOC_KEYS:
            return [(REF_DOC, "text")] if REF_DOC in self._kinds else []
        names = [key] if _may_be_plain(key) else []
        names += [_separate(key, kind) for kind in TYPES]
        return [(name, self._kinds[name]) for name in names if name in self._kinds]

    def place(self, key: str, kind: Kind) -> str:
        """The column for a value of a metadata key; it is known from then on."""
        plain = _may_be_plain(key) and self._kinds.get(key, kind) == kind
        name = key if plain else _separate(key, kind)
        self._kinds[name] = kind
        return name


def metadata_columns(rows: Sequence[Mapping[str, Any]], layout: Layout) -> dict[str, pa.Array]:
    """The columns of some nodes' metadata, with nulls where a node has no such value."""
    columns: dict[str, list[Any]] = {}
    kinds: dict[str, Kind] = {}
    for number, metadata in enumerate(rows):
        for key, value in metadata.items():
            for kind, part in parts(value):
                name = layout.place(key, kind)
                kinds[name] = kind
                columns.setdefault(name, [None] * len(rows))[number] = part
    return {name: pa.array(values, TYPES[kinds[name]]) for name, values in columns.items()}


def keys_of(metadata: Mapping[str, Any]) -> list[str]:
    """What the column `KEYS` says of a node: "+key" for each key with a value, "-key" where this is "" or []."""
    return [f"{_EMPTY if value in ('', []) else _FILLED}{key}" for key, value in metadata.items() if value is not None]


def filled(key: str) -> str:
    """What `KEYS` contains where a node has a value that is not empty."""
    return _FILLED + key


def empty(key: str) -> str:
    """What `KEYS` contains where a node has an empty text or list."""
    return _EMPTY + key


def parts(value: Any) -> Iterator[tuple[Kind, Any]]:
    """What columns hold of a JSON value, by kind; nothing of null and NaN, which equal nothing."""
    if isinstance(value, bool):
        yield "bool", value
    elif isinstance(value, str):
        yield "text", value
    elif isinstance(value, int | float):
        yield from _number(value)
    elif isinstance(value, Mapping | list | tuple):
        yield from _elements(value)


def _elements(values: Iterable[Any]) -> Iterator[tuple[Kind, Any]]:
    numbers = [part for value in values if isinstance(value, int | float) for part in _number(value)]
    lists: dict[Kind, list[Any]] = {
        "texts": [value for value in values if isinstance(value, str)],
        "ints": [number for kind, number in numbers if kind == "int"],
        "floats": [number for kind, number in numbers if kind == "float"],
    }
    yield from ((kind, found) for kind, found in lists.items() if found)


def _number(value: int | float) -> Iterator[tuple[Literal["int", "float"], int | float]]:
    if isinstance(value, float):
        if not math.isnan(value):
            yield "float", value
    elif -(2**63) <= value < 2**63:
        yield "int", int(value)
    else:
        # NOTE: rounded, for filters alone; the node's JSON has every digit.
        try:
            yield "float", float(value)
        except OverflowError:
            yield "float", math.inf if value > 0 else -math.inf


def _may_be_plain(key: str) -> bool:
    return key not in _TAKEN and key[:1] not in ("", "_", "$")


def _separate(key: str, kind: Kind) -> str:
    return f"_{kind}:{key}"
