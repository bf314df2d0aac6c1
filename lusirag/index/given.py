"""Vectors that the caller of `Index.add` has computed, in the place of those that the embedder would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lusirag.errors import InvalidArgumentError
from lusirag.index.requests import unit_vectors
from lusirag.types import Vectors


class GivenVectors:
    """The vectors of some documents, found by their ids.

    Args:
        batches: the documents, as `incoming.as_batches` gives them.
        vectors: (n, dimension), one for each, in their order.
        dimension: of the index.

    Raises:
        InvalidArgumentError: more or fewer vectors than documents, of another dimension, zero or not finite; or an id
            that comes twice.
    """

    def __init__(self, batches: Sequence[pa.RecordBatch], vectors: npt.ArrayLike, dimension: int) -> None:
        ids = [name for batch in batches for name in batch.column("id").to_pylist()]
        if not ids and not np.size(vectors):
            vectors = np.empty((0, dimension), dtype=np.float32)
        self._vectors = unit_vectors(vectors, dimension, "document")
        if len(self._vectors) != len(ids):
            raise InvalidArgumentError(f"there are {len(self._vectors)} vectors for {len(ids)} documents; give as many")
        twice, count = Counter(ids).most_common(1)[0] if ids else ("", 1)
        if count > 1:
            raise InvalidArgumentError(f"the document id {twice!r} is given twice; with vectors each must come once")
        self._place = {name: row for row, name in enumerate(ids)}

    def of(self, passages: pa.RecordBatch) -> Vectors:
        """The vectors (rows, dim) of whole documents."""
        rows: Vectors = self._vectors[[self._place[name] for name in passages.column("id").to_pylist()]]
        return rows


def with_vectors(
    batches: Iterable[pa.RecordBatch], vectors: npt.ArrayLike | None, dimension: int
) -> tuple[Iterable[pa.RecordBatch], GivenVectors | None]:
    """Batches of documents and the vectors given for them, if any; for these, documents are read whole first."""
    if vectors is None:
        return batches, None
    documents = list(batches)
    return documents, GivenVectors(documents, vectors, dimension)
