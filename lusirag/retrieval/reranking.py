"""Judging candidates again, by something slower and better than what found them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lusirag.corpus import passage_text
from lusirag.errors import ModelError
from lusirag.index.passages import checked_vectors
from lusirag.types import Encoder, Hit, Vectors


@runtime_checkable
class Reranker(Protocol):
    """What scores candidates; any object with this method is one."""

    def score(self, query: str, hits: Sequence[Hit]) -> Sequence[float] | Vectors:
        """One finite number for each hit, on any scale; larger is better."""


class ExactReranker:
    """Scores by the cosine of vectors that an embedder computes anew from the candidates' texts, in float32.

    For candidates whose scores are approximate, because the index is quantised; or with another, larger embedder than
    the index has, at the price of embedding some passages a query.

    Args:
        embedder: any model; its vectors need not be comparable with those of the index.
        instruction: what to look for, for models that take one.
    """

    def __init__(self, embedder: Encoder, *, instruction: str | None = None) -> None:
        self._embedder = embedder
        self._instruction = instruction

    def score(self, query: str, hits: Sequence[Hit]) -> Vectors:
        """Cosines (n,) of the query and each hit's title and text.

        Raises:
            ModelError: the embedder returned something else than finite vectors of its dimension.
            InvalidArgumentError: the embedder takes no instruction.
        """
        texts = [passage_text(hit.title, hit.text) for hit in hits]
        asked = checked_vectors(
            self._embedder.encode_queries([query], instruction=self._instruction), 1, self._embedder
        )
        passages = checked_vectors(self._embedder.encode_documents(texts), len(texts), self._embedder)  # (n, dim)
        scores: Vectors = passages @ asked[0]
        return scores


def rerank(query: str, hits: Sequence[Hit], reranker: Reranker) -> list[Hit]:
    """The hits by the reranker's scores, best first, each with that score; equal ones keep their order.

    Raises:
        ModelError: it did not return one finite number a hit.
    """
    if not hits:
        return []
    scores = _checked(reranker.score(query, hits), len(hits), reranker)
    order = sorted(range(len(hits)), key=lambda at: -scores[at])
    return [replace(hits[at], score=scores[at]) for at in order]


def _checked(scores: Any, count: int, reranker: Reranker) -> list[float]:
    name = type(reranker).__name__
    try:
        found = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"the reranker {name} returned no numbers ({error}); it must return one for each hit"
        ) from error
    if found.shape != (count,):
        raise ModelError(
            f"the reranker {name} returned shape {found.shape} for {count} hits instead of ({count},); "
            "it must return one number for each hit"
        )
    if not np.isfinite(found).all():
        at = int(np.flatnonzero(~np.isfinite(found))[0])
        raise ModelError(
            f"the reranker {name} gave hit {at + 1} of {count} the score {found[at]}; scores must be finite. "
            "If its weights are float16, load it in float32"
        )
    numbers: list[float] = found.tolist()
    return numbers
