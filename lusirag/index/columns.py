"""The columns of a segment's documents: the corpus schema, where the passage lies in its document, the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lusirag.corpus import CHUNK_COLUMN, CHUNK_TYPE, CORPUS_FIELDS
from lusirag.errors import InvalidArgumentError

CORPUS = pa.schema(CORPUS_FIELDS)
FIXED = (*CORPUS.names, CHUNK_COLUMN)


def numbers(column: pa.Array) -> npt.NDArray[Any]:
    """A column of numbers without nulls as numpy sees it, not copied.

    NOTE: pyarrow's own to_numpy imports pandas where that is installed, a third of a search's time.
    """
    return np.from_dlpack(column)


def user_fields(schema: pa.Schema) -> list[pa.Field]:
    """The columns that the user brought, which become a hit's metadata."""
    return [field for field in schema if field.name not in FIXED]


def whole_documents(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Append the `_chunk` column to documents that are not split."""
    import pyarrow.compute as pc

    ids, texts = batch.column("id"), batch.column("text")
    start = pa.repeat(pa.scalar(0, pa.int64()), batch.num_rows)
    end = pc.cast(pc.utf8_length(texts), pa.int64())
    chunk = pa.StructArray.from_arrays([ids, start, end], fields=list(CHUNK_TYPE))
    return batch.append_column(CHUNK_COLUMN, chunk)


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
    fixed = [*CORPUS, pa.field(CHUNK_COLUMN, CHUNK_TYPE)]
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
