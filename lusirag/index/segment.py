"""One immutable segment: written in one go, then read through memory maps without copying.

A segment is a folder with documents.arrow (batches of 4,096 passages), vectors.arrow (one batch, so that the
vectors are one contiguous array), keys.arrow (one row a document), postings.arrow and lengths.arrow (where the index
has a lexical part), and files of later generations: tombstones, and ann.faiss where search is approximate.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lusirag.index import keys
from lusirag.index.ann.building import build, is_structure, structure_name, write_index
from lusirag.index.ann.memory import Layout
from lusirag.index.ann.stored import StoredStructure
from lusirag.index.columns import rebatch
from lusirag.index.documents import Documents
from lusirag.index.files import FileRecord, damaged, problem_with, storage_errors, sync_directory, write_file
from lusirag.index.manifest import SegmentRecord
from lusirag.index.postings import (
    LENGTHS_FILE,
    LENGTHS_SCHEMA,
    POSTINGS_FILE,
    POSTINGS_SCHEMA,
    Postings,
    read_postings,
)
from lusirag.index.tombstones import Bitmap, Mask, read_tombstones, to_bitmap
from lusirag.index.vectors import StoredVectors, from_batch, number_bytes, schema_of, to_batch

logger = logging.getLogger(__name__)

DOCUMENTS_FILE = "documents.arrow"
VECTORS_FILE = "vectors.arrow"
KEYS_FILE = "keys.arrow"
BATCH_ROWS = 4096  # what reads single passages is prepared once a batch, see `documents`
# Of a segment's vectors as float32. Larger segments are fewer, and a search looks into each; but a merge holds what it
# writes in memory, and rewrites all of it.
SEGMENT_VECTOR_BYTES = 1 << 30

Read = TypeVar("Read")
LexicalMaps: TypeAlias = tuple[pa.MemoryMappedFile, pa.MemoryMappedFile]  # postings.arrow, lengths.arrow

# NOTE: files up to this size are hashed whenever an index is opened; larger ones only by `verify`, because opening
# must not read gigabytes.
_CHECKED_ON_OPEN_BYTES = 1 << 16


def largest_segment(dimension: int) -> int:
    """Passages that one segment may hold."""
    return max(1024, SEGMENT_VECTOR_BYTES // (4 * dimension))


def layout_of(dimension: int, storage: str) -> Layout:
    """How an index of such vectors is laid out."""
    return Layout(dimension, number_bytes(storage), largest_segment(dimension))


class Content(NamedTuple):
    """What a segment is written from.

    Attributes:
        batches: the passages in row order, all of `schema`.
        schema: their schema.
        vectors: of the passages, unit length.
        key: the documents' keys, see `keys.SCHEMA`.
        postings: the lexical part, where the index has one.
    """

    batches: Iterable[pa.RecordBatch]
    schema: pa.Schema
    vectors: StoredVectors
    key: pa.RecordBatch
    postings: Postings | None = None


def write_segment(directory: Path, name: str, content: Content) -> SegmentRecord:
    """Write a segment's files and sync them. It is part of the index once a manifest names it.

    Args:
        directory: the index directory.
        name: folder name under segments/; it must not exist.
        content: at least one passage.

    Raises:
        StorageError: the file system refuses.
    """
    folder = f"segments/{name}"
    with storage_errors(directory / folder):
        (directory / folder).mkdir(parents=True)
    batches, schema, vectors, key, postings = content
    vector_batch = to_batch(vectors)
    files = [
        _write_arrow(directory, f"{folder}/{DOCUMENTS_FILE}", schema, rebatch(batches, BATCH_ROWS)),
        _write_arrow(directory, f"{folder}/{VECTORS_FILE}", vector_batch.schema, [vector_batch]),
        _write_arrow(directory, f"{folder}/{KEYS_FILE}", keys.SCHEMA, [key]),
    ]
    if postings is not None:
        for file_name, batch in zip((POSTINGS_FILE, LENGTHS_FILE), postings.batches(), strict=True):
            files.append(_write_arrow(directory, f"{folder}/{file_name}", batch.schema, [batch]))
    sync_directory(directory / folder)
    sync_directory(directory / "segments")
    return SegmentRecord(name=name, rows=len(vectors), documents=key.num_rows, files=tuple(files))


def moved_segment(source: Path, record: SegmentRecord, directory: Path, name: str) -> SegmentRecord:
    """Give a segment that was written into the directory `source` the place and the name that it has in an index.

    Raises:
        StorageError: the file system refuses.
    """
    target = directory / "segments" / name
    with storage_errors(target):
        target.parent.mkdir(exist_ok=True)
        (source / "segments" / record.name).rename(target)
    sync_directory(target.parent)
    files = (dataclasses.replace(file, path=f"segments/{name}/{file.name}") for file in record.files)
    return dataclasses.replace(record, name=name, files=tuple(files))


def write_structure(segment: Segment, factory: str, directory: Path, path: str) -> FileRecord | None:
    """Build what a segment is searched through, and write it as the file `path` of a directory.

    Returns:
        The file; None where the passages are too few to train it.

    Raises:
        InvalidArgumentError: FAISS cannot build that structure.
        StorageError: the file system refuses.
    """
    logger.info("building %s over %s passages", factory, f"{segment.record.rows:,}")
    if (built := build(factory, segment.vectors)) is None:
        return None
    written = write_index(directory, path, built)
    sync_directory((directory / path).parent)
    return written


def structure_path(segment: str, generation: int) -> str:
    """Path in an index directory of the structure that a generation gives a segment."""
    return f"segments/{segment}/{structure_name(generation)}"


def with_structure(record: SegmentRecord, written: FileRecord | None, factory: str | None) -> SegmentRecord:
    """The record of a segment that is searched through another structure from now on, or through none."""
    files = tuple(file for file in record.files if not is_structure(file.path))
    more = () if written is None else (written,)
    return dataclasses.replace(record, files=(*files, *more), structure=factory)


def _write_arrow(directory: Path, path: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> FileRecord:
    with write_file(directory / path) as file:
        with pa.ipc.new_file(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        return file.record(path)


@dataclass(frozen=True)
class Segment:
    """A segment that is open for reading; its files are memory-mapped, so they stay readable when they are unlinked.

    Attributes:
        record: its entry in the manifest.
        directory: the index directory.
        documents: the passages.
        vectors: of the passages, a view of the mapped file.
        keys: the documents' hashes and rows.
        deleted: (rows,) True where a passage is deleted.
        structure: what approximate search goes through; None where search is exact.
        lexical: the files of the lexical part; None where the index has none.
    """

    record: SegmentRecord
    directory: Path
    documents: Documents
    vectors: StoredVectors
    keys: keys.Keys
    deleted: Mask
    structure: StoredStructure | None = None
    lexical: LexicalMaps | None = None

    @cached_property
    def live(self) -> Bitmap:
        """Bitmap of the passages that are not deleted."""
        return to_bitmap(~self.deleted)

    @cached_property
    def languages(self) -> tuple[npt.NDArray[np.int32], tuple[str | None, ...]]:
        """Each passage's language: numbers (rows,) into the tuple of names."""
        return self.documents.codes("language")

    @property
    def has_postings(self) -> bool:
        """Whether it has a lexical part."""
        return self.lexical is not None

    @cached_property
    def postings(self) -> Postings:
        """The lexical part, read when it is first needed.

        Raises:
            IndexStateError: it is damaged, or the segment has none, though the index should.
        """
        if self.lexical is None:
            raise damaged(self.directory, f"segments/{self.record.name}/{POSTINGS_FILE} is missing")
        maps = self.lexical
        return _checked(self.directory, self.record, POSTINGS_FILE, lambda: _read_lexical(maps, self.record.rows))

    @property
    def live_rows(self) -> int:
        """Passages that are not deleted."""
        return self.record.rows - self.record.deleted_rows

    def find(self, document_id: str, id_hash: int, deleted: Mask | None = None) -> int | None:
        """Position in `keys` of a document that is not deleted, None when it is not here.

        Args:
            document_id: its id.
            id_hash: `keys.hash_id` of it.
            deleted: what is deleted, when that is more than the segment itself knows.
        """
        deleted = self.deleted if deleted is None else deleted
        for position in self.keys.candidates(id_hash):
            row = int(self.keys.first_rows[position])
            if not deleted[row] and self.documents.document_id(row) == document_id:
                return position
        return None

    def rows_of(self, position: int) -> slice:
        """The passages of the document at a position in `keys`."""
        first = int(self.keys.first_rows[position])
        return slice(first, first + int(self.keys.rows[position]))

    def with_deleted(self, deleted: Mask, tombstones: FileRecord) -> Segment:
        """The same segment with other tombstones, which lie in the file `tombstones`."""
        record = dataclasses.replace(
            self.record,
            deleted_rows=int(deleted.sum()),
            deleted_documents=int(deleted[self.keys.first_rows].sum()),
            tombstones=tombstones,
        )
        return dataclasses.replace(self, record=record, deleted=deleted)


