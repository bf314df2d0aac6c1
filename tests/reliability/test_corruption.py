"""Truncated, altered, missing files: words from open and verify, never a crash, whatever the byte."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_embedder import FakeEmbedder, documents

from lusirag.errors import IndexStateError
from lusirag.index import Index, segment, verify_index
from lusirag.types import Document

FLIPS_A_FILE = 40
READS_A_FILE = 24
Damage = Callable[[bytes], bytes | None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "index"
    with Index.create(path, FakeEmbedder()) as index:
        index.add([*documents(range(30)), Document("t", "text", "title", "fr", "s", {"n": 1, "tags": ["a"]})])
        index.add(documents(range(30, 35)))
        index.delete(["d3", "d31"])
    return path


def files_of(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and file.name != "writer.lock")


def test_every_truncation_is_named(sound: Path, tmp_path: Path) -> None:
    cases = 0
    for file in files_of(sound):
        size = file.stat().st_size
        for keep in sorted({0, 1, 7, 8, size // 3, size // 2, size - 8, size - 1}):
            expect_words(sound, tmp_path, file, lambda content, keep=keep: content[:keep])
            cases += 1
        expect_words(sound, tmp_path, file, lambda content: content + b"\0")
        expect_words(sound, tmp_path, file, lambda content: None)
        cases += 2
    assert cases >= 80


def test_every_flipped_byte_is_noticed(sound: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    for file in files_of(sound):
        size = file.stat().st_size
        for place in random.choice(size, min(size, FLIPS_A_FILE), replace=False).tolist():
            flip = int(random.integers(1, 256))
            expect_words(sound, tmp_path, file, lambda content, place=place, flip=flip: altered(content, place, flip))


def test_reading_an_altered_large_file_does_not_crash(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large files are not hashed when an index is opened: here all count as large, and all are read."""
    monkeypatch.setattr(segment, "_CHECKED_ON_OPEN_BYTES", 0)
    random = np.random.default_rng(4)
    refused = 0
    for file in files_of(sound):
        content = file.read_bytes()
        for place in random.choice(len(content), min(len(content), READS_A_FILE), replace=False).tolist():
            path = damaged_copy(sound, tmp_path, file, altered(content, place, int(random.integers(1, 256))))
            assert problems(path)
            try:
                use_all(Index.open(path, FakeEmbedder()))
            except IndexStateError:
                refused += 1
    assert refused > 30


def use_all(index: Index) -> None:
    index.search("x", k=100)
    index.search("x", k=3, languages=["en"])
    index.search("x", k=3, where="n = 1 OR list_contains(tags, 'a') OR id = 'd1' OR title = source OR text LIKE 't%'")
    index.search("x", k=3, where={"n": None, "id": {"$ne": "d1"}})
    index.get([f"d{number}" for number in range(40)])
    index.info()
    index.compact()
    index.search("x", k=100)


def expect_words(sound: Path, tmp_path: Path, file: Path, damage: Damage) -> None:
    path = damaged_copy(sound, tmp_path, file, damage(file.read_bytes()))
    name = file.relative_to(sound).as_posix()
    with pytest.raises(IndexStateError) as error:
        Index.open(path, FakeEmbedder())
    assert name in str(error.value)
    assert any(name in problem for problem in problems(path))


def problems(path: Path) -> list[str]:
    try:
        return verify_index(path).problems
    except IndexStateError as error:
        return [str(error)]


def damaged_copy(sound: Path, tmp_path: Path, file: Path, content: bytes | None) -> Path:
    path = tmp_path / "damaged"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(sound, path)
    target = path / file.relative_to(sound)
    target.unlink()
    if content is not None:
        target.write_bytes(content)
    return path


def altered(content: bytes, place: int, flip: int) -> bytes:
    return content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :]
