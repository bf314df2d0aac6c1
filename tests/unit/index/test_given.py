"""Vectors that the caller brings: stored as they are, found again, and never mixed up with what the embedder gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_embedder import DIMENSION, FakeEmbedder, SplittingEmbedder, WordEmbedder, documents, vectors_of

from lusirag.errors import InvalidArgumentError
from lusirag.index import Fusion, Index
from lusirag.types import Document

AXES = np.eye(DIMENSION, dtype=np.float32)


def test_given_vectors_take_the_place_of_the_embedder(index: Index, embedder: FakeEmbedder) -> None:
    given = documents(range(600))
    vectors = vectors_of([f"given {number}" for number in range(600)])
    assert index.add(given, vectors=3 * vectors).added == 600
    assert embedder.embedded == []
    for number in (0, 255, 256, 599):
        hit = index.search_vectors(vectors[number : number + 1], k=1)[0][0]
        assert (hit.id, round(hit.score, 2)) == (f"d{number}", 1.0)


def test_the_same_text_with_another_vector_is_replaced(index: Index) -> None:
    for axis in (0, 1):
        report = index.add([Document("a", "text"), Document("b", "text")], vectors=AXES[[axis, axis + 2]])
        assert (report.unchanged, report.replaced) == (0, 2 * axis)
        assert [hit.id for hit in index.search_vectors(AXES[[axis]], k=1)[0]] == ["a"]
        assert [hit.id for hit in index.search_vectors(AXES[[axis + 2]], k=1)[0]] == ["b"]
    assert len(index) == 2
    assert index.add([Document("a", "text"), Document("b", "text")]).replaced == 2
    assert index.add([Document("a", "text"), Document("b", "text")]).unchanged == 2


def test_a_document_with_a_vector_is_not_split(tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", SplittingEmbedder()) as index:
        long = Document("a", "one two three four. " * 20)
        index.add([long], vectors=AXES[:1])
        assert index.info()["passages"] == 1
        index.add([long])
        assert index.info()["passages"] > 1


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (AXES[:1], "1 vectors for 2 documents"),
        (AXES[:3], "3 vectors for 2 documents"),
        (AXES[:2, :5], rf"shape \(n, {DIMENSION}\), not \(2, 5\)"),
        (np.zeros((2, DIMENSION)), "zero or not finite"),
        (np.full((2, DIMENSION), np.nan), "zero or not finite"),
        ([[1.0], [1.0, 2.0]], "differ in length"),
        ("ab", "no numbers"),
    ],
)
def test_vectors_that_do_not_fit_are_refused_before_anything_is_written(
    index: Index, vectors: Any, message: str
) -> None:
    before = index.info()["generation"]
    with pytest.raises(InvalidArgumentError, match=message):
        index.add(documents(range(2)), vectors=vectors)
    assert index.info()["generation"] == before
    assert index.add([], vectors=[]).added == 0


def test_an_id_given_twice_is_refused(index: Index) -> None:
    with pytest.raises(InvalidArgumentError, match="'d3' is given twice"):
        index.add([*documents(range(300)), *documents([3])], vectors=vectors_of(["x"] * 301))
    assert len(index) == 0


def test_hybrid_search_with_a_vector_and_a_text(tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", WordEmbedder()) as index:
        assert index.search_vectors(AXES[:1], queries=["ant"]) == [[]]
        index.add([Document("a", "ant ant"), Document("b", "bee"), Document("c", "cat")], vectors=AXES[:3])
        for weight, order in ((1.0, "ba"), (0.0, "ab")):
            found = index.search_vectors(AXES[[1]] + 0.1 * AXES[[0]], k=2, queries=["ant"], fusion=Fusion(dense=weight))
            assert "".join(hit.id for hit in found[0]) == order
        for text in ("bee", "cat"):
            found = index.search_vectors(vectors_of([text]), queries=[text])
            same = index.search(text, mode="hybrid")
            assert [(hit.id, pytest.approx(hit.score, abs=1e-6)) for hit in found[0]] == [
                (hit.id, hit.score) for hit in same
            ]
        with pytest.raises(InvalidArgumentError, match="2 query vectors for 1 queries"):
            index.search_vectors(AXES[:2], queries=["ant"])
    with (
        Index.create(tmp_path / "plain", FakeEmbedder()) as index,
        pytest.raises(InvalidArgumentError, match="without a lexical part"),
    ):
        index.search_vectors(AXES[:1], queries=["ant"])


def test_lists_of_numbers_contain(index: Index) -> None:
    index.add([Document("a", "x", metadata={"n": [1, 2**62 + 1]}), Document("b", "x", metadata={"n": [2, 2**53 + 1]})])
    for value, expected in (
        (1, ["a"]),
        (2.0, ["b"]),
        (1.5, []),
        (2**62 + 1, ["a"]),
        (2**62, []),
        (float(2**53), []),
        (10**40, []),
    ):
        assert [document.id for document in index.get(where={"n": {"$contains": value}})] == expected


def test_get_by_filter(index: Index) -> None:
    index.add([Document(f"d{n}", f"text {n}", metadata={"n": n}) for n in range(10)])
    index.add([Document(f"d{n}", f"text {n}", metadata={"n": n}) for n in (12, 11)])
    index.delete(["d4"])

    def names(*arguments: Any, **options: Any) -> list[str]:
        return [document.id for document in index.get(*arguments, **options)]

    assert names(where={"n": {"$gte": 3}}) == ["d3", "d5", "d6", "d7", "d8", "d9", "d12", "d11"]
    assert names(["d11", "d1", "d5", "d4", "x"], where="n > 2") == ["d11", "d5"]
    assert index.get(where="n = 12")[0].metadata == {"n": 12}
    with pytest.raises(InvalidArgumentError, match="give ids, where, or both"):
        index.get()
