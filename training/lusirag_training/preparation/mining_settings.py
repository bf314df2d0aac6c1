"""What a hard negative is: the settings of mining, checked all at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lusirag.errors import InvalidArgumentError
from lusirag_training.preparation.nearest import EXACT

Sampling = Literal["random", "hardest"]


@dataclass(frozen=True, slots=True)
class MiningSettings:
    """How negatives are chosen.

    Args:
        negatives: at most that many for each query.
        ranks: (first, end) of the ranks, from 0, among which they are drawn; the query's excluded documents have none.
            The paper's recipe: of the first 128 not the first 30.
        max_ratio: a negative scores at most that share of the positive's score (NV-Retriever, Moreira et al., 2024,
            "TopK-PercPos": 0.95); None: no such rule.
        margin: a negative scores at least that much less than the positive; None: no such rule.
        min_score, max_score: of a negative; None: no bound.
        sampling: "random" among those that are left, or the "hardest" of them.
        keep: the negatives that a row has stay, first; without it they are replaced.
        index, nprobe: as `nearest.open_search`.
        seed: of the draw. A row's draw depends on the seed and its number alone.
    """

    negatives: int = 7
    ranks: tuple[int, int] = (30, 128)
    max_ratio: float | None = 0.95
    margin: float | None = None
    min_score: float | None = None
    max_score: float | None = None
    sampling: Sampling = "random"
    keep: bool = False
    index: str = EXACT
    nprobe: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        first, end = self.ranks
        wrong = []
        if self.negatives < 1:
            wrong.append(f"negatives is {self.negatives}; give 1 or more")
        if not 0 <= first < end:
            wrong.append(f"ranks are {first}:{end}; give FIRST:END with 0 <= FIRST < END, such as 30:128")
        elif end - first < self.negatives:
            wrong.append(f"ranks {first}:{end} hold {end - first} documents, fewer than {self.negatives} negatives")
        if self.max_ratio is not None and not 0 < self.max_ratio <= 1:
            wrong.append(f"max_ratio is {self.max_ratio}; give more than 0 and at most 1, or none")
        if self.margin is not None and self.margin < 0:
            wrong.append(f"margin is {self.margin}; give 0 or more, or none")
        if self.min_score is not None and self.max_score is not None and self.min_score > self.max_score:
            wrong.append(f"min_score is {self.min_score}, more than max_score {self.max_score}")
        if self.sampling not in ("random", "hardest"):
            wrong.append(f"sampling is {self.sampling!r}; allowed: random, hardest")
        if self.seed < 0:
            wrong.append(f"seed is {self.seed}; give 0 or more")
        if wrong:
            raise InvalidArgumentError("; ".join(wrong))
