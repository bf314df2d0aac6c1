"""`langchain_core.indexing.index` with the SQLite record manager: incremental, in each mode of cleaning up."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, RecordManager, aindex, index
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_fakes import CountingEmbeddings

from langchain_lusirag import LusiragVectorStore, SqliteRecordManager

Cleanup = Literal["incremental", "full", "scoped_full"] | None


@pytest.fixture
def records(tmp_path: Path) -> SqliteRecordManager:
    return SqliteRecordManager("books", tmp_path / "records.sqlite")


def pages(source: str, *texts: str) -> list[Document]:
    return [Document(page_content=text, metadata={"source": source}) for text in texts]


RUNS = [
    pages("a", "one", "two", "one") + pages("b", "three"),
    pages("a", "one", "TWO") + pages("b", "three"),
    pages("a", "one"),
    pages("b"),
    pages("c", "four"),
]


def contents(store: VectorStore) -> list[str]:
    return sorted(document.page_content for document in store.similarity_search("one", k=100))


@pytest.mark.parametrize("cleanup", ["incremental", "full", "scoped_full", None])
@pytest.mark.parametrize("batch_size", [1, 100])
def test_runs_count_and_leave_what_langchains_own_parts_do(
    store: LusiragVectorStore, records: SqliteRecordManager, cleanup: Cleanup, batch_size: int
) -> None:
    theirs, memory = InMemoryVectorStore(CountingEmbeddings()), InMemoryRecordManager("books")

    def run(documents: list[Document], manager: RecordManager, target: VectorStore) -> Any:
        counts = index(
            documents, manager, target, cleanup=cleanup, source_id_key="source", batch_size=batch_size,
            key_encoder="sha256",
        )  # fmt: skip
        return counts, contents(target), sorted(manager.list_keys())

    for documents in RUNS:
        expected = run(documents, memory, theirs)
        time.sleep(0.002)  # the clock of the other manager need not move between two runs
        assert run(documents, records, store) == expected


async def test_the_async_way_counts_the_same(
    store: LusiragVectorStore, records: SqliteRecordManager, embeddings: CountingEmbeddings
) -> None:
    counts = []
    for documents in RUNS[:3]:
        found = await aindex(documents, records, store, cleanup="full", source_id_key="source", key_encoder="sha256")
        counts.append([found[name] for name in ("num_added", "num_updated", "num_skipped", "num_deleted")])  # type: ignore[literal-required]
    assert counts == [[3, 0, 1, 0], [1, 0, 2, 1], [0, 0, 1, 2]]
    assert contents(store) == ["one"]
    assert sorted(embeddings.embedded) == ["TWO", "one", "three", "two"]


def test_another_process_goes_on_where_one_stopped(tmp_path: Path) -> None:
    def run(documents: list[Document]) -> Any:
        store = LusiragVectorStore(CountingEmbeddings(), tmp_path / "index")
        manager = SqliteRecordManager("books", tmp_path / "records.sqlite")
        return index(documents, manager, store, cleanup="full", source_id_key="source", key_encoder="sha256")

    assert run(RUNS[0])["num_added"] == 3
    assert run(RUNS[0]) == {"num_added": 0, "num_updated": 0, "num_skipped": 4, "num_deleted": 0}


def test_time_is_later_than_every_record_though_the_clock_goes_back(
    records: SqliteRecordManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = time.time()
    records.update(["a"])
    assert before < records.get_time() < time.time() + 1
    monkeypatch.setattr("langchain_lusirag.record_manager.time.time", lambda: before - 3600)
    start = records.get_time()
    assert records.list_keys(before=start) == ["a"]
    records.update(["b"], time_at_least=start)
    assert records.list_keys(before=start) == ["a"]
    assert records.get_time() > start


def test_listing_by_time_group_and_number(records: SqliteRecordManager) -> None:
    records.update(["a", "b"], group_ids=["x", None])
    middle = records.get_time()
    time.sleep(0.001)
    records.update(["c", "b"], group_ids=["y", "x"])
    assert records.list_keys() == ["a", "b", "c"]
    assert records.list_keys(before=middle) == ["a"]
    assert records.list_keys(after=middle) == ["b", "c"]
    assert records.list_keys(group_ids=["x"]) == ["a", "b"]
    assert records.list_keys(group_ids=[]) == []
    assert records.list_keys(limit=2) == ["a", "b"]
    records.update(["a"])
    assert records.list_keys(group_ids=["x"]) == ["b", "a"]  # a keeps its group
    records.delete_keys(["b", "nowhere"])
    assert records.exists(["b", "a", "nowhere", "a"]) == [False, True, False, True]


def test_namespaces_share_a_file_and_nothing_else(records: SqliteRecordManager) -> None:
    other = SqliteRecordManager("films", records.path)
    records.update(["a"])
    other.update(["b"])
    records.delete_keys(["b"])
    assert (records.list_keys(), other.list_keys(), other.exists(["a"])) == (["a"], ["b"], [False])


def test_many_keys_and_any_characters(records: SqliteRecordManager) -> None:
    keys = [f"{number}'\"日本\n" for number in range(40_000)]
    records.update(keys, group_ids=["g"] * len(keys))
    assert all(records.exists(keys))
    assert len(records.list_keys(group_ids=["g"] * 40_000)) == len(keys)
    records.delete_keys(keys)
    assert records.list_keys() == []


def test_threads_write_at_once(records: SqliteRecordManager) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: records.update([str(number)]), range(40)))
    assert len(records.list_keys()) == 40


def test_a_record_is_later_than_one_that_another_process_was_writing(records: SqliteRecordManager) -> None:
    records.create_schema()
    other = time.time() + 60
    with closing(sqlite3.connect(records.path, isolation_level=None)) as writer, ThreadPoolExecutor(1) as threads:
        writer.execute("BEGIN IMMEDIATE")
        updating = threads.submit(records.update, ["mine"])
        time.sleep(0.1)
        writer.execute("INSERT INTO records VALUES ('books', 'other', NULL, ?)", (other,))
        writer.execute("COMMIT")
        updating.result()
    assert records.list_keys(after=other) == ["mine"]


async def test_async_methods_do_the_same(records: SqliteRecordManager) -> None:
    await records.acreate_schema()
    await records.aupdate(["a", "b"], group_ids=["x", "y"], time_at_least=await records.aget_time())
    await records.adelete_keys(["a"])
    assert await records.aexists(["a", "b"]) == [False, True]
    assert await records.alist_keys(group_ids=["y"], after=0, before=await records.aget_time(), limit=5) == ["b"]


def test_errors_are_one_line(records: SqliteRecordManager, tmp_path: Path, message: Callable[..., str]) -> None:
    assert "1 group_ids were given for 2 keys" in message(records.update, ["a", "b"], group_ids=["x"])
    assert "check the clock" in message(records.update, ["a"], time_at_least=time.time() + 100)
    assert records.list_keys() == []
    assert "InMemoryRecordManager" in message(SqliteRecordManager, "books", ":memory:")
    nowhere = SqliteRecordManager("books", tmp_path / "nowhere" / "records.sqlite")
    assert "in a folder that exists" in message(nowhere.create_schema)
    (tmp_path / "text").write_text("no database, but long enough to be taken for a damaged one " * 20)
    assert "cannot be used" in message(SqliteRecordManager("books", tmp_path / "text").exists, ["a"])
