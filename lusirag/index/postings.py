"""The lexical part of one segment: for each term the passages that have it, in memory-mapped Arrow files.

postings.arrow has a row for each term in order of their numbers: `term`, `rows` (ascending) and `counts`, how often the
term occurs in each of them. lengths.arrow has the number of terms of each passage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lusirag.index.analysis import Terms
from lusirag.index.columns import numbers
from lusirag.index.tombstones import Mask

POSTINGS_FILE = "postings.arrow"
LENGTHS_FILE = "lengths.arrow"
POSTINGS_SCHEMA = pa.schema(
    [
        pa.field("term", pa.uint32(), nullable=False),
        pa.field("rows", pa.large_list(pa.uint32()), nullable=False),
        pa.field("counts", pa.large_list(pa.uint16()), nullable=False),
    ]
)
LENGTHS_SCHEMA = pa.schema([pa.field("terms", pa.uint32(), nullable=False)])
MOST = np.iinfo(np.uint16).max  # of a count; a larger one is written as this
_ROW_BITS = np.uint64(32)

Numbers = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Postings:
    """T terms in R passages, P pairs of both.

    Attributes:
        terms: (T,) uint32, ascending.
        offsets: (T + 1,) int64, where each term's pairs begin, and the end.
        rows: (P,) uint32, ascending within a term.
        counts: (P,) uint16, how often the term occurs in that passage; 65,535 stands for more as well.
        lengths: (R,) uint32, terms of each passage.
    """

    terms: Numbers
    offsets: Numbers
    rows: Numbers
    counts: Numbers
    lengths: Numbers

    def of(self, term: int) -> tuple[Numbers, Numbers]:
        """Rows and counts of a term; both empty where no passage has it.

        Raises:
            ValueError: they point outside the segment: the file was altered.
        """
        at = int(np.searchsorted(self.terms, term))
        if at == len(self.terms) or self.terms[at] != term:
            return self.rows[:0], self.counts[:0]
        pairs = slice(int(self.offsets[at]), int(self.offsets[at + 1]))
        rows = self.rows[pairs]
        if len(rows) and int(rows.max()) >= len(self.lengths):
            raise ValueError("it points outside the segment")
        return rows, self.counts[pairs]

    def batches(self) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """What the two files hold."""
        offsets = pa.array(self.offsets, pa.int64())
        columns = [
            pa.array(self.terms, pa.uint32()),
            pa.LargeListArray.from_arrays(offsets, pa.array(self.rows, pa.uint32())),
            pa.LargeListArray.from_arrays(offsets, pa.array(self.counts, pa.uint16())),
        ]
        lengths = pa.record_batch([pa.array(self.lengths, pa.uint32())], schema=LENGTHS_SCHEMA)
        return pa.record_batch(columns, schema=POSTINGS_SCHEMA), lengths


def postings_of(terms: Terms) -> Postings:
    """Count the terms of passages; passage n of `terms` is row n."""
    lengths = np.diff(terms.offsets).astype(np.uint32)
    rows = np.repeat(np.arange(len(lengths), dtype=np.uint64), lengths)
    pairs, counts = np.unique((terms.ids.astype(np.uint64) << _ROW_BITS) | rows, return_counts=True)
    return _sorted_pairs(pairs, np.minimum(counts, MOST).astype(np.uint16), lengths)


def merged(parts: Sequence[tuple[Postings, Mask]]) -> Postings:
    """The postings of several segments as those of one, without their deleted passages.

    Args:
        parts: of each segment its postings and (rows,) True where a passage lives, in row order.
    """
    terms = np.unique(np.concatenate([postings.terms for postings, _ in parts]))
    places = [np.searchsorted(terms, postings.terms) for postings, _ in parts]
    sizes = [_live_pairs(postings, live) for postings, live in parts]  # of each term of each segment
    totals = np.zeros(len(terms), dtype=np.int64)
    for at, size in zip(places, sizes, strict=True):
        totals[at] += size
    offsets = np.append(0, np.cumsum(totals))
    rows = np.empty(offsets[-1], dtype=np.uint32)
    counts = np.empty(offsets[-1], dtype=np.uint16)
    free, before = offsets[:-1].copy(), 0
    # A segment's rows of a term come behind those of the segments before it, so nothing need be sorted.
    for (postings, live), at, size in zip(parts, places, sizes, strict=True):
        kept = live[postings.rows]
        target = np.arange(int(size.sum())) + np.repeat(free[at] - (np.cumsum(size) - size), size)
        rows[target] = (np.cumsum(live) + (before - 1))[postings.rows[kept]]
        counts[target] = postings.counts[kept]
        free[at] += size
        before += int(live.sum())
    there = totals > 0
    lengths = np.concatenate([postings.lengths[live] for postings, live in parts])
    return Postings(terms[there], np.append(offsets[:-1][there], offsets[-1]), rows, counts, lengths)


def _live_pairs(postings: Postings, live: Mask) -> Numbers:
    """(T,) int64, in how many live passages each term is."""
    before = np.append(0, np.cumsum(live[postings.rows]))
    return np.diff(before[postings.offsets])


def read_postings(postings: pa.RecordBatch, lengths: pa.RecordBatch) -> Postings:
    """What two mapped files hold, not copied.

    Raises:
        ValueError: it is not what it should be.
    """
    postings.validate(full=True)  # the lists' offsets lie inside; what they hold is looked at when it is used
    rows, counts = postings.column(1), postings.column(2)
    offsets = numbers(rows.offsets)
    if not np.array_equal(offsets, numbers(counts.offsets)):
        raise ValueError("rows and counts do not go together")
    terms = numbers(postings.column(0))
    if np.any(terms[1:] <= terms[:-1]):
        raise ValueError("its terms are not in order")
    return Postings(terms, offsets, numbers(rows.values), numbers(counts.values), numbers(lengths.column(0)))


def _sorted_pairs(pairs: Numbers, counts: Numbers, lengths: Numbers) -> Postings:
    every = (pairs >> _ROW_BITS).astype(np.uint32)
    terms, starts = np.unique(every, return_index=True)
    offsets = np.append(starts, len(every)).astype(np.int64)
    return Postings(terms, offsets, pairs.astype(np.uint32), counts, lengths)
