"""Merging adjacent segments: fewer files to search, and the space of deleted passages back. Row order stays.

The policy is that of log-structured merge trees: as soon as eight adjacent segments are of about one size (within a
factor of eight) they become one, so a passage is rewritten only a few times however large the index grows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from lusirag.index import keys
from lusirag.index.columns import conform, unify
from lusirag.index.files import damaged
from lusirag.index.postings import Postings
from lusirag.index.postings import merged as merged_postings
from lusirag.index.segment import Segment, largest_segment
from lusirag.index.writer import Writer

FACTOR = 8


def next_merge(segments: Sequence[Segment], max_rows: int) -> slice | None:
    """Which adjacent segments should become one now; None when all is well.

    Also a single segment, when more than half of it is deleted.
    """
    for number, segment in enumerate(segments):
        if 2 * segment.record.deleted_rows > segment.record.rows:
            return slice(number, number + 1)
    tiers = [_tier(segment, max_rows) for segment in segments]
    for tier in sorted({tier for tier in tiers if tier is not None}):
        start = 0
        for number in range(len(tiers) + 1):
            small = tiers[number] if number < len(tiers) else None
            if small is not None and small <= tier:
                continue
            if number - start >= FACTOR:
                return _fitting(segments, start, number, max_rows)
            start = number + 1
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


def merge(writer: Writer, run: slice) -> None:
    """Write the live passages of adjacent segments as one new segment, and commit.

    Raises:
        StorageError: the file system refuses; the index stays as it was.
    """
    segments = writer.snapshot.segments
    old = segments[run]
    merged = []
    if any(segment.live_rows for segment in old):
        lexical = writer.snapshot.manifest.lexical is not None
        merged = [write_live(writer, old, [segment.postings for segment in old] if lexical else None)]
    writer.commit([*segments[: run.start], *merged, *segments[run.stop :]])


def write_live(writer: Writer, segments: Sequence[Segment], postings: Sequence[Postings] | None) -> Segment:
    """Write the live passages of segments, in their order, as one new segment.

    Args:
        writer: whose next commit may take it up.
        segments: one live passage at least.
        postings: of each segment, where the index has a lexical part.

    Raises:
        IndexStateError: a vector is damaged; a new checksum would hide that.
    """
    for segment in segments:
        if (row := segment.vectors.first_damaged()) is not None:
            raise damaged(writer.directory, f"segments/{segment.record.name}: the vector of row {row} was altered")
    schema = unify(segment.documents.schema for segment in segments)
    vectors = writer.stored(np.concatenate([segment.vectors.take(~segment.deleted) for segment in segments]))
    counted = None
    if postings is not None:
        live = (~segment.deleted for segment in segments)
        counted = merged_postings(list(zip(postings, live, strict=True)))
    return writer.add_segment(_live_batches(segments, schema), schema, vectors, _live_keys(segments), counted)


def _tier(segment: Segment, max_rows: int) -> int | None:
    rows = segment.live_rows
    return None if 2 * rows > max_rows else int(np.log(max(rows, 1)) / np.log(FACTOR))


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
