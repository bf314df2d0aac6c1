"""The only code that changes an index: it holds the lock, writes new files, and commits them with a new manifest."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy.typing as npt

from lusirag import __version__
from lusirag.errors import LusiragError
from lusirag.index.columns import unify, user_fields
from lusirag.index.files import FileRecord, storage_errors, sync_directory
from lusirag.index.lock import writer_lock
from lusirag.index.manifest import MANIFEST_FILE, Manifest, SegmentRecord, read_manifest, write_manifest
from lusirag.index.segment import (
    Content,
    Segment,
    moved_segment,
    open_segment,
    structure_path,
    with_structure,
    write_segment,
    write_structure,
)
from lusirag.index.snapshot import Snapshot, open_snapshot, snapshot_of
from lusirag.index.staging import remove_abandoned
from lusirag.index.tombstones import Mask, write_tombstones
from lusirag.index.vectors import StoredVectors, stored_as


class Writer:
    """A change in the making. Files it writes are no part of the index until `commit`.

    Attributes:
        snapshot: the state after the last commit.
        in_background: larger merges and structures are left to `maintenance`.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.in_background = False
        self._next_segment = snapshot.manifest.next_segment

    @property
    def directory(self) -> Path:
        """The index directory."""
        return self.snapshot.directory

    def add_segment(self, content: Content) -> Segment:
        """Write a segment and open it; see `segment.write_segment`."""
        return self._opened(write_segment(self.directory, self._new_name(), content))

    def take_segment(self, source: Path, record: SegmentRecord) -> Segment:
        """Move a segment that was written into the directory `source` to its place, and open it.

        Raises:
            StorageError: the file system refuses.
        """
        return self._opened(moved_segment(source, record, self.directory, self._new_name()))

    def take_structure(self, segment: Segment, source: Path, written: FileRecord, factory: str) -> Segment:
        """Move a structure that was written into the directory `source` to its place; the segment with it.

        Raises:
            StorageError: the file system refuses.
        """
        path = structure_path(segment.record.name, self.snapshot.manifest.generation + 1)
        with storage_errors(self.directory / path):
            (source / written.path).rename(self.directory / path)
        sync_directory((self.directory / path).parent)
        return self._opened(with_structure(segment.record, dataclasses.replace(written, path=path), factory))

    def _new_name(self) -> str:
        name = f"{self._next_segment:06d}"
        self._next_segment += 1
        return name

    def _opened(self, record: SegmentRecord) -> Segment:
        return open_segment(self.directory, record, self.snapshot.manifest.embedder.dimension)

    def stored(self, vectors: npt.NDArray[Any]) -> StoredVectors:
        """Vectors (rows, dim) of floats as this index stores them."""
        return stored_as(self.snapshot.manifest.vectors, vectors)

    def build_structures(self, *, renew: bool = False) -> None:
        """Give segments that lack one the structure that they should have, and commit each.

        Args:
            renew: also put others in the place of those that would be built differently now, as `auto` decides anew
                while an index grows or shrinks.

        Raises:
            InvalidArgumentError: FAISS cannot build it.
            StorageError: the file system refuses; what was built before stays.
        """
        for number, segment in enumerate(self.snapshot.segments):
            wanted, has = self.snapshot.structure_for(segment.record.rows), segment.record.structure
            if wanted == has or (has is not None and not renew):
                continue
            written = None
            if wanted is not None:
                path = structure_path(segment.record.name, self.snapshot.manifest.generation + 1)
                written = write_structure(segment, wanted, self.directory, path)
            if (written is None) == (wanted is None):  # else they are too few to train it
                self.replace(number, self._opened(with_structure(segment.record, written, wanted)))

    def replace(self, number: int, segment: Segment) -> None:
        """Put a segment in the place of another, and commit."""
        self.commit([*self.snapshot.segments[:number], segment, *self.snapshot.segments[number + 1 :]])

    def add_tombstones(self, segment: Segment, deleted: Mask) -> Segment:
        """Write which rows of a segment are deleted from the next generation on."""
        generation = self.snapshot.manifest.generation + 1
        return segment.with_deleted(deleted, write_tombstones(self.directory, segment.record.name, generation, deleted))

    def commit(self, segments: Sequence[Segment], **changes: Any) -> None:
        """Make `segments` the index's content, durably, in one step.

        Args:
            segments: all segments of the new state; those without a live row are left out.
            changes: other fields of the manifest that change.

        Raises:
            StorageError: the file system refuses; the state before stays.
        """
        before = self.snapshot.manifest
        kept = tuple(segment for segment in segments if segment.live_rows)
        manifest = dataclasses.replace(
            before,
            segments=tuple(segment.record for segment in kept),
            columns=_columns(kept),
            generation=before.generation + 1,
            next_segment=self._next_segment,
            updated=now(),
            lusirag_version=__version__,
            **changes,
        )
        write_manifest(self.directory, manifest)
        self.snapshot = Snapshot(self.directory, manifest, kept)
        remove_leftovers(self.directory, manifest)


@contextmanager
def writing(directory: Path, known: Snapshot | None = None) -> Iterator[Writer]:
    """Lock the index and start a change on its newest state; what is not committed at the end is removed.

    Args:
        directory: the index directory.
        known: a state that is open already; used again when it is still the newest.

    Raises:
        IndexStateError: locked by another writer, or damaged.
        StorageError: the directory cannot be written.
    """
    with writer_lock(directory):
        manifest = read_manifest(directory)
        snapshot = known if known is not None and known.manifest == manifest else open_snapshot(directory)
        remove_leftovers(directory, manifest)
        try:
            yield Writer(snapshot)
        except BaseException:
            with suppress(LusiragError):
                remove_leftovers(directory, read_manifest(directory))
            raise


def create_directory(directory: Path, manifest: Manifest) -> Snapshot:
    """Make `manifest` the first state of an index, or replace an index that is there.

    Raises:
        IndexStateError: locked by a writer.
        StorageError: the directory cannot be made or written.
    """
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    with writer_lock(directory):
        if (directory / MANIFEST_FILE).exists():
            with suppress(LusiragError):
                old = read_manifest(directory)
                manifest = dataclasses.replace(manifest, generation=old.generation + 1, next_segment=old.next_segment)
        write_manifest(directory, manifest)
        remove_leftovers(directory, manifest)
    return snapshot_of(directory, manifest)


def remove_leftovers(directory: Path, manifest: Manifest) -> None:
    """Remove files that no state needs any more: of a writer that died, and of the states before this one.

    Readers of an older state are not disturbed, as a mapped file stays readable after its name is gone. Windows
    refuses to remove a mapped file; then a later writer does it.
    """
    needed = {file.path for file in manifest.files()}
    names = {segment.name for segment in manifest.segments}
    with suppress(OSError):
        (directory / (MANIFEST_FILE + ".tmp")).unlink()
    remove_abandoned(directory)
    segments = directory / "segments"
    for folder in segments.iterdir() if segments.is_dir() else ():
        if folder.name not in names:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        for file in folder.iterdir():
            if f"segments/{folder.name}/{file.name}" not in needed:
                with suppress(OSError):
                    file.unlink()


def now() -> str:
    """The time in UTC, ISO 8601, in seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _columns(segments: Iterable[Segment]) -> tuple[tuple[str, str], ...]:
    fields = user_fields(unify(segment.documents.schema for segment in segments))
    return tuple((field.name, str(field.type)) for field in fields)
