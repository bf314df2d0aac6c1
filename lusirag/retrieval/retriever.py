"""`Retriever`: an index and what is done with its hits before they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Self, Unpack

from lusirag.errors import InvalidArgumentError
from lusirag.index import Index
from lusirag.index.requests import SearchOptions, checked_k, checked_share
from lusirag.retrieval.diversity import maximal_marginal_relevance
from lusirag.retrieval.grouping import best_passages, fetch_documents
from lusirag.retrieval.reranking import Reranker, rerank
from lusirag.types import Hit

_LEAST_CANDIDATES = 50
_CANDIDATES_FOR_EACH_HIT = 4


class Retriever:
    """Searches an index in stages; each is left out unless it is asked for, and their order is fixed.

    1. candidates: the best passages by the index.
    2. rerank: the reranker's scores take the place of the index's. First of all, so that the stages below choose by
       the best scores there are.
    3. group: each document is represented by its best passage. After reranking, because which passage is the best one
       is what the reranker knows; before diversity, so that documents are compared and neighbouring chunks are not.
    4. diversity: hits are chosen one by one (maximal marginal relevance). Last, because its order is no order by
       score: hits keep their scores and stand in the order in which they were chosen.

    All stages of a search see one state of the index, whatever is written meanwhile.

    Args:
        index: an open index.
        reranker: a `CrossEncoderReranker`, an `ExactReranker`, or any object with their method `score`.
        candidates: how many passages are fetched for the later stages to choose from; max(4 k, 50) when None. With
            `group_documents` the search goes on until there are k documents, or as many as `candidates` where diversity
            has to choose among them; of these further documents the later stages get the best passage.
        diversity: from 0 (off) to 1; see `maximal_marginal_relevance`. The similarity of hits is that of the index's
            vectors, also after reranking.
        group_documents: return one hit a document.

    Raises:
        InvalidArgumentError: one of these is out of range, or `candidates` is given and no stage needs it.
    """

    def __init__(
        self,
        index: Index,
        *,
        reranker: Reranker | None = None,
        candidates: int | None = None,
        diversity: float = 0.0,
        group_documents: bool = False,
    ) -> None:
        if not isinstance(index, Index):
            raise InvalidArgumentError(f"index is {index!r}; it must be an Index, such as Index.open(directory)")
        if reranker is not None and not isinstance(reranker, Reranker):
            raise InvalidArgumentError(f"reranker is {reranker!r}; it must have a method score(query, hits)")
        self._index = index
        self._reranker = reranker
        self._diversity = checked_share(diversity, "diversity")
        self._group = group_documents
        self._candidates = None if candidates is None else checked_k(candidates, "candidates")
        if candidates is not None and not self._has_stages:
            raise InvalidArgumentError(
                f"candidates is {candidates}, but nothing chooses among them; "
                "ask for reranking, diversity or grouping as well, or leave it out"
            )

    @property
    def index(self) -> Index:
        """The index that is searched."""
        return self._index

    def pinned(self) -> Self:
        """This retriever over the index as it is now: what is written afterwards does not change what it finds."""
        same = copy(self)
        same._index = self._index.pinned()
        return same

    def search(self, query: str, k: int = 10, **options: Unpack[SearchOptions]) -> list[Hit]:
        """Find the k best hits for a query.

        Args:
            query, k: as for `Index.search`.
            options: mode, where, languages, instruction and fusion, as for `Index.search`.

        Raises:
            InvalidArgumentError: as `Index.search`, or k is larger than `candidates`.
            ModelError: the reranker failed.
        """
        return self.search_many([query], k, **options)[0]

    def search_many(self, queries: Sequence[str], k: int = 10, **options: Unpack[SearchOptions]) -> list[list[Hit]]:
        """Answer several queries, embedded at once; arguments and errors as for `search`, one list of hits a query."""
        k = checked_k(k)
        index = self._index.pinned()

        def find(asked: Sequence[str], depth: int) -> list[list[Hit]]:
            return index.search_many(asked, depth, **options)

        depth = self._depth(k)
        if self._group:
            documents = depth if self._diversity else k
            found = fetch_documents(find, queries, passages=depth, documents=documents)
        else:
            found = find(queries, depth)
        return [self._choose(index, query, hits, k) for query, hits in zip(queries, found, strict=True)]

    @property
    def _has_stages(self) -> bool:
        return self._reranker is not None or self._diversity > 0 or self._group

    def _depth(self, k: int) -> int:
        """How many passages are fetched at first."""
        if self._candidates is None:
            return max(_CANDIDATES_FOR_EACH_HIT * k, _LEAST_CANDIDATES) if self._has_stages else k
        if self._candidates < k:
            raise InvalidArgumentError(f"k is {k}, but candidates is {self._candidates}; it must be at least k")
        return self._candidates

    def _choose(self, index: Index, query: str, hits: list[Hit], k: int) -> list[Hit]:
        if self._reranker is not None:
            hits = rerank(query, hits, self._reranker)
        if self._group:
            hits = best_passages(hits)
        if self._diversity:
            order = maximal_marginal_relevance(
                [hit.score for hit in hits], index.vectors(hits), k=k, diversity=self._diversity
            )
            return [hits[at] for at in order]
        return hits[:k]
