from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_embedder import FakeEmbedder, documents, vectors_of

from lusirag.errors import IndexStateError
from lusirag.index import Index, merge, segment
from lusirag.index.segment import largest_segment


def test_many_small_changes_leave_few_segments(index: Index) -> None:
    for number in range(60):
        index.add(documents([number]))
    assert index.info()["segments"] <= 2 * merge.FACTOR
    assert len(list((index.path / "segments").iterdir())) == index.info()["segments"]
    assert [hit.id for hit in index.search("text 7 version 0", k=1)] == ["d7"]
    assert index.verify().ok


def test_compaction_keeps_row_order_and_results(index: Index, embedder: FakeEmbedder) -> None:
    index.add(documents(range(1000)), commit_passages=200)
    index.delete([f"d{number}" for number in range(0, 1000, 3)])
    before = index.search_many(["a", "b"], k=50)
    size = index.info()["bytes"]
    index.compact()
    assert index.info()["segments"] == 1
    assert index.info()["bytes"] < size
    assert index.search_many(["a", "b"], k=50) == before
    again = Index.open(index.path, embedder, read_only=True)
    assert again.search_many(["a", "b"], k=50) == before
    generation = index.info()["generation"]
    index.compact()
    assert index.info()["generation"] == generation


def test_a_reader_keeps_its_state_while_a_writer_compacts(index: Index, embedder: FakeEmbedder) -> None:
    index.add(documents(range(300)), commit_passages=100)
    reader = Index.open(index.path, embedder, read_only=True)
    index.delete([f"d{number}" for number in range(200)])
    index.compact()
    assert len(reader) == 300
    vectors = vectors_of(["text 5 version 0"])
    assert reader.search_vectors(vectors, k=1)[0][0].id == "d5"
    assert len(index.search_vectors(vectors, k=300)[0]) == 100


def test_two_writers_in_turns_see_each_other(index: Index, embedder: FakeEmbedder) -> None:
    other = Index.open(index.path, embedder)
    index.add(documents([1]))
    other.add(documents([2]))
    assert len(other) == 2
    assert index.add(documents([1, 2])).unchanged == 2


def test_a_segment_never_holds_more_than_it_may(index: Index) -> None:
    index.add(documents(range(900)), commit_passages=100)
    segments = index._snapshot.segments
    runs = merge.groups(segments, 600)
    assert [run.stop for run in runs][:-1] == [run.start for run in runs][1:]
    assert all(sum(segment.live_rows for segment in segments[run]) <= 600 for run in runs)


def test_a_damaged_vector_does_not_get_a_new_checksum(
    index: Index, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment, "_CHECKED_ON_OPEN_BYTES", 0)
    index.add(documents(range(40)))
    index.delete(["d1"])
    [file] = index.path.rglob("vectors.arrow")
    content, number = file.read_bytes(), index._snapshot.segments[0].vectors.codes[30, 3].tobytes()
    row = content.index(index._snapshot.segments[0].vectors.codes[30].tobytes())
    for altered in (np.float16(np.nan), np.float16(9)):
        file.write_bytes(content[: row + 6] + altered.tobytes() + content[row + 6 + len(number) :])
        with pytest.raises(IndexStateError, match=r"damaged: segments/000001: the vector of row 30 was altered"):
            Index.open(index.path, embedder).compact()
        assert [part.name for part in (index.path / "segments").iterdir()] == ["000001"]


@pytest.mark.parametrize(
    ("steps", "count", "most_segments", "most_rewritten"),
    [([1], 5000, 20, 12), ([100], 3000, 20, 7), ([4096], 250, 20, 3), ([1, 1, 1, 4096], 1000, 40, 5)],
)
def test_segments_stay_few_and_are_seldom_rewritten(
    steps: list[int], count: int, most_segments: int, most_rewritten: float
) -> None:
    most, rewritten = largest_segment(384), 0
    draw = np.random.default_rng(0)
    sizes: list[int] = []
    for _ in range(count):
        sizes.append(int(draw.choice(steps)))
        while (run := merge.next_merge([sized(rows) for rows in sizes], most)) is not None:
            rewritten += sum(sizes[run])
            sizes[run] = [sum(sizes[run])]
        assert len(sizes) <= most_segments
    assert rewritten <= most_rewritten * sum(sizes)
    assert all(0.9 * most <= rows <= most for rows in sizes if 2 * rows > most)
    assert (2 * max(sizes) > most) == (sum(sizes) > most)


@pytest.mark.parametrize(
    ("rows", "most", "run"),
    [
        ([], 50, None),
        ([9], 50, None),
        ([4, 5], 50, None),
        ([4, 6], 50, (0, 2)),
        ([10, 9, 10, 1], 50, (0, 4)),
        ([-10, 9, -10, 1], 50, None),
        ([-10, 9, 1, -10], 50, (1, 3)),
        ([20, 9], 50, None),  # the larger one would hardly grow
        ([20, 10], 50, (0, 2)),
        ([40, 20, 9, 1], 50, (1, 4)),
        ([30, 30, 30, 30, 5], 60, (0, 2)),
        ([-60, 30, 30, 5], 60, (1, 3)),
        ([-60, -60, 30], 60, None),
        ([9, 9, 9, 9], 30, (0, 3)),
        ([9, 9, 9, 9], 12, None),
        ([3, 9, 9, 1], 12, (0, 2)),
        ([3, 20, 4, 4, 4], 50, (0, 5)),
    ],
)
def test_segments_without_structure_are_merged_before_they_get_one(
    rows: list[int], most: int, run: tuple[int, int] | None
) -> None:
    """Those of less than no rows have one."""
    found = merge.next_bare_merge([sized(abs(each), "HNSW" if each < 0 else None) for each in rows], 10, most)
    assert found == (None if run is None else slice(*run))


def sized(rows: int, structure: str | None = None) -> Any:
    return SimpleNamespace(live_rows=rows, structure=structure, record=SimpleNamespace(rows=rows, deleted_rows=0))
