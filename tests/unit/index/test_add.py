from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from fake_embedder import FakeEmbedder, SplittingEmbedder, document, documents

from lusirag.errors import CorpusError, IndexStateError, InvalidArgumentError, ModelError
from lusirag.index import AddReport, Index, verify_index
from lusirag.types import Document


def test_added_documents_come_back_whole(index: Index) -> None:
    given = Document(
        "a", "ein Text", "Titel", "de", "here", {"year": 1948, "tags": ["x", "y"], "at": datetime.date(2020, 2, 3)}
    )
    report = index.add([given])
    assert report == AddReport(documents=1, committed=1, added=1, passages=1)
    assert index.get(["a", "unknown"]) == [given]
    hit = index.search("ein Text")[0]
    assert (hit.id, hit.document_id, hit.start, hit.end, hit.metadata) == ("a", "a", 0, 8, given.metadata)


def test_title_is_embedded_with_the_text(index: Index, embedder: FakeEmbedder) -> None:
    index.add([Document("a", "text", "title", "en"), Document("b", "text", language="en")])
    assert embedder.embedded == ["title\ntext", "text"]


@pytest.mark.parametrize("kind", ["batch", "table", "reader", "batches", "generator"])
def test_takes_arrow_and_iterables(index: Index, kind: str) -> None:
    table = pa.table(
        {"id": ["a", "b"], "text": ["x", "y"], "language": ["en", None], "n": pa.array([1, 2], pa.int16())}
    )
    batch = table.to_batches()[0]
    given = {
        "batch": batch,
        "table": table,
        "reader": table.to_reader(),
        "batches": [batch],
        "generator": (
            Document(name, text, language="en", metadata={"n": 1}) for name, text in (("a", "x"), ("b", "y"))
        ),
    }[kind]
    assert index.add(given).added == 2
    assert index.info()["columns"] == {"n": "int64" if kind == "generator" else "int16"}


def test_upsert_embeds_only_what_changed(index: Index, embedder: FakeEmbedder) -> None:
    index.add(documents(range(10)))
    embedder.embedded.clear()
    report = index.add([*documents(range(5)), *documents(range(5, 7), version=1), *documents([10])])
    assert (report.unchanged, report.replaced, report.added, report.passages) == (5, 2, 1, 3)
    assert embedder.embedded == ["text 5 version 1", "text 6 version 1", "text 10 version 0"]
    assert len(index) == index.info()["documents"] == 11
    assert index.get(["d5"])[0].text == "text 5 version 1"
    assert all(hit.text != "text 5 version 0" for hit in index.search("text 5 version 0", k=100))


def test_changed_metadata_is_a_change(index: Index) -> None:
    index.add([document(1, year=1)])
    assert index.add([document(1, year=1)]).unchanged == 1
    assert index.add([document(1, year=2)]).replaced == 1
    assert index.get(["d1"])[0].metadata == {"year": 2}


@pytest.mark.parametrize("commit_passages", [1, 2, 4096])
def test_later_of_two_with_one_id_wins(index: Index, commit_passages: int) -> None:
    other = documents(range(100, 400))
    given = [document(1, 0), *other, document(1, 1), document(1, 2), *documents(range(400, 700)), document(1, 3)]
    report = index.add(given, commit_passages=commit_passages)
    assert (report.added, report.replaced, report.documents) == (601, 3, 604)
    assert [d.text for d in index.get(["d1"])] == ["text 1 version 3"]
    assert len(index) == 601
    assert index.verify().problems == []


def test_on_duplicate_skip_and_error(index: Index) -> None:
    index.add([document(1)])
    report = index.add([document(1, 5), document(2), document(2, 5)], on_duplicate="skip")
    assert (report.skipped, report.added) == (2, 1)
    assert [d.text for d in index.get(["d1", "d2"])] == ["text 1 version 0", "text 2 version 0"]
    with pytest.raises(CorpusError, match="'d2' is in the index already"):
        index.add([document(3), document(2)], on_duplicate="error")
    with pytest.raises(InvalidArgumentError, match="must be one of replace, error, skip"):
        index.add([], on_duplicate="merge")  # type: ignore[arg-type]


def test_work_before_an_error_is_kept(index: Index, embedder: FakeEmbedder) -> None:
    def failing() -> Iterator[Document]:
        yield from documents(range(600))
        raise OSError

    with pytest.raises(OSError):
        index.add(failing())
    assert len(index) == len(embedder.embedded) == 512
    assert index.verify().ok
    assert index.add(documents(range(600))).unchanged == 512


def test_progress_reports_what_is_durable(index: Index, tmp_path: Path, embedder: FakeEmbedder) -> None:
    seen: list[AddReport] = []

    def progress(report: AddReport) -> None:
        seen.append(report)
        assert len(Index.open(tmp_path / "index", embedder, read_only=True)) >= report.committed

    index.add(documents(range(1000)), progress=progress, commit_passages=256)
    assert seen[-1].committed == seen[-1].documents == 1000
    assert len({report.committed for report in seen}) > 2


