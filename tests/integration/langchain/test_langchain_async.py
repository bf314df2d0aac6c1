"""The async methods: the same results, an event loop that goes on, models that are asked by their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

from langchain_core.documents import Document
from langchain_fakes import AsyncEmbeddings, CountingEmbeddings, FakeEmbedder, WordEmbedder

from langchain_lusirag import LusiragRetriever, LusiragVectorStore
from lusirag.types import Vectors

TEXTS = ["first", "second", "third", "fourth"]
BOOKS = [Document(id=name, page_content=text, metadata={"n": name}) for name, text in zip("abcd", TEXTS, strict=True)]


async def test_async_methods_find_the_same(embeddings: CountingEmbeddings) -> None:
    books = LusiragVectorStore.from_documents(BOOKS, embeddings)
    vector = embeddings.embed_query("first")
    assert await books.asimilarity_search("first", k=3) == books.similarity_search("first", k=3)
    assert await books.asimilarity_search_by_vector(vector, k=3) == books.similarity_search("first", k=3)
    assert await books.amax_marginal_relevance_search("first", k=3) == books.max_marginal_relevance_search("first", k=3)
    relevance = await books.asimilarity_search_with_relevance_scores("first", k=3)
    assert relevance == books.similarity_search_with_relevance_scores("first", k=3)
    assert await books.as_retriever(search_kwargs={"k": 2}).ainvoke("first") == books.similarity_search("first", k=2)
    other = await LusiragVectorStore.afrom_documents(BOOKS, embeddings)
    assert await other.aget_by_ids(list("abcd")) == BOOKS
    words = await LusiragVectorStore.afrom_texts(["ant", "bee"], WordEmbedder(), ids=["1", "2"])  # type: ignore[arg-type]
    assert [d.id for d in await words.asimilarity_search("bee", mode="lexical")] == ["2"]


async def test_a_model_with_async_methods_is_asked_by_them(tmp_path: Path) -> None:
    embeddings = AsyncEmbeddings()
    store = LusiragVectorStore(embeddings, tmp_path / "index")
    await store.aadd_texts(["one", "two", "one"], ids=["1", "2", "3"])
    assert (embeddings.asked, embeddings.embedded) == (["one", "two"], [])
    assert [document.id for document in await store.asimilarity_search("two", k=1)] == ["2"]
    assert embeddings.asked[2:] == ["two"]
    await store.aadd_texts(["one", "zwei"], ids=["1", "2"])
    assert embeddings.asked[3:] == ["zwei"]  # what has not changed is not embedded again
    assert store.similarity_search_by_vector(embeddings.embed_query("zwei"), k=1)[0].id == "2"
    await asyncio.to_thread(store.add_texts, ["three"])
    assert embeddings.embedded == ["three"]


async def test_the_event_loop_may_write_itself_while_a_model_is_asked(tmp_path: Path) -> None:
    class Waiting(AsyncEmbeddings):
        async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
            started.set()
            await asyncio.sleep(0.05)
            return await super().aembed_documents(texts)

    started = asyncio.Event()
    store = LusiragVectorStore(Waiting(), tmp_path / "index")
    adding = asyncio.create_task(store.aadd_texts(["one"], ids=["1"]))
    await started.wait()
    store.add_texts(["two"], ids=["2"])
    await adding
    assert len(store.get_by_ids(["1", "2"])) == 2


class WaitingEmbedder(FakeEmbedder):
    """Embeds only when the event loop has done something meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.get_running_loop()
        self.waited = 0

    def wait(self) -> None:
        moved = threading.Event()
        self.loop.call_soon_threadsafe(moved.set)
        assert moved.wait(5), "the event loop stands still"
        self.waited += 1

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        self.wait()
        return super().encode_queries(texts, instruction=instruction)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        self.wait()
        return super().encode_documents(texts)


async def test_the_event_loop_goes_on_while_texts_are_embedded(tmp_path: Path) -> None:
    embedder = WaitingEmbedder()
    store = LusiragVectorStore(embedder, tmp_path / "index")
    await store.aadd_texts(["one"])
    await store.asimilarity_search("one")
    await store.asimilarity_search("one", instruction="find")
    await store.amax_marginal_relevance_search("one")
    await store.embeddings.aembed_query("one")
    await store.embeddings.aembed_documents(["one"])
    await LusiragRetriever(index=store).ainvoke("one")
    assert embedder.waited == 7
