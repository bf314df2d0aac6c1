from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_embedder import FakeEmbedder, documents

from lusirag.errors import CorpusError, InvalidArgumentError
from lusirag.index import AddReport, Index, merge
from lusirag.types import Document


def contents(index: Index) -> dict[str, str]:
    return {hit.id: hit.text for hit in index.search("x", k=10_000)}


def test_a_second_run_embeds_what_changed_and_deletes_what_vanished(index: Index, embedder: FakeEmbedder) -> None:
    report = index.synchronize(documents(range(100)), sources=["a.jsonl"])
    assert report == AddReport(documents=100, committed=100, added=100, passages=100)
    embedder.embedded.clear()
    generation = index.info()["generation"]
    assert index.synchronize(documents(range(100)), sources=["a.jsonl"]).unchanged == 100
    assert index.info()["generation"] == generation
    report = index.synchronize([*documents(range(10, 98)), *documents([98, 100], 1)], sources=["a.jsonl"])
    assert (report.unchanged, report.replaced, report.added, report.deleted) == (88, 1, 1, 11)
    assert len(embedder.embedded) == 2
    assert len(index) == len(contents(index)) == 90
    assert index.info()["complete"]
    assert index.info()["sources"] == ["a.jsonl"]
    assert index.verify().ok


def test_a_failed_run_deletes_nothing_and_the_next_goes_on(index: Index, embedder: FakeEmbedder) -> None:
    index.add(documents(range(1000, 1010)))

    def failing() -> Iterator[Document]:
        yield from documents(range(600))
        raise CorpusError("line 601 is broken")

    with pytest.raises(CorpusError, match="line 601"):
        index.synchronize(failing(), sources=["a"], commit_passages=256)
    assert len(index) == 10 + 512
    assert not index.info()["complete"]
    embedder.embedded.clear()
    report = index.synchronize(documents(range(700)), sources=["a"], commit_passages=256)
    assert (report.unchanged, report.added, report.deleted) == (512, 188, 10)
    assert len(embedder.embedded) == 188
    assert set(contents(index)) == {f"d{number}" for number in range(700)}
    assert index.info()["complete"]


@pytest.mark.parametrize("distance", [0, 300, 900])
def test_an_id_twice_is_an_error_or_skipped(index: Index, distance: int) -> None:
    given = [*documents([1]), *documents(range(10, 10 + distance)), *documents([1], version=7)]
    with pytest.raises(CorpusError, match="'d1' is given twice"):
        index.synchronize(given, sources=["a"], commit_passages=256)
    for _ in range(2):
        report = index.synchronize(given, sources=["a"], on_duplicate="skip", commit_passages=256)
        assert report.skipped == 1
        assert contents(index)["d1"] == "text 1 version 0"
    for _ in range(2):
        report = index.synchronize(given, sources=["a"], on_duplicate="replace", commit_passages=256)
        assert (report.skipped, report.deleted) == (0, 0)
        assert contents(index)["d1"] == "text 1 version 7"
        assert len(index) == 1 + distance
        assert index.verify().problems == []
        assert len(index) == 1 + distance


def test_an_old_version_of_an_id_is_no_duplicate(index: Index) -> None:
    index.synchronize(documents(range(5)), sources=["a"])
    assert index.synchronize(documents(range(5), version=1), sources=["a"]).replaced == 5
    assert index.synchronize([], sources=["a"]).deleted == 5
    assert len(index) == 0


def test_what_was_seen_survives_a_merge(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "FACTOR", 2)
    index.add(documents(range(2000)), commit_passages=256)
    report = index.synchronize(
        (d for n in range(0, 2000, 2) for d in documents([n], version=n % 4)), sources=["a"], commit_passages=100
    )
    assert (report.unchanged, report.replaced, report.deleted) == (500, 500, 1000)
    assert set(contents(index)) == {f"d{number}" for number in range(0, 2000, 2)}
    assert index.verify().problems == []


def test_arguments(index: Index) -> None:
    with pytest.raises(InvalidArgumentError, match="sources must be a list"):
        index.synchronize([], sources="a.jsonl")
    with pytest.raises(InvalidArgumentError, match="one of replace, error, skip"):
        index.synchronize([], sources=[], on_duplicate="both")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="commit_passages"):
        index.synchronize([], sources=[], commit_passages=0)