def open_segment(directory: Path, record: SegmentRecord, dimension: int) -> Segment:
    """Map a segment's files; sizes of all are checked, and the checksums of small ones.

    Raises:
        IndexStateError: a file is missing, truncated, altered or not what it should be; names it.
    """
    for file in [*record.files, *([record.tombstones] if record.tombstones else [])]:
        if problem := problem_with(directory, file, full=file.bytes <= _CHECKED_ON_OPEN_BYTES):
            raise damaged(directory, problem)
    folder = directory / "segments" / record.name
    documents = _checked(directory, record, DOCUMENTS_FILE, lambda: Documents(folder / DOCUMENTS_FILE, record.rows))
    vectors = _checked(directory, record, VECTORS_FILE, lambda: map_vectors(folder, record.rows, dimension))
    key = _checked(directory, record, KEYS_FILE, lambda: map_keys(folder, record))
    deleted = np.zeros(record.rows, dtype=np.bool_)
    if tombstones := record.tombstones:
        path = directory / tombstones.path
        deleted = _checked(directory, record, tombstones.name, lambda: read_tombstones(path, record.rows))
    structure = None
    if record.structure is not None:
        structure = _checked(directory, record, "ann.faiss", lambda: _map_structure(directory, record, vectors))
    lexical = None
    # NOTE: mapped now, though read when needed: later a writer may have removed the names.
    if any(file.path.endswith(f"/{POSTINGS_FILE}") for file in record.files):
        lexical = _checked(directory, record, POSTINGS_FILE, lambda: _map_lexical(folder))
    return Segment(record, directory, documents, vectors, key, deleted, structure, lexical)


