"""What is stored: whole documents by id, and the vectors of hits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lusirag.errors import IndexStateError
from lusirag.index.deletion import choose_documents
from lusirag.index.filters import Where
from lusirag.index.hits import to_document
from lusirag.index.segment import Segment
from lusirag.index.snapshot import Snapshot
from lusirag.types import Document, Hit, Vectors


def stored_documents(snapshot: Snapshot, ids: Sequence[str] | None, where: Where | None = None) -> list[Document]:
    """Documents by id, in that order, or by a filter, as they lie; see `Index.get`."""
    if ids is None or where is not None:
        chosen = [
            (segment, position)
            for segment, positions in zip(snapshot.segments, choose_documents(snapshot, ids, where), strict=True)
            for position in positions[np.argsort(segment.keys.first_rows[positions])].tolist()
        ]
    else:
        chosen = [place for document_id in ids if (place := snapshot.find(document_id)) is not None]
    found = []
    for segment, position in chosen:
        rows = segment.rows_of(position)
        found.append(to_document([segment.documents.hit(row) for row in range(rows.start, rows.stop)]))
    if ids is not None and where is not None:
        order = {document_id: at for at, document_id in enumerate(ids)}
        found.sort(key=lambda document: order[document.id])
    return found


def stored_vectors(snapshot: Snapshot, hits: Sequence[Hit]) -> Vectors:
    """The vectors (n, dim) of passages, in their order; see `Index.vectors`."""
    vectors = np.empty((len(hits), snapshot.manifest.embedder.dimension), dtype=np.float32)
    for vector, hit in zip(vectors, hits, strict=True):
        segment, row = _place(snapshot, hit)
        vector[:] = segment.vectors.take(slice(row, row + 1))[0]
    return vectors


def _place(snapshot: Snapshot, hit: Hit) -> tuple[Segment, int]:
    """The segment and row of a passage: a document that was split has its chunks "<id>#1", "<id>#2", ... in a row."""
    place = snapshot.find(hit.document_id)
    if place is not None:
        segment, position = place
        rows = segment.rows_of(position)
        number = "1" if hit.id == hit.document_id else hit.id.removeprefix(f"{hit.document_id}#")
        row = rows.start + int(number) - 1 if number.isdecimal() else rows.stop
        if rows.start <= row < rows.stop:
            return segment, row
    raise IndexStateError(
        f"the passage {hit.id!r} is not in the index {snapshot.directory} as it is now; search again and use those hits"
    )
