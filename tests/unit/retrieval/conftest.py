from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lusirag.index import Index
from tests.cross_encoder import write_cross_encoder
from tests.unit.index.fake_embedder import SplittingEmbedder


@pytest.fixture(scope="session")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random cross-encoder with one output."""
    return write_cross_encoder(tmp_path_factory.mktemp("cross-encoder"))


@pytest.fixture
def embedder() -> SplittingEmbedder:
    """Reads twelve words of a passage."""
    return SplittingEmbedder()


@pytest.fixture
def index(tmp_path: Path, embedder: SplittingEmbedder) -> Iterator[Index]:
    """An empty one."""
    with Index.create(tmp_path / "index", embedder, overlap=0) as index:
        yield index
