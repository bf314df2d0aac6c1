"""`Retriever` over real indexes with a fake embedder; numpy over all passages says what must come out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lusirag
from lusirag.errors import IndexStateError, InvalidArgumentError, ModelError
from lusirag.index import Index
from lusirag.retrieval import ExactReranker, Retriever
from lusirag.types import Document, Hit, Vectors
from tests.unit.index.fake_embedder import FakeEmbedder, SplittingEmbedder, documents, stored_vectors_of, vectors_of


class ByNumber:
    """Prefers passages with large numbers, and remembers how many it was shown."""

    def __init__(self) -> None:
        self.shown: list[int] = []

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        self.shown.append(len(hits))
        return [float(hit.text.split()[1]) for hit in hits]


def chunked(name: str, chunks: int) -> Document:
    """A document that is split into so many passages of twelve words."""
    words = [f"{name.rstrip('#1')}{number}" for number in range(12 * chunks)]
    sentences = [" ".join(words[at : at + 11]) + "." for at in range(0, len(words), 12)]
    return Document(name, " ".join(sentences), language="en")


class OneLongDocumentFirst(SplittingEmbedder):
    """Every chunk of the document "long" lies nearer to any query than all other passages."""

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        vectors = super().encode_documents(texts).copy()
        for vector, text in zip(vectors, texts, strict=True):
            vector[0] = 40 if text.startswith("long") else 0
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        vectors = super().encode_queries(texts).copy()
        vectors[:, 0] = 3
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def long_one(tmp_path: Path) -> Index:
    """400 chunks of one document, and 30 short ones."""
    index = Index.create(tmp_path / "long", OneLongDocumentFirst(), overlap=0)
    index.add([chunked("long", 400), *(Document(f"d{at}", f"text {at}", language="en") for at in range(30))])
    assert index.info()["passages"] == 430
    return index


@settings(max_examples=30, deadline=None, derandomize=True)
@given(k=st.integers(1, 60), seed=st.integers(0, 10_000))
def test_without_stages_it_is_the_index(k: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder, Index.create(folder, FakeEmbedder()) as index:
        index.add(documents(range(50)), commit_passages=20)
        queries = [f"{seed} {number}" for number in range(3)]
        for retriever in (Retriever(index), Retriever(index, diversity=0.0, candidates=60, group_documents=True)):
            assert retriever.search_many(queries, k) == index.search_many(queries, k)
            assert retriever.search(queries[0], k, languages=["de"]) == index.search(queries[0], k, languages=["de"])


def test_stages_are_given_the_arguments_of_a_search(index: Index) -> None:
    index.add(documents(range(30)))
    retriever = Retriever(index, diversity=0.3)
    assert {hit.language for hit in retriever.search("x", 20, languages=["de"])} == {"de"}
    assert retriever.search_many([]) == []
    for wrong in ({"mode": "telepathy"}, {"where": 5}, {"languages": ["xx"]}, {"k": 0}):
        with pytest.raises(InvalidArgumentError):
            retriever.search("x", **wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="query is empty"):
        retriever.search(" ")


def test_reranking_chooses_among_the_candidates(index: Index) -> None:
    index.add(documents(range(200)))
    reranker = ByNumber()
    hits = Retriever(index, reranker=reranker).search("q", 5)
    among = index.search("q", 50)
    best = sorted((int(hit.id[1:]) for hit in among), reverse=True)[:5]
    assert [hit.id for hit in hits] == [f"d{number}" for number in best]
    assert [hit.score for hit in hits] == best
    assert len(Retriever(index, reranker=reranker, candidates=7).search("q", 7)) == 7
    Retriever(index, reranker=reranker).search_many(["a", "b"], 20)
    assert reranker.shown == [50, 7, 80, 80]
    wide = Retriever(index, reranker=reranker, candidates=200).search("q", 3)
    assert [hit.id for hit in wide] == ["d199", "d198", "d197"]


def test_exact_rescoring_goes_by_the_vectors_before_they_were_rounded(index: Index, embedder: FakeEmbedder) -> None:
    index.add(documents(range(100)))
    found = Retriever(index, reranker=ExactReranker(embedder), candidates=100).search("q", 100)
    scores = vectors_of([hit.text for hit in found]).astype(np.float64) @ vectors_of(["q"])[0]
    assert {hit.id for hit in found} == {hit.id for hit in index.search("q", 100)}
    assert [hit.score for hit in found] == pytest.approx(scores.tolist(), abs=1e-6)
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)


def test_a_group_is_its_best_passage(index: Index) -> None:
    index.add([chunked(f"name{number}x", 1 + number % 5) for number in range(20)], commit_passages=8)
    every = index.search("q", 1000)
    expected = list({hit.document_id: hit for hit in reversed(every)}.values())
    expected.sort(key=lambda hit: -hit.score)
    assert len(every) == sum(1 + number % 5 for number in range(20))
    assert Retriever(index, group_documents=True, candidates=12).search("q", 12) == expected[:12]
    assert Retriever(index, group_documents=True).search("q", 1000) == expected


def test_k_documents_are_found_behind_a_long_one(long_one: Index) -> None:
    assert all(hit.document_id == "long" for hit in long_one.search("q", 400))
    retriever = Retriever(long_one, group_documents=True)
    hits = retriever.search("q", 10)
    others = [hit for hit in long_one.search("q", 430) if hit.document_id != "long"]
    assert hits == [long_one.search("q", 1)[0], *others[:9]]
    assert len(retriever.search("q", 1000)) == 31
    assert retriever.search_many(["q", "p"], 10)[0] == hits


def test_the_reranker_sees_one_passage_of_each_document_beyond_the_candidates(long_one: Index) -> None:
    class ByLength(ByNumber):
        def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
            self.shown.append(len(hits))
            return [-float(len(hit.text)) for hit in hits]

    reranker = ByLength()
    hits = Retriever(long_one, reranker=reranker, group_documents=True, candidates=20).search("q", 5)
    assert reranker.shown == [24]
    assert sorted({hit.document_id for hit in hits}) == sorted(hit.document_id for hit in hits)
    assert hits[-1].document_id == "long"


def test_grouped_diversity_chooses_among_candidates_many_documents(long_one: Index) -> None:
    hits = Retriever(long_one, group_documents=True, diversity=1, candidates=31).search("q", 4)
    everything = Retriever(long_one, group_documents=True).search("q", 31)
    assert hits[0] == everything[0]
    cosines = long_one.vectors(everything) @ long_one.vectors(hits[:1])[0]
    assert hits[1] == everything[int(np.argmin(cosines))]


def test_diverse_hits_keep_their_scores_in_the_order_of_choice(index: Index) -> None:
    index.add(documents(range(200)))
    scores = {hit.id: hit.score for hit in index.search("q", 200)}
    plain, mixed = (Retriever(index, diversity=amount).search("q", 10) for amount in (0.0, 0.7))
    assert all(hit.score == scores[hit.id] for hit in mixed)
    assert mixed[0] == plain[0]
    assert [hit.score for hit in mixed] != sorted((hit.score for hit in mixed), reverse=True)

    def alike(hits: list[Hit]) -> float:
        vectors = index.vectors(hits)
        return float((vectors @ vectors.T)[np.triu_indices(len(hits), 1)].max())

    assert alike(mixed) < alike(plain)


def test_a_search_sees_one_state_of_the_index(index: Index, embedder: FakeEmbedder) -> None:
    index.add(documents(range(60)))

    class Deleting(ByNumber):
        def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
            index.delete([hit.document_id for hit in hits])
            return super().score(query, hits)

    hits = Retriever(index, reranker=Deleting(), diversity=0.5).search("q", 5)
    assert len(hits) == 5
    assert len(index) == 10
    with pytest.raises(IndexStateError, match=r"not in the index .* search again"):
        index.vectors(hits)
    with pytest.raises(IndexStateError, match="read_only"):
        index.pinned().delete(["d1"])


def test_vectors_are_those_of_the_passages(index: Index) -> None:
    index.add([chunked("a#1", 3), chunked("b", 2), Document("b#2", "short", language="en")], commit_passages=1)
    hits = index.search("q", 100)
    assert len(hits) == 6
    np.testing.assert_array_equal(index.vectors(hits), stored_vectors_of([hit.text for hit in hits]))
    assert index.vectors([]).shape == (0, index.info()["dimension"])


def test_pinned_loads_the_model_once(index: Index, embedder: SplittingEmbedder) -> None:
    index.add(documents(range(3)))
    loads: list[str] = []

    def load(name: str, dimension: int | None) -> SplittingEmbedder:
        loads.append(name)
        return embedder

    retriever = Retriever(Index.open(index.path, load), diversity=0.5)
    for _ in range(3):
        assert len(retriever.search("q")) == 3
    assert loads == ["splitting"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"diversity": 1.1}, "diversity is 1.1; it must be a number from 0"),
        ({"diversity": float("nan")}, "diversity is nan"),
        ({"diversity": "much"}, "diversity is 'much'"),
        ({"diversity": True}, "diversity is True"),
        ({"candidates": 0, "group_documents": True}, "candidates is 0; it must be a whole number"),
        ({"candidates": 20}, "candidates is 20, but nothing chooses among them"),
        ({"reranker": "cross-encoder/name"}, "reranker is 'cross-encoder/name'; it must have a method score"),
    ],
)
def test_options_out_of_range(index: Index, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Retriever(index, **options)


def test_wrong_use(index: Index) -> None:
    assert lusirag.Retriever is Retriever
    with pytest.raises(InvalidArgumentError, match="must be an Index"):
        Retriever("my-index")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="k is 10, but candidates is 5"):
        Retriever(index, candidates=5, group_documents=True).search("q")

    class Broken:
        def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
            return [0.0]

    assert Retriever(index, reranker=Broken()).search("q") == []
    index.add(documents(range(3)))
    with pytest.raises(ModelError, match=r"Broken returned shape \(1,\) for 3 hits"):
        Retriever(index, reranker=Broken()).search("q")
