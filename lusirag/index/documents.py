"""A segment's passages in a memory-mapped Arrow file: rows in microseconds, whole columns when needed."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lusirag.corpus import CHUNK_COLUMN, CHUNK_TYPE
from lusirag.errors import IndexStateError
from lusirag.index.coded import CodedColumns
from lusirag.index.columns import CORPUS, FIXED, numbers, user_fields
from lusirag.index.files import damaged
from lusirag.index.gather import Gather, Places, gathers
from lusirag.index.recent import Recent
from lusirag.index.tombstones import Bitmap
from lusirag.index.values import ALTERED, Read, fields, readers
from lusirag.types import Hit

_MAGIC = b"ARROW1\0\0"
_KEPT_FILTERS = 16
# Rows from which numpy's calls take less than reading each value.
_TOGETHER = 100


class _Passages(NamedTuple):
    """What reads the values of a batch's rows."""

    id: Read
    text: Read
    title: Read
    language: Read
    source: Read
    metadata: tuple[tuple[str, Read], ...]
    document_id: Read
    start: Read
    end: Read


def _passages(batch: pa.RecordBatch) -> _Passages:
    """Raises one of ALTERED."""
    read = readers(batch)
    chunk = fields(batch.column(CHUNK_COLUMN))
    metadata = tuple((name, column) for name, column in read.items() if name not in FIXED)
    return _Passages(**{name: read[name] for name in CORPUS.names}, metadata=metadata, **chunk)


