"""Passages that are embedded but not yet committed: the next segment, still in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from lusirag.index import keys
from lusirag.index.analysis import Terms, joined
from lusirag.index.columns import conform, unify
from lusirag.index.postings import postings_of
from lusirag.index.segment import Content, Segment
from lusirag.index.tombstones import Mask
from lusirag.index.writer import Writer
from lusirag.types import Vectors


class Pending:
    """Collects whole documents until they are written as one segment."""

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._vectors: list[Vectors] = []
        self._terms: list[Terms] = []
        self._place: dict[str, int] = {}  # document id -> position in the four lists below
        self._id_hashes: list[int] = []
        self._content_hashes: list[int] = []
        self._first_rows: list[int] = []
        self._rows: list[int] = []
        self._dead: list[int] = []
        self.passages = 0

    def content_hash(self, document_id: str) -> int | None:
        """Content hash of a document that waits here, None when it does not."""
        place = self._place.get(document_id)
        return None if place is None else self._content_hashes[place]

    def discard(self, document_id: str) -> bool:
        """Mark a waiting document as replaced; return whether there was one."""
        place = self._place.pop(document_id, None)
        if place is not None:
            self._dead.append(place)
        return place is not None

    def append(
        self,
        passages: pa.RecordBatch,
        vectors: Vectors,
        terms: Terms | None,
        documents: Sequence[tuple[str, int, int, slice]],
    ) -> None:
        """Take passages, their vectors (rows, dim) and their terms.

        Args:
            passages: with the `_chunk` column.
            vectors: one for each passage.
            terms: of each passage, where the index has a lexical part.
            documents: id, its hash, content hash and rows within `passages` of each document; they cover all rows.
        """
        for document_id, id_hash, content_hash, rows in documents:
            self._place[document_id] = len(self._rows)
            self._id_hashes.append(id_hash)
            self._content_hashes.append(content_hash)
            self._first_rows.append(self.passages + rows.start)
            self._rows.append(rows.stop - rows.start)
        self._batches.append(passages)
        self._vectors.append(vectors)
        if terms is not None:
            self._terms.append(terms)
        self.passages += passages.num_rows

    def write(self, writer: Writer) -> Segment:
        """Write everything as a segment, with tombstones for what was replaced while it waited."""
        schema = unify(batch.schema for batch in self._batches)
        key = keys.build_keys(self._id_hashes, self._content_hashes, self._first_rows, self._rows)
        batches = (conform(batch, schema) for batch in self._batches)
        postings = postings_of(joined(self._terms)) if self._terms else None
        vectors = writer.stored(np.concatenate(self._vectors))
        segment = writer.add_segment(Content(batches, schema, vectors, key, postings))
        return writer.add_tombstones(segment, self._deleted()) if self._dead else segment

    def _deleted(self) -> Mask:
        deleted = np.zeros(self.passages, dtype=np.bool_)
        for place in self._dead:
            deleted[self._first_rows[place] : self._first_rows[place] + self._rows[place]] = True
        return deleted
