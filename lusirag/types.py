"""The few types that every layer shares: documents that go in, hits that come out, the encoder between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Document:
    """A text to be found, with what is known about it.

    Args:
        id: unique within an index; adding a document under an id that exists replaces the old one.
        text: the passage itself, not empty.
        title: searched together with the text when given.
        language: BCP 47 tag such as "sw" or "zh-Hant"; identified from the text when None.
        source: where it came from (a file, an address), for display.
        metadata: the user's own values, stored with their Arrow types.
    """

    id: str
    text: str
    title: str | None = None
    language: str | None = None
    source: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result: a document, or the chunk of a long document that answers the query.

    Attributes:
        id: the passage's id: the document's own, or "<document id>#<n>" for chunk n of a document that was split.
        score: cosine similarity to the query in dense mode, in [-1, 1]; the reranker's after reranking. Larger is
            better.
        text, title, language, source, metadata: as stored.
        document_id: id of the document that the passage belongs to; equal to `id` when it was not split.
        start, end: the passage's place in the document's text, in characters; end is exclusive.
    """

    id: str
    score: float
    text: str
    title: str | None
    language: str | None
    source: str | None
    metadata: Mapping[str, Any]
    document_id: str
    start: int
    end: int


@runtime_checkable
class Encoder(Protocol):
    """What an index needs of an embedding model. `lusirag.Embedder` is one; so is any object with these members."""

    @property
    def name(self) -> str:
        """What `Embedder.load` takes to load the same model again."""

    @property
    def dimension(self) -> int:
        """Length of one vector."""

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens, special tokens and template included; what is longer is cut."""

    @property
    def fingerprint(self) -> str:
        """Changes when the weights, the tokenizer or the text template change."""

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