class Documents:
    """Random access to passages.

    NOTE: what is read is validated first. The sizes of the files were checked when the index was opened, but a flipped
    byte in an offset would otherwise make Arrow read outside the buffer and end the process. Rows are read from the
    buffers of their batch with a check of each bound; see `values` and `gather`.

    Attributes:
        schema: the columns.
        recent_filters: which rows the filters of the last searches let through; see `filters.masks`.
        coded: columns that filters have asked for more than once.
    """

    def __init__(self, path: Path, rows: int) -> None:
        self._path = path
        self._source = pa.memory_map(str(path))
        self._reader = pa.ipc.open_file(self._source)
        self.schema: pa.Schema = self._reader.schema
        for field in [*CORPUS, pa.field(CHUNK_COLUMN, CHUNK_TYPE)]:
            if field.name not in self.schema.names or self.schema.field(field.name).type != field.type:
                raise ValueError(f"it lacks the column {field.name!r} of type {field.type}")
        # NOTE: the file says twice what its columns are; an altered type would be read as another one.
        self._file = self._source.read_buffer()
        if pa.ipc.read_schema(self._file.slice(len(_MAGIC))) != self.schema:
            raise ValueError("its two schemas differ")
        if (self._reader.num_record_batches == 0) != (rows == 0):
            raise ValueError(f"it should hold {rows} rows")
        self._rows = rows
        # NOTE: some 9 kB a batch once it was needed; the vectors of its passages take megabytes.
        self._read: list[_Passages | None] = [None] * self._reader.num_record_batches
        self._known_to_gathers = [False] * self._reader.num_record_batches
        self._whole: dict[tuple[str, str | None], pa.ChunkedArray] = {}
        self.recent_filters: Recent[Hashable, Bitmap] = Recent(_KEPT_FILTERS)
        self.coded = CodedColumns()

    def hit(self, row: int, score: float = 0.0) -> Hit:
        """One passage as a search result; columns that are null in it are left out of `metadata`."""
        read, at = self._locate(row)
        try:
            hit = Hit(
                read.id(at), score, read.text(at), read.title(at), read.language(at), read.source(at),
                {name: value for name, column in read.metadata if (value := column(at)) is not None},
                read.document_id(at), read.start(at), read.end(at),
            )  # fmt: skip
        except ALTERED as error:
            raise self._damaged(f"row {row} was altered") from error
        if (wrong := _wrong(hit)) is not None:
            raise self._damaged(f"row {row} {wrong}")
        return hit

    def hits(self, rows: Sequence[int], scores: Sequence[float]) -> list[Hit]:
        """Several passages, as `hit` gives each; many at once take less time.

        Raises:
            IndexStateError: one was altered, or there is no such row.
        """
        if len(rows) >= _TOGETHER and min(rows) >= 0 and max(rows) < self._rows:
            try:
                hits = self._gathered(np.array(rows, dtype=np.int64), scores)
            except ALTERED:
                hits = []
            if hits and not any(map(_wrong, hits)):
                return hits
        return [self.hit(row, score) for row, score in zip(rows, scores, strict=True)]  # which says what is wrong

    def _gathered(self, rows: Places, scores: Sequence[float]) -> list[Hit]:
        """Raises one of ALTERED."""
        batch, at = np.divmod(rows, self._batch_rows)
        read = {number: self._noted(number) for number in np.unique(batch).tolist()}

        def values(name: str, field: str | None = None) -> list[Any]:
            if (name, field) in self._gathers:
                return self._gathers[name, field](batch, at)
            single = {number: dict(passages.metadata)[name] for number, passages in read.items()}
            return [single[number](place) for number, place in zip(batch.tolist(), at.tolist(), strict=True)]

        ids, *fixed = (values(name) for name in CORPUS.names)
        chunk = [values(CHUNK_COLUMN, field.name) for field in CHUNK_TYPE]
        metadata: list[dict[str, Any]] = [{} for _ in rows]
        for name in (field.name for field in user_fields(self.schema)):
            for own, value in zip(metadata, values(name), strict=True):
                if value is not None:
                    own[name] = value
        return list(map(Hit, ids, scores, *fixed, metadata, *chunk))

    def document_id(self, row: int) -> str:
        """Id of the document that a passage belongs to."""
        read, at = self._locate(row)
        try:
            return str(read.document_id(at))
        except ALTERED as error:
            raise self._damaged(f"row {row} was altered") from error

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All passages in row order, validated; only some columns when named."""
        reader = self._reader if columns is None else self._columns(columns)
        for number in range(reader.num_record_batches):
            batch = self._batch(reader, number)
            self._validate(batch)
            yield batch

    def column(self, name: str, field: str | None = None) -> pa.ChunkedArray:
        """All values of a column, or of one field of a struct column: validated when first read, then kept mapped."""
        found = self._whole.get((name, field))
        if found is None:
            chunks = [batch.column(0) for batch in self.batches([name])]
            kind = self.schema.field(name).type
            if field is not None:
                chunks, kind = [chunk.field(field) for chunk in chunks], kind.field(field).type
            found = pa.chunked_array(chunks, kind)
            if len(found) != self._rows:
                raise self._damaged(f"it holds {len(found)} rows instead of {self._rows}")
            self._whole[name, field] = found
        return found

    def codes(self, column: str) -> tuple[npt.NDArray[np.int32], tuple[Any, ...]]:
        """A text column as numbers (rows,) into the tuple of its distinct values."""
        chunks = [batch.column(0) for batch in self.batches([column])]
        encoded = pa.chunked_array(chunks, self.schema.field(column).type).dictionary_encode("encode")
        combined = encoded.combine_chunks() if encoded.num_chunks else pa.array([], encoded.type)
        if isinstance(combined, pa.ChunkedArray):
            combined = combined.chunk(0)
        return numbers(combined.indices).astype(np.int32), tuple(combined.dictionary.to_pylist())

    def _locate(self, row: int) -> tuple[_Passages, int]:
        """The readers of the columns in a row's batch, and the row's place in it."""
        if not 0 <= row < self._rows:
            raise self._damaged(f"it has no row {row}")
        number, at = divmod(row, self._batch_rows)
        return self._read[number] or self._readers(number), at

    def _readers(self, number: int) -> _Passages:
        """The readers of the columns in a batch."""
        if (found := self._read[number]) is None:
            batch = self._batch(self._reader, number)
            if batch.num_rows != min(self._batch_rows, self._rows - number * self._batch_rows):
                raise self._damaged(f"batch {number} has another length than the others")
            try:
                found = self._read[number] = _passages(batch)
            except ALTERED as error:
                raise self._damaged(f"batch {number} was altered") from error
        return found

    def _noted(self, number: int) -> _Passages:
        """The same, of a batch that the gathers know too. Raises one of ALTERED."""
        found = self._readers(number)
        if not self._known_to_gathers[number]:
            batch = self._batch(self._reader, number)
            for (name, field), gather in self._gathers.items():
                column = batch.column(name)
                gather.add(number, column if field is None else column.field(field))
            self._known_to_gathers[number] = True
        return found

    @cached_property
    def _gathers(self) -> dict[tuple[str, str | None], Gather]:
        """By column, and its field where it is one of structs."""
        kinds: dict[tuple[str, str | None], pa.DataType] = {(field.name, None): field.type for field in self.schema}
        kinds |= {(CHUNK_COLUMN, field.name): field.type for field in CHUNK_TYPE}
        batches = self._reader.num_record_batches
        return {key: Gather(self._file, kind, batches) for key, kind in kinds.items() if gathers(kind)}

    @cached_property
    def _batch_rows(self) -> int:
        """Rows of each batch but the last, which may have fewer.

        NOTE: `columns.rebatch` makes them so; to look at each of a thousand would slow down the first search. One of
        another length is refused when a row of it is read.
        """
        count = self._reader.num_record_batches
        first, last = (self._batch(self._reader, number).num_rows for number in (0, count - 1))
        if not 0 < last <= first or (count - 1) * first + last != self._rows:
            raise self._damaged(f"its batches do not hold {self._rows} rows")
        return int(first)

    def _columns(self, names: Sequence[str]) -> Any:
        fields = [self.schema.get_field_index(name) for name in names]
        return pa.ipc.open_file(self._source, options=pa.ipc.IpcReadOptions(included_fields=fields))

    def _batch(self, reader: Any, number: int) -> pa.RecordBatch:
        try:
            return reader.get_batch(number)
        except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
            raise self._damaged(f"batch {number} cannot be read") from error

    def _validate(self, part: Any) -> None:
        try:
            part.validate(full=True)
        except (pa.ArrowException, ValueError) as error:
            raise self._damaged("it was altered") from error

    def _damaged(self, problem: str) -> IndexStateError:
        directory = self._path.parents[2]
        return damaged(directory, f"{self._path.relative_to(directory).as_posix()}: {problem}")


def _wrong(hit: Hit) -> str | None:
    """What is wrong with a passage that was read, None if nothing is."""
    if hit.id is None or hit.text is None or hit.start is None or hit.end is None:
        return "lacks a value that every row has"
    if hit.start < 0 or hit.end - hit.start != len(hit.text):
        return "does not lie where it says in its document"
    if hit.id != hit.document_id:
        document_id, _, piece = hit.id.rpartition("#")
        if document_id != hit.document_id or not piece.isdecimal():
            return "has another id than its document"
    return None
