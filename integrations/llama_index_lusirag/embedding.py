"""`LusiferEmbedding`: an embedding model of lusirag as LlamaIndex calls one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.callbacks import CallbackManager

from lusirag.errors import InvalidArgumentError
from lusirag.types import Encoder, Vectors

Embedding = list[float]

_COLLECTION = "embeddings"
_VECTOR = "vector"
_LARGEST_BATCH = 2048


class LusiferEmbedding(BaseEmbedding):
    """Embeds questions and documents, each in its own template of the model.

    Async methods embed in a thread, so that the event loop goes on. With an `embeddings_cache` the vectors of questions
    and documents, of other models and of other instructions are kept apart; LlamaIndex itself would mix them up.

    Args:
        model_name: an embedded name ("lusifer-mini"), a model directory, a hub id, or an `Embedder` that is loaded.
        device: "cpu", "cuda", "cuda:1", ...; the first GPU when there is one, else the CPU.
        instruction: what to search for, in words, for models trained with instructions; for questions alone.
        embed_batch_size: texts that are handed over at once, at most 2048; the model sorts them by length and cuts
            them into batches of its own.
        batch_tokens: most tokens that run at once, padding included; the runtime's own choice when None.
        progress: called as progress(done, total) while documents are embedded, for each `embed_batch_size` of them.
        callback_manager, num_workers, embeddings_cache, rate_limiter: LlamaIndex's own.

    Raises:
        ModelError: no such model, or its files are damaged or incomplete.
        InvalidArgumentError: no such device, or a batch size out of range.
    """

    device: str | None = Field(default=None)
    instruction: str | None = Field(default=None)
    batch_tokens: int | None = Field(default=None)
    progress: Any = Field(default=None, exclude=True)
    _embedder: Encoder = PrivateAttr()

    def __init__(
        self,
        model_name: str | Path | Encoder = "lusifer-mini",
        *,
        device: str | None = None,
        instruction: str | None = None,
        embed_batch_size: int = 256,
        batch_tokens: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        callback_manager: CallbackManager | None = None,
        num_workers: int | None = None,
        embeddings_cache: Any = None,
        rate_limiter: Any = None,
    ) -> None:
        if not 1 <= embed_batch_size <= _LARGEST_BATCH:
            raise InvalidArgumentError(f"embed_batch_size is {embed_batch_size}; it must be from 1 to {_LARGEST_BATCH}")
        embedder = _loaded(model_name, device, batch_tokens)
        super().__init__(  # type: ignore[call-arg]
            model_name=embedder.name,
            device=device,
            instruction=instruction,
            embed_batch_size=embed_batch_size,
            batch_tokens=batch_tokens,
            progress=progress,
            callback_manager=callback_manager or CallbackManager([]),
            num_workers=num_workers,
            embeddings_cache=embeddings_cache,
            rate_limiter=rate_limiter,
        )
        self._embedder = embedder

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises this class."""
        return "LusiferEmbedding"

    @property
    def embedder(self) -> Encoder:
        """The model itself."""
        return self._embedder

    def get_query_embedding(self, query: str) -> Embedding:
        """The vector of a question."""
        if self.embeddings_cache is None:
            return super().get_query_embedding(query)
        return self._remembered("query", [query], lambda missing: [self._uncached().get_query_embedding(missing[0])])[0]

    async def aget_query_embedding(self, query: str) -> Embedding:
        """The vector of a question; the event loop goes on meanwhile."""
        if self.embeddings_cache is None:
            return await super().aget_query_embedding(query)
        return await asyncio.to_thread(self.get_query_embedding, query)

    def get_text_embedding(self, text: str) -> Embedding:
        """The vector of a document."""
        if self.embeddings_cache is None:
            return super().get_text_embedding(text)
        return self._remembered("text", [text], lambda missing: [self._uncached().get_text_embedding(missing[0])])[0]

    async def aget_text_embedding(self, text: str) -> Embedding:
        """The vector of a document; the event loop goes on meanwhile."""
        if self.embeddings_cache is None:
            return await super().aget_text_embedding(text)
        return await asyncio.to_thread(self.get_text_embedding, text)

    def _get_query_embedding(self, query: str) -> Embedding:
        vectors = self._embedder.encode_queries([query], instruction=self.instruction)
        return _as_lists(vectors)[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        encode: Any = self._embedder.encode_documents
        return _as_lists(encode(texts) if self.progress is None else encode(texts, progress=self.progress))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    def _get_text_embeddings_cached(self, texts: list[str]) -> list[Embedding]:
        return self._remembered("text", texts, self._get_text_embeddings)

    async def _aget_text_embeddings_cached(self, texts: list[str]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_text_embeddings_cached, texts)

    def _remembered(
        self, role: str, texts: Sequence[str], embed: Callable[[list[str]], list[Embedding]]
    ) -> list[Embedding]:
        """The vectors of texts, those that the cache has from there; the others are embedded and put in."""
        cache: Any = self.embeddings_cache
        about = [role, self._embedder.fingerprint, self.instruction if role == "query" else None]
        keys = ["\n".join([*(str(part) for part in about if part is not None), text]) for text in texts]
        found: dict[str, Any] = {key: cache.get(key=key, collection=_COLLECTION) for key in keys}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if found[key] is None}
        if missing:
            for key, vector in zip(missing, embed(list(missing.values())), strict=True):
                found[key] = {_VECTOR: vector}
                cache.put(key=key, val=found[key], collection=_COLLECTION)
        return [found[key][_VECTOR] for key in keys]

    def _uncached(self) -> BaseEmbedding:
        """This object for LlamaIndex's own way (events, rate limit) past the cache."""
        return self.model_copy(update={"embeddings_cache": None})


def _loaded(model: str | Path | Encoder, device: str | None, batch_tokens: int | None) -> Encoder:
    if isinstance(model, str | Path):
        from lusirag import Embedder

        return Embedder.load(model, device=device, batch_tokens=batch_tokens)
    if not isinstance(model, Encoder):
        raise InvalidArgumentError(
            f"model_name is {model!r}; give a name such as 'lusifer-mini', a directory, a hub id or an Embedder"
        )
    if device is not None or batch_tokens is not None:
        raise InvalidArgumentError(
            f"the model {model.name!r} is loaded already; device and batch_tokens are options of Embedder.load"
        )
    return model


def _as_lists(vectors: Vectors) -> list[Embedding]:
    lists: list[Embedding] = vectors.tolist()
    return lists
