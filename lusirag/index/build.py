"""A stream of documents into an index: look up, split, embed meanwhile, and commit a segment now and then."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lusirag.errors import CorpusError, IndexStateError, StorageError
from lusirag.index import keys
from lusirag.index.columns import unify
from lusirag.index.merge import AT_ONCE, build_structures, merge, next_merge
from lusirag.index.passages import PassageMaker
from lusirag.index.pending import Pending
from lusirag.index.pipeline import AHEAD, Embedded, Fresh, Pipeline, pieces_of
from lusirag.index.reports import AddReport, Progress
from lusirag.index.segment import Segment, largest_segment
from lusirag.index.tombstones import Mask
from lusirag.index.writer import Writer

OnDuplicate = Literal["replace", "error", "skip"]


@dataclass(frozen=True, slots=True)
class CommitPolicy:
    """When embedded passages become durable: after so many, or after so many seconds, whichever comes first."""

    passages: int = 4096
    seconds: float = 30.0


class Build:
    """One run of `Index.add` or `Index.synchronize`.

    What was embedded is committed also when the run ends with an error, so that the next run need not do it again.
    Before an error of the source or of a document, what was read until then is embedded first; not so after Ctrl-C.
    """

    def __init__(
        self,
        writer: Writer,
        maker: PassageMaker,
        *,
        on_duplicate: OnDuplicate,
        sources: Sequence[str] | None = None,
        also: Sequence[str] = (),
        progress: Progress | None = None,
        policy: CommitPolicy | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            writer: holds the index's lock.
            maker: splits and embeds.
            on_duplicate: what to do with an id that the index has (`add`) or that came before in this run.
            sources: given for `synchronize`: the index shall hold exactly the documents of this run.
            also: for `add`: sources to record with the first documents, after those that the index has, if any.
            progress: called after each step.
            policy: when to commit.
        """
        self._writer = writer
        self._maker = maker
        self._on_duplicate = on_duplicate
        self._sources = None if sources is None else tuple(sources)
        recorded = writer.snapshot.manifest.sources
        self._also = [source for source in dict.fromkeys(also) if recorded and source not in recorded]
        self._progress = progress
        self._policy = policy or CommitPolicy()
        self._report = AddReport()
        self._pipeline = Pipeline(maker)
        self._pending = Pending()
        self._deleted: dict[str, Mask] = {}  # segment -> rows deleted once the pending passages are committed
        self._seen: dict[str, Mask] = {}  # segment -> rows that this run has met (synchronize)
        self._schema = unify(segment.documents.schema for segment in writer.snapshot.segments)
        self._committed_at = time.monotonic()
        self._steady = True  # False while what is pending and what it replaces do not fit together

    def run(self, batches: Iterable[pa.RecordBatch]) -> AddReport:
        """Take in all batches (standard, see `incoming.as_batches`)."""
        manifest = self._writer.snapshot.manifest
        if self._sources is not None and (manifest.sources != self._sources or not self._writer.snapshot.segments):
            self._writer.commit(self._writer.snapshot.segments, sources=self._sources, complete=False)
        with self._pipeline:
            try:
                for batch in batches:
                    self._take(batch)
                self._keep(0)
            except (StorageError, IndexStateError):
                raise
            except BaseException as error:
                self._save(interrupted=not isinstance(error, Exception))
                raise
        self._finish()
        return self._report

    def _save(self, *, interrupted: bool) -> None:
        """Commit what can be kept of a run that failed."""
        if not self._steady:
            return
        if interrupted:
            self._pipeline.cancel()
        self._progress = None
        try:
            self._keep(0)
        except Exception:
            if not interrupted:  # it stands before what failed first
                raise
        finally:
            if self._steady:
                self._commit()

    def _take(self, batch: pa.RecordBatch) -> None:
        self._schema = unify([self._schema, batch.schema])
        self._keep(AHEAD)
        fresh = self._choose(batch)
        if fresh:
            chosen = batch.take(pa.array([document.row for document in fresh.values()], pa.int64()))
            for piece in pieces_of(self._maker.split(chosen), fresh):
                self._keep(AHEAD - 1)
                self._pipeline.send(piece)
        if not self._pipeline.note_read(batch.num_rows):
            self._count(documents=batch.num_rows)
        if self._overdue():  # the source may be slow, and what is done must not wait for it
            self._keep(0)
        self._tell()

    def _choose(self, batch: pa.RecordBatch) -> dict[str, Fresh]:
        """Which documents of a batch must be embedded, by id."""
        rows = batch.to_pylist()
        hashes = [keys.hash_id(row["id"]) for row in rows]
        known = _known(self._writer.snapshot.segments, hashes)
        fresh: dict[str, Fresh] = {}
        counts: Counter[str] = Counter()
        for number, (row, id_hash) in enumerate(zip(rows, hashes, strict=True)):
            document_id = row["id"]
            content = keys.UNKNOWN if self._maker.given else keys.hash_content(row)
            old = fresh[document_id].content_hash if document_id in fresh else self._on_its_way(document_id)
            met = old is not None
            place = self._find(document_id, id_hash) if old is None and id_hash in known else None
            if place is not None:
                segment, position = place
                old = int(segment.keys.content_hashes[position])
                met = self._sources is None or self._saw(segment, position)
            if met and self._on_duplicate == "error":
                raise self._duplicate(document_id)
            if met and self._on_duplicate == "skip":
                counts["skipped"] += 1
            elif old == content and content != keys.UNKNOWN:
                counts["unchanged"] += 1
            else:
                # The last of several in one batch is the only one that is embedded.
                earlier = fresh.pop(document_id, None)
                counts["replaced"] += earlier is not None
                replaces = old is not None if earlier is None else earlier.replaces
                fresh[document_id] = Fresh(number, id_hash, content, replaces)
        self._count(**counts)
        return fresh

    def _on_its_way(self, document_id: str) -> int | None:
        """Content hash of a document that this run has embedded, or will, and not committed yet."""
        found = self._pipeline.content_hash(document_id)
        return self._pending.content_hash(document_id) if found is None else found

    def _keep(self, left: int) -> None:
        """Take back what is embedded, and wait until at most `left` pieces are not."""
        while len(self._pipeline) > left or self._pipeline.done:
            try:
                self._append(self._pipeline.take())
            except Exception:  # what comes after it does not count
                self._pipeline.clear()
                raise

    def _append(self, embedded: Embedded) -> None:
        self._steady = False
        piece, vectors, terms = embedded
        replaced = sum(
            fresh.replaces and self._retire(document_id, fresh.id_hash)
            for document_id, (fresh, _) in piece.documents.items()
        )
        self._pending.append(
            piece.passages,
            vectors,
            terms,
            [
                (document_id, fresh.id_hash, fresh.content_hash, rows)
                for document_id, (fresh, rows) in piece.documents.items()
            ],
        )
        self._count(
            replaced=replaced,
            added=len(piece.documents) - replaced,
            passages=len(vectors),
            documents=piece.read,
        )
        self._steady = True
        if self._pending.passages >= self._policy.passages or self._overdue():
            self._commit()
        self._tell()

    def _overdue(self) -> bool:
        return time.monotonic() - self._committed_at >= self._policy.seconds

    def _retire(self, document_id: str, id_hash: int) -> bool:
        if self._pending.discard(document_id):
            return True
        place = self._find(document_id, id_hash)
        if place is None:
            return False
        segment, position = place
        name = segment.record.name
        self._deleted.setdefault(name, segment.deleted.copy())[segment.rows_of(position)] = True
        return True

    def _find(self, document_id: str, id_hash: int) -> tuple[Segment, int] | None:
        for segment in reversed(self._writer.snapshot.segments):
            position = segment.find(document_id, id_hash, self._deleted.get(segment.record.name))
            if position is not None:
                return segment, position
        return None

    def _saw(self, segment: Segment, position: int) -> bool:
        """Note that this run has met a document; return whether it had before."""
        seen = self._seen.setdefault(segment.record.name, np.zeros(segment.record.rows, dtype=np.bool_))
        rows = segment.rows_of(position)
        before = bool(seen[rows.start])
        seen[rows] = True
        return before

    def _commit(self, **changes: Any) -> None:
        self._steady = False
        segments = [
            self._writer.add_tombstones(segment, self._deleted[segment.record.name])
            if segment.record.name in self._deleted
            else segment
            for segment in self._writer.snapshot.segments
        ]
        if self._pending.passages:
            segments.append(self._pending.write(self._writer))
            self._seen[segments[-1].record.name] = np.ones(segments[-1].record.rows, dtype=np.bool_)
        if self._sources is not None:
            changes = {"sources": self._sources, "complete": False, **changes}
        elif self._also and (self._deleted or self._pending.passages):
            changes = {"sources": (*self._writer.snapshot.manifest.sources, *self._also), **changes}
            self._also = []
        if self._deleted or self._pending.passages or changes:
            self._writer.commit(segments, **changes)
        self._pending, self._deleted = Pending(), {}
        self._committed_at = time.monotonic()
        self._report = dataclasses.replace(self._report, committed=self._report.documents)
        self._steady = True
        self._merge()

    def _merge(self) -> None:
        max_rows = largest_segment(self._writer.snapshot.manifest.embedder.dimension)
        while (run := next_merge(self._writer.snapshot.segments, max_rows)) is not None:
            old = self._writer.snapshot.segments[run]
            if self._writer.in_background and sum(segment.live_rows for segment in old) > AT_ONCE:
                break
            seen = [
                self._seen.pop(segment.record.name, np.zeros(segment.record.rows, dtype=np.bool_))[~segment.deleted]
                for segment in old
            ]
            merge(self._writer, run)
            if sum(segment.live_rows for segment in old):
                self._seen[self._writer.snapshot.segments[run.start].record.name] = np.concatenate(seen)

    def _finish(self) -> None:
        """Commit the rest; when synchronising, delete what the run has not met."""
        if self._sources is None:
            self._commit()
        else:
            manifest = self._writer.snapshot.manifest
            gone = 0
            for segment in self._writer.snapshot.segments:
                deleted = self._deleted.get(segment.record.name, segment.deleted)
                vanished = ~deleted & ~self._seen.get(segment.record.name, np.zeros_like(deleted))
                if vanished.any():
                    gone += int(vanished[segment.keys.first_rows].sum())
                    self._deleted[segment.record.name] = deleted | vanished
            self._count(deleted=gone)
            if self._pending.passages or self._deleted or not manifest.complete:
                self._commit(complete=True)
        self._report = dataclasses.replace(self._report, committed=self._report.documents)
        self._tell()
        # Only now: while segments are merged, one would be built for the same passages several times.
        if not self._writer.in_background:
            build_structures(self._writer)

    def _duplicate(self, document_id: str) -> CorpusError:
        where = "in the index already" if self._sources is None else "given twice"
        return CorpusError(
            f"the document id {document_id!r} is {where}; make ids unique, or choose to replace or skip duplicates"
        )

    def _count(self, **more: int) -> None:
        changed = {name: getattr(self._report, name) + count for name, count in more.items()}
        self._report = dataclasses.replace(self._report, **changed)

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._report)


def _known(segments: Sequence[Segment], hashes: Sequence[int]) -> set[int]:
    """Those id hashes that some segment has; one vectorised search a segment instead of one an id."""
    wanted: npt.NDArray[np.uint64] = np.array(hashes, dtype=np.uint64)
    known: set[int] = set()
    for segment in segments:
        here = segment.keys.id_hashes
        if len(here):
            places = np.minimum(np.searchsorted(here, wanted), len(here) - 1)
            known.update(wanted[here[places] == wanted].tolist())
    return known
