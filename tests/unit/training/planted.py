"""An embedder whose vectors a test plants: the n-th text it knows has the n-th row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import datasets
import numpy as np

from lusirag.types import Vectors


class PlantedEmbedder:
    """Looks vectors up by text, and counts what it embedded."""

    def __init__(self, vectors: Mapping[str, Sequence[float]], *, fingerprint: str = "planted") -> None:
        self._vectors = {text: np.asarray(vector, np.float32) for text, vector in vectors.items()}
        self.name, self.fingerprint, self.max_tokens = "planted", fingerprint, 64
        self.dimension = len(next(iter(self._vectors.values())))
        self.calls: list[int] = []

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        self.calls.append(len(texts))
        rows = np.stack([self._vectors[text] for text in texts])
        unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        return self.encode_documents(texts)


def random_embedder(texts: Sequence[str], *, dimension: int = 12, seed: int = 0) -> PlantedEmbedder:
    """A random vector for each text."""
    rows = np.random.default_rng(seed).standard_normal((len(texts), dimension))
    return PlantedEmbedder(dict(zip(texts, rows.tolist(), strict=True)))


def pairs_of(rows: Sequence[tuple[str, list[str]]], negatives: Sequence[list[str]] | None = None) -> datasets.Dataset:
    """Pairs as `read_set` gives them."""
    features = datasets.Features(
        {
            "query": datasets.Value("string"),
            "positive": datasets.List(datasets.Value("string")),
            "negative": datasets.List(datasets.Value("string")),
            "cluster": datasets.Value("int64"),
        }
    )
    columns = {
        "query": [query for query, _ in rows],
        "positive": [positive for _, positive in rows],
        "negative": list(negatives or [[] for _ in rows]),
        "cluster": [-1] * len(rows),
    }
    return datasets.Dataset.from_dict(columns, features=features)
