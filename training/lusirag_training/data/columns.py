"""Which columns of a source are what, and what must be in them: rows of any shape -> fixed Arrow columns.

Pairs: query string, positive list<string> (one or more), negative list<string> (may be empty), cluster int64
(-1: none).
Text: text string, label string (a class described in words; null: none). Both keep `source` where there is one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lusirag.errors import CorpusError, InvalidArgumentError

logger = logging.getLogger(__name__)

Kind = Literal["pairs", "text"]
Mask = npt.NDArray[np.bool_]

USUAL_NAMES: dict[str, tuple[str, ...]] = {
    "query": ("query",),
    "positive": ("positive", "positives", "pos"),
    "negative": ("negative", "negatives", "neg"),
    "cluster": ("cluster", "clusters"),
    "text": ("text",),
    "label": ("label",),
    "source": ("source",),
}
NO_CLUSTER = -1
_LISTS = pa.list_(pa.string())
_TYPES = {
    "query": pa.string(), "positive": _LISTS, "negative": _LISTS, "cluster": pa.int64(),
    "text": pa.string(), "label": pa.string(), "source": pa.string(),
}  # fmt: skip
_ROLES: dict[Kind, tuple[str, ...]] = {
    "pairs": ("query", "positive", "negative", "cluster", "source"),
    "text": ("text", "label", "source"),
}


class Roles(NamedTuple):
    """What a source's columns are.

    Attributes:
        kind: what its rows are.
        columns: role -> the source's own name of that column.
    """

    kind: Kind
    columns: dict[str, str]


class Checked(NamedTuple):
    """Rows in fixed columns.

    Attributes:
        table: one row for each that was given, bad ones included.
        bad: reason -> mask (rows,) of the rows that it makes unusable.
    """

    table: pa.Table
    bad: dict[str, Mask]


def schema_of(kind: Kind, *, with_source: bool) -> pa.Schema:
    """The fixed columns of a kind."""
    return pa.schema([(role, _TYPES[role]) for role in _ROLES[kind] if role != "source" or with_source])


def kind_of(names: Sequence[str]) -> Kind:
    """Tell from fixed columns what the rows are.

    Raises:
        CorpusError: neither kind.
    """
    for kind, needed in (("pairs", {"query", "positive"}), ("text", {"text"})):
        if needed <= set(names):
            return "pairs" if kind == "pairs" else "text"
    raise CorpusError(
        f"the columns are {', '.join(names) or 'none'}; needed are query and positive, or text. "
        "Say which column is which by `columns`, for example query=question positive=answer"
    )


def find_roles(names: Sequence[str], given: Mapping[str, str] | None, place: str) -> Roles:
    """Tell what each column of a source is.

    Args:
        names: the source's columns.
        given: role -> column, as the user said; roles that are not in it are told by the usual names.
        place: the source's name, for messages.

    Raises:
        InvalidArgumentError: a role that does not exist.
        CorpusError: a column that does not exist, two columns for one role, or no kind of rows that is known.
    """
    given = dict(given or {})
    if unknown := sorted(set(given) - set(USUAL_NAMES)):
        raise InvalidArgumentError(
            f"columns names {', '.join(unknown)}, which are no roles; allowed: {', '.join(USUAL_NAMES)} "
            "(role=column, for example query=question)"
        )
    for role, column in given.items():
        if column not in names:
            raise CorpusError(f"{place}: there is no column {column!r} for {role}; its columns: {', '.join(names)}")
    found = dict(given)
    for role, usual in USUAL_NAMES.items():
        if role in found:
            continue
        there = [name for name in names if name in usual and name not in given.values()]
        if len(there) > 1:
            raise CorpusError(f"{place}: {' and '.join(there)} could both be the {role}; say which by `columns`")
        found |= dict.fromkeys([role], there[0]) if there else {}
    try:
        kind = kind_of(list(found))
    except CorpusError:
        raise CorpusError(
            f"{place}: the columns are {', '.join(names) or 'none'}; needed are query and positive, or text. "
            "Say which is which by `columns`, for example query=question positive=answer"
        ) from None
    return Roles(kind, {role: column for role, column in found.items() if role in _ROLES[kind]})


def fix_columns(raw: pa.Table, roles: Roles, class_names: Mapping[str, Sequence[str]], place: str) -> Checked:
    """Bring rows into the fixed columns, all at once by Arrow.

    Blank texts (null, empty or white space alone) are left out of `positive` and `negative`.

    Args:
        raw: rows as the source has them.
        roles: what its columns are.
        class_names: column -> names of its classes, for labels that are stored as numbers.
        place: the source's name, for messages.

    Raises:
        CorpusError: a column holds something that cannot be text (or, for `cluster`, whole numbers).
    """
    rows = raw.num_rows
    found: dict[str, Any] = {}
    bad: dict[str, Mask] = {}
    for role, column in roles.columns.items():
        values = _plain(raw.column(column))
        where = f"{place}: column {column!r} ({role})"
        if role in ("positive", "negative"):
            found[role] = _texts(values, where)
            if role == "positive":
                bad["positive is empty"] = _mask(pc.equal(pc.list_value_length(found[role]), 0))
        elif role == "cluster":
            found[role] = _clusters(values, where)
        else:
            found[role] = _labels(values, class_names.get(column), where) if role == "label" else _text(values, where)
            if role in ("query", "text"):
                bad[f"{role} is empty"] = _mask(_blank(found[role]))
    if roles.kind == "pairs":
        nothing = pa.ListArray.from_arrays(pa.array(np.zeros(rows + 1, np.int32)), pa.array([], pa.string()))
        found.setdefault("negative", nothing)
        found.setdefault("cluster", pa.array(np.full(rows, NO_CLUSTER)))
    else:
        found.setdefault("label", pa.nulls(rows, pa.string()))
    schema = schema_of(roles.kind, with_source="source" in found)
    return Checked(pa.Table.from_arrays([found[name] for name in schema.names], schema=schema), bad)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """One array without dictionaries; a column of mixed JSON values gets lists of texts."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0)
    if pa.types.is_dictionary(array.type):
        return array.dictionary_decode()
    if isinstance(array.type, pa.JsonType):
        values = [None if value is None else json.loads(value) for value in array.storage.to_pylist()]
        listed = [value if isinstance(value, list) else [] if value is None else [value] for value in values]
        return pa.array([[item if isinstance(item, str) else None for item in items] for items in listed], _LISTS)
    return array


