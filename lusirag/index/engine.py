"""The one place that imports FAISS, and the kernel that exact search needs; small searches do without FAISS."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lusirag.errors import MissingDependencyError
from lusirag.types import Vectors

# Products that numpy computes at once: one query over 130,000 vectors of 384 numbers. FAISS is no faster there, and
# importing it takes a quarter of the time of `lusirag search`.
SMALL = 50_000_000

# Where at most one row in so many is allowed, copying those rows is cheaper than passing over all. Not for a single
# query over many vectors: there FAISS skips rows as quickly (measured by benchmarks/filters.py).
FEW = 8


def load_faiss() -> Any:
    """Import FAISS.

    Raises:
        MissingDependencyError: it is not installed; names the extras that bring it.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(
            'searching needs FAISS, which is not installed. Run: pip install "lusirag[cpu]"  '
            '(or "lusirag[gpu]" on Linux with an NVIDIA GPU; never both)'
        ) from error
    return faiss


def largest_inner_products(
    queries: Vectors, vectors: Vectors, k: int, allowed: npt.NDArray[np.uint8]
) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """Find the k rows of `vectors` with the largest inner product for each query, reading them where they lie.

    Args:
        queries: (n, dim), contiguous.
        vectors: (rows, dim), contiguous; may be a memory map, no copy is made.
        k: rows to return for each query.
        allowed: bitmap of the rows that may be returned, least significant bit first, ceil(rows / 8) bytes.

    Returns:
        Scores (n, k) from large to small and row numbers (n, k); -1 where fewer than k rows are allowed.
    """
    n, rows = len(queries), len(vectors)
    small = n * vectors.size <= SMALL
    count = int(np.bitwise_count(allowed).sum())
    if k <= count <= rows // FEW and (small or n > 1):
        places = np.flatnonzero(np.unpackbits(allowed, count=rows, bitorder="little"))
        every = np.packbits(np.ones(count, dtype=np.bool_), bitorder="little")
        scores, best = largest_inner_products(queries, vectors[places], k, every)
        return scores, places[best]
    if small:
        return _by_numpy(queries, vectors, k, allowed)
    faiss = load_faiss()
    scores = np.empty((n, k), dtype=np.float32)
    found = np.empty((n, k), dtype=np.int64)
    # NOTE: the selector is given even when all rows are allowed: one code path, and for a single query FAISS's
    # selector kernel is no slower than the one without (measured with faiss-cpu 1.15.1).
    selector = faiss.IDSelectorBitmap(rows, faiss.swig_ptr(allowed))
    faiss.knn_inner_product(
        faiss.swig_ptr(queries), faiss.swig_ptr(vectors), queries.shape[1], n, rows, k,
        faiss.swig_ptr(scores), faiss.swig_ptr(found), selector,
    )  # fmt: skip
    return scores, found


def _by_numpy(
    queries: Vectors, vectors: Vectors, k: int, allowed: npt.NDArray[np.uint8]
) -> tuple[Vectors, npt.NDArray[np.int64]]:
    products: Vectors = queries @ vectors.T  # (n, rows)
    hidden = np.unpackbits(allowed, count=len(vectors), bitorder="little") == 0
    products[:, hidden] = -np.inf
    best = np.argpartition(-products, k - 1, axis=1)[:, :k]  # (n, k), in no order
    scores = np.take_along_axis(products, best, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    scores, best = np.take_along_axis(scores, order, axis=1), np.take_along_axis(best, order, axis=1)
    return scores, np.where(np.isneginf(scores), -1, best)
