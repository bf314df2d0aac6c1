"""Finding a document by its id without holding ids in memory: sorted hashes, binary search, then the id itself.

One row a document: `id_hash` (sorted) and `content_hash`, both BLAKE2b of 8 bytes, `first_row` and `rows`, the
passages it has in the segment. A hash is only a hint; the caller compares the id that is stored with the passage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lusirag.index.columns import numbers

SCHEMA = pa.schema(
    [
        pa.field("id_hash", pa.uint64(), nullable=False),
        pa.field("content_hash", pa.uint64(), nullable=False),
        pa.field("first_row", pa.uint32(), nullable=False),
        pa.field("rows", pa.uint32(), nullable=False),
    ]
)
UNKNOWN = 0  # the content hash of what counts as changed when it is added again
_JSON = json.JSONEncoder(sort_keys=True, default=repr)  # one for all rows: json.dumps would make one a row


def hash_id(document_id: str) -> int:
    """64-bit hash of a document's id, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(document_id.encode("utf-8"), digest_size=8).digest(), "little")


def hash_content(row: Mapping[str, Any]) -> int:
    """64-bit hash of everything a document consists of except its id; nulls count as absent.

    Args:
        row: column name to value, as the caller gave it: before languages were identified and before chunking.
    """
    fields = {name: value for name, value in row.items() if value is not None and name != "id"}
    text = _JSON.encode(fields)
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little")


def build_keys(
    id_hashes: npt.ArrayLike, content_hashes: npt.ArrayLike, first_rows: npt.ArrayLike, rows: npt.ArrayLike
) -> pa.RecordBatch:
    """Make the keys of a segment, sorted by id hash, then row."""
    hashes = np.array(id_hashes, dtype=np.uint64)
    first = np.array(first_rows, dtype=np.uint32)
    order = np.lexsort((first, hashes))
    columns: list[npt.NDArray[Any]] = [
        hashes,
        np.array(content_hashes, dtype=np.uint64),
        first,
        np.array(rows, dtype=np.uint32),
    ]
    return pa.record_batch([pa.array(column[order]) for column in columns], schema=SCHEMA)


class Keys:
    """The keys of one segment, read where they lie in a memory map."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.id_hashes: npt.NDArray[np.uint64] = numbers(batch.column(0))
        self.content_hashes: npt.NDArray[np.uint64] = numbers(batch.column(1))
        self.first_rows: npt.NDArray[np.uint32] = numbers(batch.column(2))
        self.rows: npt.NDArray[np.uint32] = numbers(batch.column(3))

    def __len__(self) -> int:
        return len(self.id_hashes)

    def candidates(self, id_hash: int) -> Iterator[int]:
        """Positions in the keys whose hash is `id_hash`; almost always none or one."""
        wanted = np.uint64(id_hash)
        position = int(np.searchsorted(self.id_hashes, wanted))
        while position < len(self.id_hashes) and self.id_hashes[position] == wanted:
            yield position
            position += 1
