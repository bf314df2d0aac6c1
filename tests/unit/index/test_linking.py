"""HNSW over links that something else has found: an index like any other, found through by the same search."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pytest
from fake_embedder import FakeEmbedder, documents, vectors_of

from lusirag.index import Index, gpu, verify_index
from lusirag.index.ann import linking
from lusirag.index.ann.building import build
from lusirag.index.ann.linking import assemble, degree_of
from lusirag.index.vectors import StoredVectors
from lusirag.types import Vectors

ROWS, DEGREE = 3000, 64
HNSW = "HNSW32,SQ8"
needs_cuvs = pytest.mark.skipif(
    faiss.get_num_gpus() == 0 or not hasattr(faiss, "GpuIndexCagra"),
    reason="FAISS has no NVIDIA GPU here, or no cuVS",
)


@pytest.fixture(autouse=True)
def small(small_on_one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "_ROWS_AT_ONCE", 1000)


def texts(rows: int) -> Vectors:
    return vectors_of([f"text {number}" for number in range(rows)])


def neighbours(vectors: Vectors, degree: int) -> npt.NDArray[np.int64]:
    """Of each vector the nearest others."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    found: npt.NDArray[np.int64] = flat.search(vectors, degree + 1)[1]
    return found[:, 1:]


def put_together(factory: str, vectors: Vectors, links: npt.NDArray[np.int64]) -> Any:
    index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    assemble(index, links, StoredVectors(vectors.astype(np.float16)), 80)
    return index


def recall(index: Any, vectors: Vectors, queries: Vectors) -> float:
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    wanted = flat.search(queries, 10)[1]
    found = index.search(queries, 10, params=faiss.SearchParametersHNSW(efSearch=200))[1]
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), wanted.tolist(), strict=True)]))


