"""Made-up vectors around topics, what is nearest among them, and how much of that an index finds."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from lusirag.types import Vectors


def clustered(rows: int, seed: int = 0, topics: int = 200) -> Vectors:
    """Unit vectors (rows, 64) around that many centres."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((topics, 64), dtype=np.float32)
    vectors = centres[random.integers(0, topics, rows)] + 0.7 * random.standard_normal((rows, 64), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def neighbours(vectors: Vectors, degree: int) -> npt.NDArray[np.int64]:
    """Of each vector the nearest others."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    found: npt.NDArray[np.int64] = flat.search(vectors, degree + 1)[1]
    return found[:, 1:]


def recall(index: Any, vectors: Vectors, queries: Vectors) -> float:
    """The part of the ten best of each query that HNSW finds, with ef 200."""
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    wanted = flat.search(queries, 10)[1]
    found = index.search(queries, 10, params=faiss.SearchParametersHNSW(efSearch=200))[1]
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), wanted.tolist(), strict=True)]))
