"""What computes embeddings of token ids: torch, or onnxruntime."""

from __future__ import annotations

from typing import Protocol

from lusirag.embedding.batching import Ids
from lusirag.types import Vectors


class Runtime(Protocol):
    """Computes embeddings of token ids."""

    @property
    def batch_tokens(self) -> int:
        """How many tokens a batch should have at most, padding included."""

    def __call__(self, ids: Ids, mask: Ids) -> Vectors:
        """(B, S), (B, S) -> float32 (B, O), not normalised."""
