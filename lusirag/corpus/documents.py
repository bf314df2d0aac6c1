"""Documents in memory -> record batches of the corpus schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from lusirag.corpus.columns import ColumnTypes
from lusirag.corpus.fields import FieldNames
from lusirag.corpus.json_rows import as_string, own_columns
from lusirag.corpus.rows import conform, find_bad_rows
from lusirag.corpus.schema import CHUNK_COLUMN, CHUNK_TYPE, RESERVED
from lusirag.errors import CorpusError, InvalidArgumentError
from lusirag.types import Document

_ROLES = ("id", "text", "title", "language", "source")


def documents_to_batches(documents: Any, batch_rows: int = 1024) -> Iterator[pa.RecordBatch]:
    """Yield documents as checked batches of the corpus schema.

    Args:
        documents: an iterable of `Document` or of record batches (such as a `Corpus`), or a pyarrow RecordBatch, Table,
            RecordBatchReader or Dataset, or a Hugging Face Dataset. Columns go by their names: id and text are needed;
            title, language and source are taken when there; the others are the user's own.
        batch_rows: most rows of a batch.

    Raises:
        InvalidArgumentError: `documents` is something else, or one of them cannot be used; says which.
    """
    if batch_rows < 1:
        raise InvalidArgumentError(f"batch_rows is {batch_rows}; it must be at least 1")
    types = ColumnTypes()
    position = 0
    waiting: list[Document] = []
    for item in _items(documents, batch_rows):
        if isinstance(item, Document):
            waiting.append(item)
            if len(waiting) == batch_rows:
                yield _from_documents(waiting, position, types)
                position += len(waiting)
                waiting = []
            continue
        if not isinstance(item, pa.RecordBatch | pa.Table):
            raise InvalidArgumentError(
                f"item {position + len(waiting) + 1} is a {type(item).__name__}; give Document objects, "
                "or pyarrow record batches with columns id and text"
            )
        if waiting:
            yield _from_documents(waiting, position, types)
            position += len(waiting)
            waiting = []
        for batch in [item] if isinstance(item, pa.RecordBatch) else item.to_batches():
            for start in range(0, batch.num_rows, batch_rows):
                yield _from_batch(batch.slice(start, batch_rows), position, types)
                position += min(batch_rows, batch.num_rows - start)
    if waiting:
        yield _from_documents(waiting, position, types)


def _items(documents: Any, batch_rows: int) -> Iterable[Any]:
    if isinstance(documents, pa.RecordBatch | pa.Table):
        return [documents]
    if hasattr(documents, "to_batches"):  # pyarrow.dataset.Dataset
        batches: Iterable[Any] = documents.to_batches(batch_size=batch_rows)
        return batches
    if hasattr(documents, "with_format") and hasattr(documents, "iter"):  # datasets.Dataset
        tables: Iterable[Any] = documents.with_format("arrow").iter(batch_size=batch_rows)
        return tables
    if isinstance(documents, str | bytes | Document) or not isinstance(documents, Iterable):
        raise InvalidArgumentError(
            f"documents is a {type(documents).__name__}; give an iterable of Document, or a pyarrow RecordBatch, Table "
            "or RecordBatchReader with columns id and text"
        )
    return documents


def _from_documents(documents: list[Document], position: int, types: ColumnTypes) -> pa.RecordBatch:
    bad: dict[int, str] = {}
    columns: dict[str, list[str | None]] = {role: [] for role in _ROLES}
    for index, document in enumerate(documents):
        for role, column in columns.items():
            text, reason = as_string(getattr(document, role), role)
            column.append(text)
            if reason is not None:
                bad.setdefault(index, reason)
    own = own_columns([document.metadata for document in documents], (), types, bad)
    arrays = [pa.array(column, pa.large_string()) for column in columns.values()]
    rows = pa.RecordBatch.from_arrays([*arrays, *own.values()], names=[*columns, *(str(name) for name in own)])
    return _checked(rows, position, bad)


def _from_batch(rows: pa.RecordBatch, position: int, types: ColumnTypes) -> pa.RecordBatch:
    missing = [name for name in ("id", "text") if name not in rows.schema.names]
    if missing:
        raise InvalidArgumentError(
            f"the documents have no column {' and no column '.join(missing)}; their columns are: "
            f"{', '.join(rows.schema.names) or 'none'}; rename_columns of pyarrow can rename them"
        )
    return _checked(rows, position, {}, types)


def _checked(
    rows: pa.RecordBatch, position: int, bad: dict[int, str], types: ColumnTypes | None = None
) -> pa.RecordBatch:
    """Bring rows into the corpus schema and refuse the first bad one; chunks keep their place in their document."""
    names = rows.schema.names
    chunks = None
    if CHUNK_COLUMN in names and rows.column(CHUNK_COLUMN).type == CHUNK_TYPE:
        chunks = rows.column(CHUNK_COLUMN)
        rows = rows.drop_columns([CHUNK_COLUMN])
    fields = FieldNames(**{role: role for role in ("text", "id", "title", "language") if role in names})
    try:
        batch = conform(rows, fields, place="documents", ids=None, source=None)
    except CorpusError as error:
        raise InvalidArgumentError(str(error)) from error
    for index, reason in sorted((find_bad_rows(batch) | bad).items()):
        raise InvalidArgumentError(f"document {position + index + 1} (id {batch.column('id')[index]}): {reason}")
    clash = types.note(batch.schema, taken=RESERVED) if types is not None else None
    if clash is not None:
        raise InvalidArgumentError(f"document {position + 1} and after: {clash}")
    return batch if chunks is None else batch.append_column(pa.field(CHUNK_COLUMN, CHUNK_TYPE, nullable=False), chunks)
