"""Merging and structures in a thread beside a writer: it disturbs nobody, and loses nothing whatever else happens."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_embedder import FakeEmbedder, document, documents
from gates import HNSW, PATIENCE, Gate, expect_sound, expected, structures, texts

from lusirag.errors import IndexStateError
from lusirag.index import Index, build, maintenance
from lusirag.index.engine import load_faiss
from lusirag.index.writer import Writer
from lusirag.types import Document

pytestmark = pytest.mark.usefixtures("all_in_background")


@pytest.fixture
def index(index_in_background: Index) -> Index:
    return index_in_background


def test_a_change_returns_before_its_structure_is_built(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "write_structure")
    index.add(documents(range(200)))
    assert gate.reached.wait(PATIENCE)
    assert HNSW not in structures(index)
    exact = index.search_many(["a", "b"], k=5)
    gate.open.set()
    index.wait()
    assert structures(index) == {HNSW: 1}
    (segment,) = index._snapshot.segments
    assert segment.structure is not None
    assert segment.structure.loaded
    assert index.search_many(["a", "b"], k=5) == exact
    expect_sound(index, expected(documents(range(200))))


def test_what_changes_meanwhile_is_changed_in_the_merged_segment_too(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, "write_segment")
    states: list[list[tuple[int, bool]]] = []  # rows of each segment, and whether it has a structure
    take_up = maintenance.Maintenance.take_up

    def recorded(self: maintenance.Maintenance, writer: Writer) -> None:
        take_up(self, writer)
        states.append([(part.record.rows, part.structure is not None) for part in writer.snapshot.segments])

    monkeypatch.setattr(maintenance.Maintenance, "take_up", recorded)
    index.add(documents(range(0, 40)))
    index.delete(["d0", "d1"])
    for start in range(40, 320, 40):
        index.add(documents(range(start, start + 40)))
    assert gate.reached.wait(PATIENCE)
    index.delete([f"d{number}" for number in range(5, 200, 3)])
    index.add(documents(range(60, 100), version=1))
    index.add(documents(range(1000, 1010)))
    wanted = expected(documents(range(2, 320)))
    for number in range(5, 200, 3):
        del wanted[f"d{number}"]
    wanted |= expected(documents(range(60, 100), version=1), documents(range(1000, 1010)))
    assert texts(index) == wanted
    before = index.info()["segments"]
    gate.open.set()
    index.wait()
    assert index.info()["segments"] < before
    assert HNSW in structures(index)
    assert all(rows < 64 or has for state in states for rows, has in state)  # a merged one has it at once
    expect_sound(index, wanted)


def test_a_segment_that_was_deleted_meanwhile_does_not_come_back(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "write_structure")
    index.add(documents(range(100)))
    assert gate.reached.wait(PATIENCE)
    assert index.delete([f"d{number}" for number in range(100)]) == 100
    gate.open.set()
    index.wait()
    expect_sound(index, {})


def test_so_it_is_where_all_that_is_merged_was_deleted(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "write_segment")
    index.add(documents(range(60)))
    index.add(documents(range(60, 120)))
    assert gate.reached.wait(PATIENCE)
    index.delete([f"d{number}" for number in range(119)])
    gate.open.set()
    index.wait()
    expect_sound(index, expected(documents([119])))


def test_who_writes_just_then_commits_it(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "write_structure")
    index.add(documents(range(100)))
    assert gate.reached.wait(PATIENCE)
    writes, go = threading.Event(), threading.Event()

    def slowly() -> Iterator[Document]:
        yield document(1000)
        writes.set()
        assert go.wait(PATIENCE)
        yield document(1001)

    other = threading.Thread(target=index.add, args=(slowly(),))
    other.start()
    assert writes.wait(PATIENCE)
    gate.open.set()
    while index._state._maintenance._prepared is None:  # type: ignore[union-attr]
        assert other.is_alive()
    assert HNSW not in structures(index)
    monkeypatch.setattr(maintenance.Maintenance, "wake", lambda *_: None)
    go.set()
    other.join()
    assert structures(index) == {HNSW: 1, "exact": 1}
    index.wait()
    expect_sound(index, expected(documents([*range(100), 1000, 1001])))


def test_it_steps_back_behind_those_who_search(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    def state() -> tuple[int, int]:
        """How many threads FAISS may use, and how nice this one is, where that is a thread's own."""
        nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) if sys.platform == "linux" else 0
        return load_faiss().omp_get_max_threads(), nice

    def looked_at(*arguments: Any) -> Any:
        found.append(state())
        return original(*arguments)

    original, found = maintenance.write_structure, []
    monkeypatch.setattr(maintenance, "write_structure", looked_at)
    threads, nice = before = state()
    index.add(documents(range(100)))
    index.wait()
    assert found == [(max(1, threads // 2), min(nice + 10, 19) if sys.platform == "linux" else 0)]
    assert state() == before
    assert HNSW in structures(index)


def test_without_it_nothing_is_left_to_do(tmp_path: Path, embedder: FakeEmbedder) -> None:
    threads = threading.active_count()
    with Index.create(tmp_path / "index", embedder, ann="hnsw") as index:
        index.add(documents(range(100)))
        assert structures(index) == {HNSW: 1}
        index.wait()
        assert threading.active_count() <= threads + 1  # one of the embedder, perhaps
    with Index.open(tmp_path / "index", embedder, read_only=True, background=True) as reader:
        reader.wait()
        with pytest.raises(IndexStateError, match="read_only"):
            reader.add(documents([1]))


def test_small_merges_are_done_at_once(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "AT_ONCE", 60)
    Gate(monkeypatch, "write_segment").open.set()
    gate = Gate(monkeypatch, "write_structure")
    for number in range(8):
        index.add(documents([number]))
    assert index.info()["segments"] == 1
    for start in range(8, 72, 8):
        index.add(documents(range(start, start + 8)))
    assert gate.reached.wait(PATIENCE)
    assert index.info()["segments"] > 1
    gate.open.set()
    index.wait()
    expect_sound(index, expected(documents(range(72))))


@pytest.mark.parametrize("seed", range(6))
def test_any_changes_leave_what_a_dict_would_hold(index: Index, embedder: FakeEmbedder, seed: int) -> None:
    random = np.random.default_rng(seed)
    model: dict[str, str] = {}
    running, path = index, index.path
    for version in range(60):
        numbers = random.integers(0, 400, int(random.integers(1, 60))).tolist()
        kind = str(random.choice(["add", "add", "add", "delete", "where", "compact", "reopen", "search", "sync"]))
        names = {f"d{number}" for number in numbers}
        if kind == "add":
            running.add(documents(numbers, version), commit_passages=20)
            model |= expected(documents(numbers, version))
        elif kind == "delete":
            assert running.delete(sorted(names)) == len(names & set(model))
            model = {name: text for name, text in model.items() if name not in names}
        elif kind == "where":
            assert running.delete(where={"id": {"$in": sorted(names)}}) == len(names & set(model))
            model = {name: text for name, text in model.items() if name not in names}
        elif kind == "compact" and version % 3 == 0:
            running.compact()
        elif kind == "reopen":
            running.close()
            running = Index.open(path, embedder, background=True)
        elif kind == "sync" and version % 4 == 0:
            numbers = random.integers(0, 400, 200).tolist()
            running.synchronize(documents(numbers, version), sources=["s"], on_duplicate="replace", commit_passages=20)
            model = expected(documents(numbers, version))
        assert texts(running) == model
    running.wait()
    expect_sound(running, model)
    running.close()


def test_many_threads_change_one_index(index: Index) -> None:
    def change(first: int) -> Callable[[], None]:
        def run() -> None:
            for number in range(first, first + 60):
                index.add(documents([number]))
                assert index.search(f"text {number} version 0", k=1)[0].id == f"d{number}"

        return run

    threads = [threading.Thread(target=change(first)) for first in (0, 60, 120)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    index.wait()
    expect_sound(index, expected(documents(range(180))))
