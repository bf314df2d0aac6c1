"""`LusiragDocumentIndex`: the vector store under the newer, still changing interface of LangChain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.indexing import UpsertResponse
from langchain_core.indexing.base import DeleteResponse, DocumentIndex

from langchain_lusirag.vectorstores import LusiragVectorStore
from lusirag.errors import InvalidArgumentError


class LusiragDocumentIndex(DocumentIndex):
    """A `langchain_core.indexing.DocumentIndex` over a vector store.

    Attributes:
        store: where the documents are.
        k: how many documents `invoke` returns; other options as for the store's searches.
    """

    store: LusiragVectorStore
    k: int = 4

    def upsert(self, items: Sequence[Document], /, **options: Any) -> UpsertResponse:
        """Add documents, or replace those with the same ids; one without an id gets a new UUID."""
        return {"succeeded": self.store.add_documents(list(items), **options), "failed": []}

    def delete(self, ids: list[str] | None = None, **options: Any) -> DeleteResponse:
        """Delete documents; unknown ids are no error.

        Raises:
            InvalidArgumentError: no ids.
        """
        if ids is None:
            raise InvalidArgumentError("ids is None; say which documents to delete")
        found = [document.id for document in self.store.get_by_ids(list(dict.fromkeys(ids))) if document.id]
        self.store.delete(found, **options)
        return {"succeeded": found, "num_deleted": len(found), "failed": [], "num_failed": 0}

    def get(self, ids: Sequence[str], /, **options: Any) -> list[Document]:
        """Documents by id, in the order asked for; those that are not there are left out."""
        if options:
            raise InvalidArgumentError(f"get takes no option {next(iter(options))!r}; it takes ids alone")
        return self.store.get_by_ids(ids)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        return self.store.similarity_search(query, **{"k": self.k, **options})
