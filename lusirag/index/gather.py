"""Values of many rows of a file at once, in whichever of its batches: numpy works out where they lie.

One at a time (`values`) a value takes Python a call and some look-ups. That suits ten hits; the hits of 64 queries at
once are thousands of values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lusirag.index.values import is_text, number_code, offset_code

_NOWHERE = -1

Places = npt.NDArray[np.int64]


class Gather:
    """The values of one column, equal to those of `values.reader`.

    Args:
        file: the whole of it; Arrow lets each buffer begin at a multiple of 8 bytes.
        kind: of the column; see `gathers`.
        batches: how many the file has. Each must be given to `add` before its rows are asked for.
    """

    def __init__(self, file: pa.Buffer, kind: pa.DataType, batches: int) -> None:
        self._address = file.address
        self._bytes = memoryview(file)
        self._text = is_text(kind)
        code = offset_code(kind) if self._text else number_code(kind)
        self._bits = np.frombuffer(self._bytes, np.uint8)
        self._numbers = self._bits[: len(self._bits) // 8 * 8].view(np.dtype(code))
        # Of each batch: the bytes where its bitmap of nulls begins and its text, and the number where its numbers do.
        self._nulls, self._texts, self._firsts = np.full((3, batches), _NOWHERE, np.int64)
        self._sizes = np.zeros(batches, np.int64)  # bytes of its text

    def add(self, number: int, column: pa.Array) -> None:
        """Note where the column lies in a batch, which `values.readers` has checked.

        Raises:
            ValueError: not where Arrow puts it.
        """
        bitmap, numbers, *text = column.buffers()
        first, remainder = divmod(place := self._place(numbers), self._numbers.itemsize)
        if remainder or place == _NOWHERE:
            raise ValueError("the numbers of a column do not begin at a multiple of their size")
        if self._text:
            self._texts[number], self._sizes[number] = self._place(text[0]), text[0].size if text[0] else 0
        self._nulls[number] = self._place(bitmap) if column.null_count else _NOWHERE
        self._firsts[number] = first

    def __call__(self, batch: Places, at: Places) -> list[Any]:
        """The values of some rows.

        Args:
            batch: (n,) of each.
            at: (n,) its place in the batch.

        Raises:
            ValueError, IndexError: the file was altered.
        """
        present = self._present(batch, at)
        if not present.any():
            return [None] * len(at)
        places = self._firsts[batch] + at
        values = self._strings(batch, places, present) if self._text else self._numbers[places].tolist()
        if present.all():
            return values
        return [value if there else None for value, there in zip(values, present.tolist(), strict=True)]

    def _strings(self, batch: Places, places: Places, present: npt.NDArray[np.bool_]) -> list[str]:
        starts, ends = (np.where(present, self._numbers[each], 0).astype(np.int64) for each in (places, places + 1))
        if ((starts < 0) | (starts > ends) | (ends > self._sizes[batch])).any():
            raise ValueError("a text lies outside its column")
        texts = self._texts[batch]
        edges = zip((texts + starts).tolist(), (texts + ends).tolist(), strict=True)
        return [self._bytes[start:end].tobytes().decode() for start, end in edges]

    def _present(self, batch: Places, at: Places) -> npt.NDArray[np.bool_]:
        """(n,) whether there is a value."""
        nulls = self._nulls[batch]
        present: npt.NDArray[np.bool_] = nulls == _NOWHERE
        if not present.all():
            bits = self._bits[np.where(present, 0, nulls + (at >> 3))] >> (at & 7).astype(np.uint8)
            present |= (bits & 1).astype(np.bool_)
        return present

    def _place(self, buffer: pa.Buffer | None) -> int:
        if not buffer:  # Arrow lets an empty one lie anywhere
            return _NOWHERE
        place: int = buffer.address - self._address
        if not 0 <= place <= len(self._bytes) - buffer.size:
            raise ValueError("a buffer lies outside the file")
        return place


def gathers(kind: pa.DataType) -> bool:
    """Whether `Gather` is for columns of a type: texts and numbers."""
    return is_text(kind) or number_code(kind) is not None
