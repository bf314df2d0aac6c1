"""The sentence that is quoted as an answer, and the language it is in."""

from __future__ import annotations

import numpy as np
import pytest

from lusirag.rag.extractive import extract, same_language
from lusirag.rag.relevance import Relevance
from lusirag.rag.sentences import Sentences
from tests.unit.rag.toy import ToyEmbedder, passage

EMBEDDER = ToyEmbedder()
PASSAGES = [
    passage(1, "First here. Second here."),
    passage(2, "Wa kwanza.", language="sw"),
    passage(3, "第一。", language="zh-Hant"),
    passage(4, "???", language=None),
]


@pytest.mark.parametrize(
    ("relevance", "language", "quote"),
    [
        ([0.5, 0.6, 0.55, 0.55, 0.55], None, "Second here."),
        ([0.5, 0.6, 0.55, 0.55, 0.55], "sw", "Wa kwanza."),
        ([0.5, 0.6, 0.55, 0.55, 0.55], "zh", "第一。"),
        ([0.5, 0.6, 0.55, 0.55, 0.55], "zh-Hans", "第一。"),
        ([0.5, 0.6, 0.45, 0.55, 0.55], "sw", "Second here."),
        ([0.5, 0.6, 0.55, 0.55, 0.65], "fr", "???"),
        ([-0.2, -0.3, -0.4, -0.5, -0.6], None, "First here."),
    ],
)
def test_nearest_first_and_own_language_where_it_is_about_as_near(
    relevance: list[float], language: str | None, quote: str
) -> None:
    sentences = Sentences(PASSAGES, EMBEDDER, Relevance(EMBEDDER))
    citation = extract(sentences, np.array(relevance, np.float32), language)
    assert citation.quote == quote
    assert citation.marked


def test_same_language() -> None:
    assert same_language("zh", "zh-Hant")
    assert same_language("EN-us", "en")
    assert not same_language("de", "en")
    assert not same_language("fil", "fi")
