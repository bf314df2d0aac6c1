"""`LusiragRerank`: lusirag's rerankers as a step after retrieval."""

from __future__ import annotations

from typing import Any

from llama_index.core.bridge.pydantic import Field
from llama_index.core.callbacks import CallbackManager
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from lusirag.errors import InvalidArgumentError
from lusirag.retrieval import Reranker, rerank
from lusirag.types import Hit


class LusiragRerank(BaseNodePostprocessor):
    """Orders nodes by a reranker's scores, which take the place of their own.

    The reranker reads what an embedding model reads of a node, with its metadata; without a query it fails.

    Args:
        reranker: a `CrossEncoderReranker`, an `ExactReranker`, or any object with their method `score`.
        top_n: how many nodes are kept.
        callback_manager: LlamaIndex's own.

    Raises:
        InvalidArgumentError: no reranker, or top_n below 1.
    """

    reranker: Any = Field(exclude=True)
    top_n: int

    def __init__(self, reranker: Reranker, *, top_n: int = 5, callback_manager: CallbackManager | None = None) -> None:
        if not isinstance(reranker, Reranker):
            raise InvalidArgumentError(f"reranker is {reranker!r}; it must have a method score(query, hits)")
        if top_n < 1:
            raise InvalidArgumentError(f"top_n is {top_n}; it must be at least 1")
        super().__init__(  # type: ignore[call-arg]
            reranker=reranker, top_n=top_n, callback_manager=callback_manager or CallbackManager([])
        )

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises this class."""
        return "LusiragRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise InvalidArgumentError("reranking needs the query; give query_str or query_bundle")
        hits = [_hit(place, scored) for place, scored in enumerate(nodes)]
        best = rerank(query_bundle.query_str, hits, self.reranker)[: self.top_n]
        return [NodeWithScore(node=nodes[int(hit.id)].node, score=hit.score) for hit in best]


def _hit(place: int, scored: NodeWithScore) -> Hit:
    """What a reranker sees of a node; its id is the node's place."""
    text = scored.node.get_content(metadata_mode=MetadataMode.EMBED)
    return Hit(
        id=str(place),
        score=scored.score or 0.0,
        text=text,
        title=None,
        language=None,
        source=None,
        metadata=scored.node.metadata,
        document_id=scored.node.ref_doc_id or scored.node.node_id,
        start=0,
        end=len(text),
    )
