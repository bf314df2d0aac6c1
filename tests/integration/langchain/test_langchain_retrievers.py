"""The retriever and the reranker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_fakes import WordEmbedder

from langchain_lusirag import LusiragReranker, LusiragRetriever, LusiragVectorStore
from lusirag import Document as Own
from lusirag.index import Fusion, Index
from lusirag.retrieval import Retriever
from lusirag.types import Hit
from tests.cross_encoder import write_cross_encoder

TEXTS = ["ant bee", "ant ant cat", "dog", "eel fox"]


class Longest:
    """Scores by length."""

    def score(self, query: str, hits: Sequence[Hit]) -> list[float]:
        return [float(len(hit.text)) for hit in hits]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    index = Index.create(tmp_path / "index", WordEmbedder(), chunk_tokens=0)
    index.add(
        Own(str(at), text, language="de" if at % 2 else "en", metadata={"n": at}) for at, text in enumerate(TEXTS)
    )
    return index.path


@pytest.fixture
def index(directory: Path) -> Index:
    return Index.open(directory, WordEmbedder())


def found(retriever: LusiragRetriever, query: str, **options: object) -> list[str | None]:
    return [document.id for document in retriever.invoke(query, **options)]


def test_options_of_the_constructor_and_of_one_call(index: Index) -> None:
    retriever = LusiragRetriever(index=index, mode="lexical", k=1)
    assert found(retriever, "ant") == ["1"]
    assert found(retriever, "ant", k=5) == ["1", "0"]
    assert found(retriever, "ant", k=5, languages=["en"]) == ["0"]
    assert found(retriever, "ant", k=5, where={"n": {"$lt": 1}}) == ["0"]
    assert found(retriever, "ant", k=5, where="n = 1") == ["1"]
    assert found(LusiragRetriever(index=index, mode="lexical", languages=["de"]), "ant") == ["1"]
    assert len(found(retriever, "ant", k=5, mode="dense")) == 4
    assert retriever.invoke("ant")[0].metadata == {"n": 1, "language": "de"}


def test_reranking_takes_the_first_place_of_all_candidates(index: Index) -> None:
    assert found(LusiragRetriever(index=index, rerank=Longest(), k=2), "dog") == ["1", "0"]
    few = LusiragRetriever(index=index, rerank=Longest(), candidates=1, k=1, mode="lexical")
    assert found(few, "dog") == ["2"]


def test_options_of_the_retriever_reach_lusirags_own(index: Index) -> None:
    for query in ("ant", "bee cat", "fox"):
        expected = [hit.id for hit in Retriever(index, diversity=0.9).search(query, 3)]
        assert found(LusiragRetriever(index=index, diversity=0.9, k=3), query) == expected
    fusion = Fusion(dense=0.1)
    hits = Retriever(index).search("ant", 4, mode="hybrid", fusion=fusion)
    assert found(LusiragRetriever(index=index, mode="hybrid", fusion=fusion), "ant") == [hit.id for hit in hits]


def test_grouping_returns_one_passage_of_each_document(tmp_path: Path) -> None:
    embedder = WordEmbedder()
    embedder.max_passage_tokens = 8  # type: ignore[attr-defined]
    index = Index.create(tmp_path / "split", embedder)
    index.add([Own(name, f"{name} ant. " * 12) for name in ("bee", "cat")])
    passages = LusiragRetriever(index=index, k=9).invoke("ant")
    assert {document.metadata["document_id"] for document in passages[:9]} == {"bee", "cat"}
    grouped = LusiragRetriever(index=index, k=9, group_documents=True).invoke("ant")
    assert sorted(document.metadata["document_id"] for document in grouped) == ["bee", "cat"]


def test_a_retriever_of_a_store_sees_what_is_added_later(tmp_path: Path) -> None:
    store = LusiragVectorStore(WordEmbedder(), tmp_path / "new")
    retriever = LusiragRetriever(index=store, languages=["en"], where={"n": 1})
    assert retriever.invoke("ant") == []
    store.add_texts(["ant"], [{"n": 1, "language": "en", "nested": {"a": [1]}}], ids=["1"])
    assert retriever.invoke("ant") == store.get_by_ids(["1"])
    LusiragVectorStore(WordEmbedder(), tmp_path / "new").delete()  # as another process does
    assert len(retriever.invoke("ant")) == 1
    store.refresh()
    assert retriever.invoke("ant") == []


def test_a_directory_is_opened_with_the_model_that_it_names(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lusirag.embedding.Embedder.load", lambda name, **_: {"words": WordEmbedder()}[name])
    assert found(LusiragRetriever(index=str(directory), k=1, mode="lexical"), "dog") == ["2"]
    assert found(LusiragRetriever(index=directory, k=1, mode="lexical"), "dog") == ["2"]


async def test_async_finds_the_same(index: Index) -> None:
    retriever = LusiragRetriever(index=index, rerank=Longest())
    assert await retriever.ainvoke("dog", k=3) == retriever.invoke("dog", k=3)


def test_the_reranker_orders_copies_and_says_the_score() -> None:
    documents = [Document(id=str(at), page_content=text, metadata={"n": at}) for at, text in enumerate(TEXTS)]
    best = LusiragReranker(reranker=Longest(), top_n=2).compress_documents(documents, "query")
    assert [(document.id, document.metadata) for document in best] == [
        ("1", {"n": 1, "relevance_score": 11.0}),
        ("0", {"n": 0, "relevance_score": 7.0}),
    ]
    assert documents[1].metadata == {"n": 1}
    assert len(LusiragReranker(reranker=Longest(), top_n=None).compress_documents(documents, "query")) == 4
    assert LusiragReranker(reranker=Longest()).compress_documents([], "query") == []


async def test_a_cross_encoder_by_its_directory(tmp_path: Path, index: Index) -> None:
    model = write_cross_encoder(tmp_path / "cross-encoder")
    documents = [Document(page_content=text) for text in TEXTS]
    compressor = LusiragReranker(reranker=model, top_n=4)
    best = compressor.compress_documents(documents, "dog")
    scores = [document.metadata["relevance_score"] for document in best]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 4
    assert await compressor.acompress_documents(documents, "dog") == best
    retriever = LusiragRetriever(index=index, rerank=str(model))
    assert [d.page_content for d in retriever.invoke("dog")] == [d.page_content for d in best]


def test_errors_are_one_line(index: Index, tmp_path: Path, message: Callable[..., str]) -> None:
    assert "give a directory" in message(LusiragRetriever, index=5)
    assert "nowhere" in message(LusiragRetriever, index=tmp_path / "nowhere")
    assert "diversity is 2" in message(LusiragRetriever, index=index, diversity=2)
    assert "candidates is 9" in message(LusiragRetriever, index=index, candidates=9)
    assert "the reranker is 5" in message(LusiragRetriever, index=index, rerank=5)
    retriever = LusiragRetriever(index=index)
    assert "k is 0" in message(retriever.invoke, "ant", k=0)
    assert "k is 0" in message(LusiragRetriever, index=index, k=0)
    assert "no option 'filter'" in message(retriever.invoke, "ant", filter={"n": 1})
    assert "mode is 'fast'" in message(retriever.invoke, "ant", mode="fast")
    assert "no passage has the language 'sw'" in message(retriever.invoke, "ant", languages=["sw"])
    assert "filter is" in message(retriever.invoke, "ant", where=lambda _: True)
    assert "it must be a list of tags" in message(LusiragRetriever(index=index, languages="de").invoke, "ant")
    assert "score(query, hits)" in message(LusiragReranker, reranker=None)
    assert "top_n is 0" in message(LusiragReranker, reranker=Longest(), top_n=0)
