from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from books import BOOKS
from fake_embedder import FakeEmbedder

from lusirag.index import Index


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def index(tmp_path: Path, embedder: FakeEmbedder) -> Iterator[Index]:
    with Index.create(tmp_path / "index", embedder) as index:
        yield index


@pytest.fixture(scope="session")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """BOOKS in two segments; not to be changed."""
    with Index.create(tmp_path_factory.mktemp("books") / "index", FakeEmbedder(), identify_languages=False) as index:
        index.add(BOOKS[:5])
        index.add(BOOKS[5:])
        assert index.info()["segments"] == 2
        yield index
