"""Reading every byte of an index and saying what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lusirag.errors import IndexStateError
from lusirag.index.files import problem_with
from lusirag.index.keys import hash_id
from lusirag.index.manifest import MANIFEST_FILE, read_manifest
from lusirag.index.postings import LENGTHS_FILE, MOST, POSTINGS_FILE, Postings
from lusirag.index.reports import VerifyReport
from lusirag.index.segment import Segment, open_segment


def verify_index(path: str | Path) -> VerifyReport:
    """Check all files of an index against their checksums, and its contents against each other.

    Works without the embedding model, and on an index that `Index.open` refuses.

    Raises:
        IndexStateError: there is no index, or its manifest cannot be read.
    """
    directory = Path(path)
    manifest = read_manifest(directory)
    records = manifest.files()
    problems = [problem for record in records if (problem := problem_with(directory, record, full=True))]
    segments = []
    for record in manifest.segments:
        # What is known to be altered is not parsed: its checksum says enough.
        mine = f"segments/{record.name}/"
        if any(problem.startswith(mine) for problem in problems):
            continue
        try:
            segment = open_segment(directory, record, manifest.embedder.dimension)
            problems += _problems(segment)
            segments.append(segment)
        except IndexStateError as error:
            problems.append(str(error))
    problems += _doubled(segments)
    size = sum(record.bytes for record in records) + (directory / MANIFEST_FILE).stat().st_size
    return VerifyReport(files=len(records) + 1, bytes=size, problems=problems)


def _problems(segment: Segment) -> Iterator[str]:
    name = f"segments/{segment.record.name}"
    if (row := segment.vectors.first_damaged()) is not None:
        yield f"{name}: the vector of row {row} is not finite or not of unit length"
    yield from _key_problems(segment, name)
    if segment.structure is not None:
        segment.structure.load()
    if segment.has_postings:
        yield from _postings_problems(segment.postings, name)
    record = segment.record
    deleted_documents = int(segment.deleted[segment.keys.first_rows].sum())
    if (int(segment.deleted.sum()), deleted_documents) != (record.deleted_rows, record.deleted_documents):
        yield f"{name}: the tombstones do not cover as many rows as {MANIFEST_FILE} says"


def _postings_problems(postings: Postings, name: str) -> Iterator[str]:
    if len(postings.rows) and int(postings.rows.max()) >= len(postings.lengths):
        yield f"{name}/{POSTINGS_FILE} points outside the segment"
        return
    counted = np.bincount(postings.rows, weights=postings.counts, minlength=len(postings.lengths))
    if np.any(counted > postings.lengths) or np.any((counted < postings.lengths) & (postings.lengths <= MOST)):
        yield f"{name}/{POSTINGS_FILE} does not hold as many terms of each passage as {LENGTHS_FILE} says"


def _key_problems(segment: Segment, name: str) -> Iterator[str]:
    key = segment.keys
    if np.any(key.id_hashes[1:] < key.id_hashes[:-1]):
        yield f"{name}/keys.arrow is not sorted"
    order = np.argsort(key.first_rows)
    ends = np.cumsum(key.rows[order], dtype=np.int64)
    if not np.array_equal(ends - key.rows[order], key.first_rows[order]) or ends[-1] != segment.record.rows:
        yield f"{name}/keys.arrow does not cover each row once"
        return
    document = 0
    row = 0
    for batch in segment.documents.batches(["_chunk"]):
        for document_id in batch.column(0).field("document_id").to_pylist():
            position = order[document]
            if document_id is None or hash_id(document_id) != int(key.id_hashes[position]):
                yield f"{name}/keys.arrow does not match the id {document_id!r} of row {row}"
                return
            if segment.deleted[row] != segment.deleted[key.first_rows[position]]:
                yield f"{name}: the document {document_id!r} is deleted in part"
                return
            row += 1
            document += int(row == ends[document])
    if row != segment.record.rows:
        yield f"{name}/documents.arrow holds {row} rows instead of {segment.record.rows}"


def _doubled(segments: list[Segment]) -> Iterator[str]:
    if not segments:
        return
    live = [~segment.deleted[segment.keys.first_rows] for segment in segments]
    hashes = np.concatenate([segment.keys.id_hashes[kept] for segment, kept in zip(segments, live, strict=True)])
    distinct, counts = np.unique(hashes, return_counts=True)
    for id_hash in distinct[counts > 1].tolist():
        ids = [
            segment.documents.document_id(int(segment.keys.first_rows[position]))
            for segment in segments
            for position in segment.keys.candidates(id_hash)
            if not segment.deleted[segment.keys.first_rows[position]]
        ]
        for document_id in sorted({name for name in ids if ids.count(name) > 1}):
            yield f"the document {document_id!r} is there {ids.count(document_id)} times"
