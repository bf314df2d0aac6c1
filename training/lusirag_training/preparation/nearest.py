"""The nearest documents of many queries, by FAISS: exactly over vectors in a file, or by any FAISS index."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from lusirag.errors import InvalidArgumentError
from lusirag.index.engine import load_faiss
from lusirag.types import Vectors
from lusirag_training.preparation.progress import Progress
from lusirag_training.preparation.texts import Rows

logger = logging.getLogger(__name__)

EXACT = "Flat"
# Search(queries (n, dim), k) -> scores (n, k) from large to small, rows (n, k); -1 where fewer are found.
Search = Callable[[Vectors, int], tuple[Vectors, Rows]]

_ROWS_AT_ONCE = 65_536
_TRAINING_ROWS = 200_000


def open_search(
    vectors: Vectors, *, index: str = EXACT, nprobe: int | None = None, seed: int = 0, progress: Progress | None = None
) -> Search:
    """Make documents searchable by inner product.

    Args:
        vectors: (documents, dim) unit vectors; with "Flat" they are read where they lie, no copy is made.
        index: "Flat" (exact) or another FAISS factory string, such as "IVF4096,SQ8" or "HNSW32".
        nprobe: lists that an IVF index looks through; a sixteenth of them when None.
        seed: of the sample that such an index is trained on.
        progress: called as progress("indexing", done, documents).

    Raises:
        InvalidArgumentError: FAISS knows no such index, it needs more documents, or `nprobe` is not for it.
    """
    faiss = load_faiss()
    if index == EXACT:
        if nprobe is not None:
            raise InvalidArgumentError(f"nprobe is {nprobe}, but the index is {EXACT}, which is exact; leave it out")
        return lambda queries, k: faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
    try:
        built = faiss.index_factory(vectors.shape[1], index, faiss.METRIC_INNER_PRODUCT)
        if not built.is_trained:
            size = min(len(vectors), _TRAINING_ROWS)
            sample = np.sort(np.random.default_rng(seed).choice(len(vectors), size=size, replace=False))
            built.train(np.ascontiguousarray(vectors[sample]))
    except RuntimeError as error:
        said = str(error).strip().split("\n")[-1][:200]
        raise InvalidArgumentError(
            f"FAISS cannot make the index {index!r} of {len(vectors):,} documents ({said}); "
            f"allowed: {EXACT}, or a FAISS factory string such as IVF1024,Flat or HNSW32"
        ) from error
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        built.add(np.ascontiguousarray(vectors[start : start + _ROWS_AT_ONCE]))
        if progress is not None:
            progress("indexing", built.ntotal, len(vectors))
    _set_nprobe(faiss, built, index, nprobe)
    return lambda queries, k: built.search(queries, k)


def _set_nprobe(faiss: Any, built: Any, index: str, nprobe: int | None) -> None:
    lists = faiss.try_extract_index_ivf(built)
    if lists is None:
        if nprobe is not None:
            raise InvalidArgumentError(f"nprobe is {nprobe}, but the index {index!r} has no lists; leave it out")
        return
    wanted = max(1, lists.nlist // 16) if nprobe is None else nprobe
    if not 1 <= wanted <= lists.nlist:
        raise InvalidArgumentError(f"nprobe is {wanted}; the index {index!r} allows 1 to {lists.nlist}")
    lists.nprobe = wanted
