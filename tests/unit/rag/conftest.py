from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lusirag import Embedder, Index
from tests.unit.rag.toy import LAWS, ToyEmbedder


@pytest.fixture(scope="session")
def mini() -> Embedder:
    """The embedded model."""
    return Embedder.load("lusifer-mini", device="cpu")


@pytest.fixture
def embedder() -> ToyEmbedder:
    return ToyEmbedder()


@pytest.fixture
def laws(tmp_path: Path, embedder: ToyEmbedder) -> Iterator[Index]:
    """Six documents in five languages."""
    with Index.create(tmp_path / "laws", embedder) as index:
        index.add(LAWS)
        yield index
