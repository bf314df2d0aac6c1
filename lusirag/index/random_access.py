"""Values of any rows of a file's columns, one or many at once, in whichever of its batches.

What must be known of a batch is a few numbers for each column: where it lies in the file. One value is then a look-up
or two in the mapped file, as ten hits want it. The hits of 64 queries at once are thousands of values, for which
numpy works out where they lie. Both give what Arrow's `as_py` gives.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lusirag.index.values import Read, check_nulls, is_text, number_code, offset_code, reader

_NOWHERE = -1

Places: TypeAlias = npt.NDArray[np.int64]


class Access(Protocol):
    """The values of one column. Each batch must be given to `add` before its rows are asked for."""

    def add(self, number: int, column: pa.Array) -> None:
        """Note where the column lies in a batch; raise one of `values.ALTERED` if it is not where Arrow puts it."""

    def value(self, batch: int, at: int) -> Any:
        """That of a row, by its place in its batch; raises one of ALTERED."""

    def values(self, batch: Places, at: Places) -> list[Any]:
        """Those of rows (n,); raises one of ALTERED."""


def access(file: pa.Buffer, kind: pa.DataType, batches: int) -> Access:
    """What reads a column.

    Args:
        file: the whole of it; Arrow lets each buffer begin at a multiple of 8 bytes.
        kind: of the column.
        batches: how many the file has.
    """
    if is_text(kind):
        return _Texts(file, offset_code(kind), batches)
    if (code := number_code(kind)) is not None:
        return _Numbers(file, code, batches)
    return _Others(batches)


class _Numbers:
    """A column of numbers that `struct` knows by a code."""

    def __init__(self, file: pa.Buffer, code: str, batches: int) -> None:
        self._address = file.address
        self._bytes = memoryview(file)
        self._all = np.frombuffer(self._bytes, np.uint8)
        self._numbers = self._all[: len(self._all) // 8 * 8].view(np.dtype(code))
        self._number: Any = self._numbers.data
        # Of each batch: the byte where its bitmap of nulls begins, and which number of the file is its first.
        self._nulls, self._firsts = np.full((2, batches), _NOWHERE, np.int64)
        self._null, self._first = self._nulls.data, self._firsts.data

    def add(self, number: int, column: pa.Array) -> None:
        check_nulls(column)
        bitmap, numbers, *_ = column.buffers()
        first, remainder = divmod(place := self._place(numbers), self._numbers.itemsize)
        if remainder or place == _NOWHERE:
            raise ValueError("the numbers of a column do not begin at a multiple of their size")
        self._nulls[number] = self._place(bitmap) if column.null_count else _NOWHERE
        self._firsts[number] = first

    def value(self, batch: int, at: int) -> Any:
        return self._number[self._first[batch] + at] if self._is_there(batch, at) else None

    def values(self, batch: Places, at: Places) -> list[Any]:
        present = self._are_there(batch, at)
        if not present.any():
            return [None] * len(at)
        values = self._read(batch, self._firsts[batch] + at, present)
        if present.all():
            return values
        return [value if there else None for value, there in zip(values, present.tolist(), strict=True)]

    def _read(self, batch: Places, places: Places, present: npt.NDArray[np.bool_]) -> list[Any]:
        """Anything where none is present."""
        del batch, present
        return list(self._numbers[places].tolist())

    def _is_there(self, batch: int, at: int) -> bool:
        nulls = self._null[batch]
        return nulls == _NOWHERE or bool(self._bytes[nulls + (at >> 3)] >> (at & 7) & 1)

    def _are_there(self, batch: Places, at: Places) -> npt.NDArray[np.bool_]:
        nulls = self._nulls[batch]
        present: npt.NDArray[np.bool_] = nulls == _NOWHERE
        if not present.all():
            bits = self._all[np.where(present, 0, nulls + (at >> 3))] >> (at & 7).astype(np.uint8)
            present |= (bits & 1).astype(np.bool_)
        return present

    def _place(self, buffer: pa.Buffer | None) -> int:
        if not buffer:  # Arrow lets an empty one lie anywhere
            return _NOWHERE
        place: int = buffer.address - self._address
        if not 0 <= place <= len(self._bytes) - buffer.size:
            raise ValueError("a buffer lies outside the file")
        return place


class _Texts(_Numbers):
    """A column of texts that lie one behind the other; the numbers say where each begins."""

    def __init__(self, file: pa.Buffer, code: str, batches: int) -> None:
        super().__init__(file, code, batches)
        # Of each batch: the byte where its texts begin, and how many bytes they are.
        self._begins, self._sizes = np.full((2, batches), _NOWHERE, np.int64)
        self._begin, self._size = self._begins.data, self._sizes.data

    def add(self, number: int, column: pa.Array) -> None:
        super().add(number, column)
        content = column.buffers()[2]
        self._begins[number], self._sizes[number] = self._place(content), content.size if content else 0

    def value(self, batch: int, at: int) -> str | None:
        if not self._is_there(batch, at):
            return None
        place = self._first[batch] + at
        start, end = self._number[place], self._number[place + 1]
        if not 0 <= start <= end <= self._size[batch]:
            raise ValueError("a text lies outside its column")
        begin = self._begin[batch]
        return self._bytes[begin + start : begin + end].tobytes().decode()

    def _read(self, batch: Places, places: Places, present: npt.NDArray[np.bool_]) -> list[str]:
        starts, ends = (np.where(present, self._numbers[each], 0).astype(np.int64) for each in (places, places + 1))
        if ((starts < 0) | (starts > ends) | (ends > self._sizes[batch])).any():
            raise ValueError("a text lies outside its column")
        begins = self._begins[batch]
        edges = zip((begins + starts).tolist(), (begins + ends).tolist(), strict=True)
        return [self._bytes[start:end].tobytes().decode() for start, end in edges]


class _Others:
    """A column of another type: lists, moments and the like, by what reads it in each batch."""

    def __init__(self, batches: int) -> None:
        self._readers: list[Read | None] = [None] * batches

    def add(self, number: int, column: pa.Array) -> None:
        self._readers[number] = reader(column)

    def value(self, batch: int, at: int) -> Any:
        read = self._readers[batch]
        if read is None:
            raise IndexError(f"batch {batch} is not known yet")
        return read(at)

    def values(self, batch: Places, at: Places) -> list[Any]:
        return [self.value(*place) for place in zip(batch.tolist(), at.tolist(), strict=True)]
