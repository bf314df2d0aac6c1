"""Bringing a source's columns into the corpus schema, and the one check of rows that every path uses."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from lusirag.corpus.fields import FieldNames, kind_of
from lusirag.corpus.reading import Piece, Reading, SourceFile
from lusirag.corpus.schema import CORPUS_FIELDS, RESERVED
from lusirag.errors import CorpusError

NO_TEXT = "no text"
EMPTY_TEXT = "empty text"
NO_ID = "no id"
INVALID_UTF8 = "invalid UTF-8"
NUL = "NUL character"


def finish_piece(piece: Piece, file: SourceFile, reading: Reading) -> pa.RecordBatch:
    """Turn a reader's rows into a batch of the corpus schema, without the bad ones.

    Raises:
        CorpusError: a bad row under on_error="stop", or a column of a type that its role cannot have.
    """
    numbers = [str(number) for number in piece.numbers]
    batch = conform(
        piece.rows,
        piece.fields,
        place=str(file.path),
        ids=[f"{file.name}:{number}" for number in numbers],
        source=file.name,
    )
    clash = reading.types.note(batch.schema, taken=RESERVED)
    if clash is not None:
        raise CorpusError(f"{file.path}: {clash}; give the field one type in all sources")
    bad = piece.bad | {index: reason for index, reason in find_bad_rows(batch).items() if index not in piece.bad}
    for index in sorted(bad):
        reading.bad_rows.report(f"{file.path}, {piece.unit} {numbers[index]}", bad[index])
    return drop_rows(batch, bad)


def conform(
    rows: pa.RecordBatch, fields: FieldNames, *, place: str, ids: Sequence[str] | None, source: str | None
) -> pa.RecordBatch:
    """Bring columns into the corpus schema: the five of the schema first, then the user's own with their own types.

    A user's column whose name the schema needs gets a trailing underscore; dictionaries and views become plain columns.

    Args:
        rows: any columns.
        fields: which of them is what; `text` must be set.
        place: where the rows are from, for messages.
        ids: used when `fields.id` is None.
        source: used where the rows do not say their source.

    Raises:
        CorpusError: a column's type does not fit its role.
    """
    columns = [_plain(column) for column in rows.columns]
    position = {name: index for index, name in reversed(list(enumerate(rows.schema.names)))}
    used: dict[str, int] = {role: position[name] for role, name in vars(fields).items() if name is not None}
    own_source = position.get("source", -1)
    if own_source not in (-1, *used.values()) and kind_of(columns[own_source].type) in ("text", "empty"):
        used["source"] = own_source
    arrays = []
    for field in CORPUS_FIELDS:
        if field.name in used:
            index = used[field.name]
            arrays.append(_cast(columns[index], field, place, rows.schema.names[index]))
        elif field.name == "id" and ids is not None:
            arrays.append(pa.array(ids, pa.string()))
        else:
            arrays.append(pa.nulls(rows.num_rows, field.type))
    if source is not None:
        arrays[-1] = pc.fill_null(arrays[-1], source)
    # NOTE: id and text are checked for nulls after this; until then the schema promises more than it holds.
    schema = list(CORPUS_FIELDS)
    names = set(RESERVED)
    for index, own in enumerate(rows.schema):
        if index not in used.values():
            name = own.name
            while name in names:
                name += "_"
            names.add(name)
            arrays.append(columns[index])
            schema.append(pa.field(name, columns[index].type))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(schema))


def find_bad_rows(batch: pa.RecordBatch) -> dict[int, str]:
    """Return the rows of a corpus batch that cannot be indexed: index -> reason, the first that applies."""
    reasons: dict[int, str] = {}

    def add(mask: pa.Array, reason: str) -> None:
        for index in pc.indices_nonzero(mask).to_pylist():
            reasons.setdefault(index, reason)

    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        for index in _invalid_utf8(column):
            reasons.setdefault(index, f"{INVALID_UTF8} in {name!r}")
    if reasons:  # the kernels below refuse invalid UTF-8 in any row, so they see an empty one in its place
        bad = pa.array([index in reasons for index in range(batch.num_rows)])
        batch = pa.RecordBatch.from_arrays(
            [pc.if_else(bad, pa.scalar("", column.type), column) for column in batch.columns[:3]],
            names=batch.schema.names[:3],
        )
    ids, text, title = (batch.column(name) for name in ("id", "text", "title"))
    add(pc.is_null(text), NO_TEXT)
    # NOTE: nulls are filled because string kernels look at the bytes beneath them too, and these may be anything.
    ids, text, title = (pc.fill_null(column, "") for column in (ids, text, title))
    add(_blank(text), EMPTY_TEXT)
    add(_blank(ids), NO_ID)
    for column in (text, ids, title):
        add(pc.match_substring(column, "\0"), NUL)
    return reasons


def drop_rows(batch: pa.RecordBatch, bad: dict[int, str]) -> pa.RecordBatch:
    """Return the batch without the rows whose indices are keys of `bad`."""
    if not bad:
        return batch
    return batch.filter(pa.array([index not in bad for index in range(batch.num_rows)], pa.bool_()))


def _blank(column: pa.Array) -> pa.Array:
    return pc.or_(pc.equal(pc.binary_length(column), 0), pc.utf8_is_space(column))


def _plain(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    # NOTE: of views Arrow cannot take rows (26.0); they are another layout of the same values.
    if pa.types.is_string_view(column.type):
        return column.cast(pa.binary_view()).cast(pa.large_binary()).view(pa.large_string())
    return column.cast(pa.large_binary()) if pa.types.is_binary_view(column.type) else column


def _cast(column: pa.Array, field: pa.Field, place: str, name: str) -> pa.Array:
    allowed = {"id": ("text", "integer", "empty"), "title": ("text", "integer", "empty")}
    if kind_of(column.type) not in allowed.get(field.name, ("text", "empty")):
        option = f"--{field.name}-field"
        raise CorpusError(
            f"{place}: field {name!r} holds {column.type}, but the {field.name} must be a string; "
            f"choose another with {option}"
        )
    if column.type == field.type:
        return column
    if pa.types.is_string_view(column.type) or kind_of(column.type) != "text":
        return column.cast(field.type)
    # NOTE: the cast between string widths would stop at invalid UTF-8; by way of binary it is left for find_bad_rows.
    large = pa.types.is_large_string(field.type)
    return column.cast(pa.large_binary() if large else pa.binary()).view(field.type)


def _invalid_utf8(column: pa.Array) -> list[int]:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return [index for index in range(len(column)) if not _is_valid(column.slice(index, 1))]
    return []


def _is_valid(cell: pa.Array) -> bool:
    try:
        cell.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