def _checked(directory: Path, record: SegmentRecord, name: str, read: Callable[[], Read]) -> Read:
    try:
        return read()
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, MemoryError) as error:
        raise damaged(directory, f"segments/{record.name}/{name} cannot be read: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _map(folder: Path, name: str) -> pa.MemoryMappedFile:
    return pa.memory_map(str(folder / name))


def _only_batch(source: pa.MemoryMappedFile, schema: pa.Schema, rows: int | None) -> pa.RecordBatch:
    return _checked_batch(pa.ipc.open_file(source), schema, rows)


def _checked_batch(reader: pa.RecordBatchFileReader, schema: pa.Schema, rows: int | None) -> pa.RecordBatch:
    if reader.schema != schema or reader.num_record_batches != 1:
        raise ValueError(f"it should hold one batch of {schema.names}")
    batch = reader.get_batch(0)
    batch.validate()
    if rows not in (None, batch.num_rows) or any(column.null_count for column in batch.columns):
        raise ValueError(f"it holds {batch.num_rows} rows instead of {rows}, or nulls")
    return batch


def _map_structure(directory: Path, record: SegmentRecord, vectors: StoredVectors) -> StoredStructure:
    (file,) = (file for file in record.files if is_structure(file.path))
    return StoredStructure(directory, file, str(record.structure), vectors)


def map_vectors(folder: Path, rows: int, dimension: int) -> StoredVectors:
    """The vectors of a segment's folder; ValueError where the file is something else."""
    reader = pa.ipc.open_file(_map(folder, VECTORS_FILE))
    return from_batch(_checked_batch(reader, schema_of(reader.schema, dimension), rows))


def map_postings(folder: Path, rows: int) -> Postings:
    """The lexical part of a segment's folder; ValueError where the files are something else."""
    return _read_lexical(_map_lexical(folder), rows)


def _map_lexical(folder: Path) -> LexicalMaps:
    return _map(folder, POSTINGS_FILE), _map(folder, LENGTHS_FILE)


def _read_lexical(maps: LexicalMaps, rows: int) -> Postings:
    lengths = _only_batch(maps[1], LENGTHS_SCHEMA, rows)
    return read_postings(_only_batch(maps[0], POSTINGS_SCHEMA, None), lengths)


def map_keys(folder: Path, record: SegmentRecord) -> keys.Keys:
    """The keys of a segment's folder; ValueError where the file is something else."""
    found = keys.Keys(_only_batch(_map(folder, KEYS_FILE), keys.SCHEMA, record.documents))
    ends = found.first_rows.astype(np.int64) + found.rows
    if len(found) and (int(ends.max()) > record.rows or int(found.rows.min()) == 0):
        raise ValueError("it points outside the segment")
    return found
