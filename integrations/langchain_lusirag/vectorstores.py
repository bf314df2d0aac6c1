"""`LusiragVectorStore`: an index directory as a LangChain vector store."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from langchain_lusirag.documents import chosen_ids, from_hit, from_stored, to_batches
from langchain_lusirag.encoding import LangChainEncoder, as_embeddings, as_encoder
from langchain_lusirag.filters import Filter, where_of
from langchain_lusirag.searching import Search, found_by_vector, found_by_words
from lusirag.errors import InvalidArgumentError
from lusirag.index import Index
from lusirag.index.manifest import MANIFEST_FILE
from lusirag.types import Encoder

Scored = tuple[Document, float]


class LusiragVectorStore(VectorStore):
    """Documents in an index directory, found by meaning, by words, or both, in any language.

    What is added is durable when the method returns, and a document comes back equal, metadata included. Any number of
    threads may use a store, and any number of processes may read one directory; one process at a time writes, and the
    others see that after `refresh`.

    Searches take, beside k:

    - filter: a function of a document or of its metadata; a dict ($eq $neq $gt $gte $lt $lte $in $nin $and $or $not);
      or SQL, for which the names of columns are in metadata.py. Dicts and SQL are exact and quick; a function is
      called with one candidate after the other, best first, until there are k.
    - languages: BCP 47 tags; only passages in one of them.
    - mode: "dense", "lexical" or "hybrid"; the latter two need a model with a tokenizer, such as LusiferEmbeddings.
    - instruction, fusion: as for `Index.search`.

    Args:
        embedding: LusiferEmbeddings, any LangChain embedding model, or a lusirag `Embedder`.
        path: the index directory, made when there is none. None keeps the documents in a temporary directory for as
            long as the store lives.
        chunk_tokens: for a new index: 0 keeps documents as they are, since LangChain's splitters have split them, and
            what is longer than the model reads is cut; None or a number splits them as `Index.create` does, and hits
            are passages with ids such as "<document id>#1".
        ann, memory, vectors: for a new index, as for `Index.create`.
        background: merge and build search structures after a change has returned, as for `Index.open`; not in a
            temporary directory.

    Raises:
        IndexStateError: the directory holds something else, or an index that was made with another model.
        InvalidArgumentError: no embedding model, or an argument that is out of range.
    """

    def __init__(
        self,
        embedding: Embeddings | Encoder,
        path: str | Path | None = None,
        *,
        chunk_tokens: int | None = 0,
        ann: str = "auto",
        memory: str | int | None = None,
        vectors: str = "float16",
        background: bool = False,
    ) -> None:
        self._embeddings = as_embeddings(embedding)
        self._writing = threading.Lock()
        self._encoder = as_encoder(self._embeddings)
        self._background = background and path is not None
        directory = self._temporary() if path is None else Path(path)
        if (directory / MANIFEST_FILE).exists():
            self.index = Index.open(directory, self._encoder, background=self._background)
        else:
            self.index = Index.create(
                directory, self._encoder, chunk_tokens=chunk_tokens, ann=ann, memory=memory,
                vectors=vectors,  # type: ignore[arg-type]
                background=self._background,
            )  # fmt: skip

    def refresh(self) -> None:
        """Open the index again, to see what other processes have written."""
        with self._writing:
            self.index = Index.open(self.index.path, self._encoder, background=self._background)

    @property
    def embeddings(self) -> Embeddings:
        """The embedding model as LangChain sees it."""
        return self._embeddings

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | Encoder,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **options: Any,
    ) -> Self:
        """A store with these texts; `options` are those of the class, such as path."""
        store = cls(embedding, **options)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **options: Any,
    ) -> list[str]:
        """Add texts; as `add_documents`."""
        return self.add_documents(_documents(texts, metadatas), ids=ids, **options)

    def add_documents(
        self, documents: list[Document], *, ids: Sequence[str | None] | None = None, **options: Any
    ) -> list[str]:
        """Add documents, or replace those with the same ids; what has not changed is not embedded again.

        Args:
            documents: none of them is changed.
            ids: one for each; a document without one keeps its own, or gets a new UUID.
            options: batch_size is taken, because LangChain passes it, and does nothing.

        Returns:
            The ids, in the order of the documents.

        Raises:
            InvalidArgumentError: a text that is blank, metadata that JSON cannot hold (beside JSON's values, tuples,
                dates and datetimes are kept), or another option; nothing was added.
            StorageError: the disk is full or cannot be written.
        """
        _refuse_others(options, ("batch_size",))
        return self._add(documents, chosen_ids(documents, ids))

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **options: Any,
    ) -> list[str]:
        """As `add_documents`, in a thread."""
        return await self.aadd_documents(_documents(texts, metadatas), ids=ids, **options)

    async def aadd_documents(
        self, documents: list[Document], *, ids: Sequence[str | None] | None = None, **options: Any
    ) -> list[str]:
        """As `add_documents`, in a thread; an embedding model with an async method of its own is asked by that."""
        _refuse_others(options, ("batch_size",))
        chosen = chosen_ids(documents, ids)
        if type(self._embeddings).aembed_documents is Embeddings.aembed_documents:
            return await asyncio.to_thread(self._add, documents, chosen)
        # NOTE: before the lock is taken: whoever waits for it may be the thread of this event loop.
        texts = await asyncio.to_thread(self._new_texts, documents, chosen)
        vectors = await self._embeddings.aembed_documents(texts) if texts else []
        return await asyncio.to_thread(self._add, documents, chosen, dict(zip(texts, vectors, strict=True)))

    def delete(self, ids: list[str] | None = None, *, filter: Filter | None = None, **options: Any) -> bool:
        """Delete documents; unknown ids are no error.

        Args:
            ids: which; all, or all that `filter` lets through, when None.
            filter: a dict or SQL; among `ids` when both are given.
            options: none.
        """
        _refuse_others(options, ())
        where = where_of(filter, self._columns)
        with self._writing:
            if ids is None and where is None:
                where = "id IS NOT NULL"
            if len(self.index):
                self.index.delete(None if ids is None else list(ids), where=where)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Whole documents by id, in the order asked for; those that are not there are left out."""
        return [from_stored(document) for document in self.index.get(ids)]

    def similarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:
        """The k best documents for a query, best first; `options` as above."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **options)]

    async def asimilarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:
        """As `similarity_search`."""
        return [document for document, _ in await self.asimilarity_search_with_score(query, k, **options)]

    def similarity_search_with_score(self, query: str, k: int = 4, **options: Any) -> list[Scored]:
        """The same with scores, larger ones better: in dense mode the cosine, from -1 to 1."""
        search = Search.of(k, options)
        if search.mode != "dense":
            return self._by_words(query, search)
        return self._by_vector(self._query_vector(query, search), search)

    async def asimilarity_search_with_score(self, query: str, k: int = 4, **options: Any) -> list[Scored]:
        """As `similarity_search_with_score`; the embedding model is asked by its async method."""
        search = Search.of(k, options)
        if search.mode != "dense":
            return await asyncio.to_thread(self._by_words, query, search)
        return await asyncio.to_thread(self._by_vector, await self._aquery_vector(query, search), search)

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, **options: Any
    ) -> list[Scored]:
        """The k best documents for a query vector, with their cosines."""
        return self._by_vector(embedding, Search.dense(k, options))

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **options: Any) -> list[Document]:
        """The k best documents for a query vector."""
        return [document for document, _ in self.similarity_search_with_score_by_vector(embedding, k, **options)]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        """k documents that are relevant and unlike each other, chosen among the fetch_k best; dense mode only.

        The choice is LangChain's own, so that it is the same as by its other stores; lambda_mult goes from 0 (unlike
        each other) to 1 (relevant). `LusiragRetriever(diversity=...)` chooses on a scale that is the same for every
        model.
        """
        vector = self._query_vector(query, Search.dense(fetch_k, options))
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, **options)

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        """As `max_marginal_relevance_search`."""
        vector = await self._aquery_vector(query, Search.dense(fetch_k, options))
        return await self.amax_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, **options)

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, for a query vector."""
        index = self.index.pinned()
        hits = found_by_vector(index, embedding, Search.dense(fetch_k, options))
        chosen = maximal_marginal_relevance(
            np.array(embedding, dtype=np.float32), list(index.vectors(hits)), lambda_mult=lambda_mult, k=k
        )
        return [from_hit(hits[at]) for at in chosen]

    def _similarity_search_with_relevance_scores(self, query: str, k: int = 4, **options: Any) -> list[Scored]:
        _refuse_lexical(options)
        return super()._similarity_search_with_relevance_scores(query, k, **options)

    async def _asimilarity_search_with_relevance_scores(self, query: str, k: int = 4, **options: Any) -> list[Scored]:
        _refuse_lexical(options)
        return await super()._asimilarity_search_with_relevance_scores(query, k, **options)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """Cosines and hybrid scores are at most 1; a cosine below 0 is as irrelevant as 0."""
        return lambda score: min(max(score, 0.0), 1.0)

    def _add(
        self, documents: list[Document], ids: list[str], vectors: dict[str, list[float]] | None = None
    ) -> list[str]:
        """Add documents under their ids; `vectors` are of texts that are embedded already."""
        with self._writing:
            batches = to_batches(documents, ids, self._columns())
            if vectors and isinstance(self._encoder, LangChainEncoder):
                with self._encoder.knowing(vectors):
                    self.index.add(batches)
            else:
                self.index.add(batches)
        return ids

    def _new_texts(self, documents: list[Document], ids: list[str]) -> list[str]:
        """The texts of documents that the index does not hold as they are, each once, after all were checked."""
        to_batches(documents, ids, {})
        stored = {document.id: document for document in self.get_by_ids(ids)}
        return list(
            dict.fromkeys(
                document.page_content
                for document, name in zip(documents, ids, strict=True)
                if stored.get(name) != document.model_copy(update={"id": name})
            )
        )

    def _by_vector(self, embedding: list[float], search: Search) -> list[Scored]:
        hits = found_by_vector(self.index.pinned(), embedding, search)
        return [(from_hit(hit), hit.score) for hit in hits]

    def _by_words(self, query: str, search: Search) -> list[Scored]:
        instruction = search.instruction or getattr(self._embeddings, "query_instruction", None)
        hits = found_by_words(self.index.pinned(), query, search, instruction)
        return [(from_hit(hit), hit.score) for hit in hits]

    def _query_vector(self, query: str, search: Search) -> list[float]:
        if search.instruction is None:
            return self._embeddings.embed_query(query)
        vector: list[float] = self._encoder.encode_queries([query], instruction=search.instruction)[0].tolist()
        return vector

    async def _aquery_vector(self, query: str, search: Search) -> list[float]:
        if search.instruction is None:
            return await self._embeddings.aembed_query(query)
        return await asyncio.to_thread(self._query_vector, query, search)

    def _columns(self) -> dict[str, str]:
        columns: dict[str, str] = self.index.info()["columns"]
        return columns

    def _temporary(self) -> Path:
        directory = Path(tempfile.mkdtemp(prefix="lusirag-"))
        weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        return directory


def _documents(texts: Iterable[str], metadatas: Sequence[dict[str, Any]] | None) -> list[Document]:
    found = list(texts)
    if metadatas and len(metadatas) != len(found):
        raise InvalidArgumentError(f"{len(metadatas)} metadatas were given for {len(found)} texts; give one for each")
    return [
        Document(page_content=text, metadata=metadata)
        for text, metadata in zip(found, metadatas or [{} for _ in found], strict=True)
    ]


def _refuse_others(options: dict[str, Any], allowed: Sequence[str]) -> None:
    if unknown := [name for name in options if name not in allowed]:
        takes = f"; it takes {', '.join(allowed)}" if allowed else ""
        raise InvalidArgumentError(f"there is no option {unknown[0]!r} here{takes}")


def _refuse_lexical(options: dict[str, Any]) -> None:
    if options.get("mode") == "lexical":
        raise InvalidArgumentError("mode is 'lexical', whose scores have no upper limit; use 'dense' or 'hybrid' here")
