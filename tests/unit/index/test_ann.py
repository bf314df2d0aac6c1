"""Approximate search beside brute force, with segments small enough for quick tests."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from fake_embedder import FakeEmbedder, document, documents, stored_vectors_of, vectors_of

from lusirag.errors import IndexStateError, InvalidArgumentError, MissingDependencyError
from lusirag.index import Index, scan, segment, verify_index
from lusirag.index.ann import building, kinds, stored
from lusirag.index.ann.records import SearchSettings
from lusirag.index.tombstones import to_bitmap
from lusirag.index.writer import Writer
from lusirag.types import Hit

ROWS = 1500
WIDE = 768
# What each must find: of vectors of 16 independent numbers, those that keep few bits of each cannot find much.
LEAST = {
    "hnsw": 0.97, "ivf": 0.97, "ivf-pq": 0.8, "binary": 0.8, "HNSW16": 0.97, "HNSW8,SQfp16": 0.97, "IVF8,Flat": 0.97,
    "IVF8,PQ8x4": 0.9, "OPQ8_16,IVF8,PQ8x4fs": 0.97, "PQ8x4": 0.95, "SQ8": 0.97, "NSG8": 0.8, "PCA12,IVF8,SQ8": 0.5,
    "IVF8,RaBitQ": 0.6, "IVF16_HNSW8,SQ8": 0.9, "RR16,RaBitQ": 0.8, "IVF8,PQ8x4,RFlat": 0.9,
}  # fmt: skip


@pytest.fixture(autouse=True)
def added_in_parts(monkeypatch: pytest.MonkeyPatch, small_on_one_thread: None) -> None:
    monkeypatch.setattr(building, "_ADDED_AT_ONCE", 700)


def make(path: Path, ann: str, rows: int = ROWS, **options: Any) -> Index:
    index = Index.create(path / "index", FakeEmbedder(), ann=ann, identify_languages=False, **options)
    index.add(documents(range(rows)))
    return index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with make(tmp_path, "hnsw") as index:
        yield index


def exact(index: Index, texts: list[str], k: int, allowed: set[str] | None = None) -> list[list[tuple[str, float]]]:
    names = [name for name in (f"d{number}" for number in range(3 * ROWS)) if allowed is None or name in allowed]
    stored_texts = {found.id: found.text for found in index.get(names)}
    names = [name for name in names if name in stored_texts]
    scores = stored_vectors_of([stored_texts[name] for name in names]).astype(np.float64) @ vectors_of(texts).T
    return [[(names[row], float(column[row])) for row in np.argsort(-column, kind="stable")[:k]] for column in scores.T]


def share(found: list[list[Hit]], expected: list[list[tuple[str, float]]]) -> float:
    return float(np.mean([
        len({hit.id for hit in hits} & {name for name, _ in best}) / len(best)
        for hits, best in zip(found, expected, strict=True)
    ]))  # fmt: skip


QUERIES = [f"query {number}" for number in range(60)]


@pytest.mark.parametrize("ann", LEAST)
def test_every_kind_finds_most_and_scores_exactly(tmp_path: Path, ann: str) -> None:
    with make(tmp_path, ann) as index:
        [structure] = index.info()["ann"]["structures"]
        assert structure != "exact"
        found, expected = index.search_many(QUERIES, k=10), exact(index, QUERIES, 10)
        assert share(found, expected) > LEAST[ann]
        for query, hits in zip(QUERIES, found, strict=True):
            true = stored_vectors_of([hit.text for hit in hits]).astype(np.float64) @ vectors_of([query])[0]
            np.testing.assert_allclose([hit.score for hit in hits], true, atol=1e-6)
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
            assert index.search(query, k=10) == hits
        index.delete([f"d{number}" for number in range(0, ROWS, 2)])
        odd = exact(index, QUERIES, 10)
        found = index.search_many(QUERIES, k=10)
        assert all(len(hits) == 10 for hits in found)
        assert share(found, odd) > LEAST[ann]
        assert verify_index(index.path).ok
        assert Index.open(index.path, FakeEmbedder()).search_many(QUERIES, k=10) == found


@pytest.mark.parametrize("ann", ["hnsw", "HNSW16", "PCA12,HNSW8,SQ8", "HNSW16,Flat,RFlat"])
def test_graphs_are_linked_widely(tmp_path: Path, ann: str) -> None:
    with make(tmp_path, ann, 400) as index:
        [structure] = [part.structure for part in index._snapshot.segments]
        assert structure is not None
        structure.load()
        inner = faiss.downcast_index(structure._index)
        while not isinstance(inner, faiss.IndexHNSW):
            inner = faiss.downcast_index(
                inner.index if isinstance(inner, faiss.IndexPreTransform) else inner.base_index
            )
        assert inner.hnsw.efConstruction == 80


def between_lists(structure: Any) -> np.ndarray:
    """Queries (n, WIDE), each as near to one list's centroid as to another's, but for rounding."""
    lists = faiss.downcast_index(structure)
    if not isinstance(lists, faiss.IndexIVF) or lists.d != WIDE:
        return np.empty((0, WIDE), dtype=np.float32)
    centroids = lists.quantizer.reconstruct_n(0, lists.nlist).astype(np.float64)
    left, right = (centroids[each] for each in np.triu_indices(lists.nlist, 1))
    apart, queries = left - right, left + right
    queries -= apart * ((queries * apart).sum(axis=1) / (apart * apart).sum(axis=1))[:, None]
    return (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)[:500]


@pytest.mark.parametrize("ann", [*LEAST, "IVF32,PQ8x4fsr"])
@pytest.mark.parametrize("share", [1, 2])
@pytest.mark.parametrize("kept", [None, 18])
def test_candidates_do_not_depend_on_the_other_queries(tmp_path: Path, ann: str, share: int, kept: int | None) -> None:
    with Index.create(tmp_path / "index", FakeEmbedder(dimension=WIDE), ann=ann, identify_languages=False) as index:
        index.add(documents(range(ROWS)))
        [structure] = [part.structure for part in index._snapshot.segments]
        assert structure is not None
        allowed = to_bitmap(np.arange(ROWS) % share == 0)
        faiss.omp_set_num_threads(2)
        find = structure.finder(SearchSettings(nprobe=1), allowed, ROWS // share, kept)
        queries = np.concatenate([vectors_of(QUERIES, WIDE), between_lists(structure._index)])
        scores, rows, _ = find(queries, 30)
        alone = [find(query[None], 30) for query in queries]
        assert np.array_equal(np.concatenate([each.rows for each in alone]), rows)
        assert np.array_equal(np.concatenate([each.scores for each in alone])[rows >= 0], scores[rows >= 0])
        assert set(rows[rows >= 0] % share) == {0}
        assert len(set(rows.flat)) > 100


def test_exact_and_approximate_segments_are_ranked_together(index: Index) -> None:
    index.add([document(number, 7) for number in range(ROWS, ROWS + 200)])
    structures = index.info()["ann"]["structures"]
    assert structures == {"HNSW32,SQ8": 1, "exact": 1}
    found, expected = index.search_many(QUERIES, k=10), exact(index, QUERIES, 10)
    assert share(found, expected) > 0.97
    assert any(int(hit.id[1:]) >= ROWS for hits in found for hit in hits)


@pytest.mark.parametrize("ann", ["hnsw", "ivf", "PQ8x4"])
def test_the_best_candidates_of_all_segments_are_taken(tmp_path: Path, ann: str) -> None:
    with make(tmp_path, ann, 600) as index:
        for start in (600, 1000):
            index.add(documents(range(start, start + 400)))
        structures = [part.structure for part in index._snapshot.segments]
        assert len(structures) == 3
        found, expected = index.search_many(QUERIES, k=10), exact(index, QUERIES, 10)
        assert all(structure is not None and structure.loaded for structure in structures)
        assert share(found, expected) > 0.9


def test_equal_scores_are_ordered_by_segment_and_row(tmp_path: Path) -> None:
    with make(tmp_path, "hnsw", 400) as index:
        index.add(documents(range(400, 500)))
        index.add([document(number, 9) for number in (600, 601)])
        text = "text 600 version 9"
        index.delete(["d600"])
        index.add([document(600, 9)])
        hits = index.search(text, k=400)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert hits[0].id == "d600"


def test_few_allowed_rows_are_searched_exactly(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add([document(number, 0, "sw") for number in range(ROWS, ROWS + 130)])
    index.compact()
    monkeypatch.setattr(stored.StoredStructure, "finder", forbidden)
    for k in (1, 10, 100):
        found = index.search_many(QUERIES, k=k, languages=["sw"])
        allowed = {f"d{number}" for number in range(ROWS, ROWS + 130)}
        expected = exact(index, QUERIES, k, allowed)
        assert [[hit.id for hit in hits] for hits in found] == [[name for name, _ in best] for best in expected]
    with pytest.raises(AssertionError):
        index.search("x")
    assert len(index.search("x", k=ROWS)) == ROWS  # so many hits are found exactly too


def forbidden(*_: object) -> None:
    raise AssertionError


@pytest.mark.parametrize("ann", ["hnsw", "ivf", "binary", "NSG8"])
@pytest.mark.parametrize("k", [1, 10, 60])
def test_k_is_filled_under_filters(tmp_path: Path, ann: str, k: int) -> None:
    with make(tmp_path, ann) as index:
        found = index.search_many(QUERIES, k=k, languages=["zh"])
        assert all(len(hits) == k and {hit.language for hit in hits} == {"zh-Hant"} for hits in found)
        expected = exact(index, QUERIES, k, {f"d{number}" for number in range(2, ROWS, 3)})
        assert share(found, expected) > 0.85


def test_a_structure_that_comes_back_short_is_helped_out(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = stored.StoredStructure._search

    def short(self: Any, query: Any, m: int, kept: int | None, parameters: Any) -> stored.Found:
        found = whole(self, query, m, kept, parameters)
        found.rows[:, 3:] = -1
        return found

    monkeypatch.setattr(stored.StoredStructure, "_search", short)
    found, expected = index.search_many(QUERIES, k=10), exact(index, QUERIES, 10)
    assert [[hit.id for hit in hits] for hits in found] == [[name for name, _ in best] for best in expected]


def test_threads_find_what_one_finds(index: Index) -> None:
    expected = [index.search(query, k=10) for query in QUERIES]
    fresh = Index.open(index.path, FakeEmbedder())
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda query: fresh.search(query, k=10), QUERIES)) == expected


def test_structures_are_built_once_when_all_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []
    build = segment.build

    def counted(factory: str, vectors: Any) -> Any:
        built.append(len(vectors))
        return build(factory, vectors)

    monkeypatch.setattr(segment, "build", counted)
    with Index.create(tmp_path / "index", FakeEmbedder(), ann="hnsw", identify_languages=False) as index:
        index.add(documents(range(3000)), commit_passages=50)
        rows = [part.record.rows for part in index._snapshot.segments if part.structure]
        assert sorted(built) == sorted(rows)
        assert sum(rows) > 2000


@pytest.mark.parametrize(("ann", "structures"), [("hnsw", {"HNSW32,SQ8": 1}), ("flat", {"exact": 3})])
def test_what_comes_little_by_little_gets_a_structure(tmp_path: Path, ann: str, structures: dict[str, int]) -> None:
    with Index.create(tmp_path / "index", FakeEmbedder(), ann=ann, identify_languages=False) as index:
        for count in (1, 2):
            index.add(documents(range(100 * count - 100, 100 * count)))
            assert index.info()["ann"]["structures"] == {"exact": count}
        index.add(documents(range(200, 300)))
        assert index.info()["ann"]["structures"] == structures
        assert share(index.search_many(QUERIES), exact(index, QUERIES, 10)) > 0.97
        assert index.verify().ok


def test_what_an_interrupted_run_left_without_structure_gets_it(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add(documents(range(ROWS, 2 * ROWS)))
    reader = Index.open(index.path, FakeEmbedder(), read_only=True)
    monkeypatch.setattr(Writer, "build_structures", forbidden)
    with pytest.raises(AssertionError):
        index.add(documents(range(2 * ROWS, 3 * ROWS)), commit_passages=ROWS)
    monkeypatch.undo()
    monkeypatch.setattr(kinds, "SMALLEST_SEGMENT", 300)
    assert index.info()["ann"]["structures"] == {"HNSW32,SQ8": 2, "exact": 1}
    index.add([])
    assert index.info()["ann"]["structures"] == {"HNSW32,SQ8": 3}
    assert index.verify().problems == []
    assert reader.search("text 1 version 0", k=1)[0].id == "d1"


def test_merging_and_compacting_build_anew(tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", FakeEmbedder(), ann="hnsw", identify_languages=False) as index:
        index.add(documents(range(1200)), commit_passages=256)
        index.add(documents(range(1200, 1300)))
        assert "exact" in index.info()["ann"]["structures"]
        index.delete([f"d{number}" for number in range(0, 1200, 4)])
        index.compact()
        assert index.info()["ann"]["structures"] == {"HNSW32,SQ8": 1}
        assert share(index.search_many(QUERIES), exact(index, QUERIES, 10)) > 0.97
        generation = index.info()["generation"]
        index.compact()
        assert index.info()["generation"] == generation


def test_a_reader_keeps_its_structures_while_a_writer_compacts(index: Index) -> None:
    reader = Index.open(index.path, FakeEmbedder(), read_only=True)
    expected = index.search_many(QUERIES)
    index.delete([f"d{number}" for number in range(1000)])
    index.compact()
    assert reader.search_many(QUERIES) == expected


def test_a_file_that_was_altered_is_noticed_before_faiss_reads_it(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lusirag.index import segment

    monkeypatch.setattr(segment, "_CHECKED_ON_OPEN_BYTES", 0)
    [file] = index.path.rglob("*.faiss")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    monkeypatch.setattr(faiss, "read_index", forbidden)
    opened = Index.open(index.path, FakeEmbedder())
    with pytest.raises(IndexStateError, match=r"ann-000002\.faiss was altered"):
        opened.search("x")


@pytest.mark.parametrize("ann", ["IVF1000,Flat", "IVF1000,SQ8"])
def test_a_segment_smaller_than_nlist_gets_fewer_lists(
    tmp_path: Path, ann: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "lusirag"), make(tmp_path, ann, 400) as index:
        assert index.info()["ann"]["structures"] == {ann.replace("1000", "10"): 1}
        assert share(index.search_many(QUERIES), exact(index, QUERIES, 10)) > 0.97
    assert "400 passages gets 10 lists instead of 1000" in caplog.text


def test_too_few_passages_to_train_are_searched_exactly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # 2**10 centroids of each part of a vector cannot be trained on 400 passages.
    with make(tmp_path, "PQ4x10", 400) as index:
        assert index.info()["ann"]["structures"] == {"exact": 1}
        assert len(index.search("x")) == 10
    assert "PQ4x10 cannot be trained on 400 passages" in caplog.text


@pytest.mark.parametrize(
    ("ann", "words"),
    [
        ("flt", "FAISS makes nothing"),
        ("PQ7", "multiple"),
        ("IVF8,PQ5", "multiple"),
        ("FLAT", "allowed: auto, flat"),
        ("HNSW", "allowed: auto, flat, hnsw"),
        ("", "allowed"),
        ("IDMap,Flat", "allowed"),
        ("BFlat", "FAISS makes nothing"),
        (3, "allowed"),
    ],
)  # fmt: skip
def test_what_faiss_does_not_know_is_refused_in_one_line(tmp_path: Path, ann: Any, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words) as error:
        Index.create(tmp_path / "index", FakeEmbedder(), ann=ann)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "index").exists()


def test_kinds_need_faiss_only_when_they_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(scan, "_small", lambda numbers: True)
    with Index.create(tmp_path / "index", FakeEmbedder(), ann="hnsw") as index:
        index.add(documents(range(10)))
        assert len(index.search("x")) == 10
    with pytest.raises(MissingDependencyError):
        Index.create(tmp_path / "other", FakeEmbedder(), ann="HNSW32,SQ8")


def test_settings_reach_faiss(index: Index) -> None:
    [structure] = [segment.structure for segment in index._snapshot.segments]
    assert structure is not None
    few, many = SearchSettings(ef_search=1), SearchSettings(ef_search=500)
    assert structure.candidates_for(3, SearchSettings(rescored=4)) == 4 * structure.candidates_for(3, few)
    allowed = index._snapshot.segments[0].live
    queries, shares = vectors_of(QUERIES), []
    expected = exact(index, QUERIES, 10)
    for settings in (few, many):
        find = structure.finder(settings, allowed, ROWS)
        rows = find(queries, 10)[1]
        names = [{f"d{row}" for row in each.tolist()} for each in rows]
        shares.append(
            np.mean([len(each & {name for name, _ in best}) for each, best in zip(names, expected, strict=True)])
        )
    assert shares[0] < shares[1]
