"""Exact search: inner products with all vectors of each segment, and one ranking of all.

The scores depend in their last bits on how many queries come at once, and which of several equal rows is returned
is not defined. So a few more candidates than asked for are taken, their scores are computed again in double precision,
and equal scores are ordered by row: one query alone gets the same hits as the same query among a thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from lusirag.index import gpu
from lusirag.index.engine import in_threads
from lusirag.index.scan import largest_inner_products
from lusirag.index.tombstones import Bitmap
from lusirag.index.vectors import StoredVectors, taken
from lusirag.types import Vectors

# Larger than the difference of two ways to add up a float32 inner product of unit vectors.
_ROUNDING = 2e-6
_QUERIES_AT_ONCE = 256
# Numbers from which segments are shared out among threads; it takes FAISS some 20 ms to pass over so many.
_LARGE = 100_000_000
# Rows that are scored again at once: their numbers in double precision stay in a core's cache.
_SCORED_AT_ONCE = 128

Places: TypeAlias = npt.NDArray[np.int64]


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


class Match(NamedTuple):
    """A row that was found: the segment's place among those searched, its row, and the inner product."""

    segment: int
    row: int
    score: float


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


def with_spare(k: int) -> int:
    """How many rows to take for the k best, since the scores by which they are taken are rounded."""
    return k + 8 + k // 8


def _nearest(segments: Sequence[Candidates], queries: Vectors, k: int, fetched: int) -> list[list[Match]]:
    used = [number for number, segment in enumerate(segments) if segment.rows]
    if not used:
        return [[] for _ in queries]

    def search(piece: _Piece) -> tuple[_Piece, Vectors, Places]:
        part = piece.part
        scores, rows = largest_inner_products(queries, part.vectors, min(fetched, part.rows), part.allowed)
        return piece, scores, np.where(rows < 0, -1, rows + piece.start)

    # One query is one thread's work, many are shared out among threads by FAISS and BLAS themselves.
    large = sum(segments[number].vectors.codes.size for number in used) > _LARGE
    if len(queries) == 1 and large and not gpu.searches():
        found = in_threads(search, [piece for number in used for piece in _pieces(number, segments[number])])
    else:
        found = [search(_Piece(number, 0, segments[number])) for number in used]
    scores = np.concatenate([part for _, part, _ in found], axis=1)  # (n, m of all segments)
    rows = np.concatenate([part for _, _, part in found], axis=1)
    scores[rows < 0] = -np.inf
    origin = np.concatenate([np.full(part.shape[1], piece.segment) for piece, part, _ in found])
    results = rank(segments, queries, np.broadcast_to(origin, rows.shape), rows, k, scores)
    # Rows beyond the last fetched one might equal the k-th best: then look further.
    lowest = _lowest(scores, k)
    ends = [part[:, [-1]] for piece, part, _ in found if part.shape[1] < piece.part.rows]
    for at in np.flatnonzero((np.concatenate(ends, axis=1) >= lowest).any(axis=1)) if ends else ():
        [results[at]] = _nearest(segments, queries[at : at + 1], k, 4 * fetched)
    return results


def _pieces(number: int, segment: Candidates) -> Iterator[_Piece]:
    """A segment in parts for several threads, without those where nothing may be found."""
    for start, vectors in segment.vectors.pieces:
        allowed = segment.allowed[start // 8 : start // 8 + (len(vectors) + 7) // 8]
        if rows := int(np.bitwise_count(allowed).sum()):
            yield _Piece(number, start, Candidates(vectors, allowed, rows))


def _lowest(rounded: Vectors, k: int) -> Vectors:
    """(n, 1) what the k largest of each of n rows are not below, however they were rounded."""
    width = rounded.shape[1]
    if width <= k:
        return np.full((len(rounded), 1), -np.inf, dtype=np.float32)
    return np.partition(rounded, width - k, axis=1)[:, [width - k]] - np.float32(_ROUNDING)


def rank(
    segments: Sequence[Candidates],
    queries: Vectors,
    origin: Places,
    rows: Places,
    k: int,
    rounded: Vectors | None = None,
) -> list[list[Match]]:
    """The k best rows of each query by exact cosines, equal ones by segment and row.

    Args:
        segments: where the rows lie.
        queries, origin, rows: as for `cosines`.
        k: at most so many of each query are returned.
        rounded: (n, m) the cosines but for rounding, if they are known.
    """
    vectors = [segment.vectors for segment in segments]
    if rounded is None and rows.shape[1] > 2 * k:
        rounded = _scores(vectors, queries, origin, rows, np.vecdot)
    if rounded is not None:
        rounded = np.fmax(rounded, -np.inf)  # no NaN of an altered file
        rows = np.where(rounded >= _lowest(rounded, k), rows, -1)
    scores = cosines(vectors, queries, origin, rows)
    order = np.lexsort((rows, origin, -scores))[:, :k]
    query = np.arange(len(queries))[:, None]
    columns = (part[query, order].tolist() for part in (origin, rows, scores))
    return [
        [Match(*match) for match in zip(*query, strict=True) if match[1] >= 0] for query in zip(*columns, strict=True)
    ]


def cosines(vectors: Sequence[StoredVectors], queries: Vectors, origin: Places, rows: Places) -> Vectors:
    """Cosines of unit vectors and some rows each, added up in double precision: the same in every company.

    Args:
        vectors: of each segment.
        queries: (n, dim).
        origin, rows: (n, m) the segment and row of each; -1 for none.

    Returns:
        (n, m), -inf where there is none.
    """
    return _scores(vectors, queries, origin, rows, _in_double_precision)


def _in_double_precision(left: Vectors, right: Vectors) -> npt.NDArray[np.float64]:
    products = left.astype(np.float64)
    products *= right
    sums: npt.NDArray[np.float64] = products.sum(axis=1)
    return sums.clip(-1, 1)


def _scores(
    vectors: Sequence[StoredVectors],
    queries: Vectors,
    origin: Places,
    rows: Places,
    inner_products: Callable[[Vectors, Vectors], npt.NDArray[Any]],
) -> Vectors:
    """As `cosines`, by what gives the inner products of the rows of two matrices."""
    scores = np.full(rows.shape, -np.inf, dtype=np.float32)
    there = np.flatnonzero(rows >= 0)
    there = there[np.argsort(origin.flat[there], kind="stable")]
    segments, places, query = origin.flat[there], rows.flat[there], there // rows.shape[1]
    for start in range(0, len(there), _SCORED_AT_ONCE):
        part = slice(start, start + _SCORED_AT_ONCE)
        scores.flat[there[part]] = inner_products(taken(vectors, segments[part], places[part]), queries[query[part]])
    return scores
