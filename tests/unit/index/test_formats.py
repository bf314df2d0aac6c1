"""Indexes that earlier versions wrote, and today's, which later versions must read: tests/data/write_index.py."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fake_embedder import SplittingEmbedder, WordEmbedder, documents

from lusirag.errors import InvalidArgumentError
from lusirag.index import Index
from lusirag.index.manifest import FORMAT_VERSION
from lusirag.types import Document

DATA = Path(__file__).parents[2] / "data"


def test_the_first_format(tmp_path: Path) -> None:
    """Written before there was lexical search; changed, it stays an index without it."""
    path = shutil.copytree(DATA / "index-format-1", tmp_path / "old")
    index = Index.open(path, SplittingEmbedder())
    assert index.verify().problems == []
    assert len(index) == 10
    assert index.get(["long"])[0].metadata == {"year": 1948, "tags": ["a", "b"]}
    assert index.search("text 1 version 1", k=1)[0].id == "d1"
    with pytest.raises(InvalidArgumentError, match="without a lexical part"):
        index.search("text", mode="lexical")
    index.add(documents(range(20, 25)))
    index.compact()
    again = Index.open(path, SplittingEmbedder())
    assert (len(again), again.verify().problems) == (15, [])
    assert again.info()["vectors"] == "float32"


@pytest.mark.parametrize("version", range(2, FORMAT_VERSION + 1))
def test_formats_with_lexical_and_approximate_search(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lusirag.index.ann.nearest.EXACT_ROWS", 16)
    path = shutil.copytree(DATA / f"index-format-{version}", tmp_path / "old")
    with Index.open(path, WordEmbedder()) as index:
        assert index.verify().problems == []
        facts = index.info()
        assert (facts["documents"], facts["deleted"], facts["vectors"]) == (80, 2, ("float32", "float16")[version > 2])
        assert facts["ann"]["structures"] == {"HNSW32,SQ8": 1, "exact": 1}
        assert {each["language"] for each in facts["ann"]["languages"]} >= {"en", "de", "zh-Hant"}
        [long] = index.get(["long"])
        assert long == Document("long", long.text, "title", "en", "here", {"year": 1948, "tags": ["a", "b"]})
        assert len(long.text.split()) == 20
        assert [hit.id for hit in index.search("text 1 version 1", k=1)] == ["d1"]
        assert index.search("bee", mode="lexical")[0].document_id == "long"
        assert index.search("70", k=1, mode="lexical")[0].id == "d70"
        assert index.search("x", where="year = 1948", k=1)[0].id.startswith("long#")
        index.add(documents(range(100, 110)))
        index.compact()
    with Index.open(path, WordEmbedder()) as again:
        assert (len(again), again.verify().problems) == (90, [])
        assert again.info()["vectors"] == facts["vectors"]
        assert again.search("70", k=1, mode="lexical")[0].id == "d70"
