from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_embedder import DIMENSION, FakeEmbedder, documents, stored_vectors_of, vectors_of

from lusirag.errors import IndexStateError, InvalidArgumentError, MissingDependencyError
from lusirag.index import Index, engine, flat, scan, threads
from lusirag.index import vectors as vectors_module
from lusirag.index.tombstones import to_bitmap
from lusirag.index.vectors import STORAGES, StoredVectors
from lusirag.types import Document, Vectors


def brute_force(vectors: Vectors, query: Vectors, k: int, allowed: np.ndarray) -> list[int]:
    scores = (vectors.astype(np.float64) * query).sum(axis=1).astype(np.float32)
    rows = np.flatnonzero(allowed)
    return rows[np.lexsort((rows, -scores[rows]))][:k].tolist()


def test_equals_brute_force_for_any_number_of_queries(index: Index) -> None:
    index.add(documents(range(500)), commit_passages=200)
    assert index.info()["segments"] > 1
    texts = [f"text {number} version 0" for number in range(500)]
    queries = [f"query {number}" for number in range(70)]
    together = index.search_many(queries, k=7)
    for query, hits in zip(queries, together, strict=True):
        expected = brute_force(stored_vectors_of(texts), vectors_of([query])[0], 7, np.ones(500, dtype=bool))
        assert [hit.id for hit in hits] == [f"d{row}" for row in expected]
        assert hits == index.search(query, k=7)
        assert all(-1 <= hit.score <= 1 for hit in hits)


def test_equal_scores_are_ordered_by_row(index: Index) -> None:
    index.add([Document(f"d{number:03}", "the same text", language="en") for number in range(600)], commit_passages=256)
    for k in (1, 5, 300):
        assert [hit.id for hit in index.search("the same text", k=k)] == [f"d{number:03}" for number in range(k)]
        assert [hit.id for hit in index.search("another", k=k)] == [f"d{number:03}" for number in range(k)]


def test_selector_of_rows() -> None:
    vectors = vectors_of([f"t{number}" for number in range(100)])
    allowed = np.random.default_rng(1).random(100) < 0.1
    part = flat.Candidates(StoredVectors(vectors), to_bitmap(allowed), int(allowed.sum()))
    query = vectors_of(["q"])
    for k in (1, 3, 50):
        rows = [match.row for match in flat.nearest([part], query, k)[0]]
        assert rows == brute_force(vectors, query[0], k, allowed)


@pytest.fixture
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    faiss = engine.load_faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(4)
    monkeypatch.setattr(threads, "_helpers", {})
    yield
    faiss.omp_set_num_threads(before)


