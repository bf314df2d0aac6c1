"""The vectors of a segment as they are stored, in 32, 16 or 8 bits a number, and as float32 where they are needed.

float16 halves what the disk holds and what a search reads, and moves a cosine by some 1e-5. 8 bits halve it again: each
dimension of a segment is divided evenly between its least and its largest value, and a cosine moves by some 1e-3
(benchmarks/storage.py measures what that costs). What is stored is then what counts: structures, exact search and
scores are all of the stored vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lusirag.errors import InvalidArgumentError
from lusirag.index import gpu
from lusirag.index.columns import numbers
from lusirag.index.engine import flat_index
from lusirag.index.tombstones import Mask
from lusirag.types import Vectors

Storage = Literal["float32", "float16", "int8"]
STORAGES: tuple[str, ...] = get_args(Storage)

_NUMBERS = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.uint8()}
_STEPS = 255
_LENGTH_TOLERANCE, _LENGTH_TOLERANCE_8_BITS = 1e-3, 0.05
_ROWS_AT_ONCE = 8192
_PIECE_NUMBERS = 1 << 25  # it takes FAISS some 7 ms to pass over so many
_COLUMN, _LOWEST, _STEP = "vector", b"lowest", b"step"


class Ranges(NamedTuple):
    """What 8-bit codes mean: a number is lowest + step * code.

    Attributes:
        lowest: (dim,) float32, the least value of each dimension.
        step: (dim,) float32, a 255th of the way to its largest.
    """

    lowest: npt.NDArray[np.float32]
    step: npt.NDArray[np.float32]


class StoredVectors:
    """Vectors that lie in a file or in memory; what is taken of them is float32.

    Args:
        codes: (rows, dim) float32, float16 or uint8, contiguous.
        ranges: for uint8.
    """

    def __init__(self, codes: npt.NDArray[Any], ranges: Ranges | None = None) -> None:
        self.codes = codes
        self.ranges = ranges

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def dimension(self) -> int:
        """Numbers of a vector."""
        return int(self.codes.shape[1])

    @property
    def plain(self) -> bool:
        """Whether the numbers are stored as float32."""
        return self.codes.dtype == np.float32

    def take(self, rows: Any = slice(None)) -> Vectors:
        """Some vectors (n, dim), by a slice, row numbers or a mask; float32 ones of a slice are not copied."""
        codes = self.codes[rows]
        if codes.dtype == np.float16:
            return _from_halves(codes)
        if self.ranges is None:
            return cast(Vectors, codes)
        values: Vectors = codes.astype(np.float32)
        values *= self.ranges.step
        values += self.ranges.lowest
        return values

    def halves(self) -> npt.NDArray[np.float16]:
        """All of them in float16, (rows, dim); a copy unless they are stored so."""
        if self.codes.dtype == np.float16:
            return self.codes
        found = np.empty(self.codes.shape, dtype=np.float16)
        for start in range(0, len(self), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            found[part] = self.take(part)
        return found

    def first_damaged(self) -> int | None:
        """The first row whose vector is not finite or not of unit length, None where there is none."""
        tolerance = _LENGTH_TOLERANCE if self.ranges is None else _LENGTH_TOLERANCE_8_BITS
        for start in range(0, len(self), _ROWS_AT_ONCE):
            lengths = np.linalg.norm(self.take(slice(start, start + _ROWS_AT_ONCE)), axis=1)  # (rows,)
            wrong = ~(np.abs(lengths - 1) <= tolerance)
            if wrong.any():
                return start + int(wrong.argmax())
        return None

    @cached_property
    def flat_index(self) -> Any:
        """FAISS's index over the codes where they lie."""
        return flat_index(self.codes, self.ranges)

    @cached_property
    def resident(self) -> gpu.Resident | None:
        """The vectors in the memory of a GPU, in 32 bits whatever they are stored as; None where they do not fit."""
        return gpu.resident_flat(self.dimension, (piece.take() for _, piece in self.pieces))

    @cached_property
    def pieces(self) -> tuple[tuple[int, StoredVectors], ...]:
        """The vectors in parts that several threads can search, and the row that each begins with, a multiple of 8."""
        size = max(8, _PIECE_NUMBERS // self.dimension // 8 * 8)
        if len(self) <= size:
            return ((0, self),)
        starts = range(0, len(self), size)
        return tuple((start, StoredVectors(self.codes[start : start + size], self.ranges)) for start in starts)


def taken(pieces: Sequence[tuple[StoredVectors, npt.NDArray[np.int64]]]) -> Vectors:
    """Vectors (n, dim) of several segments of one index, at least one of each; copies.

    Args:
        pieces: segments, and the rows that are taken of each.
    """
    if pieces[0][0].ranges is None:
        # They are all stored in the same way, and made float32 at once.
        return StoredVectors(np.concatenate([source.codes[rows] for source, rows in pieces])).take()
    return np.concatenate([source.take(rows) for source, rows in pieces])


def _from_halves(codes: npt.NDArray[np.float16]) -> Vectors:
    """float16 as float32, finite numbers only: the bits are moved to their places, and the exponent set right.

    NOTE: the same as codes.astype(np.float32), which numpy (2.4) does several times slower.
    """
    bits = codes.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= np.int32(-0x70002000)  # the bits that copies of the sign have filled
    values: Vectors = bits.view(np.float32)
    values *= np.float32(2.0**112)
    return values


def checked_storage(storage: object) -> str:
    """One of STORAGES.

    Raises:
        InvalidArgumentError: it is not.
    """
    if storage not in STORAGES:
        raise InvalidArgumentError(f"vectors is {storage!r}; allowed: {', '.join(STORAGES)}")
    return str(storage)


def number_bytes(storage: str) -> int:
    """Bytes of a stored number."""
    return int(_NUMBERS[storage].bit_width) // 8


def stored_as(storage: str, vectors: npt.NDArray[Any]) -> StoredVectors:
    """Vectors (rows, dim) of floats as `storage` keeps them.

    Eight bits of what was once in eight bits with the same ranges are the same again.
    """
    if storage != "int8":
        return StoredVectors(np.ascontiguousarray(vectors, dtype=storage))
    values = np.asarray(vectors, dtype=np.float32)
    ranges = _ranges([values], values.shape[1])
    return StoredVectors(_in_ranges(values, ranges), ranges)


def merged(parts: Sequence[tuple[StoredVectors, Mask]]) -> StoredVectors:
    """The vectors of several segments of one index as those of one, without their deleted passages.

    Args:
        parts: of each segment its vectors and (rows,) True where a passage lives, in row order.
    """
    first, _ = parts[0]
    codes = np.empty((sum(int(live.sum()) for _, live in parts), first.dimension), first.codes.dtype)
    ranges = None
    if first.ranges is not None:
        ranges = _ranges((source.take(rows) for source, rows in _live_rows(parts)), first.dimension)
    start = 0
    for source, rows in _live_rows(parts):
        block = source.codes[rows] if ranges is None else _in_ranges(source.take(rows), ranges)
        codes[start : start + len(block)] = block
        start += len(block)
    return StoredVectors(codes, ranges)


def _live_rows(parts: Sequence[tuple[StoredVectors, Mask]]) -> Iterator[tuple[StoredVectors, npt.NDArray[np.int64]]]:
    """The rows that live, some at a time."""
    for source, live in parts:
        rows = np.flatnonzero(live)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            yield source, rows[start : start + _ROWS_AT_ONCE]


def _ranges(blocks: Iterable[Vectors], dimension: int) -> Ranges:
    """The ranges of all numbers (rows, dim) of some blocks."""
    lowest = np.full(dimension, np.inf, np.float32)
    highest = -lowest
    for block in blocks:
        lowest = np.minimum(lowest, block.min(axis=0, initial=np.inf))
        highest = np.maximum(highest, block.max(axis=0, initial=-np.inf))
    if not np.isfinite(lowest).all():  # no rows
        lowest = highest = np.zeros(dimension, np.float32)
    return Ranges(lowest, ((highest - lowest) / _STEPS).astype(np.float32))


def _in_ranges(values: Vectors, ranges: Ranges) -> npt.NDArray[np.uint8]:
    """The codes of numbers (rows, dim)."""
    codes = np.rint((values - ranges.lowest) / np.where(ranges.step > 0, ranges.step, 1))
    return codes.clip(0, _STEPS).astype(np.uint8)


def to_batch(vectors: StoredVectors) -> pa.RecordBatch:
    """One batch with a column of fixed-size lists, which `from_batch` reads without copying."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.codes.reshape(-1)), vectors.dimension)
    field = pa.field(_COLUMN, column.type)
    if vectors.ranges is not None:
        lowest, step = (each.astype("<f4").tobytes() for each in vectors.ranges)
        field = field.with_metadata({_LOWEST: lowest, _STEP: step})
    return pa.record_batch([column], schema=pa.schema([field]))


def schema_of(found: pa.Schema, dimension: int) -> pa.Schema:
    """The schema that such a file must have, by the numbers that it holds; ValueError where it holds no vectors."""
    kind = found.field(0).type if len(found) == 1 else None
    for number in _NUMBERS.values():
        if kind == (wanted := pa.list_(number, dimension)):
            return pa.schema([pa.field(_COLUMN, wanted)])
    raise ValueError(f"it should hold vectors of {dimension} numbers")


def from_batch(batch: pa.RecordBatch) -> StoredVectors:
    """Vectors from such a batch; ValueError where 8-bit codes lack what they mean."""
    column, size = batch.column(0), batch.schema.field(0).type.list_size
    if column.null_count:
        raise ValueError("a vector is missing")
    # NOTE: not column.flatten(), which imports pyarrow.compute: 0.05 s of a search.
    codes = numbers(column.values.slice(column.offset * size, len(column) * size)).reshape(len(column), size)
    if codes.dtype != np.uint8:
        return StoredVectors(codes)
    metadata = batch.schema.field(0).metadata or {}
    found = [np.frombuffer(metadata.get(name, b""), dtype="<f4") for name in (_LOWEST, _STEP)]
    if any(len(each) != codes.shape[1] or not np.isfinite(each).all() for each in found):
        raise ValueError("it does not say what its 8-bit codes mean")
    return StoredVectors(codes, Ranges(*found))
