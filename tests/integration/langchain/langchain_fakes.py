"""Embedding models that need no files."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from langchain_core.embeddings import DeterministicFakeEmbedding

sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "index"))

from fake_embedder import FakeEmbedder, WordEmbedder, vectors_of

from lusirag.types import Vectors

__all__ = ["AsyncEmbeddings", "CountingEmbeddings", "FakeEmbedder", "InstructedEmbedder", "WordEmbedder"]


class CountingEmbeddings(DeterministicFakeEmbedding):
    """LangChain's fake, which remembers the passages that it embedded."""

    size: int = 6
    embedded: list[str] = []  # noqa: RUF012

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.embedded.extend(texts)
        return super().embed_documents(texts)


class AsyncEmbeddings(CountingEmbeddings):
    """One whose async methods run on the event loop, as those of a remote service do."""

    asked: list[str] = []  # noqa: RUF012

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        await asyncio.sleep(0)
        assert threading.current_thread() is threading.main_thread()
        self.asked.extend(texts)
        return DeterministicFakeEmbedding.embed_documents(self, texts)

    async def aembed_query(self, text: str) -> list[float]:
        await asyncio.sleep(0)
        assert threading.current_thread() is threading.main_thread()
        self.asked.append(text)
        return self.embed_query(text)


class InstructedEmbedder(FakeEmbedder):
    """Queries are embedded apart from documents, and differently under each instruction."""

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        return vectors_of([f"{instruction}: {text}" for text in texts], self.dimension)
