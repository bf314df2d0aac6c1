"""The scale of relevance: 0 for unlike subjects, 1 for the same text, with any zero of an embedding model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from lusirag import Embedder
from lusirag.rag.answerer import MIN_RELEVANCE
from lusirag.rag.relevance import Relevance
from lusirag.types import Vectors
from tests.unit.rag.toy import ToyEmbedder, vectors_of


class Shifted(ToyEmbedder):
    """The same likenesses, in a narrow cone: all cosines are 0.75 and above."""

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        vectors = vectors_of(texts)
        cone = np.concatenate([np.sqrt(0.25) * vectors, np.full((len(texts), 1), np.sqrt(0.75), np.float32)], axis=1)
        return cone.astype(np.float32)


def test_the_zero_of_a_model_makes_no_difference() -> None:
    texts = ["education", "rest", "nothing", "education and work"]
    found = [
        Relevance(embedder).of(embedder.encode_documents(["elimu"])[0], embedder.encode_documents(texts))
        for embedder in (ToyEmbedder(), Shifted())
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-5)
    assert found[0][0] == pytest.approx(1, abs=1e-6)
    assert found[0][2] == pytest.approx(0, abs=1e-6)
    assert found[0].dtype == np.float32


def test_nothing_is_divided_by_zero() -> None:
    class Constant(ToyEmbedder):
        def encode_documents(self, texts: Sequence[str]) -> Vectors:
            return np.full((len(texts), 4), 0.5, np.float32)

    embedder = Constant()
    found = Relevance(embedder).of(embedder.encode_documents(["a"])[0], embedder.encode_documents(["b", "c"]))
    assert found.tolist() == [0, 0]


def test_the_embedded_model_knows_other_subjects(mini: Embedder) -> None:
    scale = Relevance(mini)
    sentences = mini.encode_documents(
        ["Everyone has the right to education.", "Toda persona tiene derecho al descanso y a las vacaciones."]
    )
    for question, answered in [
        ("Who has a right to education?", 0),
        ("Nani ana haki ya kupata elimu?", 0),
        ("Who has a right to rest and holidays?", 1),
        ("How long does it take to fly to Mars?", None),
        ("كيف أطبخ الأرز؟", None),
    ]:
        relevance = scale.of(mini.encode_queries([question])[0], sentences)
        if answered is None:
            assert relevance.max() < MIN_RELEVANCE, question
        else:
            assert relevance.max() > MIN_RELEVANCE, question
            assert int(np.argmax(relevance)) == answered, question
