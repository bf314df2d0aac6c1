"""Exact search: inner products with all vectors of each segment, and one ranking of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lusirag.index import gpu
from lusirag.index.ranking import Match, Proposal, lowest, rank, scores_of, with_spare
from lusirag.index.scan import largest_inner_products
from lusirag.index.threads import in_threads
from lusirag.index.tombstones import Bitmap
from lusirag.index.vectors import StoredVectors
from lusirag.types import Vectors

_QUERIES_AT_ONCE = 256
# Numbers from which segments are shared out among threads; it takes FAISS some 20 ms to pass over so many.
_LARGE = 100_000_000


class Candidates(NamedTuple):
    """The rows of one segment among which to search.

    Attributes:
        vectors: of the segment.
        allowed: bitmap of the rows that may be found.
        rows: how many rows that are.
    """

    vectors: StoredVectors
    allowed: Bitmap
    rows: int


class _Piece(NamedTuple):
    """Rows of a segment, the first of which is `start`."""

    segment: int
    start: int
    part: Candidates


def nearest(segments: Sequence[Candidates], queries: Vectors, k: int) -> list[list[Match]]:
    """Find the k best rows of all segments for each query.

    Args:
        segments: where to search.
        queries: (n, dim) unit vectors.
        k: at least 1; fewer are returned only when fewer rows are allowed.

    Returns:
        For each query its matches, by score from large to small, equal ones by segment and row.
    """
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    results: list[list[Match]] = []
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        results += _nearest(segments, queries[start : start + _QUERIES_AT_ONCE], k, with_spare(k))
    return results


def _nearest(segments: Sequence[Candidates], queries: Vectors, k: int, fetched: int) -> list[list[Match]]:
    used = [number for number, segment in enumerate(segments) if segment.rows]
    if not used:
        return [[] for _ in queries]

    def search(piece: _Piece) -> Proposal:
        part = piece.part
        scores, rows = largest_inner_products(queries, part.vectors, min(fetched, part.rows), part.allowed)
        return Proposal(piece.segment, scores, np.where(rows < 0, -1, rows + piece.start))

    # One query is one thread's work, many are shared out among threads by FAISS and BLAS themselves.
    large = sum(segments[number].vectors.codes.size for number in used) > _LARGE
    if len(queries) == 1 and large and not gpu.searches():
        pieces = [piece for number in used for piece in _pieces(number, segments[number])]
        found = in_threads(search, pieces)
    else:
        pieces = [_Piece(number, 0, segments[number]) for number in used]
        found = [search(piece) for piece in pieces]
    results = rank([segment.vectors for segment in segments], queries, found, k)
    # Rows beyond the last fetched one might equal the k-th best: then look further.
    ends = [each.last() for piece, each in zip(pieces, found, strict=True) if fetched < piece.part.rows]
    if ends:
        for at in np.flatnonzero((scores_of(ends) >= lowest(scores_of(found), k)).any(axis=1)):
            [results[at]] = _nearest(segments, queries[at : at + 1], k, 4 * fetched)
    return results


def _pieces(number: int, segment: Candidates) -> Iterator[_Piece]:
    """A segment in parts for several threads, without those where nothing may be found."""
    for start, vectors in segment.vectors.pieces:
        allowed = segment.allowed[start // 8 : start // 8 + (len(vectors) + 7) // 8]
        if rows := int(np.bitwise_count(allowed).sum()):
            yield _Piece(number, start, Candidates(vectors, allowed, rows))
