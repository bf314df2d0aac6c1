"""lusirag for LangChain: an app that has an embedding model and a vector store searches a hundred languages.

    from langchain_lusirag import LusiferEmbeddings, LusiragVectorStore

    store = LusiragVectorStore(LusiferEmbeddings(), "my-index")
    store.add_documents(documents)
    retriever = store.as_retriever()

`LusiferEmbeddings` (embeddings.py) goes into any vector store; `LusiragVectorStore` (vectorstores.py) takes any
embedding model; `ChatModelGenerator` (generator.py) lets a chat model write the answers of `lusirag.rag.Answerer`.
"""

from __future__ import annotations

from lusirag.errors import MissingDependencyError

try:
    import langchain_core as _  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        'langchain_lusirag needs langchain-core, which is not installed. Run: pip install "lusirag[langchain]"'
    ) from error

from langchain_lusirag.document_index import LusiragDocumentIndex
from langchain_lusirag.embeddings import LusiferEmbeddings
from langchain_lusirag.generator import ChatModelGenerator
from langchain_lusirag.record_manager import SqliteRecordManager
from langchain_lusirag.reranking import LusiragReranker
from langchain_lusirag.retrievers import LusiragRetriever
from langchain_lusirag.vectorstores import LusiragVectorStore

__all__ = [
    "ChatModelGenerator",
    "LusiferEmbeddings",
    "LusiragDocumentIndex",
    "LusiragReranker",
    "LusiragRetriever",
    "LusiragVectorStore",
    "SqliteRecordManager",
]
