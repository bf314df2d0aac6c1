"""Holding up what an index does in the background, and looking at what it has left."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from lusirag.index import Index, maintenance
from lusirag.index.staging import STAGING_FOLDER
from lusirag.types import Document

PATIENCE = 60  # seconds that nothing here takes
HNSW = "HNSW32,SQ8"


class Gate:
    """Holds up what is prepared in the background, after it was written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.reached, self.open, self.passed = threading.Event(), threading.Event(), 0
        original = getattr(maintenance, name)

        def held(*arguments: Any) -> Any:
            result = original(*arguments)
            self.passed += 1
            self.reached.set()
            assert self.open.wait(PATIENCE)
            return result

        monkeypatch.setattr(maintenance, name, held)


def texts(index: Index) -> dict[str, str]:
    """What a search finds, by id."""
    hits = index.search("anything", k=100_000)
    assert len({hit.id for hit in hits}) == len(hits) == len(index)
    return {hit.id: hit.text for hit in hits}


def expected(*changes: list[Document]) -> dict[str, str]:
    return {each.id: each.text for change in changes for each in change}


def expect_sound(index: Index, wanted: dict[str, str]) -> None:
    assert texts(index) == wanted
    again = Index.open(index.path, index.embedder, read_only=True)
    assert texts(again) == wanted
    assert again.info()["segments"] == index.info()["segments"]
    assert index.verify().problems == []
    assert not (index.path / STAGING_FOLDER).exists()
    assert len(list((index.path / "segments").iterdir())) == index.info()["segments"]


def structures(index: Index) -> dict[str, int]:
    found: dict[str, int] = index.info()["ann"]["structures"]
    return found
