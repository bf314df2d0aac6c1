"""Rankings of passages and how good they are. N queries, M passages, D values a vector; passages go by number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lusirag.errors import InvalidArgumentError
from lusirag.types import Vectors

_DEEPEST = 1000  # passages of a ranking
_AT_ONCE = 1024  # queries; bounds the matrix of scores

Ranked = Sequence[Sequence[int]]
Relevant = Sequence[AbstractSet[int]]
Values = npt.NDArray[np.float64]


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


class Measure(NamedTuple):
    """A measure of one query's ranking, such as nDCG@10. A query without a relevant passage counts 0.

    Attributes:
        name: "ndcg", "mrr" or "recall". depth: how many of the best passages it looks at.
    """

    name: str
    depth: int

    @classmethod
    def parse(cls, text: str) -> Measure:
        """Read "ndcg@10", "mrr@10", "recall@1" and the like.

        Raises:
            InvalidArgumentError: no such measure.
        """
        name, _, depth = text.strip().lower().partition("@")
        known = name in _MEASURES and depth.isascii() and depth.isdigit() and len(depth) <= len(str(_DEEPEST))
        if not known or not 1 <= int(depth) <= _DEEPEST:
            names = ", ".join(f"{allowed}@K" for allowed in _MEASURES)
            raise InvalidArgumentError(
                f"the measure is {text[:40]!r}; allowed: {names} with K from 1 to {_DEEPEST:,}, such as ndcg@10"
            )
        return cls(name, int(depth))

    def __str__(self) -> str:
        return f"{self.name}@{self.depth}"

    @property
    def title(self) -> str:
        """As people write it."""
        return f"{_MEASURES[self.name][0]}@{self.depth}"

    def values(self, ranked: Ranked, relevant: Relevant) -> Values:
        """Its value (N,) for each query.

        Raises:
            InvalidArgumentError: not as many rankings as sets of relevant passages.
        """
        if len(ranked) != len(relevant):
            raise InvalidArgumentError(
                f"{len(ranked)} rankings and {len(relevant)} sets of relevant passages; one of each a query is needed"
            )
        of_query = _MEASURES[self.name][1]
        pairs = zip(ranked, relevant, strict=True)
        return np.array([of_query(found[: self.depth], right, self.depth) if right else 0.0 for found, right in pairs])

    def mean(self, ranked: Ranked, relevant: Relevant) -> float:
        """Its mean over the queries.

        Raises:
            InvalidArgumentError: as `values`, or there is no query.
        """
        values = self.values(ranked, relevant)
        if not len(values):
            raise InvalidArgumentError("no query is given; a mean needs at least one")
        return float(values.mean())


def _ndcg(found: Sequence[int], right: AbstractSet[int], depth: int) -> float:
    """Relevance 0 or 1, gain 1 / log2(1 + rank) (Järvelin and Kekäläinen 2002)."""
    gain = sum(1 / math.log2(1 + rank) for rank, number in enumerate(found, start=1) if number in right)
    return gain / sum(1 / math.log2(1 + rank) for rank in range(1, min(depth, len(right)) + 1))


def _reciprocal_rank(found: Sequence[int], right: AbstractSet[int], _: int) -> float:
    """1 / rank of the first relevant passage, 0 where there is none."""
    return next((1 / rank for rank, number in enumerate(found, start=1) if number in right), 0.0)


def _recall(found: Sequence[int], right: AbstractSet[int], _: int) -> float:
    """The share of the relevant passages that was found."""
    return len(set(found) & right) / len(right)


_MEASURES: dict[str, tuple[str, Callable[[Sequence[int], AbstractSet[int], int], float]]] = {
    "ndcg": ("nDCG", _ndcg),
    "mrr": ("MRR", _reciprocal_rank),
    "recall": ("recall", _recall),
}
