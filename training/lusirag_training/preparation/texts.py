"""Texts that lie in Arrow columns, read where they lie; and the keys under which equal texts are found."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from datasets import Dataset

Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

_AT_ONCE = 4096


def normalise(text: str) -> str:
    """The form in which texts are compared: NFKC, case folded, white space as single spaces."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def key_of(text: str) -> int:
    """64 bits of the normalised text's BLAKE2b; among ten million texts, two share one by chance once in 370,000."""
    return int.from_bytes(hashlib.blake2b(normalise(text).encode(), digest_size=8).digest(), "little")


class Texts:
    """A sequence of texts in an Arrow column, of which only what is asked for is read.

    Args:
        column: strings.
        rows: the texts' places in the column, in order; all of it when None.
    """

    def __init__(self, column: pa.ChunkedArray, rows: Rows | None = None) -> None:
        self._column = column
        self._rows = rows
        self._ends = np.cumsum([len(chunk) for chunk in column.chunks], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._column) if self._rows is None else len(self._rows)

    def take(self, places: Sequence[int] | npt.NDArray[np.integer[Any]]) -> list[str]:
        """The texts at some places, in that order."""
        asked = np.asarray(places, dtype=np.int64)
        rows = asked if self._rows is None else self._rows[asked]
        chunks = np.searchsorted(self._ends, rows, side="right")
        found: list[str] = [""] * len(rows)
        # One take for each chunk: taking from a chunked column copies the whole of it first.
        for number in np.unique(chunks):
            here = np.flatnonzero(chunks == number)
            chunk = self._column.chunk(int(number))
            start = self._ends[number] - len(chunk)
            for place, text in zip(here, chunk.take(pa.array(rows[here] - start)).to_pylist(), strict=True):
                found[place] = text
        return found

    def batches(self, start: int = 0, *, size: int = _AT_ONCE) -> Iterator[list[str]]:
        """All texts from `start` on, some at a time."""
        for first in range(start, len(self), size):
            last = min(first + size, len(self))
            if self._rows is None:
                yield self._column.slice(first, last - first).to_pylist()
            else:
                yield self.take(np.arange(first, last))

    def keys(self) -> Keys:
        """The key of each text, (n,)."""
        found = np.empty(len(self), dtype=np.uint64)
        at = 0
        for batch in self.batches():
            found[at : at + len(batch)] = [key_of(text) for text in batch]
            at += len(batch)
        return found


def column_of(dataset: Dataset, name: str) -> pa.ChunkedArray:
    """A column as it lies in the file that the data set maps; of selected rows, a copy in memory."""
    if dataset._indices is None:
        return dataset.data.column(name)
    tables = dataset.select_columns([name]).with_format("arrow").iter(batch_size=_AT_ONCE)
    return pa.chunked_array([chunk for table in tables for chunk in table.column(name).chunks])


def flatten(lists: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Rows]:
    """All texts of a column of lists, and where each row's begin: row i has texts[starts[i]:starts[i + 1]]."""
    lengths = np.asarray(pc.list_value_length(lists), dtype=np.int64)
    return pc.list_flatten(lists), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def first_of_each(keys: Keys) -> tuple[Rows, Rows]:
    """Where each different key comes first, in that order; and which of these each key is.

    Args:
        keys: (n,).

    Returns:
        firsts (u,), increasing, and number (n,) with keys[firsts[number]] == keys.
    """
    _, firsts, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    return firsts[order].astype(np.int64), number[inverse].astype(np.int64)
