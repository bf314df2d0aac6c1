"""Teachers: models whose similarities a network imitates, one or the weighted mean of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lusirag.embedding import Embedder

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Teachers:
    """Several models as one, whose cosine of two texts is the mean of theirs, weighted by their shares.

    Args:
        embedders: at least one. shares: above 0, as many; only their proportion counts.
    """

    embedders: Sequence[Embedder]
    shares: Sequence[float]

    @classmethod
    def load(
        cls, sources: Sequence[str], shares: Sequence[float] | None = None, *, dtype: str | None = None
    ) -> Teachers:
        """Load models, each as `Embedder.load` does; equal shares when None.

        Args:
            dtype: in which they compute, by torch; None leaves the choice to each.

        Raises:
            ModelError: one cannot be loaded.
        """
        return cls([Embedder.load(source, dtype=dtype) for source in sources], shares or [1.0] * len(sources))

    def queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of queries, (B, sum of the teachers' dimensions), of length 1."""
        return self._joined([embedder.encode_queries(list(texts)) for embedder in self.embedders])

    def documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of documents, (M, sum of the teachers' dimensions), of length 1."""
        return self._joined([embedder.encode_documents(list(texts)) for embedder in self.embedders])

    def _joined(self, parts: Sequence[npt.NDArray[np.generic]]) -> Vectors:
        """Side by side, unit vectors times the roots of the shares: their products are the mean of the cosines."""
        whole = sum(self.shares)
        columns = []
        for part, share in zip(parts, self.shares, strict=True):
            values = part.astype(np.float32)
            length = np.maximum(np.linalg.norm(values, axis=1, keepdims=True), np.finfo(np.float32).tiny)
            columns.append(values / length * np.float32((share / whole) ** 0.5))
        return np.concatenate(columns, axis=1)
