"""What a repair brings back, and what it refuses to lose."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fake_embedder import WordEmbedder, documents

from lusirag.errors import IndexStateError
from lusirag.index import Index, repair_index, verify_index
from lusirag.types import Document

QUERIES = ("text 3 version 0", "7", "cat 1")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "index"
    with Index.create(path, WordEmbedder(), chunk_tokens=8, overlap=0) as index:
        long = Document("long", "one cat. two dog. three ant. four bee. five eel. six.", "title", "en", "s", {"n": 1})
        index.add([*documents(range(30)), long])
        index.add(documents(range(5), version=1))
        index.delete(["d7", "d2"])
    return path


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path / "copy")
    return tmp_path / "copy"


def answers(path: Path) -> list[object]:
    with Index.open(path, WordEmbedder()) as index:
        found = [index.search_many(QUERIES, 50, mode) for mode in ("dense", "lexical", "hybrid")]
        return [found, sorted(index.get([f"d{n}" for n in range(30)] + ["long"]), key=lambda each: each.id)]


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x55
    file.unlink()
    file.write_bytes(content)


@pytest.mark.parametrize("names", ["keys", "postings", "lengths", "vectors", "keys postings vectors"])
@pytest.mark.parametrize("segment", ["000001", "000002"])
def test_what_follows_from_documents_is_rebuilt(copy: Path, sound: Path, segment: str, names: str) -> None:
    files = [f"{name}.arrow" for name in names.split()]
    for name in files:
        flip(copy / "segments" / segment / name)
    report = repair_index(copy, WordEmbedder())
    assert report.rebuilt == [f"segments/{segment}/{name}" for name in files]
    assert (report.lost, report.returned) == (0, 0)
    assert verify_index(copy).problems == []
    assert answers(copy) == answers(sound)
    with Index.open(copy, WordEmbedder()) as index:
        again = index.add(documents([20], version=0))
        assert again.replaced + again.unchanged == 1
        assert (again.unchanged == 0) == (segment == "000001" and "keys" in names)


def test_a_missing_file_is_rebuilt_and_a_sound_index_left_alone(copy: Path, sound: Path) -> None:
    before = Index.open(copy, WordEmbedder()).info()
    assert repair_index(copy, WordEmbedder()).rebuilt == []
    assert Index.open(copy, WordEmbedder()).info() == before
    (copy / "segments" / "000001" / "vectors.arrow").unlink()
    repair_index(copy, WordEmbedder())
    assert answers(copy) == answers(sound)


def test_lost_documents_are_lost_only_when_accepted(copy: Path) -> None:
    flip(copy / "segments" / "000001" / "documents.arrow")
    before = (copy / "manifest.json").read_bytes()
    with pytest.raises(IndexStateError, match="25 documents are lost"):
        repair_index(copy, WordEmbedder())
    assert (copy / "manifest.json").read_bytes() == before
    report = repair_index(copy, WordEmbedder(), accept_loss=True)
    assert report.lost == 25
    assert verify_index(copy).problems == []
    assert len(Index.open(copy, WordEmbedder())) == 4  # d0, d1, d3, d4 in their second version


def test_deleted_documents_come_back_only_when_accepted(copy: Path) -> None:
    [tombstones] = (copy / "segments" / "000001").glob("tombstones-*.arrow")
    flip(tombstones)
    with pytest.raises(IndexStateError, match="up to 6 deleted ones"):
        repair_index(copy, WordEmbedder())
    repair_index(copy, WordEmbedder(), accept_loss=True)
    assert verify_index(copy).problems == []
    index = Index.open(copy, WordEmbedder())
    texts = {document.id: document.text for document in index.get([f"d{n}" for n in range(10)])}
    assert texts["d3"] == "text 3 version 1"  # replaced, so its older version stays away
    assert texts["d7"] == "text 7 version 0"  # deleted, and nothing knows that any more
    assert len(index) == 31


def test_vectors_need_the_model_of_the_index(copy: Path) -> None:
    flip(copy / "segments" / "000002" / "vectors.arrow")
    other = WordEmbedder()
    other.fingerprint = "f2"
    with pytest.raises(IndexStateError, match="cannot be compared"):
        repair_index(copy, other)
    assert repair_index(copy, WordEmbedder()).rebuilt


def test_a_structure_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lusirag.index.ann.kinds.SMALLEST_SEGMENT", 64)
    monkeypatch.setattr("lusirag.index.ann.nearest.EXACT_ROWS", 16)
    with Index.create(tmp_path / "index", WordEmbedder(), ann="hnsw") as index:
        index.add(documents(range(300)))
        expected = index.search("text 3 version 0", k=5)
        [structure] = index.path.rglob("*.faiss")
    flip(structure)
    report = repair_index(tmp_path / "index", WordEmbedder())
    assert report.rebuilt == [structure.relative_to(tmp_path / "index").as_posix()]
    with Index.open(tmp_path / "index", WordEmbedder()) as index:
        assert index.info()["ann"]["structures"] == {"HNSW32,SQ8": 1}
        assert index.search("text 3 version 0", k=5) == expected
    assert verify_index(tmp_path / "index").problems == []
