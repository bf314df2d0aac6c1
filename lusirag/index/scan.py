"""Passing over all vectors of a segment: the kernel of exact search, in four ways, of which the quickest is taken.

FAISS reads the codes where they lie, and is quickest for a few queries. Many queries at once are quicker by matrix
products over blocks that are made float32, as each block is then read once for all. A process that searches only
once and little, as `lusirag search` does, is done sooner by such products than FAISS is imported. And one that was told
to search on a GPU does so, unless few rows of many may be found.
"""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

from lusirag.index import gpu
from lusirag.index.engine import load_faiss
from lusirag.index.tombstones import Bitmap, to_mask
from lusirag.index.vectors import StoredVectors
from lusirag.types import Vectors

# Numbers that are multiplied by numpy before FAISS is imported: about what the import takes, a sixth of a second.
SMALL = 50_000_000

# Where at most one row in so many is allowed, copying those rows is cheaper than passing over all. Not for a single
# query over many vectors: there FAISS skips rows as quickly (measured by benchmarks/filters.py).
FEW = 8

# Queries from which matrix products are quicker (python -m benchmarks.storage).
MANY = 24
_BLOCK_ROWS = 1 << 12

# Numbers of the vectors, times queries, from which a GPU is worth the way there: the CPU takes a millisecond for them.
LARGE_FOR_CPU = 4_000_000


class _Spent:
    """What this process has multiplied by numpy instead of importing FAISS."""

    numbers = 0


def largest_inner_products(
    queries: Vectors, vectors: StoredVectors, k: int, allowed: Bitmap
) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """Find the k rows of `vectors` with the largest inner product for each query.

    Args:
        queries: (n, dim), contiguous.
        vectors: (rows, dim); no copy of more than a block is made.
        k: rows to return for each query, at most as many as there are.
        allowed: bitmap of the rows that may be returned, least significant bit first, ceil(rows / 8) bytes.

    Returns:
        Scores (n, k) from large to small and row numbers (n, k); -1 where fewer than k rows are allowed.
    """
    if len(queries) * vectors.codes.size >= LARGE_FOR_CPU and gpu.searches():
        return _by_gpu(queries, vectors, k, allowed)
    return _by_cpu(queries, vectors, k, allowed)


def _by_gpu(queries: Vectors, vectors: StoredVectors, k: int, allowed: Bitmap) -> tuple[Vectors, npt.NDArray[np.int64]]:
    rows = len(vectors)
    fetched = gpu.fetched(k, int(np.bitwise_count(allowed).sum()), rows)
    resident = None if fetched is None else vectors.resident
    found = None if fetched is None or resident is None else resident.search(queries, fetched)
    if found is None:
        return _by_cpu(queries, vectors, k, allowed)
    scores, best = gpu.among(allowed, *found, k)
    if len(short := np.flatnonzero(best[:, -1] < 0)):  # more of the nearest were hidden than usual
        scores[short], best[short] = _by_cpu(queries[short], vectors, k, allowed)
    return scores, best


def _by_cpu(queries: Vectors, vectors: StoredVectors, k: int, allowed: Bitmap) -> tuple[Vectors, npt.NDArray[np.int64]]:
    n, rows = len(queries), len(vectors)
    by_products = n >= MANY or _small(n * vectors.codes.size)
    count = int(np.bitwise_count(allowed).sum())
    if k <= count <= rows // FEW and (by_products or n > 1):
        places = np.flatnonzero(to_mask(allowed, rows))
        every = np.packbits(np.ones(count, dtype=np.bool_), bitorder="little")
        scores, best = _by_products(queries, StoredVectors(vectors.take(places)), k, every)
        return scores, places[best]
    return (_by_products if by_products else _by_faiss)(queries, vectors, k, allowed)


def _small(numbers: int) -> bool:
    if "faiss" in sys.modules:
        return False
    _Spent.numbers += numbers
    return _Spent.numbers <= SMALL


def _by_faiss(
    queries: Vectors, vectors: StoredVectors, k: int, allowed: Bitmap
) -> tuple[Vectors, npt.NDArray[np.int64]]:
    faiss = load_faiss()
    # NOTE: the selector is given even when all rows are allowed: one code path, and for a single query FAISS's
    # selector kernel is no slower than the one without (measured with faiss-cpu 1.15.1).
    selector = faiss.IDSelectorBitmap(len(vectors), faiss.swig_ptr(allowed))
    found: tuple[Vectors, npt.NDArray[np.int64]] = vectors.flat_index.search(
        queries, k, params=faiss.SearchParameters(sel=selector)
    )
    return found


def _by_products(
    queries: Vectors, vectors: StoredVectors, k: int, allowed: Bitmap
) -> tuple[Vectors, npt.NDArray[np.int64]]:
    scores: Vectors = np.empty((len(queries), 0), dtype=np.float32)
    rows = np.empty((len(queries), 0), dtype=np.int64)
    hidden = ~to_mask(allowed, len(vectors))
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = vectors.take(slice(start, start + _BLOCK_ROWS))
        products: Vectors = queries @ block.T  # (n, rows of the block)
        products[:, hidden[start : start + len(block)]] = -np.inf
        best = _largest(products, k)
        scores = np.concatenate([scores, np.take_along_axis(products, best, axis=1)], axis=1)
        rows = np.concatenate([rows, best + start], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    scores, rows = np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
    return scores, np.where(np.isneginf(scores), -1, rows)


def _largest(products: Vectors, k: int) -> npt.NDArray[np.int64]:
    """Places (n, at most k) of the largest of each row, in no order."""
    width = products.shape[1]
    return np.argpartition(products, width - k, axis=1)[:, width - k :] if k < width else np.argsort(products, axis=1)
