"""The one place that imports FAISS, and the one of its kernels that exact search needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lusirag.errors import MissingDependencyError
from lusirag.types import Vectors


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
    faiss = load_faiss()
    n, rows = len(queries), len(vectors)
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
