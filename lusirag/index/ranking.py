"""One exact ranking of what searches have found in several segments.

The scores of a search depend in their last bits on how many queries come at once, and which of several equal rows it
returns is not defined. So each is asked for a few more rows than are wanted, those that may be among the best are
scored again in double precision, and equal scores are ordered by row: one query alone gets the same matches as the
same query among a thousand.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from lusirag.index.vectors import StoredVectors, taken
from lusirag.types import Vectors

Places: TypeAlias = npt.NDArray[np.int64]

# Larger than the difference of two ways to add up a float32 inner product of unit vectors.
_ROUNDING = np.float32(2e-6)
_NOTHING = np.float32(-np.inf)
# Rows that are scored again at once: their numbers in double precision stay in a core's cache.
_AT_ONCE = 128


class Match(NamedTuple):
    """A row that was found: the segment's place among those searched, its row, and the inner product."""

    segment: int
    row: int
    score: float


class Proposal(NamedTuple):
    """What a search of one segment proposes for n queries.

    Attributes:
        segment: its place among those searched.
        scores: (n, m) inner products as that search knows them.
        rows: (n, m); -1 for none, and the score is anything.
    """

    segment: int
    scores: Vectors
    rows: Places

    def last(self) -> Proposal:
        """The last of what it proposes for each query."""
        return self._replace(scores=self.scores[:, -1:], rows=self.rows[:, -1:])


class _Pairs(NamedTuple):
    """Queries and rows to be compared, p of them.

    Attributes:
        query: (p,)
        row: (p,) of a segment.
        edges: the segments, each with where its pairs begin and end.
    """

    query: Places
    row: Places
    edges: Sequence[tuple[int, int, int]]


def with_spare(k: int) -> int:
    """How many rows to take for the k best, since the scores by which they are taken are rounded."""
    return k + 8 + k // 8


def rank(
    vectors: Sequence[StoredVectors],
    queries: Vectors,
    proposals: Sequence[Proposal],
    k: int,
    *,
    rough: int | None = None,
) -> list[list[Match]]:
    """The k best of the rows that were proposed for each query, by exact cosines; equal ones by segment and row.

    Args:
        vectors: of each segment.
        queries: (n, dim) unit vectors.
        proposals: at least one.
        k: at most so many of each query are returned.
        rough: if given, the scores of the proposals are not the cosines but for rounding, and so many that look best
            are compared with the query.
    """
    scores, rows = _beside(proposals)
    there = rows >= 0
    if rough is not None:
        looked_at = there & (scores >= _largest(scores, rough))
        pairs = _pairs(proposals, rows, looked_at)
        scores = np.full_like(scores, _NOTHING)
        scores.T[looked_at.T] = np.fmax(_compared(vectors, queries, pairs, np.vecdot), _NOTHING)
        there = looked_at
    pairs = _pairs(proposals, rows, there & (scores >= lowest(scores, k)))
    exact = _compared(vectors, queries, pairs, _in_double_precision)
    segment = np.repeat([number for number, _, _ in pairs.edges], [end - start for _, start, end in pairs.edges])
    order = np.lexsort((pairs.row, segment, -exact, pairs.query))
    matches = list(map(Match, *(part[order].tolist() for part in (segment, pairs.row, exact))))
    ends = np.bincount(pairs.query, minlength=len(queries)).cumsum().tolist()
    return [matches[start : min(end, start + k)] for start, end in pairwise([0, *ends])]


def scores_of(proposals: Sequence[Proposal]) -> Vectors:
    """(n, m of all) the scores of several proposals beside each other, -inf where there is no row."""
    return _beside(proposals)[0]


def _beside(proposals: Sequence[Proposal]) -> tuple[Vectors, Places]:
    scores = np.concatenate([each.scores for each in proposals], axis=1)
    rows = np.concatenate([each.rows for each in proposals], axis=1)
    scores[rows < 0] = _NOTHING
    return np.fmax(scores, _NOTHING, out=scores), rows  # no NaN of an altered file


def lowest(scores: Vectors, k: int) -> Vectors:
    """(n, 1) what the k best of each of n rows of scores are not below, however they were rounded."""
    return _largest(scores, k) - _ROUNDING


def cosines(
    vectors: Sequence[StoredVectors], query: npt.NDArray[np.float32], places: Sequence[tuple[int, int]]
) -> npt.NDArray[np.float32]:
    """Those of a query and some rows, added up in double precision: the same in every company.

    Args:
        vectors: of each segment.
        query: (dim,) of unit length.
        places: p segments and rows.

    Returns:
        (p,)
    """
    order = sorted(range(len(places)), key=places.__getitem__)
    segment, row = np.array([places[at] for at in order], dtype=np.int64).reshape(-1, 2).T
    ends = [*(np.flatnonzero(np.diff(segment)) + 1).tolist(), len(row)] if len(row) else []
    edges = [(int(segment[start]), start, end) for start, end in pairwise([0, *ends])]
    found = np.empty(len(places), dtype=np.float32)
    found[order] = _compared(vectors, query[None], _Pairs(np.zeros_like(row), row, edges), _in_double_precision)
    return found


def _largest(scores: Vectors, k: int) -> Vectors:
    """(n, 1) the k-th largest of each row of scores."""
    width = scores.shape[1]
    if width <= k:
        return np.full((len(scores), 1), _NOTHING)
    return np.partition(scores, width - k, axis=1)[:, [width - k]]


def _pairs(proposals: Sequence[Proposal], rows: Places, chosen: npt.NDArray[np.bool_]) -> _Pairs:
    """The places (n, m of all proposals) that were chosen, one proposal after another."""
    column, query = np.nonzero(chosen.T)
    edges, width, start = [], 0, 0
    for each in proposals:
        width += each.rows.shape[1]
        if (end := bisect_left(column, width)) > start:
            edges.append((each.segment, start, end))
        start = end
    return _Pairs(query, rows[query, column], edges)


def _compared(
    vectors: Sequence[StoredVectors],
    queries: Vectors,
    pairs: _Pairs,
    inner_products: Callable[[Vectors, Vectors], npt.NDArray[Any]],
) -> npt.NDArray[np.float32]:
    """(p,) as computed by what takes the rows of two matrices, or a single query and the rows of one."""
    found = np.empty(len(pairs.row), dtype=np.float32)
    for start in range(0, len(found), _AT_ONCE):
        end = min(start + _AT_ONCE, len(found))
        left = queries[0] if len(queries) == 1 else queries[pairs.query[start:end]]
        found[start:end] = inner_products(left, taken(list(_between(vectors, pairs, start, end))))
    return found


def _in_double_precision(left: Vectors, right: Vectors) -> npt.NDArray[np.float64]:
    products = right.astype(np.float64)
    products *= left
    sums: npt.NDArray[np.float64] = products.sum(axis=1)
    np.minimum(sums, 1, out=sums)
    return np.maximum(sums, -1, out=sums)


def _between(
    vectors: Sequence[StoredVectors], pairs: _Pairs, start: int, end: int
) -> Iterator[tuple[StoredVectors, Places]]:
    """Where the rows of the pairs from `start` to `end` lie, by segment."""
    for number, first, last in pairs.edges:
        if first < end and start < last:
            yield vectors[number], pairs.row[max(first, start) : min(last, end)]
