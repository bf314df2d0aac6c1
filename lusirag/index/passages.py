"""Documents into passages, and passages into vectors."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Self

import numpy as np
import pyarrow as pa

from lusirag.corpus import passage_text
from lusirag.errors import ModelError
from lusirag.index.analysis import Analyser, Terms
from lusirag.index.columns import whole_documents
from lusirag.index.given import GivenVectors
from lusirag.index.manifest import Chunking, Manifest
from lusirag.types import Encoder, Vectors


class PassageMaker:
    """Identifies missing languages, splits long documents, and embeds what results, each passage with its title.

    Attributes:
        given: vectors that are at hand; then documents are neither split nor embedded.
    """

    def __init__(
        self,
        embedder: Encoder,
        chunking: Chunking | None,
        *,
        identify_languages: bool,
        analyser: Analyser | None,
        given: GivenVectors | None = None,
    ) -> None:
        self.given = given
        self._embedder = embedder
        self._analyser = analyser
        self._chunking = chunking
        self._identify_languages = identify_languages
        self._chunker: Any = None

    @classmethod
    def of(
        cls, manifest: Manifest, embedder: Encoder, analyser: Analyser | None, given: GivenVectors | None = None
    ) -> Self:
        """The one for an index."""
        chunking, identify = manifest.chunking, manifest.identify_languages
        return cls(embedder, chunking, identify_languages=identify, analyser=analyser, given=given)

    def split(self, documents: pa.RecordBatch) -> pa.RecordBatch:
        """Passages of a standard batch, in its order, with the `_chunk` column.

        A document that is split gives neighbouring rows with the ids "<id>#1", "<id>#2" and so on.
        """
        if self._identify_languages and documents.column("language").null_count:
            from lusirag.corpus import identify_languages

            documents = identify_languages(documents)
        if self._chunking is None or self.given is not None:
            return whole_documents(documents)
        if self._chunker is None:
            self._chunker = self._make_chunker(self._chunking)
        return self._chunker.chunk(documents)

    def embed(self, passages: pa.RecordBatch) -> Vectors:
        """Unit vectors (rows, dim) of passages.

        Raises:
            ModelError: the embedder returns something else than finite float32 vectors of its dimension.
        """
        if self.given is not None:
            return self.given.of(passages)
        texts = texts_of(passages)
        return checked_vectors(self._embedder.encode_documents(texts), len(texts), self._embedder)

    def terms(self, passages: pa.RecordBatch) -> Terms | None:
        """What lexical search counts in passages; None where the index has no lexical part."""
        return None if self._analyser is None else self._analyser(texts_of(passages))

    def _make_chunker(self, chunking: Chunking) -> Any:
        from lusirag.corpus import Chunker

        tokenizer = getattr(self._embedder, "tokenizer", None)
        if tokenizer is None:
            raise ModelError(
                f"this index splits long documents by the tokens of {self._embedder.name!r}, "
                "but the embedder given has no tokenizer"
            )
        return Chunker(tokenizer, max_tokens=chunking.tokens, overlap=chunking.overlap)


def texts_of(passages: pa.RecordBatch) -> list[str]:
    """What of each passage is searched: its title, where it has one, and its text."""
    titles, texts = passages.column("title").to_pylist(), passages.column("text").to_pylist()
    return [passage_text(title, text) for title, text in zip(titles, texts, strict=True)]


def checked_vectors(vectors: Any, count: int, embedder: Encoder) -> Vectors:
    """Make sure that an embedder kept its promise: float32 (count, dim), finite, unit length.

    Raises:
        ModelError: it did not.
    """
    found = np.ascontiguousarray(vectors, dtype=np.float32)
    if found.shape != (count, embedder.dimension):
        raise ModelError(
            f"the embedder {embedder.name!r} returned shape {found.shape} for {count} texts "
            f"instead of ({count}, {embedder.dimension})"
        )
    lengths = np.linalg.norm(found, axis=1, keepdims=True)  # (count, 1)
    if not np.all(np.isfinite(lengths)) or not np.all(lengths > 0):
        raise ModelError(f"the embedder {embedder.name!r} returned a vector that is zero or not finite")
    return found if np.all(np.abs(lengths - 1) < 1e-4) else found / lengths


def documents_of(passages: pa.RecordBatch) -> Iterator[tuple[str, slice]]:
    """The documents in a batch of passages: id and rows, in order."""
    start = 0
    for document_id, run in groupby(passages.column("_chunk").field("document_id").to_pylist()):
        count = len(list(run))
        yield document_id, slice(start, start + count)
        start += count
