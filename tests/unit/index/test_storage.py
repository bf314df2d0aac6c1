from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_embedder import FakeEmbedder, SplittingEmbedder, documents

from lusirag.errors import IndexStateError, InvalidArgumentError, StorageError
from lusirag.index import Index, files, verify_index
from lusirag.index.lock import writer_lock


def tree(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def test_create_refuses_what_is_not_its_own(tmp_path: Path, embedder: FakeEmbedder) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "letter.txt").write_text("dear")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "manifest.json").write_text("{}")
    for name, overwrite in (("file", True), ("folder", True), ("folder", False), ("site", True), ("site", False)):
        with pytest.raises(IndexStateError):
            Index.create(tmp_path / name, embedder, overwrite=overwrite)
    assert tree(tmp_path) == {"file", "folder/letter.txt", "site/manifest.json"}


def test_overwrite_replaces_an_index_only_when_asked(index: Index, embedder: FakeEmbedder) -> None:
    index.add(documents(range(5)))
    with pytest.raises(IndexStateError, match="holds an index already"):
        Index.create(index.path, embedder)
    assert len(Index.open(index.path)) == 5
    new = Index.create(index.path, embedder, overwrite=True)
    assert len(new) == 0
    assert len(index) == 5
    assert new.info()["generation"] > index.info()["generation"]
    (index.path / "manifest.json").write_text("{")
    assert len(Index.create(index.path, embedder, overwrite=True)) == 0


def test_open_says_what_is_wrong(tmp_path: Path, index: Index) -> None:
    with pytest.raises(IndexStateError, match="no such directory"):
        Index.open(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(IndexStateError, match="not a lusirag index"):
        Index.open(tmp_path / "empty")
    with pytest.raises(IndexStateError, match="not a lusirag index"):
        Index.open(index.path / "manifest.json")


def test_a_newer_format_is_told_from_damage(
    tmp_path: Path, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lusirag.index.manifest.FORMAT_VERSION", 4)
    Index.create(tmp_path / "new", embedder)
    monkeypatch.undo()
    with pytest.raises(IndexStateError, match=r"has format 4; .* Update lusirag"):
        Index.open(tmp_path / "new")


def test_chunking_is_chosen_from_the_model(tmp_path: Path, embedder: FakeEmbedder) -> None:
    splitting = SplittingEmbedder(max_passage_tokens=40)
    chosen = {
        (tokens, type(model)): Index.create(tmp_path / f"{tokens}-{model.name}", model, chunk_tokens=tokens).info()[
            "chunking"
        ]
        for tokens, model in ((None, splitting), (0, splitting), (33, splitting), (None, embedder), (0, embedder))
    }
    assert list(chosen.values()) == [{"tokens": 40, "overlap": 20}, None, {"tokens": 33, "overlap": 32}, None, None]
    for arguments in (
        {"chunk_tokens": 41},
        {"chunk_tokens": -1},
        {"chunk_tokens": 7},
        {"chunk_tokens": 20, "overlap": 20},
        {"chunk_tokens": "9"},
    ):
        with pytest.raises(InvalidArgumentError):
            Index.create(tmp_path / "x", splitting, **arguments)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="no tokenizer"):
        Index.create(tmp_path / "x", embedder, chunk_tokens=20)
    assert not (tmp_path / "x").exists()


def test_a_second_writer_is_told_who_writes(index: Index, embedder: FakeEmbedder) -> None:
    with writer_lock(index.path):
        with pytest.raises(IndexStateError, match=f"being written by process {os.getpid()} on .* since 20"):
            index.add(documents([1]))
        assert len(Index.open(index.path, embedder).search("x")) == 0
    assert index.add(documents([1])).added == 1
    assert not (index.path / "writer.json").exists()


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "no space left"), (errno.EACCES, "no permission"), (errno.EROFS, "read-only")]
)
@pytest.mark.parametrize("writes_before", [0, 1, 5, 17, 40])
def test_a_refused_write_leaves_the_last_state(
    index: Index, monkeypatch: pytest.MonkeyPatch, code: int, words: str, writes_before: int
) -> None:
    index.add(documents(range(20)))
    before, files_before = index.search("x", k=20), tree(index.path)
    left = writes_before
    write = files.ChecksumWriter.write

    def full(self: Any, data: Any) -> int:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(code, os.strerror(code))
        return write(self, data)

    monkeypatch.setattr(files.ChecksumWriter, "write", full)
    with pytest.raises(StorageError, match=words):
        index.add(documents(range(10, 40), version=1))
    monkeypatch.undo()
    assert tree(index.path) == files_before
    assert index.search("x", k=20) == before
    assert verify_index(index.path).ok
    assert index.add(documents(range(10, 40), version=1)).replaced == 10
    assert len(index) == 40


@pytest.mark.parametrize("call", ["fsync", "replace", "mkdir"])
def test_refusals_of_other_calls(index: Index, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    index.add(documents(range(5)))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os if call == "fsync" else Path, call, refuse)
    with pytest.raises(StorageError, match="no space left"):
        index.add(documents(range(5, 9)))
    monkeypatch.undo()
    assert len(Index.open(index.path)) == len(index) == 5
    assert index.add(documents(range(5, 9))).added == 4


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_real_limit_of_the_file_size(index: Index) -> None:
    index.add(documents(range(20)))
    code = """
import resource, signal, sys
sys.path.insert(0, sys.argv[2])
from fake_embedder import FakeEmbedder, documents
from lusirag.errors import StorageError
from lusirag.index import Index
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
index = Index.open(sys.argv[1], FakeEmbedder())
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    index.add(documents(range(20, 2000)))
except StorageError as error:
    print(error)
    sys.exit(7)
"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(index.path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.returncode == 7, run.stderr
    assert "cannot write" in run.stdout
    assert verify_index(index.path).ok
    assert len(tree(index.path)) == 5
    assert index.add(documents(range(20, 40))).added == 20


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions do not bind the superuser")
def test_no_permission(index: Index, tmp_path: Path, embedder: FakeEmbedder) -> None:
    index.add(documents(range(3)))
    index.path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="no permission"):
            index.add(documents([9]))
        with pytest.raises(StorageError, match="no permission"):
            Index.create(index.path / "inner", embedder)
        assert len(Index.open(index.path, embedder).search("x")) == 3
    finally:
        index.path.chmod(0o700)


def test_leftovers_of_a_dead_writer_are_removed_by_the_next(index: Index) -> None:
    index.add(documents(range(3)))
    clean = tree(index.path)
    (index.path / "segments/000099").mkdir()
    for name in ("segments/000099/documents.arrow", "segments/000001/tombstones-000077.arrow", "manifest.json.tmp"):
        (index.path / name).write_bytes(b"half")
    (index.path / "writer.json").write_text(json.dumps({"pid": 1}))
    assert len(Index.open(index.path)) == 3
    assert index.delete([]) == 0
    assert tree(index.path) == clean
