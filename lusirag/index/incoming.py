"""What a caller hands to an index, as a stream of record batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lusirag.errors import InvalidArgumentError
from lusirag.index.columns import standardise
from lusirag.types import Document

# One slice is looked up, split and embedded at a time, so this bounds the memory of a build.
SLICE_ROWS = 256
SLICE_TEXT_BYTES = 8 << 20


def as_batches(documents: Any) -> Iterator[pa.RecordBatch]:
    """Bring documents into standard record batches, lazily.

    Args:
        documents: an iterable of Document or of record batches, or one RecordBatch, Table or RecordBatchReader.

    Raises:
        InvalidArgumentError: it is something else, or a column cannot be used.
        CorpusError: a document has no id or no text.
    """
    for batch in _batches(documents):
        for piece in _slices(batch):
            yield standardise(piece)


def _batches(documents: Any) -> Iterator[pa.RecordBatch]:
    if isinstance(documents, pa.RecordBatch):
        yield documents
    elif isinstance(documents, pa.Table):
        yield from documents.to_batches()
    elif isinstance(documents, (str, bytes, Document)) or not isinstance(documents, Iterable):
        raise InvalidArgumentError(
            f"documents must be a list or another iterable of Document, or an Arrow table or reader; "
            f"this is one {type(documents).__name__}"
        )
    else:
        yield from _from_items(iter(documents))


def _from_items(items: Iterator[Any]) -> Iterator[pa.RecordBatch]:
    from lusirag.corpus import documents_to_batches

    for first in items:
        if isinstance(first, pa.RecordBatch):
            yield first
        else:
            yield from documents_to_batches(_only_documents(first, items), SLICE_ROWS)


def _only_documents(first: Any, rest: Iterator[Any]) -> Iterator[Document]:
    item = first
    while True:
        if not isinstance(item, Document):
            raise InvalidArgumentError(
                f"documents must all be lusirag.Document or all pyarrow.RecordBatch; one is a {type(item).__name__}"
            )
        yield item
        try:
            item = next(rest)
        except StopIteration:
            return


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    start = 0
    while start < batch.num_rows:
        piece = batch.slice(start, SLICE_ROWS)
        while piece.num_rows > 1 and _text_bytes(piece) > SLICE_TEXT_BYTES:
            piece = piece.slice(0, piece.num_rows // 2)
        yield piece
        start += piece.num_rows


def _text_bytes(batch: pa.RecordBatch) -> int:
    if "text" not in batch.schema.names:
        return 0
    column = batch.column("text")
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    return int(pc.sum(pc.binary_length(column)).as_py() or 0) if is_text else 0
