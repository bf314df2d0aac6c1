"""Measures of a ranking. N queries, M passages, D values a vector; passages go by number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import numpy as np

from lusirag.errors import InvalidArgumentError
from lusirag.types import Vectors

_AT_ONCE = 1024  # queries; bounds the matrix of scores

Ranked = Sequence[Sequence[int]]
Relevant = Sequence[AbstractSet[int]]


def ranking(queries: Vectors, passages: Vectors, *, depth: int) -> list[list[int]]:
    """The passages nearest to each query, best first; of equal ones the first stands first.

    Args:
        queries: (N, D). passages: (M, D). depth: how many of each query.
    """
    kept = min(depth, len(passages))
    ranked: list[list[int]] = []
    for start in range(0, len(queries), _AT_ONCE):
        scores = queries[start : start + _AT_ONCE] @ passages.T  # (n, M)
        ranked += np.argsort(-scores, axis=1, kind="stable")[:, :kept].tolist()
    return ranked


def mean_ndcg(ranked: Ranked, relevant: Relevant, *, depth: int) -> float:
    """Mean nDCG@depth with relevance 0 or 1 (Järvelin and Kekäläinen 2002): gain 1 / log2(1 + rank).

    Raises:
        InvalidArgumentError: no query, or not as many rankings as sets of relevant passages.
    """
    _require_alike(ranked, relevant)
    discounts = [1 / math.log2(1 + rank) for rank in range(1, depth + 1)]

    def of_query(found: Sequence[int], right: AbstractSet[int]) -> float:
        gain = sum(discount for discount, number in zip(discounts, found, strict=False) if number in right)
        return gain / sum(discounts[: len(right)]) if right else 0.0

    return sum(map(of_query, ranked, relevant)) / len(ranked)


def mean_reciprocal_rank(ranked: Ranked, relevant: Relevant, *, depth: int) -> float:
    """Mean of 1 / rank of the first relevant passage, 0 where none is among the first `depth`.

    Raises:
        InvalidArgumentError: as `mean_ndcg`.
    """
    _require_alike(ranked, relevant)

    def of_query(found: Sequence[int], right: AbstractSet[int]) -> float:
        return next((1 / rank for rank, number in enumerate(found[:depth], start=1) if number in right), 0.0)

    return sum(map(of_query, ranked, relevant)) / len(ranked)


def recall(ranked: Ranked, relevant: Relevant, *, depth: int) -> float:
    """Mean share of the relevant passages that are among the first `depth`.

    Raises:
        InvalidArgumentError: as `mean_ndcg`.
    """
    _require_alike(ranked, relevant)
    return sum(
        len(set(found[:depth]) & right) / len(right) if right else 0.0
        for found, right in zip(ranked, relevant, strict=True)
    ) / len(ranked)


def _require_alike(ranked: Ranked, relevant: Relevant) -> None:
    if not ranked or len(ranked) != len(relevant):
        raise InvalidArgumentError(
            f"{len(ranked)} rankings and {len(relevant)} sets of relevant passages; one of each a query is needed"
        )
