"""LangChain's own test suites, whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing.base import DocumentIndex
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.integration_tests.indexer import AsyncDocumentIndexTestSuite, DocumentIndexerTestSuite
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_lusirag import LusiferEmbeddings, LusiragDocumentIndex, LusiragRetriever, LusiragVectorStore


class _Lusifer:
    @property
    def embeddings_class(self) -> type[LusiferEmbeddings]:
        return LusiferEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "lusifer-mini"}


class TestEmbeddings(_Lusifer, EmbeddingsUnitTests):
    pass


class TestEmbeddingsIntegration(_Lusifer, EmbeddingsIntegrationTests):
    pass


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> VectorStore:
        return LusiragVectorStore(self.get_embeddings(), tmp_path / "index")


class TestTemporaryVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> VectorStore:
        return LusiragVectorStore(self.get_embeddings())


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def filled(self, tmp_path: Path) -> None:
        self.store = LusiragVectorStore(DeterministicFakeEmbedding(size=6), tmp_path / "index")
        self.store.add_documents([Document(page_content=f"passage {number}") for number in range(5)])

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return LusiragRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"index": self.store}

    @property
    def retriever_query_example(self) -> str:
        return "passage"


def _document_index(directory: Path) -> LusiragDocumentIndex:
    return LusiragDocumentIndex(store=LusiragVectorStore(DeterministicFakeEmbedding(size=6), directory))


@pytest.mark.filterwarnings("ignore:The class `LusiragDocumentIndex` is in beta")
class TestDocumentIndex(DocumentIndexerTestSuite):
    @pytest.fixture
    def index(self, tmp_path: Path) -> DocumentIndex:
        return _document_index(tmp_path / "index")


@pytest.mark.filterwarnings("ignore:The class `LusiragDocumentIndex` is in beta")
class TestAsyncDocumentIndex(AsyncDocumentIndexTestSuite):
    @pytest.fixture
    def index(self, tmp_path: Path) -> DocumentIndex:
        return _document_index(tmp_path / "index")
