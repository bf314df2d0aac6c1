"""The vector store beyond LangChain's own suite: filters, modes, scores, threads, processes, errors."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_fakes import CountingEmbeddings, FakeEmbedder, InstructedEmbedder, WordEmbedder

from langchain_lusirag import LusiferEmbeddings, LusiragVectorStore
from lusirag.index import Index, build
from lusirag.index.ann import kinds

ROOT = Path(__file__).resolve().parents[3]
BOOKS = [
    Document(id="a", page_content="first", metadata={"year": 1948, "title": "One", "id": 7, "tags": ["x"]}),
    Document(id="b", page_content="second", metadata={"year": 1990, "title": "Two", "language": "English"}),
    Document(id="c", page_content="third", metadata={"year": "unknown", "seen": date(2024, 5, 17), "at": {"page": 3}}),
    Document(id="d", page_content="fourth", metadata={"year": 2001.5, "title": None, "source": "b.txt"}),
]
Refused = Callable[..., str]


@pytest.fixture
def books(store: LusiragVectorStore) -> LusiragVectorStore:
    store.add_documents(BOOKS)
    return store


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"year": 1948}, "a"),
        ({"year": {"$eq": 1990}}, "b"),
        ({"year": {"$neq": 1948}}, "bcd"),
        ({"year": {"$gt": 1948}}, "bd"),
        ({"year": {"$gte": 1948, "$lt": 2000}}, "ab"),
        ({"year": {"$lte": 1990}}, "ab"),
        ({"title": {"$in": ["One", "Three"]}}, "a"),
        ({"title": {"$nin": ["One"]}}, "bcd"),
        ({"title": None}, "cd"),
        ({"id": 7}, "a"),
        ({"language": "English"}, "b"),
        ({"source": "b.txt"}, "d"),
        ({"text": "third"}, "c"),
        ({"seen": {"$gte": date(2024, 1, 1)}}, "c"),
        ({"$or": [{"title": "One"}, {"$and": [{"year": {"$gt": 2000}}, {"$not": {"id": 7}}]}]}, "ad"),
        ({"title": {"$not": {"$eq": "One"}}}, "bcd"),
        ({}, "abcd"),
        ("year >= 1990 OR title_ = 'One'", "abd"),
        ("id IN ('b', 'c')", "bc"),
        ("id_ = 7", "a"),
        ("CAST(json_extract(_langchain, '$.at.page') AS INTEGER) = 3", "c"),
        (lambda document: document.metadata["year"] == "unknown", "c"),
        (lambda metadata: metadata["year"] == "unknown", "c"),
        (lambda metadata: metadata.get("id", 0) == 7, "a"),
        (lambda metadata: "title" in metadata and metadata["title"] is None, "d"),
        (lambda metadata: dict(metadata.items()).get("source") == "b.txt" and len(metadata) == 3, "d"),
        (lambda document: document.id in "ac" and document.page_content == "third", "c"),
        (
            lambda metadata: ["x"] in metadata.values() or set(metadata.keys()) == {"seen"} or "seen" in list(metadata),
            "ac",
        ),
        (lambda _: False, ""),
    ],
)
def test_filters(books: LusiragVectorStore, filter: Any, expected: str) -> None:
    found = books.similarity_search("first", k=10, filter=filter)
    assert sorted(document.id or "" for document in found) == list(expected)
    assert all(document in BOOKS for document in found)
    diverse = books.max_marginal_relevance_search("first", k=10, filter=filter)
    assert sorted(document.id or "" for document in diverse) == list(expected)


def test_an_empty_store_finds_nothing_whatever_is_asked(store: LusiragVectorStore) -> None:
    for options in ({"filter": {"year": 1}}, {"filter": "year = 1"}, {"languages": ["de"]}, {"filter": lambda _: True}):
        assert store.similarity_search("one", **options) == []
        assert store.max_marginal_relevance_search("one", **options) == []


def test_a_function_is_asked_until_there_are_k_and_once_for_each_document(store: LusiragVectorStore) -> None:
    store.add_texts([f"text {number}" for number in range(300)], [{"n": number} for number in range(300)])
    order = [document.metadata["n"] for document in store.similarity_search("query", k=300)]
    asked: list[int] = []

    def third(document: Document) -> bool:
        asked.append(document.metadata["n"])
        return document.metadata["n"] % 3 == 0

    found = store.similarity_search("query", k=5, filter=third)
    assert [document.metadata["n"] for document in found] == [n for n in order if n % 3 == 0][:5]
    assert len(asked) < 64
    asked.clear()
    assert len(store.similarity_search("query", k=150, filter=third)) == 100
    assert asked == order
    asked.clear()
    found = store.similarity_search("query", k=1, filter=lambda d: third(d) and d["n"] in order[-9:])
    assert found[0].metadata["n"] in order[-9:]
    assert asked == order[: len(asked)]  # though the search went deeper twice


def test_adding_again_replaces_and_embeds_only_what_changed(
    store: LusiragVectorStore, embeddings: CountingEmbeddings
) -> None:
    assert store.add_texts(["one", "two"], [{"n": 1}, {"n": 2}], ids=["1", "2"]) == ["1", "2"]
    embeddings.embedded.clear()
    changed = [Document(id="2", page_content="two", metadata={"n": 2}), Document(id="1", page_content="uno")]
    assert store.add_documents(changed) == ["2", "1"]
    assert embeddings.embedded == ["uno"]
    assert store.get_by_ids(["2", "nowhere", "1"]) == changed
    assert len(store.similarity_search("one", k=10)) == 2


def test_ids_are_made_up_where_there_are_none(store: LusiragVectorStore) -> None:
    documents = [Document(page_content="one"), Document(id="2", page_content="two"), Document(page_content="three")]
    ids = store.add_documents(documents, ids=[None, None, "3"])
    assert ids[1:] == ["2", "3"]
    assert len(ids[0]) == 36
    assert [document.page_content for document in store.get_by_ids(ids)] == ["one", "two", "three"]
    assert documents[0].id is None


def test_the_same_neighbours_scores_and_choices_as_langchains_own_store(embeddings: CountingEmbeddings) -> None:
    texts, ids = [f"text {number}" for number in range(40)], [str(number) for number in range(40)]
    ours = LusiragVectorStore.from_texts(texts, embeddings, ids=ids, vectors="float32")
    theirs = InMemoryVectorStore.from_texts(texts, embeddings, ids=ids)
    for query in ("a", "b", "c"):
        expected = theirs.similarity_search_with_score(query, k=7)
        found = ours.similarity_search_with_score(query, k=7)
        assert [document for document, _ in found] == [document for document, _ in expected]
        assert np.allclose([score for _, score in found], [score for _, score in expected], atol=1e-5)
        vector = embeddings.embed_query(query)
        assert ours.similarity_search_by_vector(vector, k=7) == [document for document, _ in expected]
        for weight in (0.0, 0.3, 0.5, 1.0):
            options: dict[str, Any] = {"k": 5, "fetch_k": 15, "lambda_mult": weight}
            chosen = theirs.max_marginal_relevance_search(query, **options)
            assert ours.max_marginal_relevance_search(query, **options) == chosen
            assert ours.max_marginal_relevance_search_by_vector(vector, **options) == chosen


def test_relevance_is_between_0_and_1_and_thresholds_hold(books: LusiragVectorStore) -> None:
    relevant = books.similarity_search_with_relevance_scores("first", k=4)
    scored = {document.id: score for document, score in relevant}
    cosines = {document.id: score for document, score in books.similarity_search_with_score("first", k=4)}
    assert scored["a"] == pytest.approx(1, abs=1e-3)
    assert min(cosines.values()) < 0
    assert scored == {name: min(max(score, 0), 1) for name, score in cosines.items()}
    retriever = books.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.99, "k": 4}
    )
    assert [document.id for document in retriever.invoke("first")] == ["a"]


def test_lexical_and_hybrid_search_and_languages(tmp_path: Path) -> None:
    store = LusiragVectorStore(WordEmbedder(), tmp_path / "index")
    texts = ["ant bee", "ant ant cat", "dog", "eel fox"]
    store.add_texts(texts, [{"language": tag} for tag in ("en", "de", "de-AT", "en")], ids=list("1234"))
    assert [d.id for d in store.similarity_search("ant", k=4, mode="lexical")] == ["2", "1"]
    assert [d.id for d in store.similarity_search("ant", mode="lexical", filter=lambda d: d.id == "1")] == ["1"]
    hits = store.index.search("ant", 4, "hybrid", fusion="rrf")
    found = store.similarity_search_with_score("ant", k=4, mode="hybrid", fusion="rrf")
    assert [(document.id, score) for document, score in found] == [(hit.id, hit.score) for hit in hits]
    assert {d.id for d in store.similarity_search("ant", languages=["de"])} == {"2", "3"}
    assert [d.id for d in store.similarity_search("ant", mode="lexical", languages=["en"])] == ["1"]
    relevance = store.similarity_search_with_relevance_scores("ant", mode="hybrid")
    assert all(0 <= score <= 1 for _, score in relevance)


def test_an_instruction_reaches_the_model_in_every_mode(tmp_path: Path) -> None:
    class Model(InstructedEmbedder, WordEmbedder):
        pass

    store = LusiragVectorStore(LusiferEmbeddings(embedder=Model(), query_instruction="find"), tmp_path / "index")
    store.add_texts(["find: ant", "look: ant", "None: ant"], ids=["find", "look", "none"])
    for mode in ("dense", "hybrid"):
        best = store.similarity_search_with_score("ant", k=1, mode=mode)[0][0]
        asked = store.similarity_search_with_score("ant", k=1, mode=mode, instruction="look")[0][0]
        assert (best.id, asked.id) == ("find", "look")


def test_documents_that_the_index_splits_are_found_as_passages_with_their_place(tmp_path: Path) -> None:
    embedder = WordEmbedder()
    embedder.max_passage_tokens = 8  # type: ignore[attr-defined]
    store = LusiragVectorStore(embedder, tmp_path / "index", chunk_tokens=None)
    text = "ant ant ant ant ant ant ant. bee bee bee bee bee bee bee."
    store.add_texts([text], [{"n": 1}], ids=["long"])
    found = store.similarity_search("bee", k=1, mode="lexical")[0]
    start = found.metadata["start_index"]
    assert (found.id or "").startswith("long#")
    assert found.metadata == {"n": 1, "document_id": "long", "start_index": start}
    assert start > 0
    assert text[start:].startswith(found.page_content)
    assert store.get_by_ids(["long"]) == [Document(id="long", page_content=text, metadata={"n": 1})]


def test_long_documents_stay_whole_by_default(tmp_path: Path) -> None:
    embedder = WordEmbedder()
    embedder.max_passage_tokens = 8  # type: ignore[attr-defined]
    document = Document(id="long", page_content="ant bee. " * 20, metadata={"n": 1})
    store = LusiragVectorStore.from_documents([document], embedder, path=tmp_path / "index")  # type: ignore[arg-type]
    assert store.similarity_search("ant") == [document]


def test_an_index_made_otherwise_opens_and_takes_documents(tmp_path: Path) -> None:
    from lusirag import Document as Own

    index = Index.create(tmp_path / "index", FakeEmbedder())
    index.add([Own("1", "one", "Title", "en", "file.txt", {"year": 1990, "place": None})])
    store = LusiragVectorStore(FakeEmbedder(), tmp_path / "index")
    expected = {"title": "Title", "language": "en", "source": "file.txt", "year": 1990}
    assert store.get_by_ids(["1"]) == [Document(id="1", page_content="one", metadata=expected)]
    store.add_texts(["two"], [{"year": 2.5, "title": "Other"}], ids=["2"])
    assert {d.id for d in store.similarity_search("one", filter={"year": {"$gt": 2}})} == {"1", "2"}
    assert store.similarity_search("one", filter={"source": "file.txt"})[0].metadata == expected


def test_delete_by_ids_by_filter_and_altogether(books: LusiragVectorStore) -> None:
    assert books.delete(["a", "nowhere"]) is True
    assert books.delete(filter={"year": {"$gt": 2000}}) is True
    assert [document.id for document in books.get_by_ids(list("abcd"))] == ["b", "c"]
    assert books.delete(["b"], filter="year = 1") is True
    assert len(books.index) == 2
    assert books.delete() is True
    assert len(books.index) == 0
    assert books.delete() is True


def test_what_was_added_is_there_after_the_process_was_killed(tmp_path: Path, store: LusiragVectorStore) -> None:
    script = (
        "import os, signal, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from langchain_fakes import CountingEmbeddings\n"
        "from langchain_lusirag import LusiragVectorStore\n"
        f"store = LusiragVectorStore(CountingEmbeddings(), {str(tmp_path / 'index')!r})\n"
        "store.add_texts(['one'], [{'at': {'page': (1, 2)}}], ids=['1'])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    paths = os.pathsep.join(str(ROOT / part) for part in ("", "integrations"))
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": paths}, check=False)
    assert done.returncode == -9
    expected = [Document(id="1", page_content="one", metadata={"at": {"page": (1, 2)}})]
    assert LusiragVectorStore(CountingEmbeddings(), tmp_path / "index").similarity_search("one") == expected
    assert store.similarity_search("one") == []  # opened before
    store.refresh()
    assert store.similarity_search("one") == expected


def test_a_store_without_a_path_leaves_nothing_behind(embeddings: CountingEmbeddings) -> None:
    store = LusiragVectorStore.from_texts(["one"], embeddings)
    path = store.index.path
    assert path.is_dir()
    del store
    gc.collect()
    assert not path.exists()


def test_threads_add_at_once(store: LusiragVectorStore) -> None:
    threads = [
        threading.Thread(target=store.add_texts, args=([f"text {number}"],), kwargs={"ids": [str(number)]})
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.get_by_ids([str(number) for number in range(8)])) == 8


def test_errors_are_one_line_and_say_what_to_do(
    books: LusiragVectorStore, message: Refused, tmp_path: Path, embeddings: CountingEmbeddings
) -> None:
    assert "document 2 (id 'x')" in message(books.add_texts, ["good", " \n"], ids=["y", "x"])
    assert "NUL character" in message(books.add_texts, ["good", "bad\0"], ids=["y", "x"])
    for name in ("\ud800", " ", "a\0", 5):
        assert "cannot have this id" in message(books.add_texts, ["good"], ids=[name])
    assert "metadata['a'][1] is a set" in message(books.add_texts, ["one"], [{"a": [1, {2}]}])
    assert "key 3; keys must be str" in message(books.add_texts, ["one"], [{"a": {3: 4}}])
    assert "cannot be kept" in message(books.add_texts, ["one"], [{"a": 10**5000}])
    assert "1 ids were given for 2" in message(books.add_texts, ["one", "two"], ids=["1"])
    assert "1 metadatas were given for 2" in message(books.add_texts, ["one", "two"], [{}])
    assert len(books.index) == 4
    assert "'colour'" in message(books.similarity_search, "one", filter={"colour": "red"})
    assert "holds double" in message(books.similarity_search, "one", filter={"year": "unknown"})
    assert "filter is 5" in message(books.similarity_search, "one", filter=5)
    assert "it takes filter, languages, mode" in message(books.similarity_search, "one", where={"year": 1})
    assert "k is 0" in message(books.similarity_search, "one", k=0)
    assert "without a lexical part" in message(books.similarity_search, "one", mode="hybrid")
    assert "no upper limit" in message(books.similarity_search_with_relevance_scores, "one", mode="lexical")
    assert "by meaning" in message(books.similarity_search_by_vector, [1.0] * 6, mode="hybrid")
    assert "shape (n, 6)" in message(books.similarity_search_by_vector, [1.0] * 5)
    assert "takes no instruction" in message(books.similarity_search, "one", instruction="find")
    assert "no option 'where'" in message(books.delete, ["a"], where="x")
    assert "no option 'namespace'" in message(books.add_texts, ["one"], namespace="x")
    assert "give LusiferEmbeddings" in message(LusiragVectorStore, "lusifer-mini")
    assert "was made with the model" in message(LusiragVectorStore, CountingEmbeddings(size=7), books.index.path)
    assert "was made with the model" in message(LusiragVectorStore, FakeEmbedder(), books.index.path)
    assert "chunk_tokens is 100" in message(LusiragVectorStore, embeddings, tmp_path / "other", chunk_tokens=100)
    (tmp_path / "file").write_text("no index")
    assert "is a file" in message(LusiragVectorStore, embeddings, tmp_path / "file")


def test_a_function_filters_hybrid_rankings_whose_scores_change_with_depth(tmp_path: Path) -> None:
    store = LusiragVectorStore(WordEmbedder(), tmp_path / "index")
    words = ("ant", "bee", "cat", "dog", "eel")
    store.add_texts([f"{words[n % 5]} {words[n % 3]} {n % 100}" for n in range(400)], ids=[str(n) for n in range(400)])
    found = store.similarity_search("ant bee 7", k=20, mode="hybrid", filter=lambda d: int(d.id) % 7 == 0)
    ids = [document.id or "" for document in found]
    assert len(set(ids)) == 20
    assert all(int(name) % 7 == 0 for name in ids)
    everything = [document.id or "" for document in store.similarity_search("ant bee 7", k=400, mode="hybrid")]
    assert sorted(ids) == sorted([name for name in everything if int(name) % 7 == 0][:20])


def test_structures_may_be_built_after_a_change_has_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "SMALLEST_SEGMENT", 64)
    monkeypatch.setattr(build, "build_structures", lambda _: pytest.fail("built within the change"))
    store = LusiragVectorStore(WordEmbedder(), tmp_path / "index", ann="hnsw", background=True)
    for _ in range(2):
        store.add_texts([f"ant {number}" for number in range(100)])
        store.index.wait()
        assert "HNSW32,SQ8" in store.index.info()["ann"]["structures"]
        store.refresh()
    assert len(store.index) == 200
    store.index.close()
    monkeypatch.undo()
    fleeting = LusiragVectorStore(WordEmbedder(), ann="hnsw", background=True)  # its directory goes when it does
    fleeting.add_texts(["ant"])
    assert not fleeting.index._state.in_background
