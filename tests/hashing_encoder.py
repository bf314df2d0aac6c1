"""An encoder that takes no time: words hashed into a few numbers. It writes down what it was asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lusirag.types import Vectors


@dataclass(frozen=True)
class Call:
    role: str
    texts: list[str]
    instruction: str | None


@dataclass
class HashingEncoder:
    """Args: roles: in which it takes an instruction. numbers: what it computes in, part of no fingerprint."""

    name: str = "hashing"
    dimension: int = 48
    max_tokens: int = 512
    fingerprint: str = "hashing-1"
    roles: frozenset[str] = frozenset()
    numbers: str = "onnx-int8"
    calls: list[Call] = field(default_factory=list)
    fail_at: str | None = None  # a text that it fails at

    @property
    def instruction_roles(self) -> frozenset[str]:
        return self.roles

    @property
    def arithmetic(self) -> str:
        return self.numbers

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        if instruction is not None and "query" not in self.roles:
            raise AssertionError("this model takes no instruction for queries")
        return self._encode("query", texts, instruction)

    def encode_documents(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        if instruction is not None and "document" not in self.roles:
            raise AssertionError("this model takes no instruction for documents")
        return self._encode("document", texts, instruction)

    def _encode(self, role: str, texts: Sequence[str], instruction: str | None) -> Vectors:
        self.calls.append(Call(role, list(texts), instruction))
        if self.fail_at is not None and any(self.fail_at in text for text in texts):
            raise RuntimeError("the device is on fire\nand more lines")
        vectors = np.full((len(texts), self.dimension), 1e-3, dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in text.lower().split():
                digest = hashlib.blake2b(word.encode(), digest_size=4).digest()
                row[digest[0] % self.dimension] += 1 if digest[1] % 2 else -1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
