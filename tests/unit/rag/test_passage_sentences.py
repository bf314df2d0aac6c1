"""`Sentences`: places in the document, likeness to a text, and what is left of shortened passages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lusirag.rag.relevance import Relevance
from lusirag.rag.sentences import Sentences
from tests.unit.rag.toy import ToyEmbedder, passage, vectors_of

EMBEDDER = ToyEmbedder()


def test_each_sentence_has_its_place_in_the_document() -> None:
    first = passage(1, "The right to work. 😀 The right to rest!", start=100)
    second = passage(2, "所有人都有权利。休息。", language="zh", start=7)
    sentences = Sentences([first, second], EMBEDDER, Relevance(EMBEDDER))
    found = [sentences.citation(at, marked=at % 2 == 0) for at in range(4)]
    assert [citation.quote for citation in found] == [
        "The right to work.", "😀 The right to rest!", "所有人都有权利。", "休息。",
    ]  # fmt: skip
    assert [(citation.start, citation.end) for citation in found] == [(100, 118), (119, 139), (7, 15), (15, 18)]
    assert [citation.passage for citation in found] == [first, first, second, second]
    assert [citation.marked for citation in found] == [True, False, True, False]
    assert sentences.languages() == ["en", "en", "zh", "zh"]
    assert int(np.argmax(sentences.relevance(vectors_of(["kupumzika"])[0]))) == 3


def test_relevance_is_by_the_scale() -> None:
    scale = Relevance(EMBEDDER)
    sentences = Sentences([passage(1, "Education. Nothing. Rest.")], EMBEDDER, scale)
    asked = vectors_of(["elimu"])[0]
    assert sentences.relevance(asked) == pytest.approx([1, 0, (0.2 - 5**-0.5) / (1 - 5**-0.5)], abs=1e-6)


def test_within_goes_by_what_was_shown() -> None:
    passages = [passage(number, "One one. Two two. Three three.", start=50) for number in (1, 2)]
    sentences = Sentences(passages, EMBEDDER, Relevance(EMBEDDER))
    whole, cut = passages[0], replace(passages[1], text="Two two. Thr", start=59, end=71)
    assert sentences.within([whole]).tolist() == [True] * 3 + [False] * 3
    assert sentences.within([cut]).tolist() == [False] * 4 + [True, False]
    assert sentences.within([whole, cut]).tolist() == [True] * 3 + [False, True, False]
    assert sentences.within([]).tolist() == [False] * 6


def test_no_passages_have_no_sentences() -> None:
    sentences = Sentences([], EMBEDDER, Relevance(EMBEDDER))
    assert sentences.relevance(vectors_of(["x"])[0]).shape == (0,)
    assert sentences.within([]).shape == (0,)
