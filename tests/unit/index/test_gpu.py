"""FAISS on a GPU: when it is used and what happens without it, by a stand-in; beside the CPU, where there is one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from answers import answers, share
from fake_embedder import FakeEmbedder, documents, vectors_of
from topics import clustered

from lusirag.cli.recall import recall_in_words
from lusirag.errors import InvalidArgumentError
from lusirag.index import Index, gpu, scan, verify_index
from lusirag.index.ann.building import build
from lusirag.index.tombstones import to_bitmap
from lusirag.index.vectors import StoredVectors

ROWS = 1500
QUERIES = [f"query {number}" for number in range(40)]
HAVE_FORMS = ["IVF8,Flat", "IVF8,SQ8", "IVF8,PQ8", "OPQ8_16,IVF8,PQ8", "PCA12,IVF8,SQfp16"]
WITHOUT_FORM = ["IVF8,PQ8x4fs", "IVF8,RaBitQ", "IVF16_HNSW8,SQ8"]
needs_gpu = pytest.mark.skipif(faiss.get_num_gpus() == 0, reason="FAISS finds no NVIDIA GPU here")


class StandIn:
    """FAISS's functions for GPUs, which here copy within the CPU's memory and count.

    Attributes:
        copied: types of what was copied to the GPU.
        error: what copying raises, if anything.
    """

    def __init__(self) -> None:
        self.copied: list[str] = []
        self.error: str | None = None
        self.searched = 0

    def setTempMemory(self, size: int) -> None:  # noqa: N802 - FAISS's name
        assert size > 0

    def copy(self, resources: Any, device: int, index: Any) -> Any:
        assert (resources, device) == (self, 0)
        if self.error:
            raise RuntimeError(self.error)
        self.copied.append(type(faiss.downcast_index(index)).__name__)
        return faiss.clone_index(index)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = StandIn()
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "StandardGpuResources", lambda: found, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", found.copy, raising=False)
    monkeypatch.setattr(faiss, "index_gpu_to_cpu", faiss.clone_index, raising=False)
    monkeypatch.delattr(faiss, "GpuIndexCagra", raising=False)
    search = gpu.Resident.search

    def counted(self: gpu.Resident, *arguments: Any) -> Any:
        found.searched += 1
        return search(self, *arguments)

    monkeypatch.setattr(gpu.Resident, "search", counted)
    return found


@pytest.fixture(autouse=True)
def small(small_on_one_thread: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(scan, "LARGE_FOR_CPU", 1)
    gpu.resources.cache_clear()
    yield
    gpu.resources.cache_clear()


def set_device(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setenv(gpu.VARIABLE, device)


def make(path: Path, ann: str, rows: int = ROWS) -> Index:
    index = Index.create(path / ann, FakeEmbedder(), ann=ann, identify_languages=False)
    index.add(documents(range(rows)))
    return index


def stored(rows: int = ROWS) -> StoredVectors:
    return StoredVectors(vectors_of([f"text {number}" for number in range(rows)]).astype(np.float16))


@pytest.mark.parametrize(("device", "there", "building", "searching"), [
    ("auto", False, False, False), ("auto", True, True, False), ("cpu", True, False, False), ("gpu", True, True, True),
    ("", True, True, False),
])  # fmt: skip
def test_what_a_gpu_does(
    device: str, there: bool, building: bool, searching: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: int(there))
    set_device(monkeypatch, device)
    assert (gpu.builds(), gpu.searches()) == (building, searching)


def test_an_unknown_device_is_refused_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_device(monkeypatch, "cuda:1")
    with pytest.raises(InvalidArgumentError, match="LUSIRAG_FAISS_DEVICE is 'cuda:1'; allowed: auto, cpu, gpu"):
        Index.create(tmp_path / "index", FakeEmbedder())
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("compiled", [True, False])
def test_a_gpu_that_is_not_there_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    Index.create(tmp_path / "index", FakeEmbedder()).close()
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    if compiled:
        monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    else:
        monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)
    set_device(monkeypatch, "gpu")
    with pytest.raises(InvalidArgumentError) as caught:
        Index.open(tmp_path / "index", FakeEmbedder())
    words = "nvidia-smi" if compiled else "pip uninstall faiss-cpu, then pip install faiss-gpu"
    assert words in str(caught.value)
    assert "set it to auto or cpu" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("factory", HAVE_FORMS)
def test_what_has_a_gpu_form_is_built_there(factory: str, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    index = build(factory, stored())
    assert stand_in.copied == [type(faiss.downcast_index(index)).__name__]
    set_device(monkeypatch, "cpu")
    expected = build(factory, stored())
    assert len(stand_in.copied) == 1
    np.testing.assert_array_equal(faiss.serialize_index(index), faiss.serialize_index(expected))


@pytest.mark.parametrize("factory", WITHOUT_FORM)
def test_other_lists_get_their_centroids_from_the_gpu(
    factory: str, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = build(factory, stored())
    assert stand_in.copied in (["IndexFlat"], ["IndexFlatIP"])
    assert faiss.extract_index_ivf(index).clustering_index is None
    set_device(monkeypatch, "cpu")
    expected = build(factory, stored())
    np.testing.assert_array_equal(faiss.serialize_index(index), faiss.serialize_index(expected))


@pytest.mark.parametrize("factory", ["HNSW16,SQ8", "RaBitQ", "SQ8"])
def test_the_cpu_builds_what_has_no_lists(factory: str, stand_in: StandIn) -> None:
    index = build(factory, stored())
    assert index is not None
    assert index.ntotal == ROWS
    assert stand_in.copied == []


def test_too_few_to_train_on_a_gpu_are_searched_exactly(stand_in: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    assert build("IVF8,PQ8", stored(20)) is None
    assert stand_in.copied
    assert [record.message.partition(" on ")[0] for record in caplog.records] == ["IVF8,PQ8 cannot be trained"]


@pytest.mark.parametrize("ann", ["flat", "IVF8,SQ8", "OPQ8_16,IVF8,PQ8", "hnsw"])
def test_searching_finds_what_the_cpu_finds(
    tmp_path: Path, ann: str, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make(tmp_path, ann) as index:
        index.delete([f"d{number}" for number in range(0, ROWS, 9)])
        expected = answers(index, QUERIES, ROWS)
        before = stand_in.searched
        set_device(monkeypatch, "gpu")
        with Index.open(index.path, FakeEmbedder(), read_only=True) as opened:
            found = answers(opened, QUERIES, ROWS)
            facts = opened.info()["ann"]
            assert facts["device"] == "gpu"
            assert "on a GPU where FAISS can" in recall_in_words(facts)
            structure = opened._snapshot.segments[0].structure
            assert (structure is None or structure._resident is None) is (ann in ("flat", "hnsw"))
    assert before == 0
    assert stand_in.searched > 0
    if ann == "flat":
        assert found == expected
    for here, there in zip(found, expected, strict=True):
        assert share(here, there) > 0.97  # FAISS hides rows inside, a GPU finds them first: candidates differ a little
        assert [len(hits) for hits in here] == [len(hits) for hits in there]


def test_what_is_hidden_is_made_up_for_exactly(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, (query,) = stored(), vectors_of(["query"])
    order = np.argsort(-(vectors.take() @ query), kind="stable")
    allowed = np.ones(ROWS, dtype=np.bool_)
    allowed[order[:200]] = False  # the nearest, many more than are fetched to spare
    arguments = np.stack([query, -query]), vectors, 5, to_bitmap(allowed)
    set_device(monkeypatch, "gpu")
    scores, rows = scan.largest_inner_products(*arguments)
    assert stand_in.searched == 1
    assert rows[0].tolist() == order[200:205].tolist()
    set_device(monkeypatch, "cpu")
    expected_scores, expected = scan.largest_inner_products(*arguments)
    assert rows.tolist() == expected.tolist()
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


def test_more_than_a_gpu_selects_goes_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu.fetched(10, 1000, 1000) == 10
    assert gpu.fetched(10, 500, 1000) == 57
    assert gpu.fetched(10, 1, 30) == 30
    assert gpu.fetched(gpu.MOST, 10_000, 10_000) == gpu.MOST
    assert gpu.fetched(gpu.MOST + 1, 10_000, 10_000) is None
    assert gpu.fetched(10, 10, 10_000) is None


@pytest.mark.parametrize("ann", ["flat", "ivf"])
def test_where_its_memory_is_full_the_cpu_goes_on_with_one_warning(
    tmp_path: Path, ann: str, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with make(tmp_path, ann) as index:
        expected = index.search_many(QUERIES)
    stand_in.error = "Error in void* alloc(): Error: 'err == cudaSuccess' failed: alloc fail: out of memory"
    set_device(monkeypatch, "gpu")
    with Index.open(tmp_path / ann, FakeEmbedder()) as opened:
        assert opened.search_many(QUERIES) == expected
        opened.add(documents(range(ROWS, 2 * ROWS)))
        opened.search_many(QUERIES)
        assert verify_index(opened.path).ok
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.message for record in warnings] == [
        "FAISS could not use the GPU, and uses the CPU instead: alloc fail: out of memory"
    ]


def test_a_search_that_fails_on_the_gpu_is_done_by_the_cpu(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = stored(), vectors_of(QUERIES)
    every = to_bitmap(np.ones(ROWS, dtype=np.bool_))
    _, expected = scan.largest_inner_products(queries, vectors, 5, every)
    set_device(monkeypatch, "gpu")

    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("no temporary memory")

    resident = vectors.resident
    assert resident is not None
    monkeypatch.setattr(resident.index, "search", refused, raising=False)
    _, rows = scan.largest_inner_products(queries, vectors, 5, every)
    assert stand_in.searched == 1
    assert rows.tolist() == expected.tolist()


@needs_gpu
@pytest.mark.parametrize("factory", ["IVF64,Flat", "IVF64,SQ8", "IVF64,PQ16", "OPQ16_64,IVF64,PQ16", "IVF64,PQ16x4fs",
                                     "IVF64,RaBitQ", "IVF64_HNSW16,SQ8"])  # fmt: skip
def test_a_gpu_builds_as_good_an_index(factory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = StoredVectors(clustered(20_000).astype(np.float16)), clustered(200, 1)
    true = np.argsort(-(queries @ vectors.take().T), axis=1)[:, :10]
    recall = {}
    for device in ("cpu", "gpu"):
        set_device(monkeypatch, device)
        index = build(factory, vectors)
        assert index is not None
        assert index.ntotal == 20_000
        index = faiss.deserialize_index(faiss.serialize_index(index))  # as it would lie in a file
        faiss.extract_index_ivf(index).nprobe = 16
        _, rows = index.search(queries, 50)
        recall[device] = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows.tolist(), true.tolist(), strict=True)])
    assert not gpu._Warned.failed
    assert recall["gpu"] > recall["cpu"] - 0.05


@needs_gpu
def test_exact_search_on_a_gpu_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = StoredVectors(clustered(50_000).astype(np.float16)), clustered(300, 1)
    allowed = to_bitmap(np.random.default_rng(2).random(50_000) < 0.7)
    set_device(monkeypatch, "cpu")
    expected_scores, expected = scan.largest_inner_products(queries, vectors, 20, allowed)
    set_device(monkeypatch, "gpu")
    scores, rows = scan.largest_inner_products(queries, vectors, 20, allowed)
    assert vectors.resident is not None
    assert not gpu._Warned.failed
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
    assert np.mean(rows == expected) > 0.99  # those of equal score may change places


@needs_gpu
@pytest.mark.parametrize("ann", ["flat", "IVF8,Flat", "IVF8,SQ8", "IVF8,PQ8", "PCA12,IVF8,SQ8"])
def test_an_index_is_searched_on_a_gpu_as_on_the_cpu(tmp_path: Path, ann: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with make(tmp_path, ann) as index:
        index.delete([f"d{number}" for number in range(0, ROWS, 9)])
        filters: list[dict[str, Any]] = [{}, {"languages": ["zh"]}, {"k": 100}]
        expected = [index.search_many(QUERIES, **each) for each in filters]
    set_device(monkeypatch, "gpu")
    with Index.open(tmp_path / ann, FakeEmbedder()) as opened:
        found = [opened.search_many(QUERIES, **each) for each in filters]
        alone = [opened.search(query) for query in QUERIES]
        segment = opened._snapshot.segments[0]
        used = segment.vectors.resident if ann == "flat" else segment.structure and segment.structure._resident
        assert used is not None
    assert not gpu._Warned.failed
    assert share(alone, found[0]) > 0.99
    for here, there in zip(found, expected, strict=True):
        assert share(here, there) > 0.97
        assert [len(hits) for hits in here] == [len(hits) for hits in there]
    if ann == "flat":
        assert found == expected
