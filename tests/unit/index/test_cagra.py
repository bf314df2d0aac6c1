"""Graphs on a GPU: what is asked of cuVS and done with its answers, by a stand-in; itself, where it is."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pytest
from answers import answers, share
from fake_embedder import FakeEmbedder, documents, vectors_of
from topics import clustered, neighbours, recall

from lusirag.index import Index, cagra, gpu, verify_index
from lusirag.index.ann import linking
from lusirag.index.ann.building import build
from lusirag.index.ann.linking import assemble
from lusirag.index.ann.records import SearchSettings
from lusirag.index.vectors import StoredVectors, stored_as
from lusirag.types import Hit, Vectors

ROWS, DEGREE = 3000, 64
HNSW = "HNSW32,SQ8"
QUERIES = [f"query {number}" for number in range(20)]
needs_cuvs = pytest.mark.skipif(
    faiss.get_num_gpus() == 0 or not hasattr(faiss, "GpuIndexCagra"),
    reason="FAISS has no NVIDIA GPU here, or no cuVS",
)


@pytest.fixture(autouse=True)
def small(small_on_one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "_ROWS_AT_ONCE", 1000)


class StandIn:
    """FAISS's names for cuVS's graphs. They link what a CPU finds to be nearest, and find what a CPU does.

    Attributes:
        trained: what graphs were made of.
        links: of the graphs that were copied to the GPU.
        asked: numbers of neighbours, and of nodes in view, of each search.
        error: what linking and copying raise, if anything.
        fails: what searching raises.
    """

    def __init__(self) -> None:
        self.trained: list[npt.NDArray[np.float16]] = []
        self.links: list[npt.NDArray[np.int32]] = []
        self.asked: list[tuple[int, int]] = []
        self.error: Exception | None = None
        self.fails: Exception | None = None

    def index(self, resources: Any, dimension: int, metric: int, config: Any = None) -> Any:
        owner = self

        class GpuIndexCagra:
            def train(self, vectors: npt.NDArray[np.float16], numeric_type: int) -> None:
                assert (resources, metric, config.store_dataset) == ("of one", faiss.METRIC_L2, False)
                assert config.intermediate_graph_degree == 2 * config.graph_degree
                assert config.build_algo == "by descent"
                owner.check()
                assert (numeric_type, vectors.dtype, vectors.shape[1]) == (faiss.Float16, np.float16, dimension)
                owner.trained.append(vectors)

            def get_knngraph(self) -> Any:
                found = faiss.Int64Vector()
                degree = min(config.graph_degree, len(owner.trained[-1]) - 1)
                links = neighbours(owner.trained[-1].astype(np.float32), degree)
                faiss.copy_array_to_vector(links.ravel(), found)
                return found

            def copyFrom_ex(self, source: Any, numeric_type: int) -> None:  # noqa: N802 - FAISS's name
                owner.check()
                assert (resources, metric, config) == ("of all", faiss.METRIC_INNER_PRODUCT, None)
                assert numeric_type == faiss.Float16 == source.get_numeric_type()
                places = faiss.rev_swig_ptr(source.hnsw.neighbors.data(), source.hnsw.neighbors.size())
                assert places.size == source.ntotal * source.hnsw.nb_neighbors(0)
                owner.links.append(places.reshape(source.ntotal, -1).copy())
                self.storage = faiss.downcast_index(source.storage)
                assert type(self.storage) is faiss.IndexScalarQuantizer
                assert (self.storage.ntotal, self.storage.d) == (source.ntotal, dimension)

            def search(self, queries: Vectors, m: int, params: Any, numeric_type: int) -> Any:
                if owner.fails:
                    raise owner.fails
                assert (queries.dtype, numeric_type) == (np.float16, faiss.Float16)
                assert m <= params.itopk_size <= 1024
                owner.asked.append((m, params.itopk_size))
                return self.storage.search(queries.astype(np.float32), m)

        return GpuIndexCagra()

    def check(self) -> None:
        if self.error:
            raise self.error


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = StandIn()
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(gpu, "new_resources", lambda: "of one")
    monkeypatch.setattr(gpu, "resources", lambda: "of all")
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "graph_build_algo_NN_DESCENT", "by descent", raising=False)
    monkeypatch.setattr(faiss, "GpuIndexCagraConfig", type("Config", (), {}), raising=False)
    monkeypatch.setattr(faiss, "SearchParametersCagra", SimpleNamespace, raising=False)
    monkeypatch.setattr(faiss, "GpuIndexCagra", found.index, raising=False)
    return found


def make(path: Path, **settings: Any) -> Index:
    index = Index.create(path, FakeEmbedder(), identify_languages=False, **settings)
    index.add(documents(range(ROWS)))
    return index


def halves(vectors: Vectors) -> StoredVectors:
    return StoredVectors(vectors.astype(np.float16))


def test_an_index_is_linked_on_a_gpu_and_searched_on_the_cpu(tmp_path: Path, stand_in: StandIn) -> None:
    path = tmp_path / "index"
    with make(path, ann="hnsw") as index:
        assert index.info()["ann"]["structures"] == {HNSW: 1}
        (vectors,) = stand_in.trained
        assert ROWS <= len(vectors) < ROWS + 192
        np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float32), axis=1), 1, atol=1e-3)
        assert index.measure_recall(sample=50).worst > 0.95
        found = index.search_many(QUERIES, k=10)
        some = index.search("query 1", k=10, where={"id": {"$in": [f"d{number}" for number in range(0, ROWS, 2)]}})
        assert len(some) == 10
        assert all(int(hit.id[1:]) % 2 == 0 for hit in some)
    assert verify_index(path).ok
    with Index.open(path, FakeEmbedder(), read_only=True) as again:
        assert again.search_many(QUERIES, k=10) == found
        assert [again.search(query, k=10) for query in QUERIES] == found
    assert not stand_in.links


FULL = [RuntimeError("Error: 'err == cudaSuccess' failed: out of memory"), MemoryError("out of memory")]


@pytest.mark.parametrize("error", FULL)
def test_where_the_gpu_fails_the_cpu_links(
    error: Exception, stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.error = error
    vectors = vectors_of([f"text {number}" for number in range(ROWS)])
    with caplog.at_level(logging.WARNING):
        index = build(HNSW, halves(vectors))
    assert "out of memory" in caplog.text
    assert recall(index, vectors, vectors_of(QUERIES)) > 0.9
    assert not stand_in.trained


def test_the_cpu_links_where_it_is_told_to_or_faiss_has_no_cuvs(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = halves(vectors_of([f"text {number}" for number in range(ROWS)]))
    monkeypatch.setenv(gpu.VARIABLE, "cpu")
    assert build(HNSW, vectors).ntotal == ROWS
    monkeypatch.delenv(gpu.VARIABLE)
    assert build("HNSW32,PQ4", vectors).ntotal == ROWS
    monkeypatch.delattr(faiss, "GpuIndexCagra")
    assert build(HNSW, vectors).ntotal == ROWS
    assert not stand_in.trained


def by_faiss(vectors: Vectors) -> Any:
    """HNSW that FAISS itself links."""
    index = faiss.index_factory(vectors.shape[1], HNSW, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    return index


def test_links_that_lead_only_to_the_same_topic_are_not_used(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cagra, "_RANDOM_ONE_IN", 1000)
    vectors, queries = clustered(20_000), clustered(100, 1)
    index = faiss.index_factory(64, HNSW, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    assemble(index, neighbours(vectors, DEGREE), halves(vectors), 80)
    assert recall(index, vectors, queries) < 0.8
    index = build(HNSW, halves(vectors))
    (line,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert line.startswith("the links that the GPU found lead to 7")
    assert line.endswith("% of what is near; the CPU links instead")
    assert len(stand_in.trained) == 1
    assert recall(index, vectors, queries) == recall(by_faiss(vectors), vectors, queries)


def test_random_links_lead_to_every_topic(stand_in: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    vectors, queries = clustered(20_000), clustered(100, 1)
    index = build(HNSW, halves(vectors))
    assert stand_in.trained
    assert recall(index, vectors, queries) > 0.95
    assert not caplog.records
    some, none = (cagra.links(halves(vectors).codes, DEGREE, random) for random in (None, 0))
    assert some is not None
    assert none is not None
    np.testing.assert_array_equal(some[:, :60], none[:, :60])
    assert len(np.unique(some[:, 60:])) > 0.9 * len(vectors)
    assert some[:, 60:].max() < len(vectors)


@pytest.mark.parametrize("degree", [16, 32, 64, 128])
@pytest.mark.parametrize("rows", [300, 1152 * 10, 1152 * 10 + 1, 20_000, 352 * 352, 699_050])
def test_nodes_begin_with_links_of_their_own(degree: int, rows: int) -> None:
    first = cagra._links_at_first(2 * degree)
    assert first % 32 == 0
    assert first == {16: 32, 32: 96, 64: 192, 128: 352}[degree]
    vectors = np.arange(rows, dtype=np.float32)[:, None]  # the numbers of their rows, exactly
    trained: Any = cagra._with_spare(vectors, first)  # type: ignore[arg-type]
    np.testing.assert_array_equal(trained[:rows], vectors)
    assert len(trained) - rows < first
    spare = trained[rows:, 0].tolist()
    assert spare == sorted(set(spare))
    parts = first // 32
    assert math.gcd(math.ceil(len(trained) / parts), first) == 1
    for fewer in range(rows, len(trained)):
        assert math.gcd(math.ceil(fewer / parts), first) > 1


def test_links_to_spare_vectors_are_none(stand_in: StandIn) -> None:
    vectors = vectors_of([f"text {number}" for number in range(1152)]).astype(np.float16)
    links = cagra.links(vectors, DEGREE)
    assert links is not None
    assert links.shape == (1152, DEGREE)
    (trained,) = stand_in.trained
    assert len(trained) == 1153
    assert (links == 1152).any()
    index = faiss.index_factory(vectors.shape[1], HNSW, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors.astype(np.float32))
    assemble(index, links, StoredVectors(vectors), 80)
    places = faiss.rev_swig_ptr(index.hnsw.neighbors.data(), index.hnsw.neighbors.size())
    assert places.max() == 1151


@pytest.mark.parametrize("rows", [2, 40, 64, 65])
def test_few_vectors_have_fewer_links(rows: int, stand_in: StandIn) -> None:
    vectors = vectors_of([f"text {number}" for number in range(rows)])
    links = cagra.links(vectors.astype(np.float16), DEGREE)
    assert links is not None
    (trained,) = stand_in.trained
    assert links.shape == (rows, min(DEGREE, len(trained) - 1))
    np.testing.assert_array_equal(links[:, 0], neighbours(trained.astype(np.float32), 1)[:rows, 0])
    found = build(HNSW, halves(vectors)).search(vectors, 1)[1]
    assert (found[:, 0] == np.arange(rows)).mean() > 0.9


@pytest.mark.parametrize("vectors", ["float32", "float16", "int8"])
def test_searching_finds_what_the_cpu_finds(
    tmp_path: Path, vectors: str, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make(tmp_path / "index", ann="HNSW32,Flat", vectors=vectors) as index:
        index.delete([f"d{number}" for number in range(0, ROWS, 9)])
        expected = answers(index, QUERIES, ROWS)
        assert not stand_in.asked
        monkeypatch.setenv(gpu.VARIABLE, "gpu")
        with Index.open(index.path, FakeEmbedder(), read_only=True) as opened:
            found = answers(opened, QUERIES, ROWS)
            structure = opened._snapshot.segments[0].structure
            assert structure is not None
            assert isinstance(structure._resident, cagra.Graph)
    (links,) = stand_in.links
    assert links.shape == (ROWS, DEGREE)
    assert links.min() >= 0
    assert links.max() < ROWS
    assert len(stand_in.asked) >= 1 + len(QUERIES)
    assert all(view >= 128 for _, view in stand_in.asked)
    for here, there in zip(found, expected, strict=True):
        assert [len(hits) for hits in here] == [len(hits) for hits in there]
        assert share(here, there) > 0.97


def test_what_it_cannot_find_the_cpu_does(
    tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with make(tmp_path / "index", ann="hnsw") as index:
        expected = index.search_many(QUERIES, k=10)
    monkeypatch.setenv(gpu.VARIABLE, "gpu")
    with Index.open(tmp_path / "index", FakeEmbedder(), read_only=True) as opened:
        structure = opened._snapshot.segments[0].structure
        assert structure is not None
        every = opened._snapshot.segments[0].live
        settings = SearchSettings()
        find = structure.finder(settings, every, ROWS)
        queries = vectors_of(QUERIES)
        find(queries, 1024)
        structure.finder(SearchSettings(ef_search=600), every, ROWS)(queries, 10)
        assert stand_in.asked == [(1024, 1024), (10, 1024)]
        find(queries, 1025)
        structure.finder(SearchSettings(ef_search=1025), every, ROWS)(queries, 10)
        structure.finder(settings, every, ROWS // 9)(queries, 10)
        assert len(stand_in.asked) == 2
        stand_in.fails = MemoryError("no temporary memory")
        assert opened.search_many(QUERIES, k=10) == expected
    assert "no temporary memory" in caplog.text


@pytest.mark.parametrize("error", FULL)
def test_where_the_gpu_is_full_the_cpu_searches(
    tmp_path: Path,
    error: Exception,
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with make(tmp_path / "index", ann="hnsw") as index:
        expected = index.search_many(QUERIES, k=10)
    stand_in.error = error
    monkeypatch.setenv(gpu.VARIABLE, "gpu")
    with Index.open(tmp_path / "index", FakeEmbedder(), read_only=True) as opened:
        assert opened.search_many(QUERIES, k=10) == expected
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "FAISS could not use the GPU, and uses the CPU instead: out of memory"
    ]
    assert not stand_in.asked


@needs_cuvs
@pytest.mark.parametrize("rows", [20_000, 1152 * 20])
def test_a_gpu_links_as_well(rows: int) -> None:
    vectors, queries = clustered(rows), clustered(200, 1)
    links = cagra.links(vectors.astype(np.float16), DEGREE)
    assert links is not None
    assert links.shape == (rows, DEGREE)
    index = faiss.index_factory(64, HNSW, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    assemble(index, links, halves(vectors), 80)
    assert recall(index, vectors, queries) > recall(by_faiss(vectors), vectors, queries) - 0.02
    assert not gpu._Warned.failed


@needs_cuvs
@pytest.mark.parametrize("linked_by", ["cpu", "auto"])
@pytest.mark.parametrize("vectors", ["float16", "int8"])
def test_a_gpu_searches_as_well(
    tmp_path: Path, vectors: str, linked_by: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(gpu.VARIABLE, linked_by)
    with make(tmp_path / "index", ann="hnsw", vectors=vectors) as index:
        index.delete([f"d{number}" for number in range(0, ROWS, 9)])
    found: dict[str, list[list[list[Hit]]]] = {}
    for device in ("cpu", "gpu"):
        monkeypatch.setenv(gpu.VARIABLE, device)
        with Index.open(tmp_path / "index", FakeEmbedder(), read_only=True) as opened:
            found[device] = answers(opened, QUERIES, 100)
            assert opened.search_many(QUERIES, k=10) == found[device][0]
            structure = opened._snapshot.segments[0].structure
            assert structure is not None
            assert (structure._resident is not None) is (device == "gpu")
    for here, there in zip(found["gpu"], found["cpu"], strict=True):
        assert [len(hits) for hits in here] == [len(hits) for hits in there]
        assert share(here, there) > 0.97
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]


def test_vectors_are_halved_only_where_they_must_be() -> None:
    vectors = clustered(10_000)
    stored = {storage: stored_as(storage, vectors) for storage in ("float32", "float16", "int8")}
    assert stored["float16"].halves() is stored["float16"].codes
    for each in stored.values():
        assert each.halves().dtype == np.float16
        np.testing.assert_array_equal(each.halves(), each.take().astype(np.float16))
