"""A small deterministic embedder that needs no model files, and documents to go with it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from lusirag.types import Document, Vectors

DIMENSION = 16


def vectors_of(texts: Sequence[str], dimension: int = DIMENSION) -> Vectors:
    """Unit vectors (n, dimension) seeded by each text's hash."""
    rows = np.empty((len(texts), dimension), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
        row[:] = np.random.default_rng(seed).standard_normal(dimension)
        row /= np.linalg.norm(row)
    return rows


def stored_vectors_of(texts: Sequence[str], dimension: int = DIMENSION) -> Vectors:
    """The same as an index keeps them: rounded to float16."""
    return vectors_of(texts, dimension).astype(np.float16).astype(np.float32)


class FakeEmbedder:
    """Embeds by hash and remembers what it embedded."""

    def __init__(self, *, name: str = "fake", fingerprint: str = "f1", dimension: int = DIMENSION) -> None:
        self.name, self.fingerprint, self.dimension = name, fingerprint, dimension
        self.max_tokens = 64
        self.embedded: list[str] = []

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        self.embedded += texts
        return vectors_of(texts, self.dimension)

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        return vectors_of(texts, self.dimension)


class SplittingEmbedder(FakeEmbedder):
    """Has a tokenizer (one token a word or mark), so that long documents are split."""

    def __init__(self, max_passage_tokens: int = 12) -> None:
        super().__init__(name="splitting")
        self.max_passage_tokens = max_passage_tokens
        self.tokenizer = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
        self.tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()


WORDS = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu")


class WordEmbedder(FakeEmbedder):
    """Has a term for each of some words and for numbers up to 99; all others are unknown."""

    def __init__(self) -> None:
        super().__init__(name="words")
        known = (*WORDS, *map(str, range(100)))
        self.tokenizer = Tokenizer(models.WordLevel({"?": 0} | {word: n for n, word in enumerate(known, 1)}, "?"))
        self.tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()


def document(number: int, version: int = 0, language: str | None = "en", **metadata: object) -> Document:
    """Document "d<number>", whose text says its number and version."""
    return Document(f"d{number}", f"text {number} version {version}", language=language, metadata=metadata)


def documents(numbers: Sequence[int], version: int = 0) -> list[Document]:
    """Several of them, in three languages by turns."""
    return [document(number, version, ("en", "de", "zh-Hant")[number % 3]) for number in numbers]
