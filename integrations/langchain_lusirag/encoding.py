"""Any LangChain embedding model as what an index needs of one, and the other way round."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from langchain_core.embeddings import Embeddings

from langchain_lusirag.embeddings import LusiferEmbeddings
from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.types import Encoder, Vectors

_PROBE = "How long is a vector of this model?"
_NAMES = ("model_name", "model", "model_id", "deployment")


class LangChainEncoder:
    """A LangChain embedding model as an `Encoder`. Its dimension is found by embedding one sentence.

    An index recognises it by its class, the name of its model and its dimension; LangChain tells nothing else. Another
    model under the same name is therefore not noticed.

    Args:
        embeddings: any.
        name: what to record as the model's name; that of its class and model when None.

    Raises:
        ModelError: it does not return a vector.
    """

    max_tokens = 2**31 - 1  # LangChain does not say what a model reads

    def __init__(self, embeddings: Embeddings, *, name: str | None = None) -> None:
        self._embeddings = embeddings
        self._known: Mapping[str, list[float]] = {}
        self.name = name or _name_of(embeddings)
        probe = np.asarray(embeddings.embed_query(_PROBE))
        if probe.ndim != 1 or not len(probe):
            raise ModelError(f"{self.name} returned shape {probe.shape} for a query; an embedding must be one vector")
        self.dimension = len(probe)
        described = f"{self.name} {self.dimension}".encode()
        self.fingerprint = f"langchain:{hashlib.blake2b(described, digest_size=16).hexdigest()}"

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Unit vectors (n, dim).

        Raises:
            InvalidArgumentError: an instruction, which LangChain's interface cannot pass on.
        """
        if instruction is not None:
            raise InvalidArgumentError(f"{self.name} takes no instruction; leave it out, or use LusiferEmbeddings")
        return self._unit([self._embeddings.embed_query(text) for text in texts])

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors (n, dim).

        Raises:
            ModelError: the model returns something else than a vector for each text.
        """
        known = self._known
        new = [text for text in dict.fromkeys(texts) if text not in known]
        rows = self._embeddings.embed_documents(new) if new else []
        if len(rows) != len(new):
            raise ModelError(f"{self.name} returned {len(rows)} vectors for {len(new)} texts; one for each is needed")
        found = {**known, **dict(zip(new, rows, strict=True))}
        return self._unit([found[text] for text in texts])

    @contextmanager
    def knowing(self, vectors: Mapping[str, list[float]]) -> Iterator[None]:
        """Take these vectors of documents for a while, instead of embedding the texts."""
        self._known = vectors
        try:
            yield
        finally:
            self._known = {}

    def _unit(self, rows: list[list[float]]) -> Vectors:
        """Rows (n, dim) at unit length; a zero one is left for the index to refuse.

        Raises:
            ModelError: they are something else.
        """
        if not len(rows):
            return np.empty((0, self.dimension), dtype=np.float32)
        try:
            vectors = np.asarray(rows, dtype=np.float32)
        except (TypeError, ValueError):
            vectors = np.empty(0, dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise ModelError(f"{self.name} returned something else than vectors of {self.dimension} numbers")
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)  # (n, 1)
        unit: Vectors = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
        return unit


def as_embeddings(embedding: Embeddings | Encoder) -> Embeddings:
    """What LangChain sees of a model.

    Raises:
        InvalidArgumentError: it is no embedding model.
    """
    if isinstance(embedding, Embeddings):
        return embedding
    if isinstance(embedding, Encoder):
        return LusiferEmbeddings(embedder=embedding)
    raise InvalidArgumentError(
        f"embedding is {embedding!r}; give LusiferEmbeddings, any LangChain Embeddings, or a lusirag Embedder"
    )


def as_encoder(embeddings: Embeddings) -> Encoder:
    """What an index sees of a model."""
    return embeddings.embedder if isinstance(embeddings, LusiferEmbeddings) else LangChainEncoder(embeddings)


def _name_of(embeddings: Embeddings) -> str:
    names = (getattr(embeddings, name, None) for name in _NAMES)
    model = next((name for name in names if isinstance(name, str)), "")
    return f"{type(embeddings).__name__}({model})"
