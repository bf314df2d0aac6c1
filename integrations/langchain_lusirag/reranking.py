"""`LusiragReranker`: a reranker of lusirag as a LangChain document compressor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, PrivateAttr

from langchain_lusirag.documents import to_hits
from lusirag.errors import InvalidArgumentError
from lusirag.index.requests import checked_k
from lusirag.retrieval import CrossEncoderReranker, Reranker, rerank


class LusiragReranker(BaseDocumentCompressor):
    """Puts retrieved documents in the order of a reranker's scores; for ContextualCompressionRetriever and by itself.

    The documents that are returned are copies, with the score as metadata["relevance_score"].

    Attributes:
        reranker: a cross-encoder by name or directory (extra `rerank`), `CrossEncoderReranker`, `ExactReranker`, or any
            object with score(query, hits).
        top_n: how many documents are returned; all when None.

    Raises:
        InvalidArgumentError: no reranker, or top_n below 1.
        ModelError: the cross-encoder cannot be loaded, or returned no finite number for a document.
    """

    reranker: Any
    top_n: int | None = 3

    model_config = ConfigDict(extra="forbid")
    _reranker: Reranker = PrivateAttr()

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        # NOTE: here and not in a validator, whose errors pydantic would wrap into several lines.
        if self.top_n is not None:
            checked_k(self.top_n, "top_n")
        self._reranker = as_reranker(self.reranker)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """The `top_n` best documents, best first; equal ones keep their order."""
        best = rerank(query, to_hits(documents), self._reranker)[: self.top_n]
        return [_scored(documents[int(hit.id)], hit.score) for hit in best]


def as_reranker(given: Any) -> Reranker:
    """A reranker from what a user names or gives.

    Raises:
        InvalidArgumentError: it is none.
        ModelError: a name that cannot be loaded.
    """
    if isinstance(given, str | Path):
        return CrossEncoderReranker(given)
    if not isinstance(given, Reranker):
        raise InvalidArgumentError(
            f"the reranker is {given!r}; give a cross-encoder's name or an object with score(query, hits)"
        )
    return given


def _scored(document: Document, score: float) -> Document:
    return document.model_copy(update={"metadata": {**document.metadata, "relevance_score": score}})
