"""A segment's passages in a memory-mapped Arrow file: rows in microseconds, whole columns when needed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lusirag.corpus import CHUNK_COLUMN, CHUNK_TYPE
from lusirag.errors import IndexStateError
from lusirag.index.coded import CodedColumns
from lusirag.index.columns import CORPUS, numbers, user_fields
from lusirag.index.files import damaged
from lusirag.index.random_access import Places, access
from lusirag.index.recent import Recent
from lusirag.index.tombstones import Bitmap
from lusirag.index.values import ALTERED, check_layout
from lusirag.types import Hit

_MAGIC = b"ARROW1\0\0"
_KEPT_FILTERS = 16
# Rows from which numpy's calls take less than reading each value.
_TOGETHER = 100

_Value: TypeAlias = Callable[[int, int], Any]  # of a column in a row, by its batch and its place there


class _Passage(NamedTuple):
    """What reads the values of a row."""

    id: _Value
    text: _Value
    title: _Value
    language: _Value
    source: _Value
    metadata: tuple[tuple[str, _Value], ...]
    document_id: _Value
    start: _Value
    end: _Value


class Documents:
    """Random access to passages.

    NOTE: what is read is validated first. The sizes of the files were checked when the index was opened, but a flipped
    byte in an offset would otherwise make Arrow read outside the buffer and end the process. Rows are read from the
    mapped file with a check of each bound; see `random_access`.

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
        batches = self._reader.num_record_batches
        self._known = [False] * batches  # which batches the columns were told of
        columns = [field for field in self.schema if field.name != CHUNK_COLUMN]
        self._cells = {field.name: access(self._file, field.type, batches) for field in columns}
        self._chunk_cells = {field.name: access(self._file, field.type, batches) for field in CHUNK_TYPE}
        self._whole: dict[tuple[str, str | None], pa.ChunkedArray] = {}
        self.recent_filters: Recent[Hashable, Bitmap] = Recent(_KEPT_FILTERS)
        self.coded = CodedColumns()

    def hit(self, row: int, score: float = 0.0) -> Hit:
        """One passage as a search result; columns that are null in it are left out of `metadata`."""
        batch, at = self._locate(row)
        read = self._passage
        try:
            hit = Hit(
                read.id(batch, at), score, read.text(batch, at), read.title(batch, at), read.language(batch, at),
                read.source(batch, at),
                {name: value for name, column in read.metadata if (value := column(batch, at)) is not None},
                read.document_id(batch, at), read.start(batch, at), read.end(batch, at),
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
        for number in np.unique(batch).tolist():
            self._know(number)
        ids, *fixed = (self._cells[name].values(batch, at) for name in CORPUS.names)
        chunk = [column.values(batch, at) for column in self._chunk_cells.values()]
        metadata: list[dict[str, Any]] = [{} for _ in rows]
        for name in (field.name for field in user_fields(self.schema)):
            for own, value in zip(metadata, self._cells[name].values(batch, at), strict=True):
                if value is not None:
                    own[name] = value
        return list(map(Hit, ids, scores, *fixed, metadata, *chunk))

    def document_id(self, row: int) -> str:
        """Id of the document that a passage belongs to."""
        batch, at = self._locate(row)
        try:
            return str(self._passage.document_id(batch, at))
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

    def _locate(self, row: int) -> tuple[int, int]:
        """The batch of a row and its place there; the columns know that batch."""
        if not 0 <= row < self._rows:
            raise self._damaged(f"it has no row {row}")
        number, at = divmod(row, self._batch_rows)
        if not self._known[number]:
            self._know(number)
        return number, at

    def _know(self, number: int) -> None:
        """Tell the columns of a batch, unless that is done."""
        if self._known[number]:
            return
        batch = self._batch(self._reader, number)
        if batch.num_rows != min(self._batch_rows, self._rows - number * self._batch_rows):
            raise self._damaged(f"batch {number} has another length than the others")
        try:
            check_layout(batch)
            for name, column in self._cells.items():
                column.add(number, batch.column(name))
            chunk = batch.column(CHUNK_COLUMN)
            if chunk.null_count:
                raise ValueError("a struct is missing")
            for place, column in enumerate(self._chunk_cells.values()):
                column.add(number, chunk.field(place))
        except ALTERED as error:
            raise self._damaged(f"batch {number} was altered") from error
        self._known[number] = True

    @cached_property
    def _passage(self) -> _Passage:
        return _Passage(
            **{name: self._cells[name].value for name in CORPUS.names},
            metadata=tuple((field.name, self._cells[field.name].value) for field in user_fields(self.schema)),
            **{name: column.value for name, column in self._chunk_cells.items()},
        )

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
