"""`LusiragRetriever`: an index as a LangChain retriever, with all stages of lusirag's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import run_in_executor
from pydantic import PrivateAttr

from langchain_lusirag.documents import from_hit
from langchain_lusirag.filters import where_of
from langchain_lusirag.reranking import as_reranker
from langchain_lusirag.vectorstores import LusiragVectorStore
from lusirag.errors import InvalidArgumentError
from lusirag.index import Fusion, Index
from lusirag.index.requests import checked_k
from lusirag.retrieval import Reranker, Retriever

_AT_INVOKE = ("k", "mode", "where", "languages", "instruction", "fusion")


class LusiragRetriever(BaseRetriever):
    """Finds passages of an index: by meaning, by words or both, then reranked, grouped and diversified.

    `invoke(query, k=..., languages=...)` takes k, mode, where, languages, instruction and fusion for one call.

    Attributes:
        index: the directory of an index that names a model of lusirag, as those of `lusirag index` do; an open `Index`;
            or a `LusiragVectorStore`.
        k: how many documents.
        mode: "dense", "lexical" or "hybrid".
        where: a dict or SQL, as the filter of `LusiragVectorStore`.
        languages: BCP 47 tags; only passages in one of them.
        instruction, fusion: as for `Index.search`.
        rerank: a cross-encoder by name or directory, a lusirag reranker, or any object with score(query, hits).
        candidates, diversity, group_documents: as for `lusirag.Retriever`.

    Raises:
        InvalidArgumentError: one of these is out of range.
        IndexStateError: the directory holds no index.
        ModelError: the cross-encoder cannot be loaded.
    """

    index: Any
    k: int = 4
    mode: str = "dense"
    where: Any = None
    languages: Sequence[str] | str | None = None  # a str is for the index to refuse, in one line
    instruction: str | None = None
    fusion: Fusion | str = "weighted"
    rerank: Any = None
    candidates: int | None = None
    diversity: float = 0.0
    group_documents: bool = False

    _place: Index | LusiragVectorStore = PrivateAttr()
    _reranker: Reranker | None = PrivateAttr()

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        # NOTE: here and not in a validator, whose errors pydantic would wrap into several lines.
        checked_k(self.k)
        self._place = _opened(self.index)
        self._reranker = None if self.rerank is None else as_reranker(self.rerank)
        self._retriever()

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        return self._found(query, options)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        return await run_in_executor(None, self._found, query, options)

    def _found(self, query: str, options: dict[str, Any]) -> list[Document]:
        if unknown := [name for name in options if name not in _AT_INVOKE]:
            raise InvalidArgumentError(f"there is no option {unknown[0]!r} here; it takes {', '.join(_AT_INVOKE)}")
        asked = {name: options.get(name, getattr(self, name)) for name in _AT_INVOKE}
        index = self._index()
        if not len(index):
            return []
        asked["where"] = where_of(asked["where"], lambda: index.info()["columns"])
        return [from_hit(hit) for hit in self._retriever().search(query, **asked)]

    def _index(self) -> Index:
        """The index as it is open now: a store may have opened it again."""
        return self._place.index if isinstance(self._place, LusiragVectorStore) else self._place

    def _retriever(self) -> Retriever:
        return Retriever(
            self._index(),
            reranker=self._reranker,
            candidates=self.candidates,
            diversity=self.diversity,
            group_documents=self.group_documents,
        )


def _opened(index: Any) -> Index | LusiragVectorStore:
    if isinstance(index, LusiragVectorStore):
        return index
    if isinstance(index, str | Path):
        return Index.open(index, read_only=True)
    if not isinstance(index, Index):
        raise InvalidArgumentError(f"index is {index!r}; give a directory, an Index or a LusiragVectorStore")
    return index
