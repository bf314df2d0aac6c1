"""Merging and structures in the background where others write, processes end, or something fails."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from fake_embedder import FakeEmbedder, documents
from gates import HNSW, PATIENCE, Gate, expect_sound, expected, structures

from lusirag.errors import IndexStateError, MissingDependencyError, StorageError
from lusirag.index import Index, maintenance
from lusirag.index.lock import writer_lock
from lusirag.index.staging import STAGING_FOLDER

pytestmark = pytest.mark.usefixtures("all_in_background")


@pytest.fixture
def index(index_in_background: Index) -> Index:
    return index_in_background


def test_it_waits_for_a_writer_elsewhere(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "write_structure")
    index.add(documents(range(100)))
    with writer_lock(index.path):
        gate.open.set()
        with pytest.raises(IndexStateError, match="is being written by process"):
            index.add(documents([100]))
        assert HNSW not in structures(index)
    index.wait()
    assert structures(index) == {HNSW: 1}
    expect_sound(index, expected(documents(range(100))))


def test_closing_does_not_wait_for_a_writer_elsewhere(
    index: Index, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, path = Gate(monkeypatch, "write_structure"), index.path
    index.add(documents(range(100)))
    with writer_lock(path):
        gate.open.set()
        index.close()
    with pytest.raises(IndexStateError, match="closed"):
        index.search("anything")
    with Index.open(path, embedder, background=True) as again:
        assert HNSW not in structures(again)
        again.add(documents([100]))
        again.wait()
        assert HNSW in structures(again)
        expect_sound(again, expected(documents(range(101))))


def test_closing_finishes_what_is_to_be_done(
    index: Index, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, path = Gate(monkeypatch, "write_segment"), index.path
    for start in range(0, 270, 30):
        index.add(documents(range(start, start + 30)))
    assert gate.reached.wait(PATIENCE)
    threading.Timer(0.3, gate.open.set).start()
    index.close()
    index.close()
    with Index.open(path, embedder) as again:
        assert HNSW in structures(again)
        assert again.info()["segments"] < 9
        expect_sound(again, expected(documents(range(270))))


def test_a_process_that_ends_finishes_too(tmp_path: Path) -> None:
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from fake_embedder import FakeEmbedder, documents
from lusirag.index import Index
from lusirag.index.ann import kinds
kinds.SMALLEST_SEGMENT = 64
Index.create({str(tmp_path / "index")!r}, FakeEmbedder(), ann="hnsw", background=True).add(documents(range(100)))
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=PATIENCE)
    with Index.open(tmp_path / "index", FakeEmbedder()) as index:
        assert structures(index) == {HNSW: 1}
        expect_sound(index, expected(documents(range(100))))


def test_what_another_writer_has_merged_is_not_merged_again(
    index: Index, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, "write_segment")
    index.add(documents(range(60)))
    index.add(documents(range(60, 120)))
    assert gate.reached.wait(PATIENCE)
    other = Index.open(index.path, embedder)
    other.compact()
    assert (index.path / STAGING_FOLDER).exists()  # of a process that lives
    gate.open.set()
    index.wait()
    assert gate.passed == 1
    assert index.info()["generation"] == other.info()["generation"]
    expect_sound(index, expected(documents(range(120))))


def test_two_that_maintain_one_index_take_turns(index: Index, embedder: FakeEmbedder) -> None:
    with Index.open(index.path, embedder, background=True) as other:
        for start in range(0, 400, 20):
            (index, other)[start // 20 % 2].add(documents(range(start, start + 20)))
        index.wait()
        other.wait()
        index.delete(["d0"])  # sees what the other has done
        index.wait()
        assert index.info()["segments"] <= 9
        expect_sound(index, expected(documents(range(1, 400))))


@pytest.mark.parametrize("error", [StorageError("the disk is full"), ZeroDivisionError("a fault of ours")])
@pytest.mark.parametrize("place", ["write_structure", "_load"])
def test_an_error_is_told_to_those_who_wait(
    index: Index, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, place: str
) -> None:
    def refuse(*_: Any) -> Any:
        raise error

    original = getattr(maintenance, place)
    monkeypatch.setattr(maintenance, place, refuse)
    index.add(documents(range(100)))
    with pytest.raises(type(error), match=str(error)):
        index.wait()
    assert str(error) in caplog.text
    index.wait()
    expect_sound(index, expected(documents(range(100))))
    monkeypatch.setattr(maintenance, place, original)
    index.add(documents([100]))
    index.wait()
    assert HNSW in structures(index)
    expect_sound(index, expected(documents(range(101))))


def test_a_thread_that_cannot_begin_says_so(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise MissingDependencyError("no FAISS")

    monkeypatch.setattr(maintenance, "_step_back", refuse)
    index.add(documents(range(100)))
    with pytest.raises(MissingDependencyError, match="no FAISS"):
        index.wait()
    monkeypatch.undo()


def test_where_that_is_forbidden_it_works_all_the_same(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "nice", refuse, raising=False)
    index.add(documents(range(100)))
    index.wait()
    assert HNSW in structures(index)


def test_what_a_dead_process_has_left_is_removed(
    index: Index, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = index.path / STAGING_FOLDER / "segments" / "prepared"
    left.mkdir(parents=True)
    (left / "documents.arrow").write_bytes(b"half")
    with Index.open(index.path, embedder) as plain:
        plain.add(documents([1]))
    assert not left.exists()
    gate = Gate(monkeypatch, "write_structure")
    index.add(documents(range(100)))
    assert gate.reached.wait(PATIENCE)
    with Index.open(index.path, embedder) as plain:
        plain.add(documents([1000]))
    assert (index.path / STAGING_FOLDER).exists()
    gate.open.set()
    index.wait()
    assert HNSW in structures(index)
    expect_sound(index, expected(documents([*range(100), 1000])))


def test_what_cannot_be_trained_is_tried_once(
    tmp_path: Path, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(monkeypatch, "write_structure")
    gate.open.set()
    with Index.create(tmp_path / "index", embedder, ann="PQ4x10", background=True) as index:
        index.add(documents(range(100)))
        index.wait()
        index.add(documents([1000]))
        index.wait()
        assert gate.passed == 1
        assert "cannot be trained" in caplog.text
        expect_sound(index, expected(documents([*range(100), 1000])))
