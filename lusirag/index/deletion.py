"""Deleting documents by id, by a filter, or by both; always with all their passages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lusirag.errors import InvalidArgumentError
from lusirag.index.filters import Where, matching
from lusirag.index.keys import hash_id
from lusirag.index.segment import Segment
from lusirag.index.snapshot import Snapshot
from lusirag.index.tombstones import Mask, to_mask
from lusirag.index.writer import Writer

Positions = npt.NDArray[np.int64]


def delete_documents(writer: Writer, ids: Sequence[str] | None, where: Where | None) -> int:
    """Delete documents in one commit; return how many there were. See `Index.delete`."""
    snapshot = writer.snapshot
    chosen = choose_documents(snapshot, ids, where)
    if count := sum(map(len, chosen)):
        writer.commit(
            [
                writer.add_tombstones(segment, _deleted_with(segment, positions)) if len(positions) else segment
                for segment, positions in zip(snapshot.segments, chosen, strict=True)
            ]
        )
    return count


def choose_documents(snapshot: Snapshot, ids: Sequence[str] | None, where: Where | None) -> list[Positions]:
    """For each segment the positions in its keys of the live documents that have these ids and a passage that matches.

    Raises:
        InvalidArgumentError: neither is given, or a filter that cannot be used.
    """
    if ids is None and where is None:
        raise InvalidArgumentError("give ids, where, or both, to say which documents are meant")
    chosen = _named(snapshot, ids)
    if where is not None:
        chosen = [
            np.intersect1d(positions, _with_a_passage(segment, to_mask(bitmap, segment.record.rows)))
            for segment, positions, bitmap in zip(snapshot.segments, chosen, matching(snapshot, where), strict=True)
        ]
    return chosen


def _named(snapshot: Snapshot, ids: Sequence[str] | None) -> list[Positions]:
    """For each segment the positions in its keys of the live documents with these ids; of all when None."""
    if ids is None:
        return [np.flatnonzero(~segment.deleted[segment.keys.first_rows]) for segment in snapshot.segments]
    names = list(dict.fromkeys(ids))
    hashes = np.array([hash_id(name) for name in names], dtype=np.uint64)
    found = []
    for segment in snapshot.segments:
        known = np.flatnonzero(np.isin(hashes, segment.keys.id_hashes)).tolist()
        positions = [segment.find(names[at], int(hashes[at])) for at in known]
        found.append(np.array([position for position in positions if position is not None], dtype=np.int64))
    return found


def _with_a_passage(segment: Segment, passages: Mask) -> Positions:
    """Positions in the keys of the documents that have one of the passages."""
    order = np.argsort(segment.keys.first_rows)
    starts = segment.keys.first_rows[order]
    documents = np.searchsorted(starts, np.flatnonzero(passages), side="right") - 1
    return np.unique(order[documents])


def _deleted_with(segment: Segment, positions: Positions) -> Mask:
    deleted = segment.deleted.copy()
    for position in positions.tolist():
        deleted[segment.rows_of(position)] = True
    return deleted
