"""What a query of LlamaIndex asks of an index, by its mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from lusirag.errors import InvalidArgumentError
from lusirag.index import Fusion, Index
from lusirag.index.filters import Where
from lusirag.index.requests import checked_k
from lusirag.retrieval import maximal_marginal_relevance
from lusirag.types import Hit

_MODES = ("default", "sparse", "text_search", "hybrid", "mmr")
_WORDS = ("sparse", "text_search")
_MMR_OPTIONS = ("mmr_threshold", "mmr_prefetch_factor")
_PREFETCH = 4
_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Question:
    """A query that was checked.

    Attributes:
        mode: "default": cosine; "sparse" and "text_search": BM25; "hybrid": both; "mmr": maximal marginal relevance.
        k: how many nodes: similarity_top_k; in the sparse modes sparse_top_k and in hybrid hybrid_top_k, if given.
        text: of the sparse modes and hybrid.
        vector: of all modes but the sparse ones.
        languages: BCP 47 tags; None for all.
        fusion: of hybrid: alpha is the weight of meaning (1: cosine alone, 0: words alone), sparse_top_k the depth of
            both rankings; lusirag's own where they are not given.
        threshold: of mmr: 1 orders by relevance alone, 0 takes what is farthest from what was taken; 0.5 if not given.
        prefetch: of mmr: how many candidates for each node.
    """

    mode: str
    k: int
    text: str
    vector: list[float]
    languages: Sequence[str] | None
    fusion: Fusion
    threshold: float
    prefetch: int

    @classmethod
    def of(cls, query: VectorStoreQuery, options: Mapping[str, Any]) -> Self:
        """Check a query.

        Raises:
            InvalidArgumentError: a mode or option that is not known, or without the vector or text that it needs.
        """
        mode = VectorStoreQueryMode(query.mode).value
        if mode not in _MODES:
            raise InvalidArgumentError(f"the query's mode is {mode!r}; allowed: {', '.join(_MODES)}")
        allowed = ("languages", *(_MMR_OPTIONS if mode == "mmr" else ()))
        unknown = [name for name in options if name not in allowed]
        if unknown:
            raise InvalidArgumentError(
                f"a query in mode {mode!r} does not know the option {unknown[0]!r}; it has {', '.join(allowed)}"
            )
        if mode not in _WORDS and query.query_embedding is None:
            raise InvalidArgumentError(f"a query in mode {mode!r} needs query_embedding")
        if mode in (*_WORDS, "hybrid") and query.query_str is None:
            raise InvalidArgumentError(f"a query in mode {mode!r} needs query_str, the text")
        own = query.sparse_top_k if mode in _WORDS else query.hybrid_top_k if mode == "hybrid" else None
        return cls(
            mode,
            checked_k(query.similarity_top_k if own is None else own, "the query's top_k"),
            query.query_str or "",
            query.query_embedding or [],
            options.get("languages"),
            _fusion(query) if mode == "hybrid" else Fusion(),
            _threshold(query, options),
            checked_k(options.get("mmr_prefetch_factor", _PREFETCH), "mmr_prefetch_factor"),
        )


def ask(index: Index, question: Question, where: Where | None) -> list[Hit]:
    """The hits for a question among what `where` lets through, best first; with "mmr" in the order they were chosen."""
    k, languages = question.k, question.languages
    if question.mode in _WORDS:
        return index.search(question.text, k, "lexical", where, languages)
    vectors = [question.vector]
    if question.mode == "hybrid":
        texts = [question.text]
        return index.search_vectors(
            vectors, k, where=where, languages=languages, queries=texts, fusion=question.fusion
        )[0]
    if question.mode == "default":
        return index.search_vectors(vectors, k, where=where, languages=languages)[0]
    hits = index.search_vectors(vectors, k * question.prefetch, where=where, languages=languages)[0]
    scores = [hit.score for hit in hits]
    order = maximal_marginal_relevance(scores, index.vectors(hits), k=k, diversity=1 - question.threshold)
    return [hits[at] for at in order]


def _fusion(query: VectorStoreQuery) -> Fusion:
    usual = Fusion()
    dense = usual.dense if query.alpha is None else query.alpha
    return Fusion(dense=dense, depth=usual.depth if query.sparse_top_k is None else query.sparse_top_k)


def _threshold(query: VectorStoreQuery, options: Mapping[str, Any]) -> float:
    given = options.get("mmr_threshold", query.mmr_threshold)
    if given is None:
        return _THRESHOLD
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1:
        raise InvalidArgumentError(f"mmr_threshold is {given!r}; it must be a number from 0 to 1")
    return float(given)
