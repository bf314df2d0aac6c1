"""The columns of a segment's documents: the corpus schema, where the passage lies in its document, the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from lusirag.errors import CorpusError, InvalidArgumentError

CHUNK = "_chunk"
CHUNK_TYPE = pa.struct(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("start", pa.int64()),
        pa.field("end", pa.int64()),
    ]
)
CORPUS = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("text", pa.large_string()),
        pa.field("title", pa.string()),
        pa.field("language", pa.string()),
        pa.field("source", pa.string()),
    ]
)
FIXED = (*CORPUS.names, CHUNK)


def user_fields(schema: pa.Schema) -> list[pa.Field]:
    """The columns that the user brought, which become a hit's metadata."""
    return [field for field in schema if field.name not in FIXED]


def standardise(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Bring a batch from outside into the corpus schema; the user's columns follow, as they are.

    Dictionary-encoded columns are decoded, because an Arrow file cannot hold two dictionaries of one column.

    Raises:
        InvalidArgumentError: a column is missing, doubled, reserved or of a type that is no text.
        CorpusError: a row has no id or no text.
    """
    names = batch.schema.names
    if missing := [name for name in ("id", "text") if name not in names]:
        raise InvalidArgumentError(
            f"documents need the columns id and text; {' and '.join(missing)} is missing from {', '.join(names)}"
        )
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidArgumentError(f"documents have two columns named {doubled[0]!r}; names must be unique")
    if CHUNK in names:
        raise InvalidArgumentError(f"the column name {CHUNK!r} is reserved; give that column another name")
    columns = {}
    for field in CORPUS:
        try:
            column = batch.column(field.name) if field.name in names else pa.nulls(batch.num_rows)
            columns[field.name] = column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InvalidArgumentError(f"the column {field.name!r} must hold text: {error}") from error
    for field in user_fields(batch.schema):
        column = batch.column(field.name)
        columns[field.name] = column.dictionary_decode() if pa.types.is_dictionary(field.type) else column
    _check_rows(columns["id"], columns["text"])
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _check_rows(ids: pa.Array, texts: pa.Array) -> None:
    for name, column in (("id", ids), ("text", texts)):
        empty = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), True)
        if (row := pc.index(empty, True).as_py()) >= 0:
            which = f"document {ids[row].as_py()!r}" if name == "text" else f"row {row} of a batch"
            raise CorpusError(f"{which} has no {name}: every document needs an id and a text that is not empty")


def whole_documents(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Append the `_chunk` column to documents that are not split."""
    ids, texts = batch.column("id"), batch.column("text")
    start = pa.repeat(pa.scalar(0, pa.int64()), batch.num_rows)
    end = pc.cast(pc.utf8_length(texts), pa.int64())
    chunk = pa.StructArray.from_arrays([ids, start, end], fields=list(CHUNK_TYPE))
    return batch.append_column(CHUNK, chunk)


def unify(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """One schema that holds every batch: fixed columns first, the user's widened where both fit (int64 and double).

    Raises:
        InvalidArgumentError: a column has types that do not go together; names the column and both types.
    """
    types: dict[str, pa.Field] = {}
    for schema in schemas:
        for field in user_fields(schema):
            known = types.get(field.name)
            try:
                both = [pa.schema([known]), pa.schema([field])] if known else [pa.schema([field])]
                unified = pa.unify_schemas(both, promote_options="permissive").field(0)
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                raise InvalidArgumentError(
                    f"the column {field.name!r} holds {known.type if known else None} in this index and {field.type} "
                    "in the new documents; convert one of them, or give the column another name"
                ) from None
            types[field.name] = unified.with_nullable(True)
    fixed = [*CORPUS, pa.field(CHUNK, CHUNK_TYPE)]
    return pa.schema([*fixed, *types.values()])


def conform(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Give a batch exactly the columns of `schema`: cast what was widened, fill what is missing with nulls."""
    columns = []
    for field in schema:
        if field.name in batch.schema.names:
            columns.append(batch.column(field.name).cast(field.type, safe=False))
        else:
            columns.append(pa.nulls(batch.num_rows, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def rebatch(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Cut and join batches of one schema so that each has `rows` rows, the last one perhaps fewer."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        start = 0
        while batch.num_rows - start >= rows - count:
            piece = batch.slice(start, rows - count)
            yield pa.concat_batches([*waiting, piece])
            start += piece.num_rows
            waiting, count = [], 0
        if start < batch.num_rows:
            waiting.append(batch.slice(start))
            count += batch.num_rows - start
    if waiting:
        yield pa.concat_batches(waiting)
