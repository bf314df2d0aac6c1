from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from langchain_fakes import CountingEmbeddings

from langchain_lusirag import LusiragVectorStore
from lusirag.errors import LusiragError


@pytest.fixture
def embeddings() -> CountingEmbeddings:
    return CountingEmbeddings()


@pytest.fixture
def store(tmp_path: Path, embeddings: CountingEmbeddings) -> LusiragVectorStore:
    return LusiragVectorStore(embeddings, tmp_path / "index")


@pytest.fixture
def message() -> Callable[..., str]:
    """What a call is refused with: one line of a LusiragError."""

    def refused(function: Callable[..., Any], *arguments: Any, **options: Any) -> str:
        with pytest.raises(LusiragError) as caught:
            function(*arguments, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return refused
