"""From the documents that a search found for one query to its negatives."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from lusirag.types import Vectors
from lusirag_training.preparation.mining_settings import MiningSettings
from lusirag_training.preparation.texts import Rows


class Found(NamedTuple):
    """Documents with their scores and ranks.

    Attributes:
        documents: (f,). scores: (f,). ranks: (f,), from 0, excluded documents not counted.
    """

    documents: Rows
    scores: Vectors
    ranks: Rows


def within_ranks(
    documents: Rows, scores: Vectors, excluded: Rows, reasons: Rows, ranks: tuple[int, int]
) -> tuple[Found, Counter[int]]:
    """Leave out what is no negative whatever its score, then keep the window of ranks.

    Args:
        documents: (k,) as found, best first; -1 where there are no more.
        scores: (k,).
        excluded: documents that are no negatives. reasons: why.
        ranks: first and end.

    Returns:
        what is left, and how many were met among the first `end` for each reason.
    """
    there = documents >= 0
    documents, scores = documents[there], scores[there]
    out = np.isin(documents, excluded)
    kept = np.flatnonzero(~out)
    first, end = ranks
    last = kept[end - 1] if len(kept) >= end else len(documents)
    why = dict(zip(excluded.tolist(), reasons.tolist(), strict=True))
    met = Counter(why[document] for document in documents[:last][out[:last]].tolist())
    window = kept[first:end]
    return Found(documents[window], scores[window], np.arange(first, first + len(window))), met


def choose(found: Found, positive: float, settings: MiningSettings, row: int) -> tuple[Found, Counter[str]]:
    """Apply the rules about scores and draw.

    Args:
        found: within the ranks.
        positive: the score of the row's positive, the lowest when it has several.
        settings: the rules.
        row: its number; with the seed it makes the draw.

    Returns:
        at most `settings.negatives` documents, hardest first, and how many each rule left out.
    """
    bounds: list[tuple[str, float]] = []
    if settings.max_ratio is not None:
        # The share that must be missing is taken of the size: also below a negative score there is a distance.
        bounds.append(("too close by max_ratio", positive - (1 - settings.max_ratio) * abs(positive)))
    if settings.margin is not None:
        bounds.append(("too close by margin", positive - settings.margin))
    if settings.max_score is not None:
        bounds.append(("above max_score", settings.max_score))
    fine = np.ones(len(found.documents), dtype=np.bool_)
    out: Counter[str] = Counter()
    for name, bound in bounds:
        over = fine & (found.scores > bound)
        out[name] += int(over.sum())
        fine &= ~over
    if settings.min_score is not None:
        under = fine & (found.scores < settings.min_score)
        out["below min_score"] += int(under.sum())
        fine &= ~under
    left = np.flatnonzero(fine)
    left = left[np.argsort(-found.scores[left], kind="stable")]
    if len(left) > settings.negatives:
        if settings.sampling == "hardest":
            left = left[: settings.negatives]
        else:
            draw = np.random.default_rng([settings.seed, row])
            left = left[np.sort(draw.choice(len(left), size=settings.negatives, replace=False))]
    return Found(found.documents[left], found.scores[left], found.ranks[left]), out
