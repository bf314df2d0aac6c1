"""The ranking of what several searches propose, beside one that looks at each row by itself."""

from __future__ import annotations

import numpy as np
import pytest

from lusirag.index.ranking import Match, Proposal, cosines, rank
from lusirag.index.vectors import STORAGES, StoredVectors, stored_as
from lusirag.types import Vectors

DIMENSION = 24


def unit(random: np.random.Generator, rows: int) -> Vectors:
    vectors = random.standard_normal((rows, DIMENSION), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def segments(random: np.random.Generator, storage: str) -> list[StoredVectors]:
    """Three, of which the first has vectors twice, and the others repeat some of it."""
    first = unit(random, 60)[random.integers(0, 60, 90)]
    return [stored_as(storage, part) for part in (first, np.concatenate([first[:40], unit(random, 30)]), first[50:])]


def one_by_one(vectors: list[StoredVectors], query: Vectors, rows: set[tuple[int, int]], k: int) -> list[Match]:
    found = [
        Match(
            segment,
            row,
            float(np.float32(min(1.0, (vectors[segment].take([row])[0].astype(np.float64) * query).sum()))),
        )
        for segment, row in rows
    ]
    return sorted(found, key=lambda match: (-match.score, match.segment, match.row))[:k]


def proposed(
    random: np.random.Generator, vectors: list[StoredVectors], queries: Vectors, *, rough: bool
) -> tuple[list[Proposal], list[set[tuple[int, int]]]]:
    """Two proposals for parts of the first segment and one for each other, with gaps; and the rows for each query."""
    proposals, rows_of = [], [set[tuple[int, int]]() for _ in queries]
    for number, start, end in ((0, 0, 45), (0, 45, 90), (1, 0, 70), (2, 0, 40)):
        rows = np.stack([random.permutation(np.arange(start, end))[:30] for _ in queries])
        scores = np.take_along_axis(queries @ vectors[number].take().T, rows, axis=1)
        if rough:
            scores = scores + random.normal(0, 0.01, scores.shape).astype(np.float32)
        missing = random.random(rows.shape) < 0.3
        rows[missing], scores[missing] = -1, random.choice([np.nan, np.inf, 7, -7], int(missing.sum()))
        proposals.append(Proposal(number, scores, rows))
        for found, each in zip(rows_of, rows.tolist(), strict=True):
            found.update((number, row) for row in each if row >= 0)
    return proposals, rows_of


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("asked", [1, 2, 40])
@pytest.mark.parametrize("k", [1, 10, 60, 500])
def test_it_is_that_of_each_row_by_itself(storage: str, asked: int, k: int) -> None:
    random = np.random.default_rng(k + asked)
    vectors, queries = segments(random, storage), unit(random, asked)
    proposals, rows_of = proposed(random, vectors, queries, rough=False)
    found = rank(vectors, queries, proposals, k)
    assert found == [one_by_one(vectors, *each, k) for each in zip(queries, rows_of, strict=True)]


@pytest.mark.parametrize("rough", [None, 5])
def test_a_query_for_which_nothing_is_proposed_has_no_matches(rough: int | None) -> None:
    random = np.random.default_rng(4)
    vectors, queries = segments(random, "float16"), unit(random, 2)
    none = Proposal(0, np.zeros((1, 3), np.float32), np.full((1, 3), -1))
    assert rank(vectors, queries[:1], [none], 2, rough=rough) == [[]]
    one = Proposal(0, np.zeros((2, 3), np.float32), np.array([[-1, -1, -1], [-1, 7, -1]]))
    assert rank(vectors, queries, [one], 2, rough=rough) == [[], one_by_one(vectors, queries[1], {(0, 7)}, 2)]


@pytest.mark.parametrize("asked", [1, 40])
def test_rough_scores_choose_who_is_compared(asked: int) -> None:
    random = np.random.default_rng(asked)
    vectors, queries = segments(random, "float16"), unit(random, asked)
    proposals, rows_of = proposed(random, vectors, queries, rough=True)
    expected = [one_by_one(vectors, *each, 10) for each in zip(queries, rows_of, strict=True)]
    assert rank(vectors, queries, proposals, 10, rough=50) == expected
    # With as many as are wanted, it is those whose rough scores are best, in their true order.
    for number, matches in enumerate(rank(vectors, queries, proposals, 10, rough=10)):
        rough = {
            (part.segment, row): score
            for part in proposals
            for row, score in zip(part.rows[number].tolist(), part.scores[number].tolist(), strict=True)
            if row >= 0
        }
        best = set(sorted(rough, key=rough.__getitem__)[-10:])
        assert matches == one_by_one(vectors, queries[number], best, 10)


def test_scores_that_an_altered_file_spoils_hide_nothing() -> None:
    random = np.random.default_rng(0)
    vectors, queries = [stored_as("float32", unit(random, 20))], unit(random, 3)
    rows = np.broadcast_to(np.arange(20), (3, 20)).copy()
    scores = queries @ vectors[0].take().T
    scores[:, 4] = np.nan
    found = rank(vectors, queries, [Proposal(0, scores, rows)], 5)
    whole = {(0, row) for row in range(20) if row != 4}
    assert found == [one_by_one(vectors, query, whole, 5) for query in queries]


@pytest.mark.parametrize("storage", STORAGES)
def test_no_cosine_is_beyond_one(storage: str) -> None:
    random = np.random.default_rng(1)
    queries = unit(random, 200)
    vectors = [stored_as(storage, np.concatenate([queries, -queries]))]
    unclipped = (vectors[0].take()[:200].astype(np.float64) * queries).sum(axis=1)
    assert (unclipped.astype(np.float32) > 1).any()
    rows = np.arange(200)[:, None] + [0, 200]
    scores = np.einsum("nd,nmd->nm", queries, vectors[0].take()[rows])
    found = rank(vectors, queries, [Proposal(0, scores, rows)], 2)
    assert max(match.score for matches in found for match in matches) == 1
    assert min(match.score for matches in found for match in matches) == -1


@pytest.mark.parametrize("storage", STORAGES)
def test_cosines_keep_the_order_in_which_they_are_asked_for(storage: str) -> None:
    random = np.random.default_rng(2)
    vectors, [query] = segments(random, storage), unit(random, 1)
    places = [(int(segment), int(row)) for segment, row in random.integers(0, (3, 40), (300, 2))]
    expected = [one_by_one(vectors, query, {place}, 1)[0].score for place in places]
    assert cosines(vectors, query, places).tolist() == expected
    assert cosines(vectors, query, []).tolist() == []
