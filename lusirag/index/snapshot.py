"""One state of an index, open for reading: its manifest and its segments. It never changes; writers make new ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from lusirag.errors import IndexStateError
from lusirag.index import gpu
from lusirag.index.ann.kinds import structure_for
from lusirag.index.columns import unify
from lusirag.index.keys import hash_id
from lusirag.index.lexical import Lexicon
from lusirag.index.manifest import Manifest, read_manifest
from lusirag.index.segment import Segment, layout_of, open_segment

_ATTEMPTS = 20


@dataclass(frozen=True)
class Snapshot:
    """A consistent state; its files stay readable while a writer goes on, even when it removes them.

    Attributes:
        directory: the index directory.
        manifest: what the state consists of.
        segments: in row order, one for each entry of the manifest.
    """

    directory: Path
    manifest: Manifest
    segments: tuple[Segment, ...]

    @property
    def documents(self) -> int:
        """Documents that are not deleted."""
        return sum(record.documents - record.deleted_documents for record in self.manifest.segments)

    @property
    def passages(self) -> int:
        """Passages that are not deleted."""
        return sum(segment.live_rows for segment in self.segments)

    @cached_property
    def languages(self) -> Counter[str | None]:
        """How many live passages each language has; None counts those without one."""
        counts: Counter[str | None] = Counter()
        for segment in self.segments:
            codes, names = segment.languages
            found = np.bincount(codes[~segment.deleted], minlength=len(names))
            counts.update({name: int(count) for name, count in zip(names, found, strict=True) if count})
        return counts

    @cached_property
    def lexicon(self) -> Lexicon:
        """What lexical search needs of all segments, opened when it is first needed."""
        return Lexicon([(segment.postings, ~segment.deleted) for segment in self.segments])

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of all segments, each of a type that holds the values of every segment."""
        return unify(segment.documents.schema for segment in self.segments)

    def structure_for(self, rows: int) -> str | None:
        """The factory string of the structure that a segment of `rows` passages should have, None for exact search."""
        layout = layout_of(self.manifest.embedder.dimension, self.manifest.vectors)
        return structure_for(self.manifest.ann, rows, max(self.passages, rows), layout)

    def find(self, document_id: str) -> tuple[Segment, int] | None:
        """The segment that holds a document and its position in the segment's keys; None when there is none."""
        id_hash = hash_id(document_id)
        for segment in reversed(self.segments):
            if (position := segment.find(document_id, id_hash)) is not None:
                return segment, position
        return None


def open_snapshot(directory: Path) -> Snapshot:
    """Open the newest state. When a writer commits meanwhile and removes files, the state after that is opened.

    Raises:
        IndexStateError: not an index, or damaged.
        InvalidArgumentError: a GPU is asked for that is not there.
    """
    gpu.checked_device()
    for _ in range(_ATTEMPTS):
        manifest = read_manifest(directory)
        try:
            return snapshot_of(directory, manifest)
        except IndexStateError:
            if read_manifest(directory).generation == manifest.generation:
                raise
    raise IndexStateError(f"index {directory} changes faster than it can be opened; try again")


def snapshot_of(directory: Path, manifest: Manifest) -> Snapshot:
    """Open the segments that a manifest names."""
    dimension = manifest.embedder.dimension
    segments = tuple(open_segment(directory, record, dimension) for record in manifest.segments)
    return Snapshot(directory, manifest, segments)
