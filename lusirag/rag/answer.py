"""What a question gets: an answer, the passages it was written from, and the places it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lusirag.types import Hit


class Refusal(StrEnum):
    """Why a question got no answer."""

    NOTHING_FOUND = "no passage was found"
    NOT_RELEVANT = "no passage is about the question"
    NOT_IN_PASSAGES = "the passages do not hold the answer"


@dataclass(frozen=True, slots=True)
class Passage:
    """A numbered piece of a document, as an answer is written from it.

    Attributes:
        number: from 1; what a citation such as [1] in an answer means.
        hit: the search result that brought it, the best one where neighbouring chunks of a document were joined.
        text: what was shown of it.
        start, end: the place of `text` in the document's text, in characters; end is exclusive.
    """

    number: int
    hit: Hit
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a part of an answer stands.

    Attributes:
        passage: which.
        quote: the sentence of it that the answer rests on; all that was shown of the passage where that is no whole
            sentence.
        start, end: the place of `quote` in the document's text, in characters; end is exclusive.
        marked: the generator named the passage; False where it was found by likeness afterwards, because the
            generator named none.
    """

    passage: Passage
    quote: str
    start: int
    end: int
    marked: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question.

    Attributes:
        question: as it was asked.
        text: the answer, with citations such as [1]; "" when there is none.
        language: BCP 47 tag of the language that was asked for; None where it is not known. An extractive answer keeps
            the language of its passage.
        citations: of the answer, in the order in which they appear.
        passages: what the answer was written from, best first.
        relevance: how near the best passage is to the question; see `relevance.Relevance`.
        generator: what wrote it; None for an extractive answer.
        refusal: why there is no answer; None when there is one.
    """

    question: str
    text: str
    language: str | None
    citations: tuple[Citation, ...]
    passages: tuple[Passage, ...]
    relevance: float
    generator: str | None = None
    refusal: Refusal | None = None

    @property
    def answered(self) -> bool:
        """False when the index holds no answer, as far as could be told."""
        return self.refusal is None
