"""Estimates of memory beside what FAISS really writes, and what `auto` makes of them."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest
from fake_embedder import FakeEmbedder, documents

from lusirag.errors import InvalidArgumentError
from lusirag.index import Index
from lusirag.index.ann import kinds
from lusirag.index.ann.building import build
from lusirag.index.ann.memory import Layout, parse_size, structure_bytes
from lusirag.index.ann.records import AnnRecord
from lusirag.index.vectors import StoredVectors

LAYOUT = Layout(dimension=384, number_bytes=2, largest=174_762)


@pytest.mark.parametrize("dimension", [32, 128])
@pytest.mark.parametrize(
    "factory",
    [
        "HNSW32,SQ8", "HNSW16", "HNSW8,SQfp16", "IVF64,SQ8", "IVF64,PQ8x4fs", "IVF64,PQ16", "IVF64,Flat", "RaBitQ",
        "IVF64,RaBitQ", "OPQ8_16,IVF64,PQ8x4fs", "SQ8", "PQ16", "IVF64_HNSW16,SQ8", "PCA16,IVF64,SQ4",
    ],
)  # fmt: skip
def test_estimates_are_near_what_faiss_writes(factory: str, dimension: int) -> None:
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    rows = 6000
    vectors = np.random.default_rng(0).standard_normal((rows, dimension)).astype(np.float32)
    written = faiss.serialize_index(build(factory, StoredVectors(vectors))).nbytes
    faiss.omp_set_num_threads(threads)
    estimate = structure_bytes(factory, rows, dimension, 2)
    assert estimate is not None
    assert 0.85 < estimate / written < 1.15


def test_exact_search_needs_the_vectors_and_unknown_parts_are_not_guessed() -> None:
    assert structure_bytes(None, 1000, 384, 2) == 1000 * 384 * 2
    assert structure_bytes("NSG32", 1000, 384, 2) is None
    assert structure_bytes("IVF8,Unheard", 1000, 384, 2) is None


def test_auto_is_exact_while_that_is_quick_then_the_quickest_that_fits() -> None:
    def choose(total: int, memory: int | None) -> str:
        return kinds.chosen(total, LAYOUT, memory)

    assert choose(100_000, None) == "flat"
    assert choose(100_001, None) == choose(10_000_000, None) == "hnsw"
    million = [kinds.needed(kind, 1_000_000, LAYOUT) or 0 for kind in ("hnsw", "ivf", "ivf-pq", "binary")]
    assert million == sorted(million, reverse=True)
    for kind, size in zip(("hnsw", "ivf", "ivf-pq", "binary"), million, strict=True):
        assert choose(1_000_000, size) == kind
    assert choose(1_000_000, 1) == "binary"
    assert choose(100_000, 70_000_000) == "hnsw"  # the vectors themselves are 77 MB


@pytest.mark.parametrize(("latency", "total"), [(0.0, 0), (1.0, 10_000), (50.0, 500_000)])
def test_auto_is_exact_as_long_as_the_latency_allows(latency: float, total: int) -> None:
    assert kinds.chosen(total, LAYOUT, None, latency) == "flat"
    assert kinds.chosen(total + 1, LAYOUT, None, latency) == "hnsw"


@pytest.mark.parametrize("latency", [-1, "5", None, True, float("nan"), float("inf")])
def test_latencies_that_are_none(latency: object, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"latency_ms is .* number of milliseconds, 0 or more"):
        Index.create(tmp_path / "i", FakeEmbedder(), latency_ms=latency)  # type: ignore[arg-type]


def test_small_segments_are_exact_whatever_is_asked() -> None:
    record = AnnRecord("hnsw")
    assert kinds.structure_for(record, kinds.SMALLEST_SEGMENT - 1, 10**6, LAYOUT) is None
    assert kinds.structure_for(record, kinds.SMALLEST_SEGMENT, 10**6, LAYOUT) == "HNSW32,SQ8"
    assert kinds.structure_for(AnnRecord("auto"), 100_000, 100_000, LAYOUT) is None


def test_what_will_not_fit_is_refused_with_numbers(tmp_path: Path) -> None:
    def create(ann: str, memory: str) -> None:
        embedder = FakeEmbedder(dimension=384)
        Index.create(tmp_path / "i", embedder, ann=ann, memory=memory, expected_passages=10**6)

    with pytest.raises(InvalidArgumentError) as error:
        create("hnsw", "500MB")
    assert "1,000,000 passages of 384 numbers need 656" in str(error.value)
    assert "500.0 MB are allowed; what fits: ivf (" in str(error.value)
    with pytest.raises(InvalidArgumentError, match=r"need even .* nothing fits"):
        create("auto", "1MB")
    with pytest.raises(
        InvalidArgumentError, match=r"is not known, .* choose a kind \(what fits: flat \(768.0 MB\), hnsw"
    ):
        create("NSG32", "1GB")
    assert not (tmp_path / "i").exists()
    create("hnsw", "700MB")


@pytest.mark.parametrize("text", ["", "GB", "2 parsecs", "0", "-3GB", "1e9", True])
def test_sizes_that_are_none(text: object) -> None:
    with pytest.raises(InvalidArgumentError, match="such as 500MB"):
        parse_size(text)  # type: ignore[arg-type]


def test_sizes() -> None:
    assert [parse_size(text) for text in ("2GB", "1.5 GiB", 10**7, "500kb", None)] == [
        2 * 10**9, 3 << 29, 10**7, 500_000, None,
    ]  # fmt: skip


def test_compaction_gives_a_grown_index_what_auto_now_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "SMALLEST_SEGMENT", 300)
    monkeypatch.setattr(kinds, "EXACT_NUMBERS_A_MS", 50 * 16)
    with Index.create(tmp_path / "index", FakeEmbedder(), identify_languages=False) as index:
        index.add(documents(range(400)))
        assert index.info()["ann"]["structures"] == {"exact": 1}
        index.add(documents(range(400, 700)))
        index.compact()
        assert index.info()["ann"]["structures"] == {"HNSW32,SQ8": 1}
        index.delete([f"d{number}" for number in range(250)])
        index.compact()
        assert index.info()["ann"]["structures"] == {"exact": 1}
