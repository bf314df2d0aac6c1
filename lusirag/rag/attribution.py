"""Which sentences of the passages a generated answer rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lusirag.corpus import sentence_spans
from lusirag.rag.answer import Citation, Passage
from lusirag.rag.citations import marks, without_marks
from lusirag.rag.sentences import Sentences
from lusirag.types import Encoder


def attribute(
    answer: str,
    passages: Sequence[Passage],
    sentences: Sentences,
    *,
    embedder: Encoder,
    language: str | None,
    min_relevance: float,
) -> tuple[Citation, ...]:
    """The citations of an answer, each with the sentence that is nearest to what it is cited for.

    Where the answer names passages, as in "... [2]", they are taken at their word: each is quoted with its sentence
    that is nearest to the statement before the mark, or whole where none of its sentences was shown to the end. An
    answer that names none is compared sentence by sentence with all passages, and what is near enough is cited as not
    `marked`.

    Args:
        answer: a generated text.
        passages: what the generator was shown.
        sentences: of these passages, and perhaps of others.
        embedder: compares sentences.
        language: of the answer.
        min_relevance: what is near enough.
    """
    by_number = {passage.number: passage for passage in passages}
    claims = [
        (statement, [by_number[number]])
        for statement, numbers in _statements(answer, max(by_number, default=0), language)
        for number in numbers
        if number in by_number
    ]
    marked = bool(claims)
    if not marked:
        claims = [(answer[start:end], list(passages)) for start, end in sentence_spans(answer, language)]
    vectors = embedder.encode_documents([without_marks(statement) for statement, _ in claims])
    found: dict[tuple[int, int], Citation] = {}
    for (_, candidates), vector in zip(claims, vectors, strict=True):
        relevance = np.where(sentences.within(candidates), sentences.relevance(vector), -np.inf)
        at = int(np.argmax(relevance))
        if marked and relevance[at] == -np.inf:
            named = candidates[0]
            citation = Citation(named, named.text, named.start, named.end)
        elif marked or relevance[at] >= min_relevance:
            citation = sentences.citation(at, marked=marked)
            citation = replace(citation, passage=by_number[citation.passage.number])  # as it was shown
        else:
            continue
        found.setdefault((citation.passage.number, citation.start), citation)
    return tuple(found.values())


def _statements(answer: str, passages: int, language: str | None) -> list[tuple[str, list[int]]]:
    """What stands before each mark, back to the mark or the sentence before, and the passages it names."""
    statements, begin, last = [], 0, answer
    for place, numbers in marks(answer, passages):
        before = without_marks(answer[begin:place])
        spans = sentence_spans(before, language)
        if any(map(str.isalnum, before)):  # else one mark follows another: both are for the same statement
            last = before[slice(*spans[-1])] if spans else before
        statements.append((last, numbers))
        begin = place
    return statements
