"""What a caller hands to an index, as a stream of record batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from lusirag.corpus import CHUNK_COLUMN
from lusirag.errors import InvalidArgumentError

# One slice is looked up, split and embedded at a time, so this bounds the memory of a build.
SLICE_ROWS = 256
SLICE_TEXT_BYTES = 8 << 20


def as_batches(documents: Any) -> Iterator[pa.RecordBatch]:
    """Bring documents into standard record batches, lazily.

    Args:
        documents: what `lusirag.corpus.documents_to_batches` takes: an iterable of Document or of record batches, or
            one RecordBatch, Table or RecordBatchReader.

    Raises:
        InvalidArgumentError: it is something else, or a column cannot be used.
        CorpusError: a document has no id or no text.
    """
    from lusirag.corpus import documents_to_batches

    for batch in documents_to_batches(documents, SLICE_ROWS):
        if CHUNK_COLUMN in batch.schema.names:
            raise InvalidArgumentError(
                f"the column name {CHUNK_COLUMN!r} is reserved; give whole documents to an index"
            )
        yield from _slices(batch)


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    import pyarrow.compute as pc

    start = 0
    while start < batch.num_rows:
        piece = batch.slice(start, SLICE_ROWS)
        while piece.num_rows > 1 and pc.sum(pc.binary_length(piece.column("text"))).as_py() > SLICE_TEXT_BYTES:
            piece = piece.slice(0, piece.num_rows // 2)
        yield piece
        start += piece.num_rows
