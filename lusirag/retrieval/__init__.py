"""From a query to the hits that are worth showing: candidates of an index, reranked, grouped, diversified.

    retriever = Retriever(index, reranker=CrossEncoderReranker("cross-encoder/mmarco-mMiniLMv2-L12-H384-v1"))
    hits = retriever.search("question in any language")

`Retriever` (retriever.py) is the door; each stage is a file of its own.
"""

from lusirag.retrieval.cross_encoder import CrossEncoderReranker
from lusirag.retrieval.diversity import maximal_marginal_relevance
from lusirag.retrieval.reranking import ExactReranker, Reranker, rerank
from lusirag.retrieval.retriever import Retriever

__all__ = [
    "CrossEncoderReranker",
    "ExactReranker",
    "Reranker",
    "Retriever",
    "maximal_marginal_relevance",
    "rerank",
]
