"""lusirag for LangChain: an app that has an embedding model and a vector store searches a hundred languages.

    from langchain_lusirag import LusiferEmbeddings, LusiragVectorStore

    store = LusiragVectorStore(LusiferEmbeddings(), "my-index")
    store.add_documents(documents)
    retriever = store.as_retriever()

`LusiferEmbeddings` (embeddings.py) goes into any vector store; `LusiragVectorStore` (vectorstores.py) takes any
embedding model.
"""

from langchain_lusirag.document_index import LusiragDocumentIndex
from langchain_lusirag.embeddings import LusiferEmbeddings
from langchain_lusirag.record_manager import SqliteRecordManager
from langchain_lusirag.reranking import LusiragReranker
from langchain_lusirag.retrievers import LusiragRetriever
from langchain_lusirag.vectorstores import LusiragVectorStore

__all__ = [
    "LusiferEmbeddings",
    "LusiragDocumentIndex",
    "LusiragReranker",
    "LusiragRetriever",
    "LusiragVectorStore",
    "SqliteRecordManager",
]