@pytest.mark.parametrize(
    "given",
    ["text", Document("a", "b"), [1], 5, pa.table({"id": ["a"]})],
)
def test_refuses_what_is_no_document(index: Index, given: object) -> None:
    with pytest.raises(InvalidArgumentError):
        index.add(given)


@pytest.mark.parametrize("row", [{"id": None, "text": "x"}, {"id": "a", "text": None}, {"id": "a", "text": " \n"}])
def test_refuses_a_row_without_id_or_text(index: Index, row: dict[str, str]) -> None:
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    with pytest.raises((CorpusError, InvalidArgumentError)):
        index.add(pa.RecordBatch.from_pylist([row], schema=schema))


def test_columns_widen_and_clashing_ones_are_named(index: Index) -> None:
    index.add([document(1, n=1)])
    index.add([document(2, n=1.5, extra="e")])
    assert index.info()["columns"] == {"n": "double", "extra": "string"}
    assert [dict(d.metadata) for d in index.get(["d1", "d2"])] == [{"n": 1}, {"n": 1.5, "extra": "e"}]
    index.compact()
    assert [dict(d.metadata) for d in index.get(["d1", "d2"])] == [{"n": 1.0}, {"n": 1.5, "extra": "e"}]
    with pytest.raises(InvalidArgumentError, match="'n' holds double in this index and string"):
        index.add([document(3, n="text")])


def test_vectors_of_a_broken_embedder_are_refused(index: Index, embedder: FakeEmbedder) -> None:
    embedder.encode_documents = lambda texts: vectors * float("nan")  # type: ignore[method-assign]
    vectors = FakeEmbedder().encode_documents(["x"])
    with pytest.raises(ModelError, match="not finite"):
        index.add([document(1)])
    embedder.encode_documents = lambda texts: vectors[:, :4]  # type: ignore[method-assign]
    with pytest.raises(ModelError, match=r"\(1, 4\)"):
        index.add([document(1)])
    assert len(index) == 0


def test_long_documents_are_split_and_found_by_their_parts(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index", SplittingEmbedder(), overlap=0)
    text = " ".join(f"This is sentence number {number}." for number in range(20))
    report = index.add([Document("long", text, language="en", metadata={"n": 1}), document(1)])
    assert report.added == 2
    assert report.passages == index.info()["passages"] > 10
    hit = max(index.search("x", k=100), key=lambda hit: hit.end)
    assert hit.id.startswith("long#")
    assert hit.document_id == "long"
    assert text[hit.start : hit.end] == hit.text
    assert index.get(["long"])[0] == Document("long", text, language="en", metadata={"n": 1})
    assert index.add([Document("long", text, language="en", metadata={"n": 1})]).unchanged == 1
    assert index.delete(["long"]) == 1
    assert [hit.id for hit in index.search("x", k=100)] == ["d1"]
    index.compact()
    assert verify_index(index.path).ok


def test_missing_languages_are_identified(tmp_path: Path) -> None:
    text = "Alle Menschen sind frei und gleich an Würde und Rechten geboren."
    for identify, found in ((True, "de"), (False, None)):
        index = Index.create(tmp_path / str(identify), FakeEmbedder(), identify_languages=identify)
        index.add([Document("a", text)])
        assert index.get(["a"])[0].language == found
        assert index.add([Document("a", text)]).unchanged == 1


def test_delete(index: Index) -> None:
    index.add(documents(range(10)))
    assert index.delete(["d1", "d3", "d3", "unknown"]) == 2
    assert index.delete(["d1"]) == 0
    assert len(index) == 8
    assert index.info()["deleted"] == 2
    assert {hit.id for hit in index.search("x", k=50)} == {f"d{n}" for n in (0, 2, 4, 5, 6, 7, 8, 9)}
    index.compact()
    assert index.info()["deleted"] == 0
    assert index.info()["passages"] == 8
    with pytest.raises(InvalidArgumentError, match="not one str"):
        index.delete("d2")


def test_read_only_and_closed_indexes_refuse_changes(index: Index, embedder: FakeEmbedder) -> None:
    reader = Index.open(index.path, embedder, read_only=True)
    for change in (lambda: reader.add([]), lambda: reader.delete([]), reader.compact):
        with pytest.raises(IndexStateError, match="read_only=True"):
            change()
    reader.close()
    with pytest.raises(IndexStateError, match="closed"):
        reader.search("x")


def test_columns_of_views_are_stored_as_their_values(index: Index) -> None:
    views = {"note": pa.array(["n", None], pa.string_view()), "raw": pa.array([b"r", None], pa.binary_view())}
    index.add(pa.table({"id": ["a", "b"], "text": ["one", "two"], "language": ["en", "en"], **views}))
    index.compact()
    assert [document.metadata for document in index.get(["a", "b"])] == [{"note": "n", "raw": b"r"}, {}]
    assert [hit.id for hit in index.search("x", where="note = 'n'")] == ["a"]
