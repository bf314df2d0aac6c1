"""Vectors in 32, 16 and 8 bits: what they become, what is found among them, and what lies on the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fake_embedder import FakeEmbedder, documents, vectors_of

from lusirag.errors import IndexStateError, InvalidArgumentError
from lusirag.index import Index, scan
from lusirag.index import vectors as vectors_module
from lusirag.index.engine import load_faiss
from lusirag.index.tombstones import to_mask
from lusirag.index.vectors import STORAGES, StoredVectors, from_batch, merged, stored_as, to_batch
from lusirag.types import Vectors

PARTS = [(20, 1.0), (1, 1.0), (33, 0.5), (9, 0.0), (40, 0.7)]


def unit(rows: int, dimension: int = 24) -> Vectors:
    vectors = np.random.default_rng(rows).standard_normal((rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(("storage", "error"), [("float32", 0.0), ("float16", 2**-11), ("int8", 2.0 / 255 / 2)])
@pytest.mark.parametrize("rows", [1, 2, 500])
def test_numbers_come_back_as_exactly_as_they_are_stored(storage: str, error: float, rows: int) -> None:
    vectors = unit(rows)
    stored = stored_as(storage, vectors)
    found = stored.take()
    assert found.dtype == np.float32
    assert np.abs(found - vectors).max() <= error
    again = stored_as(storage, found)
    np.testing.assert_array_equal(again.codes, stored.codes)
    np.testing.assert_array_equal(stored.take(np.array([rows - 1, 0])), found[[rows - 1, 0]])
    read = from_batch(to_batch(stored))
    np.testing.assert_array_equal(read.take(), found)


@pytest.mark.parametrize("storage", STORAGES)
def test_segments_are_merged_without_their_deleted_rows(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "_ROWS_AT_ONCE", 7)
    random = np.random.default_rng(2)
    parts = [(stored_as(storage, unit(rows)), random.random(rows) < share) for rows, share in PARTS]
    whole = merged(parts)
    expected = np.concatenate([vectors.take()[live] for vectors, live in parts])
    assert len(whole) == len(expected) > 50
    assert whole.codes.dtype == parts[0][0].codes.dtype
    np.testing.assert_array_equal(whole.codes, stored_as(storage, expected).codes)
    if storage == "int8":
        assert np.abs(whole.take() - expected).max() <= 2.0 / 255 / 2
        again = merged([(whole, np.ones(len(whole), dtype=np.bool_))])
        np.testing.assert_array_equal(again.codes, whole.codes)
    else:
        np.testing.assert_array_equal(whole.take(), expected)


def test_every_half_is_what_numpy_makes_of_it() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = halves[np.isfinite(halves)].reshape(-1, 8)
    np.testing.assert_array_equal(StoredVectors(finite).take().view(np.int32), finite.astype(np.float32).view(np.int32))


def test_a_dimension_in_which_all_are_equal() -> None:
    vectors = np.tile(np.array([[0.6, -0.8]], dtype=np.float32), (5, 1))
    np.testing.assert_array_equal(stored_as("int8", vectors).take(), vectors)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("queries", [1, 7])
@pytest.mark.parametrize(("rows", "k", "share"), [(1, 1, 1.0), (50, 9, 0.7), (3000, 40, 0.7), (3000, 5, 0.02)])
def test_all_ways_find_the_same_rows(
    storage: str, queries: int, rows: int, k: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_faiss()
    monkeypatch.setattr(scan, "_BLOCK_ROWS", 700)
    vectors, asked = stored_as(storage, unit(rows)), unit(queries)
    allowed = np.packbits(np.random.default_rng(k).random(rows) < share, bitorder="little") | np.uint8(1)
    true = asked @ vectors.take().T
    true[:, ~to_mask(allowed, rows)] = -np.inf
    order = np.argsort(-true, axis=1, kind="stable")[:, :k]
    expected = np.take_along_axis(true, order, axis=1)
    order = np.where(np.isneginf(expected), -1, order)
    for many, few in ((1, 8), (10**9, 8), (10**9, 10**9)):
        monkeypatch.setattr(scan, "MANY", many)
        monkeypatch.setattr(scan, "FEW", few)
        scores, best = scan.largest_inner_products(asked, vectors, k, allowed)
        np.testing.assert_array_equal(best, order)
        np.testing.assert_allclose(scores[best >= 0], expected[order >= 0], atol=2e-6)


@pytest.mark.parametrize(("storage", "size"), [("float32", 4), ("float16", 2), ("int8", 1)])
def test_an_index_keeps_its_storage(storage: str, size: int, tmp_path: Path, embedder: FakeEmbedder) -> None:
    with Index.create(tmp_path / "index", embedder, vectors=storage) as index:  # type: ignore[arg-type]
        index.add(documents(range(300)), commit_passages=100)
        index.delete(["d7", "d8"])
        index.compact()
        assert index.verify().problems == []
        assert (index.info()["vectors"], index.info()["ann"]["memory"]) == (storage, 298 * 16 * size)
        [file] = index.path.rglob("vectors.arrow")
        assert 298 * 16 * size < file.stat().st_size < 298 * 16 * size + 1200
        hits = index.search("text 5 version 0", k=3)
        assert hits[0].id == "d5"
        expected = vectors_of([hit.text for hit in hits])
        np.testing.assert_allclose(index.vectors(hits), expected, atol={4: 0, 2: 5e-4, 1: 5e-3}[size])
        scores = index.vectors(hits).astype(np.float64) @ vectors_of(["text 5 version 0"])[0]
        np.testing.assert_allclose([hit.score for hit in hits], np.clip(scores, -1, 1), atol=1e-7)
        many = index.search_many([f"text {n} version 0" for n in range(60)], k=3)
        assert many[5] == hits


def test_a_storage_that_is_not_known_is_refused(tmp_path: Path, embedder: FakeEmbedder) -> None:
    with pytest.raises(InvalidArgumentError, match="vectors is 'int4'; allowed: float32, float16, int8"):
        Index.create(tmp_path / "index", embedder, vectors="int4")  # type: ignore[arg-type]
    assert not (tmp_path / "index").exists()


def test_codes_without_their_meaning_are_refused(tmp_path: Path, embedder: FakeEmbedder) -> None:
    batch = to_batch(stored_as("int8", unit(4)))
    for metadata in (None, {"lowest": b"", "step": b""}, {"lowest": b"\xff" * 96, "step": b"\0" * 96}):
        schema = pa.schema([batch.schema.field(0).remove_metadata().with_metadata(metadata or {})])
        with pytest.raises(ValueError, match="what its 8-bit codes mean"):
            from_batch(pa.record_batch(batch.columns, schema=schema))
    index = Index.create(tmp_path / "index", embedder)
    index.add(documents(range(3)))
    [file] = index.path.rglob("vectors.arrow")
    content = bytearray(file.read_bytes())
    content[-200] ^= 1
    file.write_bytes(content)
    with pytest.raises(IndexStateError, match=r"vectors\.arrow was altered"):
        Index.open(index.path, embedder)
