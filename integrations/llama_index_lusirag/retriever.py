"""`LusiragRetriever`: searching an index as `lusirag index` makes it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import NodeWithScore, QueryBundle

from llama_index_lusirag.nodes import scored_node
from lusirag.index import Fusion, Index
from lusirag.index.filters import Where
from lusirag.index.fusion import Method
from lusirag.index.requests import SearchOptions, checked_k
from lusirag.retrieval import Reranker, Retriever


class LusiragRetriever(BaseRetriever):
    """Finds passages by lusirag's own model, words and stages; nodes carry what the index knows about them.

    Args:
        index: an open `Index`, or its directory, which is then opened to read.
        k: how many nodes.
        mode: "dense", "lexical" or "hybrid".
        where, languages, instruction, fusion: as for `Index.search`.
        reranker, candidates, diversity, group_documents: as for `lusirag.retrieval.Retriever`.
        callback_manager, verbose: LlamaIndex's own.

    Raises:
        IndexStateError: there is no index in that directory.
        InvalidArgumentError: an option is out of range; of mode, where and languages the search says so.
    """

    def __init__(
        self,
        index: Index | str | Path,
        *,
        k: int = 10,
        mode: str = "dense",
        where: Where | None = None,
        languages: Sequence[str] | None = None,
        instruction: str | None = None,
        fusion: Fusion | Method = "weighted",
        reranker: Reranker | None = None,
        candidates: int | None = None,
        diversity: float = 0.0,
        group_documents: bool = False,
        callback_manager: CallbackManager | None = None,
        verbose: bool = False,
    ) -> None:
        self._k = checked_k(k)
        self._options: SearchOptions = {
            "mode": mode,
            "where": where,
            "languages": languages,
            "instruction": instruction,
            "fusion": fusion,
        }
        self._retriever = Retriever(
            Index.open(index, read_only=True) if isinstance(index, str | Path) else index,
            reranker=reranker,
            candidates=candidates,
            diversity=diversity,
            group_documents=group_documents,
        )
        super().__init__(callback_manager=callback_manager, verbose=verbose)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [scored_node(hit) for hit in self._retriever.search(query_bundle.query_str, self._k, **self._options)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)
