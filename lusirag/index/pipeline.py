"""Passages on their way to their vectors: one thread embeds, while the caller's own reads and splits the next ones.

The caller's thread reads, because a thread that waits for standard input cannot be stopped by Ctrl-C; it also takes
back what is done, in order, and commits. So all that changes an index happens in one thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Self

import pyarrow as pa

from lusirag.index.analysis import Terms
from lusirag.index.passages import PassageMaker, documents_of
from lusirag.types import Vectors

AHEAD = 4  # pieces in the pipeline: embedding goes on while a segment is written, and memory stays flat
_PIECE_PASSAGES = 256


class Fresh(NamedTuple):
    """A document that must be embedded.

    Attributes:
        row: in the batch that was read.
        id_hash, content_hash: see `keys`.
        replaces: whether there may be an older version, in the index or on its way into it.
    """

    row: int
    id_hash: int
    content_hash: int
    replaces: bool


@dataclass(slots=True)
class Piece:
    """Some hundred passages of whole documents, or one long document.

    Attributes:
        passages: with the `_chunk` column.
        documents: id to what it is and its rows within `passages`; they cover all rows, in order.
        read: how many of the documents that were read are done with when this piece is.
    """

    passages: pa.RecordBatch
    documents: dict[str, tuple[Fresh, slice]]
    read: int = 0


class Embedded(NamedTuple):
    """A piece, its vectors (rows, dim), and its terms where the index has a lexical part."""

    piece: Piece
    vectors: Vectors
    terms: Terms | None


class Pipeline:
    """Pieces that are being embedded, or wait for it: first in, first out. No thread is left after its `with` block.

    Args:
        maker: embeds in one thread and counts terms in another, one piece at a time.
    """

    def __init__(self, maker: PassageMaker) -> None:
        self._maker = maker
        self._embedding = ThreadPoolExecutor(1, "lusirag embedding")
        self._analysis = ThreadPoolExecutor(1, "lusirag analysis")  # the tokenizer leaves the interpreter free
        self._pieces: deque[tuple[Piece, Future[Vectors], Future[Terms | None]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Give up what has not begun, and wait for the rest."""
        for threads in (self._embedding, self._analysis):
            threads.shutdown(wait=False, cancel_futures=True)
        for threads in (self._embedding, self._analysis):
            threads.shutdown()

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def done(self) -> bool:
        """Whether the oldest piece can be taken without waiting."""
        return bool(self._pieces) and all(future.done() for future in self._pieces[0][1:])

    def content_hash(self, document_id: str) -> int | None:
        """Content hash of the newest version of a document that is in here, None when there is none."""
        for piece, _, _ in reversed(self._pieces):
            if document_id in piece.documents:
                return piece.documents[document_id][0].content_hash
        return None

    def send(self, piece: Piece) -> None:
        """Put in a piece."""
        vectors = self._embedding.submit(self._maker.embed, piece.passages)
        self._pieces.append((piece, vectors, self._analysis.submit(self._maker.terms, piece.passages)))

    def note_read(self, documents: int) -> bool:
        """Let the newest piece answer for documents that were read; False when there is none."""
        if self._pieces:
            self._pieces[-1][0].read += documents
        return bool(self._pieces)

    def take(self) -> Embedded:
        """The oldest piece, as soon as it is done. Raises what embedding it raised."""
        piece, vectors, terms = self._pieces[0]
        embedded = Embedded(piece, vectors.result(), terms.result())
        self._pieces.popleft()
        return embedded

    def clear(self) -> None:
        """Give up all pieces."""
        self.cancel()
        self._pieces.clear()

    def cancel(self) -> None:
        """Give up the pieces that have not begun; the others can still be taken."""
        while self._pieces and self._pieces[-1][1].cancel():
            self._pieces.pop()


def pieces_of(passages: pa.RecordBatch, fresh: Mapping[str, Fresh]) -> Iterator[Piece]:
    """Cut passages between documents, so that each piece has some hundred, or is one long document."""
    start = 0
    documents: dict[str, tuple[Fresh, slice]] = {}
    for document_id, rows in documents_of(passages):
        documents[document_id] = fresh[document_id], slice(rows.start - start, rows.stop - start)
        if rows.stop - start >= _PIECE_PASSAGES:
            yield Piece(passages.slice(start, rows.stop - start), documents)
            start, documents = rows.stop, {}
    if documents:
        yield Piece(passages.slice(start), documents)
