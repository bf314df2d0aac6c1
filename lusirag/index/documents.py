"""A segment's passages in a memory-mapped Arrow file: single rows in microseconds, whole columns when needed."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lusirag.corpus import CHUNK_COLUMN, CHUNK_TYPE
from lusirag.errors import IndexStateError
from lusirag.index.columns import CORPUS, numbers
from lusirag.index.files import damaged
from lusirag.index.recent import Recent
from lusirag.index.tombstones import Bitmap

_CACHED_BATCHES = 256
_KEPT_FILTERS = 16


class Documents:
    """Random access to passages.

    NOTE: what is read is validated first. The sizes of the files were checked when the index was opened, but a flipped
    byte in an offset would otherwise make Arrow read outside the buffer and end the process.

    Attributes:
        schema: the columns.
        recent_filters: which rows the filters of the last searches let through; see `filters.masks`.
    """

    def __init__(self, path: Path, rows: int) -> None:
        self._path = path
        self._source = pa.memory_map(str(path))
        self._reader = pa.ipc.open_file(self._source)
        self.schema: pa.Schema = self._reader.schema
        for field in [*CORPUS, pa.field(CHUNK_COLUMN, CHUNK_TYPE)]:
            if field.name not in self.schema.names or self.schema.field(field.name).type != field.type:
                raise ValueError(f"it lacks the column {field.name!r} of type {field.type}")
        if (self._reader.num_record_batches == 0) != (rows == 0):
            raise ValueError(f"it should hold {rows} rows")
        self._rows = rows
        self._offsets: npt.NDArray[np.int64] | None = None
        self._cache: dict[int, tuple[pa.RecordBatch, list[tuple[str, pa.Array]]]] = {}
        self._whole: dict[tuple[str, str | None], pa.ChunkedArray] = {}
        self.recent_filters: Recent[Hashable, Bitmap] = Recent(_KEPT_FILTERS)

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """First row of each batch, and the number of rows at the end."""
        if self._offsets is None:
            reader = self._columns(["language"])
            counts = [self._batch(reader, number).num_rows for number in range(reader.num_record_batches)]
            offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
            if offsets[-1] != self._rows:
                raise self._damaged(f"it holds {offsets[-1]} rows instead of {self._rows}")
            self._offsets = offsets
        return self._offsets

    def row(self, row: int) -> dict[str, Any]:
        """One passage: column name to Python value."""
        batch, columns, at = self._locate(row)
        self._validate(batch.slice(at, 1))
        values = {name: column[at].as_py() for name, column in columns}
        chunk = values[CHUNK_COLUMN] or {}
        start, end = chunk.get("start"), chunk.get("end")
        if values["id"] is None or values["text"] is None or start is None or end is None:
            raise self._damaged(f"row {row} lacks a value that every row has")
        if start < 0 or end - start != len(values["text"]):
            raise self._damaged(f"row {row} does not lie where it says in its document")
        return values

    def document_id(self, row: int) -> str:
        """Id of the document that a passage belongs to."""
        batch, _, at = self._locate(row)
        chunk = batch.column(CHUNK_COLUMN).slice(at, 1)
        self._validate(chunk)
        return str(chunk[0].as_py()["document_id"])

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

    def _locate(self, row: int) -> tuple[pa.RecordBatch, list[tuple[str, pa.Array]], int]:
        """The batch of a row, its columns (making them takes as long as reading a row), and the row's place in it."""
        number = int(np.searchsorted(self.offsets, row, side="right")) - 1
        found = self._cache.get(number)
        if found is None:
            batch = self._batch(self._reader, number)
            found = (batch, list(zip(self.schema.names, batch.columns, strict=True)))
            if len(self._cache) >= _CACHED_BATCHES:
                self._cache.clear()
            self._cache[number] = found
        return *found, row - int(self.offsets[number])

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
