"""Single values of a column as Python objects, straight from its buffers: what Arrow's `as_py` gives, but sooner.

A hit is ten or more values, and with its documents a search must not take longer than without. Every read is
bounds-checked, so an altered file gives an error of ALTERED and never a read outside its buffers.
"""

from __future__ import annotations

import datetime
import struct
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any, TypeAlias

import pyarrow as pa

Read: TypeAlias = Callable[[int], Any]  # the value in a row of the column

ALTERED = (ValueError, TypeError, IndexError, OverflowError, struct.error, pa.ArrowException)

_NUMBERS = {
    pa.int8(): "b", pa.int16(): "h", pa.int32(): "i", pa.int64(): "q", pa.uint8(): "B", pa.uint16(): "H",
    pa.uint32(): "I", pa.uint64(): "Q", pa.float32(): "f", pa.float64(): "d",
}  # fmt: skip
_LARGEST_PADDING = 63
_EPOCH = datetime.datetime(1970, 1, 1)
_UTC_EPOCH = _EPOCH.replace(tzinfo=datetime.UTC)
_TICKS = {unit: datetime.timedelta(microseconds=size) for unit, size in (("s", 10**6), ("ms", 1000), ("us", 1))}


def check_layout(batch: pa.RecordBatch) -> None:
    """Refuse a batch of a file that Arrow does not write.

    Raises:
        One of ALTERED.
    """
    batch.validate()
    buffers = [buffer for column in batch.columns for buffer in column.buffers() if buffer]
    for before, buffer in pairwise(buffers):
        # Arrow writes one behind the other; an altered position would give values of other rows.
        if not 0 <= buffer.address - before.address - before.size <= _LARGEST_PADDING:
            raise ValueError("the buffers of a batch do not follow each other")


def reader(column: pa.Array) -> Read:
    """What reads single values of a column that begins with its buffers, as those of a file do."""
    kind = column.type
    if (code := number_code(kind)) is not None:
        return _numbers(column, code)
    if is_text(kind):
        return _texts(column, offset_code(kind))
    if pa.types.is_boolean(kind):
        return _flags(column)
    if pa.types.is_struct(kind):
        return _fields(column)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _lists(column, offset_code(kind))
    if pa.types.is_date32(kind):
        return _converted(_numbers(column, "i"), _day)
    if pa.types.is_timestamp(kind) and kind.unit in _TICKS:
        return _converted(_numbers(column, "q"), _moment(kind))
    return _by_arrow(column)


def number_code(kind: pa.DataType) -> str | None:
    """The code by which `struct` knows a type of numbers; None if it is no such type."""
    return _NUMBERS.get(kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether values of a type are texts that lie one behind the other."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def offset_code(kind: pa.DataType) -> str:
    """That of the numbers which say where each text or list of a column begins."""
    return "q" if pa.types.is_large_string(kind) or pa.types.is_large_list(kind) else "i"


def _numbers(column: pa.Array, code: str) -> Read:
    values: Any = memoryview(column.buffers()[1]).cast("B").cast(code)  # type: ignore[call-overload]
    return _or_none(column, values.__getitem__)


def _texts(column: pa.Array, code: str) -> Read:
    _, offsets, content = column.buffers()
    ends: Any = memoryview(offsets).cast("B").cast(code)  # type: ignore[call-overload]
    data = memoryview(content if content is not None else b"")

    def text(row: int) -> str:
        start, end = ends[row], ends[row + 1]
        if not 0 <= start <= end <= len(data):
            raise ValueError("a text lies outside its column")
        return data[start:end].tobytes().decode()

    return _or_none(column, text)


def _flags(column: pa.Array) -> Read:
    return _or_none(column, _bits(column.buffers()[1]))


def _fields(column: pa.Array) -> Read:
    read = [(field.name, reader(column.field(number))) for number, field in enumerate(column.type)]
    return _or_none(column, lambda row: {name: value(row) for name, value in read})


def _lists(column: pa.Array, code: str) -> Read:
    ends: Any = memoryview(column.buffers()[1]).cast("B").cast(code)  # type: ignore[call-overload]
    size, item = len(column.values), reader(column.values)

    def items(row: int) -> list[Any]:
        start, end = ends[row], ends[row + 1]
        if not 0 <= start <= end <= size:
            raise ValueError("a list lies outside its column")
        return [item(number) for number in range(start, end)]

    return _or_none(column, items)


def _converted(read: Read, convert: Callable[[int], Any]) -> Read:
    return lambda row: None if (value := read(row)) is None else convert(value)


def _day(days: int) -> datetime.date:
    return _EPOCH.date() + datetime.timedelta(days)


def _moment(kind: pa.TimestampType) -> Callable[[int], datetime.datetime]:
    tick = _TICKS[kind.unit]
    if kind.tz is None:
        return lambda ticks: _EPOCH + ticks * tick
    zone = _zone(kind.tz)
    return lambda ticks: (_UTC_EPOCH + ticks * tick).astimezone(zone)


@cache
def _zone(name: str) -> datetime.tzinfo:
    # NOTE: as_py imports pandas where that is installed, half a second when the first passage is read.
    zone: datetime.tzinfo = pa.lib.string_to_tzinfo(name)
    return zone


def _by_arrow(column: pa.Array) -> Read:
    def value(row: int) -> Any:
        part = column.slice(row, 1)
        part.validate(full=True)
        return part[0].as_py()

    return value


def check_nulls(column: pa.Array) -> None:
    """Refuse a column that does not have as many nulls as it says; ValueError."""
    bitmap, rows = column.buffers()[0], len(column)
    if bitmap is not None:
        set_bits = int.from_bytes(memoryview(bitmap)[: (rows + 7) // 8], "little") & (1 << rows) - 1
        if rows - set_bits.bit_count() != column.null_count:
            raise ValueError("a column does not have as many nulls as it says")


def _or_none(column: pa.Array, read: Read) -> Read:
    """The same where there is a value, None where the column has none."""
    check_nulls(column)
    if not column.null_count:
        return read
    present = _bits(column.buffers()[0])
    return lambda row: read(row) if present(row) else None


def _bits(buffer: pa.Buffer) -> Callable[[int], bool]:
    bits = memoryview(buffer).cast("B")
    return lambda row: bool(bits[row >> 3] >> (row & 7) & 1)
