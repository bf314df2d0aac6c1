"""Truncated, altered, missing files: words from open and verify, never a crash, whatever the byte."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_embedder import WordEmbedder, documents

from lusirag.errors import IndexStateError
from lusirag.index import Index, segment, verify_index
from lusirag.index.ann import kinds, nearest
from lusirag.types import Document

FLIPS_A_FILE = 170
READS_A_FILE = 24


@pytest.fixture(scope="module", autouse=True)
def structures() -> Iterator[None]:
    """The larger of the two segments gets a search structure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinds, "SMALLEST_SEGMENT", 20)
        patch.setattr(nearest, "EXACT_ROWS", 10)
        yield


@pytest.fixture(scope="module")
def sound(structures: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "index"
    with Index.create(path, WordEmbedder(), ann="hnsw") as index:
        index.add([*documents(range(30)), Document("t", "text", "title", "fr", "s", {"n": 1, "tags": ["a"]})])
        index.add(documents(range(30, 35)))
        index.delete(["d3", "d31"])
    return path


def files_of(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and file.name != "writer.lock")


def test_every_truncation_is_named(sound: Path) -> None:
    cases = 0
    for file in files_of(sound):
        content, size = file.read_bytes(), file.stat().st_size
        for keep in sorted({0, 1, 7, 8, size // 3, size // 2, size - 8, size - 1}):
            expect_words(sound, file, content[:keep])
            cases += 1
        expect_words(sound, file, content + b"\0")
        expect_words(sound, file, None)
        cases += 2
    assert cases >= 80


def test_every_flipped_byte_is_noticed(sound: Path) -> None:
    random = np.random.default_rng(3)
    flips = 0
    for file in files_of(sound):
        content = file.read_bytes()
        for place in random.choice(len(content), min(len(content), FLIPS_A_FILE), replace=False).tolist():
            expect_words(sound, file, altered(content, place, int(random.integers(1, 256))))
            flips += 1
    assert flips >= 2000


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
                use_all(Index.open(path, WordEmbedder()))
            except IndexStateError:
                refused += 1
    assert refused > 30


def use_all(index: Index) -> None:
    index.search("x", k=100)
    index.search("x", k=1)
    index.search("x", k=3, languages=["en"])
    index.search_many(["text 3 version 0", "7 31", "33"], k=100, mode="hybrid")
    index.search("x", k=3, where="n = 1 OR list_contains(tags, 'a') OR id = 'd1' OR title = source OR text LIKE 't%'")
    index.search("x", k=3, where={"n": None, "id": {"$ne": "d1"}})
    index.get([f"d{number}" for number in range(40)])
    index.info()
    index.compact()
    index.search("x", k=100)


def expect_words(sound: Path, file: Path, content: bytes | None) -> None:
    """With other content in the place of a file (None: no file), opening and verifying name it; then it is put back."""
    aside = file.with_name(file.name + ".aside")
    file.rename(aside)
    try:
        if content is not None:
            file.write_bytes(content)
        name = file.relative_to(sound).as_posix()
        with pytest.raises(IndexStateError) as error:
            Index.open(sound, WordEmbedder())
        assert name in str(error.value)
        assert any(name in problem for problem in problems(sound))
    finally:
        aside.replace(file)


def problems(path: Path) -> list[str]:
    try:
        return verify_index(path).problems
    except IndexStateError as error:
        return [str(error)]


def damaged_copy(sound: Path, tmp_path: Path, file: Path, content: bytes) -> Path:
    path = tmp_path / "damaged"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(sound, path)
    (path / file.relative_to(sound)).write_bytes(content)
    return path


def altered(content: bytes, place: int, flip: int) -> bytes:
    return content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :]
