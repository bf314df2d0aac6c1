"""Hybrid search: one ranking out of a dense and a lexical one.

`weighted` adds scores: the cosine, from 0 to 1 among the candidates, and the share of the query's weight that a passage
holds, its BM25 score by the most that any passage could have. So a passage that shares one piece of many with the
query gains little, though no other shares more: that is the rule in a pool of languages, where the passages of the
query's own language would else stand before better ones in others.

`rrf` is reciprocal rank fusion (Cormack, Clarke and Büttcher 2009): a passage gets weight / (60 + rank) from each
ranking that has it. It asks nothing of scores, and knows nothing of how little a rank may mean; so it takes part only
where most pieces of the query occur in the index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from lusirag.errors import InvalidArgumentError
from lusirag.index.ranking import Match

Method = Literal["weighted", "rrf"]
RANK_CONSTANT = 60
_KNOWN_FOR_RANKS = 0.75

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fusion:
    """How hybrid search puts its two rankings together.

    Args:
        method: "weighted" by scores, "rrf" by ranks.
        dense: weight of the dense ranking, from 0 to 1; the lexical one has the rest.
        depth: how many passages of each ranking are candidates; at least as many as hits are asked for.

    Raises:
        InvalidArgumentError: one of them is out of range.
    """

    method: Method = "weighted"
    dense: float = 0.6
    depth: int = 100

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise InvalidArgumentError(f"fusion is {self.method!r}; allowed: {', '.join(get_args(Method))}")
        if not 0 <= self.dense <= 1:
            raise InvalidArgumentError(f"the weight of the dense ranking is {self.dense}; it must be from 0 to 1")
        if self.depth < 1:
            raise InvalidArgumentError(f"the depth of a fusion is {self.depth}; it must be at least 1")

    def serves(self, known: float) -> bool:
        """Whether lexical search has a say in a query of whose terms the share `known` occurs in the index."""
        return known >= _KNOWN_FOR_RANKS if self.method == "rrf" else known > 0


def fuse(
    dense: Sequence[Match],
    lexical: Sequence[Match],
    fusion: Fusion,
    *,
    exact: Callable[[Sequence[Match]], tuple[Scores, Scores]],
) -> list[Match]:
    """All passages of two rankings as one ranking; equal ones by segment and row.

    Args:
        dense, lexical: best first.
        exact: the cosines and the shares of the query's weight of some passages, for "weighted".
    """
    places = list({(match.segment, match.row): match for match in (*dense, *lexical)}.values())
    if fusion.method == "rrf":
        ranks = [
            {(match.segment, match.row): rank for rank, match in enumerate(ranking, start=1)}
            for ranking in (dense, lexical)
        ]
        parts = [
            np.array([1 / (RANK_CONSTANT + rank[key]) if (key := (at.segment, at.row)) in rank else 0 for at in places])
            for rank in ranks
        ]
    else:
        cosines, shares = exact(places)
        parts = [_to_unit(cosines), shares]
    totals = fusion.dense * parts[0] + (1 - fusion.dense) * parts[1]
    fused = [Match(at.segment, at.row, float(total)) for at, total in zip(places, totals, strict=True)]
    return sorted(fused, key=lambda match: (-match.score, match.segment, match.row))


def _to_unit(scores: Scores) -> Scores:
    """From the least, 0, to the largest, 1; all 0 where they are equal."""
    span = scores.max(initial=-np.inf) - scores.min(initial=np.inf)
    result: Scores = (scores - scores.min()) / span if span > 0 else np.zeros_like(scores)
    return result