@pytest.mark.parametrize("factory", ["HNSW32,Flat", HNSW, "HNSW16,SQfp16", "HNSW8,SQ6"])
def test_it_finds_what_faiss_finds(factory: str) -> None:
    vectors, queries = texts(ROWS), vectors_of([f"query {number}" for number in range(50)])
    degree = degree_of(faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT))
    assert degree == 2 * int(factory.partition(",")[0].removeprefix("HNSW"))
    index = put_together(factory, vectors, neighbours(vectors, degree))
    again = faiss.deserialize_index(faiss.serialize_index(index))
    assert type(again) is type(index)
    assert again.ntotal == ROWS
    usual = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    usual.train(vectors)
    usual.add(vectors)
    assert recall(again, vectors, queries) > recall(usual, vectors, queries) - 0.02
    for mine, theirs in zip(index.search(queries, 20), again.search(queries, 20), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_each_level_links_nodes_of_that_level() -> None:
    index = put_together(HNSW, texts(ROWS), neighbours(texts(ROWS), DEGREE))
    hnsw = index.hnsw
    levels = faiss.vector_to_array(hnsw.levels)
    offsets = faiss.vector_to_array(hnsw.offsets).astype(int)
    links = faiss.rev_swig_ptr(hnsw.neighbors.data(), hnsw.neighbors.size())
    assert levels.max() > 2
    assert levels[hnsw.entry_point] == levels.max() == hnsw.max_level + 1
    for level in range(levels.max()):
        nodes = np.flatnonzero(levels > level)
        begin, end = hnsw.cum_nb_neighbors(level), hnsw.cum_nb_neighbors(level + 1)
        for node in nodes.tolist():
            mine = links[offsets[node] + begin : offsets[node] + end]
            there = mine[mine >= 0]
            assert (mine[: len(there)] >= 0).all()  # none behind the first that is none
            assert (levels[there] > level).all()
            assert (there != node).all()
            assert len(there) > 0 or len(nodes) == 1


def test_links_that_are_none_are_left_out() -> None:
    vectors = texts(ROWS)
    links = neighbours(vectors, DEGREE)
    broken = np.insert(links, [0, 3, 3, 64], [[-1, ROWS, 2**32 - 1, -7]], axis=1)
    index, sound = put_together(HNSW, vectors, broken), put_together(HNSW, vectors, links[:, :60])
    for one, other in zip(index.search(vectors[:50], 10), sound.search(vectors[:50], 10), strict=True):
        np.testing.assert_array_equal(one, other)


def test_few_vectors_need_no_level_above() -> None:
    vectors = texts(5)
    index = put_together(HNSW, vectors, neighbours(vectors, 4))
    assert sorted(index.search(vectors[:1], 5)[1][0].tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("factory", ["Flat", "IVF8,SQ8", "PCA8,HNSW32,SQ8", "HNSW32,PQ4", "HNSW32_SQ8,RFlat", "NSG32"])
def test_others_are_not_put_together(factory: str) -> None:
    assert degree_of(faiss.index_factory(16, factory, faiss.METRIC_INNER_PRODUCT)) is None


class Cagra:
    """FAISS's names for cuVS's graph, here of the nearest neighbours, which a CPU finds."""

    def __init__(self) -> None:
        self.trained: list[Vectors] = []
        self.error: str | None = None

    def index(self, resources: Any, dimension: int, metric: int, config: Any) -> Any:
        assert (resources, metric, config.store_dataset) == ("resources", faiss.METRIC_L2, False)
        assert config.intermediate_graph_degree == 2 * config.graph_degree
        owner = self

        class GpuIndexCagra:
            def train(self, vectors: Vectors) -> None:
                if owner.error:
                    raise RuntimeError(owner.error)
                assert (vectors.dtype, vectors.shape[1]) == (np.float32, dimension)
                owner.trained.append(vectors)

            def get_knngraph(self) -> Any:
                found = faiss.Int64Vector()
                faiss.copy_array_to_vector(neighbours(owner.trained[-1], config.graph_degree).ravel(), found)
                return found

        return GpuIndexCagra()


@pytest.fixture
def cagra(monkeypatch: pytest.MonkeyPatch) -> Cagra:
    found = Cagra()
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(gpu, "_new_resources", lambda: "resources")
    monkeypatch.setattr(faiss, "GpuIndexCagraConfig", type("Config", (), {}), raising=False)
    monkeypatch.setattr(faiss, "GpuIndexCagra", found.index, raising=False)
    return found


def test_an_index_is_linked_on_a_gpu_and_searched_on_the_cpu(tmp_path: Path, cagra: Cagra) -> None:
    path = tmp_path / "index"
    with Index.create(path, FakeEmbedder(), ann="hnsw", identify_languages=False) as index:
        index.add(documents(range(ROWS)))
        assert index.info()["ann"]["structures"] == {HNSW: 1}
        (vectors,) = cagra.trained
        assert len(vectors) == ROWS
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
        assert index.measure_recall(sample=50).worst > 0.95
        found = index.search_many([f"query {number}" for number in range(20)], k=10)
        some = index.search("query 1", k=10, where={"id": {"$in": [f"d{number}" for number in range(0, ROWS, 2)]}})
        assert len(some) == 10
        assert all(int(hit.id[1:]) % 2 == 0 for hit in some)
    assert verify_index(path).ok
    with Index.open(path, FakeEmbedder(), read_only=True) as again:
        assert again.search_many([f"query {number}" for number in range(20)], k=10) == found
        assert [again.search(f"query {number}", k=10) for number in range(20)] == found


def test_where_the_gpu_fails_the_cpu_links(cagra: Cagra, caplog: pytest.LogCaptureFixture) -> None:
    cagra.error = "Error: 'err == cudaSuccess' failed: out of memory"
    with caplog.at_level(logging.WARNING):
        index = build(HNSW, StoredVectors(texts(ROWS)))
    assert "out of memory" in caplog.text
    assert recall(index, texts(ROWS), vectors_of(["a", "b", "c"])) > 0.9
    assert not cagra.trained


def test_the_cpu_links_where_it_is_told_to_or_faiss_has_no_cuvs(cagra: Cagra, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpu.VARIABLE, "cpu")
    assert build(HNSW, StoredVectors(texts(ROWS))).ntotal == ROWS
    monkeypatch.delenv(gpu.VARIABLE)
    assert build("HNSW32,PQ4", StoredVectors(texts(ROWS))).ntotal == ROWS
    monkeypatch.delattr(faiss, "GpuIndexCagra")
    assert build(HNSW, StoredVectors(texts(ROWS))).ntotal == ROWS
    assert not cagra.trained


@needs_cuvs
def test_cagra_itself() -> None:
    vectors, queries = texts(20_000), vectors_of([f"query {number}" for number in range(100)])
    links = gpu.links(vectors, DEGREE)
    assert links is not None
    assert links.shape == (20_000, DEGREE)
    assert recall(put_together(HNSW, vectors, links), vectors, queries) > 0.95
