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
    pairs, counts, lengths = [], [], []
    before = 0
    for postings, live in parts:
        kept = live[postings.rows]
        terms = np.repeat(postings.terms, np.diff(postings.offsets))[kept].astype(np.uint64)
        rows = (np.cumsum(live, dtype=np.uint64) - np.uint64(1))[postings.rows[kept]] + np.uint64(before)
        pairs.append((terms << _ROW_BITS) | rows)
        counts.append(postings.counts[kept])
        lengths.append(postings.lengths[live])
        before += int(live.sum())
    all_pairs = np.concatenate(pairs)
    order = np.argsort(all_pairs)
    return _sorted_pairs(all_pairs[order], np.concatenate(counts)[order], np.concatenate(lengths))


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
