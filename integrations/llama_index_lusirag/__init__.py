"""lusirag for LlamaIndex: its model, its index as a vector store, its search as a retriever, its rerankers.

from llama_index_lusirag import LusiferEmbedding, LusiragVectorStore

store = LusiragVectorStore("my-index")
index = VectorStoreIndex.from_vector_store(store, embed_model=LusiferEmbedding("lusifer-mini"))

`LLMGenerator` lets a language model of LlamaIndex write the answers of `lusirag.rag.Answerer`.
"""

from __future__ import annotations

from lusirag.errors import MissingDependencyError

try:
    import llama_index.core as _  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        'llama_index_lusirag needs llama-index-core, which is not installed. Run: pip install "lusirag[llamaindex]"'
    ) from error

from llama_index_lusirag.embedding import LusiferEmbedding
from llama_index_lusirag.generator import LLMGenerator
from llama_index_lusirag.reranking import LusiragRerank
from llama_index_lusirag.retriever import LusiragRetriever
from llama_index_lusirag.vector_store import LusiragVectorStore

__all__ = ["LLMGenerator", "LusiferEmbedding", "LusiragRerank", "LusiragRetriever", "LusiragVectorStore"]
