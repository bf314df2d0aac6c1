"""Exact search: inner products with all vectors of each segment, and one ranking of all.

The scores depend in their last bits on how many queries come at once, and which of several equal rows is returned
is not defined. So a few more candidates than asked for are taken, their scores are computed again in double precision,
and equal scores are ordered by row: one query alone gets the same hits as the same query among a thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lusirag.index.engine import in_threads
from lusirag.index.scan import largest_inner_products
from lusirag.index.tombstones import Bitmap
from lusirag.index.vectors import StoredVectors
from lusirag.types import Vectors

# Larger than the difference of two ways to add up a float32 inner product of unit vectors.
_ROUNDING = 2e-6
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


class Match(NamedTuple):
    """A row that was found: the segment's place among those searched, its row, and the inner product."""

    segment: int
    row: int
    score: float


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
        results += _nearest(segments, queries[start : start + _QUERIES_AT_ONCE], k, k + 8 + k // 8)
    return results


def _nearest(segments: Sequence[Candidates], queries: Vectors, k: int, fetched: int) -> list[list[Match]]:
    used = [number for number, segment in enumerate(segments) if segment.rows]
    if not used:
        return [[] for _ in queries]

    def search(number: int) -> tuple[int, Vectors, npt.NDArray[np.int64]]:
        part = segments[number]
        return number, *largest_inner_products(queries, part.vectors, min(fetched, part.rows), part.allowed)

    # One query is one thread's work, many are shared out among threads by FAISS and BLAS themselves.
    large = sum(segments[number].vectors.codes.size for number in used) > _LARGE
    found = in_threads(search, used) if len(queries) == 1 and large else list(map(search, used))
    scores = np.concatenate([part for _, part, _ in found], axis=1)  # (n, m of all segments)
    rows = np.concatenate([part for _, _, part in found], axis=1)
    origin = np.concatenate([np.full(part.shape[1], number) for number, part, _ in found])
    results = []
    for at, query in enumerate(queries):
        lowest = _kth_largest(scores[at][rows[at] >= 0], k) - _ROUNDING
        # Rows beyond the last fetched one might equal the k-th best: then look further.
        if any(part.shape[1] < segments[number].rows and part[at, -1] >= lowest for number, part, _ in found):
            results += _nearest(segments, query[None], k, 4 * fetched)
            continue
        kept = (rows[at] >= 0) & (scores[at] >= lowest)
        results.append(rank(segments, query, origin[kept], rows[at][kept], k))
    return results


def _kth_largest(scores: Vectors, k: int) -> float:
    if len(scores) <= k:
        return -np.inf
    return float(np.partition(scores, len(scores) - k)[len(scores) - k])


def rank(
    segments: Sequence[Candidates],
    query: npt.NDArray[np.float32],
    origin: npt.NDArray[np.int_],
    rows: npt.NDArray[np.int64],
    k: int,
) -> list[Match]:
    """The k best rows by exact cosines, equal ones by segment and row; the other arguments as for `cosines`."""
    scores = cosines([segment.vectors for segment in segments], query, origin, rows)
    order = np.lexsort((rows, origin, -scores))[:k]
    return list(map(Match, origin[order].tolist(), rows[order].tolist(), scores[order].tolist()))


def cosines(
    vectors: Sequence[StoredVectors],
    query: npt.NDArray[np.float32],
    origin: npt.NDArray[np.int_],
    rows: npt.NDArray[np.int64],
) -> npt.NDArray[np.float32]:
    """Cosines (n,) of a unit vector and some rows, added up in double precision: the same in every company.

    Args:
        vectors: of each segment. query: (dim,). origin, rows: (n,) the segment and row of each.
    """
    scores = np.empty(len(rows), dtype=np.float32)
    for number in set(origin.tolist()):
        here = origin == number
        scores[here] = (vectors[number].take(rows[here]).astype(np.float64) * query).sum(axis=1)  # (n of the segment,)
    return scores.clip(-1, 1)
