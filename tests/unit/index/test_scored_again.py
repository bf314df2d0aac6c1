"""Rows that were taken by rounded scores, lusirag's or FAISS's: ranked as lusirag itself scores them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_embedder import FakeEmbedder, documents, vectors_of

from lusirag.index import Index, flat
from lusirag.index.ann import nearest
from lusirag.index.ann.records import SearchSettings
from lusirag.index.ann.stored import StoredStructure
from lusirag.index.ranking import with_spare
from lusirag.index.tombstones import to_bitmap
from lusirag.index.vectors import STORAGES, StoredVectors, stored_as
from lusirag.types import Vectors

ROWS, CANDIDATES, KEPT = 1500, 40, 12
ROUNDING = 2e-6
QUERIES = [f"query {number}" for number in range(50)]
KINDS = ["hnsw", "ivf", "ivf-pq", "binary", "HNSW8,SQfp16", "OPQ8_16,IVF8,PQ8x4fs", "PCA12,IVF8,SQ8",
         "IVF8,RaBitQ", "IVF16_HNSW8,SQ8", "IVF8,PQ8x4"]  # fmt: skip

pytestmark = pytest.mark.usefixtures("small_on_one_thread")


def make(path: Path, ann: str, storage: str = "float16") -> Index:
    index = Index.create(path / "index", FakeEmbedder(), ann=ann, vectors=storage, identify_languages=False)
    index.add(documents(range(ROWS)))
    return index


def structure_of(index: Index) -> StoredStructure:
    [structure] = [part.structure for part in index._snapshot.segments]
    assert structure is not None
    return structure


@pytest.mark.parametrize("ann", KINDS)
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("share", [1, 3])
def test_the_best_of_the_candidates_are_kept(tmp_path: Path, ann: str, storage: str, share: int) -> None:
    with make(tmp_path, ann, storage) as index:
        structure, vectors = structure_of(index), index._snapshot.segments[0].vectors
        allowed, settings = to_bitmap(np.arange(ROWS) % share == 0), SearchSettings(nprobe=4)
        queries = vectors_of(QUERIES)
        candidates = structure.finder(settings, allowed, ROWS // share)(queries, CANDIDATES)
        found = structure.finder(settings, allowed, ROWS // share, KEPT)(queries, CANDIDATES)
        assert (found.exact, candidates.exact) == (True, False)
        assert found.rows.shape == found.scores.shape == (len(QUERIES), KEPT)
        assert (found.rows >= 0).sum() > 8 * len(QUERIES)
        best = np.sort(cosines(vectors, queries, candidates.rows), axis=1)[:, ::-1][:, :KEPT]
        there = found.rows >= 0
        assert np.array_equal(there, best > -np.inf)
        np.testing.assert_allclose(found.scores[there], best[there], atol=ROUNDING)
        np.testing.assert_allclose(found.scores[there], cosines(vectors, queries, found.rows)[there], atol=ROUNDING)


def cosines(vectors: StoredVectors, queries: Vectors, rows: np.ndarray) -> np.ndarray:
    """(n, m) of each query and its rows; -inf where there is none."""
    every = queries.astype(np.float64) @ vectors.take().astype(np.float64).T
    return np.where(rows < 0, -np.inf, np.take_along_axis(every, rows, axis=1))


@pytest.mark.parametrize("ann", KINDS)
@pytest.mark.parametrize("storage", STORAGES)
def test_it_gives_the_same_hits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ann: str, storage: str) -> None:
    with make(tmp_path, ann, storage) as index:
        for filtered in (None, ["zh"]):
            found = index.search_many(QUERIES, k=10, languages=filtered)
            with monkeypatch.context() as patch:
                patch.setattr(nearest, "_STRUCTURES_THAT_SCORE", 0)
                assert index.search_many(QUERIES, k=10, languages=filtered) == found
            assert [index.search(query, k=10, languages=filtered) for query in QUERIES] == found


@pytest.mark.parametrize("ann", ["NSG8", "PQ8x4"])
def test_structures_that_take_no_parameters_leave_it_to_lusirag(tmp_path: Path, ann: str) -> None:
    with make(tmp_path, ann) as index:
        allowed = to_bitmap(np.arange(ROWS) % 2 == 0)
        found = structure_of(index).finder(SearchSettings(), allowed, ROWS // 2, KEPT)(vectors_of(QUERIES), CANDIDATES)
        assert not found.exact
        assert found.rows.shape == (len(QUERIES), CANDIDATES)
        assert set(found.rows[found.rows >= 0] % 2) == {0}


@pytest.mark.parametrize(("structures", "exact"), [(1, True), (2, True), (3, False)])
def test_many_structures_leave_it_to_lusirag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, structures: int, exact: bool
) -> None:
    kept = []
    finder = StoredStructure.finder

    def noted(self, settings, allowed, count, number=None):  # type: ignore[no-untyped-def]
        kept.append(number)
        return finder(self, settings, allowed, count, number)

    monkeypatch.setattr(StoredStructure, "finder", noted)
    with make(tmp_path, "hnsw") as index:
        for number in range(1, structures):
            index.add(documents(range(number * ROWS, number * ROWS + 400)))
        assert sum(part.structure is not None for part in index._snapshot.segments) == structures
        index.search("x", k=10)
    assert kept == [with_spare(10) if exact else None] * structures


@pytest.mark.parametrize("asked", [1, 64])
def test_cosines_that_rounding_hides_are_ranked_exactly(asked: int) -> None:
    """Of 300 rows that are nearest and differ in the eighth digit, more than are taken at first may be the best."""
    random = np.random.default_rng(3)
    queries = random.standard_normal((asked, 64), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    close = queries[0] + 0.4 * queries[-1] + 2e-8 * random.standard_normal((300, 64), dtype=np.float32)
    far = random.standard_normal((700, 64), dtype=np.float32)
    rows = random.permutation(np.concatenate([close, far]))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    parts = [stored_as("float32", part) for part in (rows[:600], rows[600:])]
    candidates = [flat.Candidates(part, to_bitmap(np.ones(len(part), dtype=np.bool_)), len(part)) for part in parts]
    found = flat.nearest(candidates, queries, 10)
    for query, matches in zip(queries, found, strict=True):
        cosines = (rows.astype(np.float64) * query).sum(axis=1).astype(np.float32)
        best = np.argsort(-cosines, kind="stable")[:10]
        assert [match.row + 600 * match.segment for match in matches] == best.tolist()
        assert [match.score for match in matches] == cosines[best].tolist()
