"""Hits that do not say the same thing twice: maximal marginal relevance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lusirag.types import Vectors


def maximal_marginal_relevance(relevance: Sequence[float], vectors: Vectors, *, k: int, diversity: float) -> list[int]:
    """Choose k candidates one after the other, each relevant and unlike those chosen before.

    The next one is that with the largest (1 - diversity) * relevance - diversity * similarity, where similarity is that
    to the most similar candidate chosen already, 0 for the first. Of equal ones the earlier is taken.

    Both terms are brought to [0, 1] first, so that `diversity` means the same for every model and every kind of score:

    - relevance by its smallest and largest value among the candidates (a reranker's logits, cosines, fused ranks);
    - similarity so that 1 is the same direction and 0 the least similar pair of candidates: the cosines of many
      embedding models lie between 0.7 and 1 whatever the texts are. Two copies of one text thus are 1 in any company.

    Source: Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing
    Summaries", SIGIR 1998, section 2; their lambda is 1 - diversity.

    Args:
        relevance: (n,) finite scores, larger is better.
        vectors: (n, dim) unit vectors of the candidates.
        k: how many to choose; all when there are fewer.
        diversity: 0 orders by relevance alone, 1 takes what is farthest from the chosen ones.

    Returns:
        Places in `relevance`, in the order in which they were chosen.
    """
    wide = np.asarray(vectors, dtype=np.float64)  # (n, dim)
    left = _from_0_to_1(np.asarray(relevance, dtype=np.float64))  # (n,)
    # One row at a time, because n candidates have n * n similarities.
    lowest = min((float((wide @ vector).min()) for vector in wide), default=0.0)
    span = 1.0 - lowest
    closest = np.zeros(len(wide))  # (n,) similarity to the most similar chosen one
    free = np.ones(len(wide), dtype=np.bool_)
    chosen: list[int] = []
    while len(chosen) < min(k, len(wide)):
        gains = np.where(free, (1.0 - diversity) * left - diversity * closest, -np.inf)
        best = int(np.argmax(gains))
        chosen.append(best)
        free[best] = False
        if span > 0:
            closest = np.maximum(closest, (wide @ wide[best] - lowest) / span)
    return chosen


def _from_0_to_1(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scale (n,) by its smallest and largest value; all 0 where these are equal."""
    low, high = (values.min(), values.max()) if len(values) else (0.0, 0.0)
    scaled: npt.NDArray[np.float64] = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return scaled
