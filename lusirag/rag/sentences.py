"""The sentences of some passages, and which of them says what another text says or asks."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from lusirag.corpus import sentence_spans
from lusirag.rag.answer import Citation, Passage
from lusirag.rag.relevance import Relevance
from lusirag.types import Encoder, Vectors


class Sentences:
    """All sentences of some passages with their vectors.

    Args:
        passages: n sentences altogether; their titles play no part.
        embedder: compares them with other texts.
        relevance: of the same embedder.
    """

    def __init__(self, passages: Sequence[Passage], embedder: Encoder, relevance: Relevance) -> None:
        self._places = [
            (passage, start, end)
            for passage in passages
            for start, end in sentence_spans(passage.text, passage.hit.language)
        ]
        self._vectors = embedder.encode_documents(
            [passage.text[start:end] for passage, start, end in self._places]
        )  # (n, dim)
        self._relevance = relevance

    def relevance(self, text: Vectors) -> npt.NDArray[np.float32]:
        """Relevance (n,) of each sentence to a text, by its vector (dim,)."""
        return self._relevance.of(text, self._vectors)

    def languages(self) -> list[str | None]:
        """Of each sentence: that of its passage."""
        return [passage.hit.language for passage, _, _ in self._places]

    def within(self, passages: Collection[Passage]) -> npt.NDArray[np.bool_]:
        """Which sentences (n,) stand in these passages, or in what is left of them where they were shortened."""
        left = {passage.number: (passage.start, passage.end) for passage in passages}
        return np.array(
            [
                passage.number in left
                and left[passage.number][0] <= passage.start + start
                and passage.start + end <= left[passage.number][1]
                for passage, start, end in self._places
            ],
            np.bool_,
        )

    def citation(self, at: int, *, marked: bool) -> Citation:
        """The sentence at a place of the list as a citation."""
        passage, start, end = self._places[at]
        return Citation(passage, passage.text[start:end], passage.start + start, passage.start + end, marked=marked)