def _is_text(data_type: pa.DataType) -> bool:
    types = pa.types
    return any(is_a(data_type) for is_a in (types.is_string, types.is_large_string, types.is_string_view))


def _is_list(data_type: pa.DataType) -> bool:
    types = pa.types
    return any(is_a(data_type) for is_a in (types.is_list, types.is_large_list, types.is_fixed_size_list))


def _text(array: pa.Array, where: str) -> pa.Array:
    if _is_text(array.type) or pa.types.is_integer(array.type) or pa.types.is_null(array.type):
        return array.cast(pa.string())
    raise CorpusError(f"{where} holds {array.type}; it must hold strings")


def _texts(array: pa.Array, where: str) -> pa.Array:
    """A string or a list of strings each row -> list<string> without blank ones."""
    rows = len(array)
    if _is_list(array.type):
        flat = _text(_plain(pa.chunked_array([pc.list_flatten(array)])), where)
        parents = np.asarray(pc.list_parent_indices(array), dtype=np.int64)
    else:
        flat, parents = _text(array, where), np.arange(rows)
    kept = ~_mask(_blank(flat))
    offsets = np.zeros(rows + 1, dtype=np.int32)
    np.cumsum(np.bincount(parents[kept], minlength=rows), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), flat.filter(pa.array(kept)))


def _clusters(array: pa.Array, where: str) -> pa.Array:
    if _is_text(array.type):
        array = pc.if_else(_blank(array), None, array)
    try:
        return pc.fill_null(array.cast(pa.int64()), NO_CLUSTER)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise CorpusError(f"{where} must hold whole numbers ({' '.join(str(error).split())[:100]})") from error


def _labels(array: pa.Array, names: Sequence[str] | None, where: str) -> pa.Array:
    if names is not None:
        # Data sets mark a missing class by -1.
        numbers = pc.if_else(pc.greater_equal(array, 0), array, None)
        return pa.array(list(names), pa.string()).take(numbers)
    if pa.types.is_integer(array.type) or pa.types.is_boolean(array.type):
        logger.warning("%s holds numbers without names and is left out; a label describes its class in words", where)
        return pa.nulls(len(array), pa.string())
    text = _text(array, where)
    return pc.if_else(_blank(text), None, text)


def _blank(array: pa.Array) -> pa.Array:
    return pc.fill_null(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(array)), 0), fill_value=True)


def _mask(array: pa.Array) -> Mask:
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.bool_)
