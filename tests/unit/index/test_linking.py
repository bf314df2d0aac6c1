"""HNSW over links that something else has found: an index like any other, found through by the same search."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pytest
from fake_embedder import vectors_of
from topics import neighbours, recall

from lusirag.index.ann import linking
from lusirag.index.ann.linking import assemble, degree_of, lowest_level
from lusirag.index.vectors import StoredVectors
from lusirag.types import Vectors

ROWS, DEGREE = 3000, 64
HNSW = "HNSW32,SQ8"


@pytest.fixture(autouse=True)
def small(small_on_one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "_ROWS_AT_ONCE", 1000)


def texts(rows: int) -> Vectors:
    return vectors_of([f"text {number}" for number in range(rows)])


def put_together(factory: str, vectors: Vectors, links: npt.NDArray[np.int64]) -> Any:
    index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    assemble(index, links, StoredVectors(vectors.astype(np.float16)), 80)
    return index


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


@pytest.mark.parametrize("factory", ["HNSW32,Flat", HNSW])
def test_every_place_of_the_lowest_level_takes_a_node(factory: str) -> None:
    vectors = texts(ROWS)
    index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    blocks = list(lowest_level(index))
    assert [len(block) for block in blocks] == [1000, 1000, 1000]
    links = np.concatenate(blocks)
    assert links.dtype == np.int32
    assert links.shape == (ROWS, DEGREE)
    assert links.min() >= 0
    assert links.max() < ROWS
    offsets = faiss.vector_to_array(index.hnsw.offsets).astype(int)
    places = faiss.rev_swig_ptr(index.hnsw.neighbors.data(), index.hnsw.neighbors.size())
    random = []
    for node in range(ROWS):
        mine = places[offsets[node] : offsets[node] + DEGREE]
        count = int((mine >= 0).sum())
        np.testing.assert_array_equal(links[node, :count], mine[:count])
        random += links[node, count:].tolist()
    assert len(random) > ROWS
    assert len(set(random)) > ROWS / 2
    np.testing.assert_array_equal(np.concatenate(list(lowest_level(index))), links)
