"""Rebuilding what of an index derives from the rest: after a disk's fault, a half copy, or somebody's editor.

Documents are the ground. Keys and the lexical part follow from them, vectors too, at the price of embedding them again.
Documents themselves, and which of them are deleted, follow from nothing: where those are damaged, repair says what
would be lost and goes on only when told to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path

import numpy as np

from lusirag.errors import IndexStateError
from lusirag.index import keys, segment
from lusirag.index.analysis import Analyser, analyser_for, joined
from lusirag.index.create import embedder_for
from lusirag.index.documents import Documents
from lusirag.index.files import problem_with
from lusirag.index.lock import writer_lock
from lusirag.index.manifest import SegmentRecord, read_manifest
from lusirag.index.merge import live_content
from lusirag.index.passages import PassageMaker
from lusirag.index.postings import LENGTHS_FILE, POSTINGS_FILE, Postings, postings_of
from lusirag.index.reports import RepairReport
from lusirag.index.segment import Segment, open_segment
from lusirag.index.snapshot import Snapshot
from lusirag.index.tombstones import Mask, read_tombstones
from lusirag.index.writer import Writer
from lusirag.types import Encoder, Vectors


def repair_index(
    path: str | Path,
    embedder: Encoder | Callable[[str, int | None], Encoder] | None = None,
    *,
    accept_loss: bool = False,
) -> RepairReport:
    """Find damaged files by their checksums and put new ones in their place, in one step at the end.

    Args:
        path: the index directory. Readers go on with the state they have.
        embedder: as for `Index.open`; loaded only where vectors or the lexical part are damaged.
        accept_loss: leave out segments whose documents are damaged, and let deleted documents come back where what says
            so is damaged (not those that a newer version has replaced).

    Raises:
        IndexStateError: there is no index; its manifest is damaged; it is being written; the embedder is another one;
            or something would be lost and `accept_loss` is False.
        StorageError: the directory cannot be written; the index is as before.
    """
    directory = Path(path)
    with writer_lock(directory):
        manifest = read_manifest(directory)
        damaged = {record.name: set(_damaged(directory, record)) for record in manifest.segments}
        report = _losses(manifest.segments, damaged)
        if (report.lost or report.returned) and not accept_loss:
            raise IndexStateError(
                f"index {directory} cannot be repaired whole: {report.lost:,} documents are lost, as their file is "
                f"damaged, and up to {report.returned:,} deleted ones would come back; accept that "
                "(accept_loss=True, --accept-loss), or restore the directory from a copy"
            )
        writer = Writer(Snapshot(directory, manifest, ()))
        work = _Rebuilding(writer, embedder)
        segments: list[Segment] = []
        for record in reversed(manifest.segments):  # newest first: what is there must not come back in an older version
            if not damaged[record.name]:
                segments.append(open_segment(directory, record, manifest.embedder.dimension))
            elif segment.DOCUMENTS_FILE not in damaged[record.name]:
                segments.append(work.rebuilt(record, damaged[record.name], newer=segments))
        if report.rebuilt or report.lost:
            writer.commit(segments[::-1])
            writer.build_structures()
    return report


def _damaged(directory: Path, record: SegmentRecord) -> Iterator[str]:
    """Names of a segment's files that are not as the manifest says."""
    for file in (*record.files, *([record.tombstones] if record.tombstones else ())):
        if problem_with(directory, file, full=True):
            yield file.name


def _losses(records: Sequence[SegmentRecord], damaged: dict[str, set[str]]) -> RepairReport:
    lost = returned = 0
    rebuilt = []
    for record in records:
        names = damaged[record.name]
        if segment.DOCUMENTS_FILE in names:
            lost += record.documents - record.deleted_documents
            continue
        rebuilt += [f"segments/{record.name}/{name}" for name in sorted(names)]
        if record.tombstones and record.tombstones.name in names:
            returned += record.deleted_documents
    return RepairReport(rebuilt, lost, returned)


class _Rebuilding:
    """Writes damaged segments anew."""

    def __init__(self, writer: Writer, embedder: Encoder | Callable[[str, int | None], Encoder] | None) -> None:
        self._writer = writer
        self._given = embedder
        self._embedder: Encoder | None = None

    def rebuilt(self, record: SegmentRecord, names: set[str], *, newer: Iterable[Segment]) -> Segment:
        """A new segment with the live passages of one whose files `names` are damaged."""
        directory = self._writer.directory
        folder = directory / "segments" / record.name
        documents = Documents(folder / segment.DOCUMENTS_FILE, record.rows)
        key = _keys_of(documents) if segment.KEYS_FILE in names else segment.map_keys(folder, record)
        deleted = _deleted(record, names, folder, documents, key, newer)
        if segment.VECTORS_FILE in names:
            vectors = self._writer.stored(self._embed(documents))
        else:
            vectors = segment.map_vectors(folder, record.rows, self._writer.snapshot.manifest.embedder.dimension)
        postings = None
        if self._writer.snapshot.manifest.lexical is not None:
            whole = not names & {POSTINGS_FILE, LENGTHS_FILE}
            postings = segment.map_postings(folder, record.rows) if whole else self._count(documents)
        old = Segment(record, directory, documents, vectors, key, deleted)
        return self._writer.add_segment(live_content([old], None if postings is None else [postings]))

    def _model(self) -> Encoder:
        if self._embedder is None:
            self._embedder = embedder_for(self._writer.snapshot, self._given)
        return self._embedder

    def _embed(self, documents: Documents) -> Vectors:
        maker = PassageMaker(self._model(), None, identify_languages=False, analyser=None)
        return np.concatenate([maker.embed(batch) for batch in documents.batches(["title", "text"])])

    def _count(self, documents: Documents) -> Postings:
        analyser: Analyser | None = analyser_for(self._writer.snapshot.manifest.lexical, self._model())
        maker = PassageMaker(self._model(), None, identify_languages=False, analyser=analyser)
        terms = [maker.terms(batch) for batch in documents.batches(["title", "text"])]
        return postings_of(joined([each for each in terms if each is not None]))


def _keys_of(documents: Documents) -> keys.Keys:
    """Keys from the documents themselves. The hash of what a document was is gone: 0, so that it counts as changed."""
    batches = documents.batches(["_chunk"])
    ids = chain.from_iterable(batch.column(0).field("document_id").to_pylist() for batch in batches)
    found = [(name, len(list(run))) for name, run in groupby(ids)]
    rows = np.array([count for _, count in found], dtype=np.int64)
    hashes = [keys.hash_id(name) for name, _ in found]
    return keys.Keys(keys.build_keys(hashes, np.zeros(len(found)), np.cumsum(rows) - rows, rows))


def _deleted(
    record: SegmentRecord,
    names: set[str],
    folder: Path,
    documents: Documents,
    key: keys.Keys,
    newer: Iterable[Segment],
) -> Mask:
    """The segment's tombstones; where they are damaged, what newer segments have replaced."""
    if record.tombstones is None:
        return np.zeros(record.rows, dtype=np.bool_)
    name = record.tombstones.name
    if name not in names:
        return read_tombstones(folder / name, record.rows)
    deleted: Mask = np.zeros(record.rows, dtype=np.bool_)
    for id_hash, first, rows in zip(key.id_hashes.tolist(), key.first_rows.tolist(), key.rows.tolist(), strict=True):
        document_id = documents.document_id(first)
        if any(other.find(document_id, id_hash) is not None for other in newer):
            deleted[first : first + rows] = True
    return deleted
