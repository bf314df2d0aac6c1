"""Merging adjacent segments: fewer files to search, and the space of deleted passages back. Row order stays.

Eight adjacent segments become one, the smallest first, where the new one is at least twice as large as each of them: so
a passage is rewritten only a few times, however large the index grows and however little comes at once. Segments that
together are nearly as large as one may be become that one, and those that wait for a structure are merged before they
get it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from lusirag.index import keys
from lusirag.index.ann import kinds
from lusirag.index.columns import conform, unify
from lusirag.index.files import damaged
from lusirag.index.postings import Postings
from lusirag.index.postings import merged as merged_postings
from lusirag.index.segment import Content, Segment, largest_segment
from lusirag.index.snapshot import Snapshot
from lusirag.index.vectors import merged as merged_vectors
from lusirag.index.writer import Writer

FACTOR = 8
AT_ONCE = 1 << 15  # passages that are merged in a fraction of a second, so that none waits for it
_FULL = 0.9


def next_merge(segments: Sequence[Segment], max_rows: int) -> slice | None:
    """Which adjacent segments should become one now; None when all is well.

    Also a single segment, when more than half of it is deleted.
    """
    for number, segment in enumerate(segments):
        if 2 * segment.record.deleted_rows > segment.record.rows:
            return slice(number, number + 1)
    found: list[tuple[int, int, int]] = [
        each for start in range(len(segments)) if (each := _run(segments, start, max_rows))
    ]
    return slice(*min(found)[1:]) if found else None


def _run(segments: Sequence[Segment], start: int, max_rows: int) -> tuple[int, int, int] | None:
    """The shortest run of segments from `start` on that is worth merging: its rows, its start and its end."""
    rows = largest = 0
    for number in range(start, len(segments)):
        more = segments[number].live_rows
        if 2 * more > max_rows or rows + more > max_rows:
            return None
        rows, largest = rows + more, max(largest, more)
        # What would be more than half as large as can be is never merged again, so it should be nearly full.
        enough = rows >= _FULL * max_rows or (number + 1 - start >= FACTOR and 2 * rows <= max_rows)
        if enough and rows >= 2 * largest:
            return rows, start, number + 1
    return None


def next_bare_merge(segments: Sequence[Segment], least: int, max_rows: int) -> slice | None:
    """The first run of adjacent segments without a structure that should become one, before that gets its structure.

    One structure is built as soon as several, and searched sooner. Those are merged that are too small for one each and
    large enough together, and larger ones where the largest becomes half as large again at least.

    Args:
        segments: of an index.
        least: passages that a structure is for.
        max_rows: passages that a segment may hold.
    """
    start = rows = largest = 0
    for number, segment in enumerate([*segments, None]):
        bare = segment is not None and segment.structure is None
        if segment is not None and bare and rows + segment.live_rows <= max_rows:
            rows, largest = rows + segment.live_rows, max(largest, segment.live_rows)
            continue
        if number - start > 1 and rows >= least and (largest < least or 2 * rows >= 3 * largest):
            return slice(start, number)
        start, rows = (number, segment.live_rows) if segment is not None and bare else (number + 1, 0)
        largest = rows
    return None


def groups(segments: Sequence[Segment], max_rows: int) -> list[slice]:
    """Divide all segments into runs of adjacent ones that fit one segment each, for a full compaction."""
    found = []
    start = 0
    while start < len(segments):
        run = _fitting(segments, start, len(segments), max_rows)
        found.append(run)
        start = run.stop
    return found


def compact(writer: Writer) -> None:
    """Write the live passages of all segments in as few as is sensible, each with the structure it should have now.

    Raises:
        StorageError: the file system refuses; what was merged before stays merged.
    """
    runs = groups(writer.snapshot.segments, largest_segment(writer.snapshot.manifest.embedder.dimension))
    for run in reversed(runs):  # from the end, so that the places of the runs before stay right
        segments = writer.snapshot.segments[run]
        if len(segments) > 1 or segments[0].record.deleted_rows:
            merge(writer, run)
    writer.build_structures(renew=True)


def build_structures(writer: Writer) -> None:
    """Give all segments the structures that they should have, after merging those that had better have one in common.

    Raises what `Writer.build_structures` and `merge` do.
    """
    while (run := next_merge_for_structure(writer.snapshot)) is not None:
        merge(writer, run)
    writer.build_structures()


def next_merge_for_structure(snapshot: Snapshot) -> slice | None:
    """Which adjacent segments without a structure should become one that gets one; None when all is well."""
    least, most = kinds.SMALLEST_SEGMENT, largest_segment(snapshot.manifest.embedder.dimension)
    return None if snapshot.structure_for(least) is None else next_bare_merge(snapshot.segments, least, most)


def merge(writer: Writer, run: slice) -> None:
    """Write the live passages of adjacent segments as one new segment, and commit.

    Raises:
        StorageError: the file system refuses; the index stays as it was.
    """
    segments = writer.snapshot.segments
    old = segments[run]
    merged = []
    if any(segment.live_rows for segment in old):
        merged = [writer.add_segment(merged_content(writer.snapshot, run))]
    writer.commit([*segments[: run.start], *merged, *segments[run.stop :]])


def merged_content(snapshot: Snapshot, run: slice) -> Content:
    """What adjacent segments of a state become when they are merged; see `live_content`."""
    segments = snapshot.segments[run]
    lexical = snapshot.manifest.lexical is not None
    return live_content(segments, [segment.postings for segment in segments] if lexical else None)


def live_content(segments: Sequence[Segment], postings: Sequence[Postings] | None) -> Content:
    """The live passages of segments, in their order, as one.

    Args:
        segments: one live passage at least.
        postings: of each segment, where the index has a lexical part.

    Raises:
        IndexStateError: a vector is damaged; a new checksum would hide that.
    """
    for segment in segments:
        if (row := segment.vectors.first_damaged()) is not None:
            raise damaged(segment.directory, f"segments/{segment.record.name}: the vector of row {row} was altered")
    schema = unify(segment.documents.schema for segment in segments)
    live = [~segment.deleted for segment in segments]
    vectors = merged_vectors([(segment.vectors, rows) for segment, rows in zip(segments, live, strict=True)])
    counted = None if postings is None else merged_postings(list(zip(postings, live, strict=True)))
    return Content(_live_batches(segments, schema), schema, vectors, _live_keys(segments), counted)


def _fitting(segments: Sequence[Segment], start: int, stop: int, max_rows: int) -> slice:
    rows = 0
    for number in range(start, stop):
        rows += segments[number].live_rows
        if rows > max_rows and number > start:
            return slice(start, number)
    return slice(start, stop)


def _live_batches(segments: Sequence[Segment], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for segment in segments:
        row = 0
        for batch in segment.documents.batches():
            live = ~segment.deleted[row : row + batch.num_rows]
            row += batch.num_rows
            yield conform(batch.filter(pa.array(live)), schema)


def _live_keys(segments: Sequence[Segment]) -> pa.RecordBatch:
    hashes, contents, first_rows, rows = [], [], [], []
    offset = 0
    for segment in segments:
        key = segment.keys
        live = ~segment.deleted
        new_rows = np.cumsum(live) - 1 + offset
        kept = live[key.first_rows]
        hashes.append(key.id_hashes[kept])
        contents.append(key.content_hashes[kept])
        first_rows.append(new_rows[key.first_rows[kept]])
        rows.append(key.rows[kept])
        offset += segment.live_rows
    parts = [np.concatenate(part) for part in (hashes, contents, first_rows, rows)]
    return keys.build_keys(*parts)
