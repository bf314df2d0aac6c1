"""What computes embeddings of token ids: torch here or in worker processes, or onnxruntime."""

from __future__ import annotations

from typing import Protocol

from lusirag.embedding.batching import Ids
from lusirag.types import Vectors


class Runtime(Protocol):
    """Computes embeddings of token ids."""

    @property
    def batch_tokens(self) -> int:
        """How many tokens a batch should have at most, padding included."""

    @property
    def parallel(self) -> int:
        """How many calls make sense at the same time, from as many threads."""

    @property
    def arithmetic(self) -> str:
        """What computes, and in which numbers: "onnx-int8", "torch-bfloat16"."""

    def __call__(self, ids: Ids, mask: Ids) -> Vectors:
        """(B, S), (B, S) -> float32 (B, O), not normalised.

        Raises:
            MemoryError: the batch is too large for the device.
        """

    def close(self) -> None:
        """Give back processes, if it has any; it cannot be called afterwards."""
