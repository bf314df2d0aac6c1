"""An encoder that needs no model: texts with words in common are near each other."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

from lusirag.types import Vectors

DIMENSION = 64
WORDS_DIMENSION = DIMENSION - 2


def bag(text: str, role: str) -> list[float]:
    """A unit vector that counts words; the last two axes tell questions from documents."""
    vector = np.zeros(DIMENSION, dtype=np.float32)
    for word in re.findall(r"\w+", text.lower()):
        vector[zlib.crc32(word.encode()) % WORDS_DIMENSION] += 1
    vector[WORDS_DIMENSION + (role == "query")] = 0.1
    return (vector / np.linalg.norm(vector)).tolist()


class WordEncoder:
    """Notes what it was asked to embed; `before` is called each time."""

    def __init__(self, *, fingerprint: str = "words-1", before: Callable[[], None] = lambda: None) -> None:
        self.name, self.fingerprint, self.dimension, self.max_tokens = "words", fingerprint, DIMENSION, 512
        self.asked: list[tuple[str, str]] = []
        self.instructions: list[str | None] = []
        self._before = before

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        self.instructions.append(instruction)
        return self._encode([f"{instruction or ''} {text}" for text in texts], "query")

    def encode_documents(self, texts: Sequence[str], *, progress: Callable[[int, int], None] | None = None) -> Vectors:
        vectors = self._encode(texts, "document")
        if progress is not None:
            progress(len(texts), len(texts))
        return vectors

    def _encode(self, texts: Sequence[str], role: str) -> Vectors:
        self._before()
        self.asked += [(role, text.strip()) for text in texts]
        rows = [bag(text, role) for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), DIMENSION)


def node(name: str, text: str, source: str | None = None, /, **metadata: object) -> TextNode:
    """A node with its embedding, of a source document when that is named."""
    relationships = {} if source is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
    return TextNode(
        id_=name, text=text, metadata=metadata, relationships=relationships, embedding=bag(text, "document")
    )
