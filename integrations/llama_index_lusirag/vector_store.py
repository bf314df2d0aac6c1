"""`LusiragVectorStore`: an index directory as LlamaIndex's vector store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from llama_index_lusirag.columns import REF_DOC, Layout
from llama_index_lusirag.encoder import OutsideModel, load_model
from llama_index_lusirag.filters import EVERYTHING, where_of
from llama_index_lusirag.nodes import node_of, table_of
from llama_index_lusirag.querying import Question, ask
from lusirag.errors import IndexStateError, InvalidArgumentError
from lusirag.index import Index
from lusirag.types import Encoder


class LusiragVectorStore(BasePydanticVectorStore):
    """Nodes and their vectors in a directory; every change is durable when its method returns.

    The directory is an index of lusirag: `lusirag info`, `verify`, `compact` and, with `embedder`, `search` work on it.
    LlamaIndex embeds, so any embedding model will do. One process writes at a time, any number reads; an object sees
    the state in which it was opened and its own changes. Async methods work in a thread.

    Args:
        path: the directory; an index that is there is opened, else the first nodes make one.
        embedder: the model that LlamaIndex embeds with, where it is one of lusirag (an `Embedder`, the `embedder` of a
            `LusiferEmbedding`); it is recorded, so that lusirag itself can search the index by meaning.
        identify_languages: of nodes whose metadata has no "language", for `languages` in a query.
        ann, memory, vectors: of a new index, as for `Index.create`.
        background: merge and build search structures after a change has returned, as for `Index.open`.

    Raises:
        IndexStateError: the directory is no index, is damaged, or holds documents that are no nodes of LlamaIndex.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    flat_metadata: bool = False
    path: str
    identify_languages: bool = Field(default=True)
    ann: str = Field(default="auto")
    memory: str | int | None = Field(default=None)
    vectors: str = Field(default="float16")
    background: bool = Field(default=False)
    _embedder: Encoder | None = PrivateAttr(default=None)
    _index: Index | None = PrivateAttr(default=None)
    _layout: Layout = PrivateAttr(default_factory=lambda: Layout({}))
    _lock: Any = PrivateAttr(default_factory=threading.RLock)

    def __init__(
        self,
        path: str | Path,
        *,
        embedder: Encoder | None = None,
        identify_languages: bool = True,
        ann: str = "auto",
        memory: str | int | None = None,
        vectors: str = "float16",
        background: bool = False,
    ) -> None:
        if embedder is not None and not isinstance(embedder, Encoder):
            raise InvalidArgumentError(
                f"embedder is {embedder!r}; give an Embedder of lusirag, such as LusiferEmbedding(...).embedder"
            )
        super().__init__(  # type: ignore[call-arg]
            path=str(path), identify_languages=identify_languages, ann=ann, memory=memory, vectors=vectors,
            background=background,
        )  # fmt: skip
        self._embedder = embedder
        directory = Path(path)
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            self._open()

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises this class."""
        return "LusiragVectorStore"

    @property
    def client(self) -> Index | None:
        """The index; None before the first nodes are added."""
        return self._index

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Add nodes with their embeddings, or replace those with the same ids; return the ids.

        Raises:
            InvalidArgumentError: a node without an embedding, embeddings of another length than the index has, or a
                node that cannot be stored.
            IndexStateError: another process is writing.
        """
        _refuse(kwargs, "add")
        bare = next((node.node_id for node in nodes if node.embedding is None), None)
        if bare is not None:
            raise InvalidArgumentError(f"the node {bare!r} has no embedding; embed nodes before they are added")
        last = {node.node_id: node for node in nodes}
        if last:
            embeddings = [node.get_embedding() for node in last.values()]
            with self._lock:
                index = self._create(len(embeddings[0])) if self._index is None else self._index
                table = table_of(list(last.values()), Layout(index.info()["columns"]))
                try:
                    index.add(table, vectors=embeddings)
                finally:
                    self._layout = Layout(index.info()["columns"])
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes of a source document."""
        _refuse(delete_kwargs, "delete")
        with self._lock:
            if self._index is not None and self._layout.find(REF_DOC):
                self._remove(self._index, where={REF_DOC: ref_doc_id})

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Delete nodes by id, by a filter, or those of these ids that match.

        Raises:
            InvalidArgumentError: neither is given.
        """
        _refuse(delete_kwargs, "delete_nodes")
        if node_ids is None and filters is None:
            raise InvalidArgumentError("give node_ids, filters or both; clear() deletes all nodes")
        with self._lock:
            if self._index is not None and self._layout:
                where = where_of(self._layout, filters) if filters is not None else None
                self._remove(self._index, ids=node_ids, where=where)

    def clear(self) -> None:
        """Delete all nodes."""
        with self._lock:
            if self._index is not None:
                self._remove(self._index, where=EVERYTHING)

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Nodes by id, in that order, by a filter, or both; all of them when neither is given."""
        if self._index is None or not self._layout:
            return []
        where = EVERYTHING if node_ids is None else None
        if filters is not None:
            where = where_of(self._layout, filters)
        return [node_of(document) for document in self._index.get(node_ids, where=where)]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Find nodes; `Question` says what each mode does.

        Args:
            query: what is asked; empty `node_ids` and `doc_ids` restrict nothing, as in LlamaIndex's retriever.
            kwargs: languages, BCP 47 tags; for mode "mmr" mmr_threshold and mmr_prefetch_factor.

        Raises:
            InvalidArgumentError: a mode, filter or option that is not known, or without the vector or text it needs.
        """
        question = Question.of(query, kwargs)
        if self._index is None or not self._layout:
            return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])
        where = where_of(self._layout, query.filters, node_ids=query.node_ids or None, doc_ids=query.doc_ids or None)
        hits = ask(self._index.pinned(), question, where)
        return VectorStoreQueryResult(
            nodes=[node_of(hit) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.id for hit in hits],
        )

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Nothing to do: the directory holds everything already."""

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As `add`."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """As `delete`."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """As `delete_nodes`."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aclear(self) -> None:
        """As `clear`."""
        await asyncio.to_thread(self.clear)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """As `get_nodes`."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As `query`."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    def _open(self) -> None:
        def load(name: str, dimension: int | None) -> Encoder:
            return load_model(name, dimension, index.info()["dimension"])

        index = Index.open(self.path, self._embedder or load, background=self.background)
        self._layout = Layout(index.info()["columns"])
        if len(index) and not self._layout:
            raise IndexStateError(
                f"the documents of index {self.path} are no nodes of LlamaIndex; search it with LusiragRetriever, "
                "or choose another directory"
            )
        self._index = index

    def _create(self, dimension: int) -> Index:
        self._index = Index.create(
            self.path,
            self._embedder or OutsideModel(dimension),
            chunk_tokens=0,
            identify_languages=self.identify_languages,
            ann=self.ann,
            memory=self.memory,
            vectors=self.vectors,  # type: ignore[arg-type]
            background=self.background,
        )
        return self._index

    def _remove(self, index: Index, **which: Any) -> None:
        try:
            index.delete(**which)
        finally:
            self._layout = Layout(index.info()["columns"])


def _refuse(options: dict[str, Any], method: str) -> None:
    if options:
        raise InvalidArgumentError(f"{method} does not know the option {next(iter(options))!r}; it has none")