def test_segments_searched_at_once_give_the_same_hits(
    index: Index, four_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add(documents(range(500)), commit_passages=100)
    queries = [f"query {number}" for number in range(30)]
    expected = [index.search(query) for query in queries]
    monkeypatch.setattr(flat, "_LARGE", -1)
    assert threads._helpers == {}
    assert [index.search(query) for query in queries] == expected
    assert threads._helpers


@pytest.mark.parametrize("storage", STORAGES)
def test_pieces_of_a_segment_searched_at_once_give_the_same_hits(
    tmp_path: Path, storage: str, four_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.load_faiss()
    with Index.create(tmp_path / "index", FakeEmbedder(), vectors=storage, identify_languages=False) as index:
        index.add([Document(f"d{n}", f"text {n % 400}", language="sw" if n % 60 < 3 else "de") for n in range(1000)])
        index.delete([f"d{n}" for n in range(0, 1000, 7)] + [f"d{n}" for n in range(300, 500)])
        asked = [(f"text {n}", k, only) for n in range(12) for k in (1, 9, 700) for only in (None, ["sw"], ["de"])]
        expected = [index.search(query, k=k, languages=only) for query, k, only in asked]
        monkeypatch.setattr(flat, "_LARGE", -1)
        monkeypatch.setattr(vectors_module, "_PIECE_NUMBERS", 16 * 70)  # 64 rows
        with Index.open(index.path, FakeEmbedder()) as fresh:
            assert [index.search(query, k=k, languages=only) for query, k, only in asked] == expected
            assert [fresh.search(query, k=k, languages=only) for query, k, only in asked] == expected
            [segment] = fresh._snapshot.segments
            assert [start for start, _ in segment.vectors.pieces] == list(range(0, 1000, 64))
        left = sum(n % 60 < 3 and n % 7 > 0 and not 300 <= n < 500 for n in range(1000))
        swahili = [(hits, k) for hits, (_, k, only) in zip(expected, asked, strict=True) if only == ["sw"]]
        assert all(len(hits) == min(k, left) for hits, k in swahili)


def test_an_error_in_one_thread_is_raised_and_ends_the_others(four_threads: None) -> None:
    done: list[int] = []

    def run(item: int) -> int:
        if item == 5:
            raise ValueError("five")
        time.sleep(0.002)
        done.append(item)
        return item

    for _ in range(10):
        done.clear()
        with pytest.raises(ValueError, match="five"):
            threads.in_threads(run, range(200))
        assert len(done) < 20
        count = len(done)
        time.sleep(0.01)
        assert len(done) == count  # no thread goes on
    assert threads.in_threads(abs, [-1, -2, -3]) == [1, 2, 3]


def test_threads_are_not_waited_for_by_threads(four_threads: None) -> None:
    names = threads.in_threads(
        lambda _: threads.in_threads(lambda _: threading.current_thread().name, range(3)), range(40)
    )
    assert all(len(set(inner)) == 1 for inner in names)
    assert threads.in_threads(abs, [-3]) == [3]


@pytest.mark.parametrize("count", [2, 15, 16, 17, 33, 1000])
def test_threads_share_many_items_and_keep_their_order(four_threads: None, count: int) -> None:
    done: list[tuple[int, str]] = []

    def run(item: int) -> int:
        time.sleep(0.01 if item < 40 else 0)  # so that no thread does all before another begins
        done.append((item, threading.current_thread().name))
        return -item

    assert threads.in_threads(run, range(count)) == [-item for item in range(count)]
    assert sorted(item for item, _ in done) == list(range(count))
    assert 1 < len({name for _, name in done}) <= 4


def test_threads_keep_nothing_of_what_they_did(four_threads: None) -> None:
    class Item:
        pass

    items = [Item() for _ in range(40)]
    left = [weakref.ref(item) for item in items]
    names = threads.in_threads(lambda item: time.sleep(0.002) or threading.current_thread().name, items)
    assert len(set(names)) > 1
    del items
    for _ in range(100):  # one that came too late to help lets go a moment later
        if not any(each() for each in left):
            break
        time.sleep(0.01)
    assert [each() for each in left] == [None] * 40


def test_where_no_thread_can_be_begun_one_does_all(four_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        names = threads.in_threads(lambda _: time.sleep(0.001) or threading.current_thread().name, range(20))
    assert set(names) == {threading.current_thread().name}
    assert threads.in_threads(abs, range(-4, 0)) == [4, 3, 2, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_threads_are_made_anew_in_a_forked_process(four_threads: None) -> None:
    assert threads.in_threads(abs, range(-8, 0)) == list(range(8, 0, -1))
    child = os.fork()
    if child == 0:
        os._exit(0 if threads.in_threads(abs, range(-3, 0)) == [3, 2, 1] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_k_is_filled_whenever_enough_is_live(index: Index) -> None:
    index.add(documents(range(50)))
    assert len(index.search("x", k=1000)) == 50
    index.delete([f"d{number}" for number in range(45)])
    assert len(index.search("x", k=5)) == len(index.search("x", k=10**9)) == 5


@pytest.mark.parametrize("k", [0, -1, 1.5, "3", None, True])
def test_k_must_be_a_positive_whole_number(index: Index, k: object) -> None:
    with pytest.raises(InvalidArgumentError, match="whole number of at least 1"):
        index.search("x", k=k)  # type: ignore[arg-type]
    assert index.search("x", k=np.int64(1)) == []


@pytest.mark.parametrize("query", ["", " \n\t", None, 5, b"x"])
def test_queries_must_be_text(index: Index, query: object) -> None:
    with pytest.raises(InvalidArgumentError, match="query"):
        index.search(query)  # type: ignore[arg-type]


def test_other_modes_and_shapes_are_refused(index: Index) -> None:
    index.add(documents(range(3)))
    for arguments in ({"mode": "hybrid"}, {"languages": "de"}, {"languages": []}):
        with pytest.raises(InvalidArgumentError):
            index.search("x", **arguments)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="for one query use search"):
        index.search_many("x")
    for vectors in (np.zeros((1, DIMENSION)), np.full((1, DIMENSION), np.nan), np.ones(DIMENSION), np.ones((1, 3))):
        with pytest.raises(InvalidArgumentError):
            index.search_vectors(vectors)


def test_empty_index_and_long_query(index: Index) -> None:
    assert index.search("x") == []
    assert index.search_many([]) == []
    index.add(documents([1]))
    assert index.search_many([]) == []
    assert len(index.search("word " * 20_000)) == 1
    assert index.search_vectors(5 * vectors_of(["x"])) == index.search_many(["x"])


def test_languages_match_by_prefix_without_case(index: Index) -> None:
    index.add(documents(range(30)), commit_passages=10)
    for languages, expected in ((["DE"], {"de"}), (["zh", "en"], {"zh-Hant", "en"}), (["zh-hant"], {"zh-Hant"})):
        hits = index.search("x", k=100, languages=languages)
        assert {hit.language for hit in hits} == expected
        assert len(hits) == 10 * len(expected)
    for typo in ("d", "zh-Hans", "zh-Hant-TW", "xx"):
        with pytest.raises(InvalidArgumentError, match=r"this index has de, en, zh-Hant"):
            index.search("x", languages=[typo])


def test_a_language_whose_last_document_is_deleted_is_gone(index: Index) -> None:
    index.add(documents(range(4)))
    index.delete(["d2"])
    assert index.info()["languages"] == {"en": 2, "de": 1}
    with pytest.raises(InvalidArgumentError, match="no passage has the language 'zh'"):
        index.search("x", languages=["zh"])


def test_an_index_refuses_another_model(index: Index, tmp_path: Path) -> None:
    other = FakeEmbedder(name="other", fingerprint="f2")
    with pytest.raises(IndexStateError, match=r"made with the model 'fake' \(fingerprint f1\), not with 'other'"):
        Index.open(index.path, other)
    with pytest.raises(IndexStateError, match=r"\(16 dimensions\), but 'other' has 8"):
        Index.open(index.path, FakeEmbedder(name="other", dimension=8))


@pytest.mark.parametrize("error", ["ImportError", "RuntimeError", "ModuleNotFoundError"])
def test_faiss_that_cannot_be_loaded_says_what_it_lacks(
    index: Index, tmp_path: Path, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add(documents([1]))
    more = ", name='nvidia'" if error == "ModuleNotFoundError" else ""
    (tmp_path / "faiss.py").write_text(f"raise {error}('CUDA 13 is missing:\\n  pip install nvidia-x'{more})\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    monkeypatch.setattr(scan, "SMALL", -1)
    with pytest.raises(MissingDependencyError) as caught:
        index.search("x")
    assert str(caught.value).endswith("cannot be loaded: CUDA 13 is missing: pip install nvidia-x")


def test_without_faiss_the_extra_is_named(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add(documents([1]))
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(scan, "SMALL", -1)
    with pytest.raises(MissingDependencyError, match=r"lusirag\[cpu\]"):
        index.search("x")
