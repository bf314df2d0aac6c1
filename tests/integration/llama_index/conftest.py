"""A tokenizer for LlamaIndex that asks no network, and an embedding model that needs no files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from llama_index.core import Settings
from llama_index.core.llms import MockLLM

sys.path.insert(0, str(Path(__file__).parent))

from llama_fakes import WordEncoder

from llama_index_lusirag import LusiferEmbedding, LusiragVectorStore


@pytest.fixture(autouse=True)
def offline_settings(monkeypatch: pytest.MonkeyPatch, embedding: LusiferEmbedding) -> None:
    import llama_index.core

    monkeypatch.setattr(llama_index.core, "global_tokenizer", str.split)
    monkeypatch.setattr(Settings, "_tokenizer", str.split)
    monkeypatch.setattr(Settings, "_embed_model", embedding)
    monkeypatch.setattr(Settings, "_llm", MockLLM())


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder()


@pytest.fixture
def embedding(encoder: WordEncoder) -> LusiferEmbedding:
    return LusiferEmbedding(encoder)


@pytest.fixture
def store(tmp_path: Path) -> LusiragVectorStore:
    return LusiragVectorStore(tmp_path / "store")
