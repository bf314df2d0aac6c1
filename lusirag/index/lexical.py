"""Lexical search: BM25 (Robertson and Zaragoza 2009) over the live passages of all segments.

A passage's score is the sum over the query's terms t, each as often as it stands in the query, of

    idf(t) * tf / (tf + k1 * (1 - b + b * length / mean length)),   idf(t) = ln(1 + (N - df + 1/2) / (df + 1/2))

with tf how often the passage has t, df how many of the N live passages have it. N, df and the mean are those of all
live passages of the index, whatever its segments, so that compaction changes no score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lusirag.index.analysis import Ids
from lusirag.index.postings import Postings
from lusirag.index.ranking import Match
from lusirag.index.tombstones import Mask
from lusirag.types import Vectors

K1, B = 1.2, 0.75


class Scored(NamedTuple):
    """What lexical search makes of one query.

    Attributes:
        scores: (rows,) of each segment.
        most: what a passage would have that holds nothing but the query's terms, again and again: the sum of their idf.
        known: the share of the query's terms that some passage has.
    """

    scores: list[Vectors]
    most: float
    known: float


class Lexicon:
    """What BM25 needs of some passages: their postings, and which of them live.

    Args:
        parts: of each segment its postings and (rows,) True where a passage lives.
    """

    def __init__(self, parts: Sequence[tuple[Postings, Mask]]) -> None:
        self._postings = [postings for postings, _ in parts]
        self._live = [live for _, live in parts]
        self._passages = sum(int(live.sum()) for live in self._live)
        lengths = [part.lengths for part in self._postings]
        total = sum(int(each[live].sum(dtype=np.int64)) for each, live in zip(lengths, self._live, strict=True))
        mean = total / self._passages if total else 1.0
        self._norms: list[Vectors] = [
            (K1 * (1 - B + B * (each / np.float32(mean)))).astype(np.float32) for each in lengths
        ]

    def scores(self, query: Ids) -> Scored:
        """The score of every passage for a query.

        Raises:
            ValueError: a file of the lexical part was altered.
        """
        totals = [np.zeros(len(norms), dtype=np.float32) for norms in self._norms]
        terms, wanted = np.unique(query, return_counts=True)
        known, most = 0, 0.0
        for term, times in zip(terms.tolist(), wanted.tolist(), strict=True):
            found = [postings.of(term) for postings in self._postings]
            df = sum(int(live[rows].sum()) for live, (rows, _) in zip(self._live, found, strict=True))
            weight = np.float32(times * np.log1p((self._passages - df + 0.5) / (df + 0.5)))
            most += float(weight)
            known += df > 0
            for total, norms, (rows, counts) in zip(totals, self._norms, found, strict=True):
                total[rows] += weight * (counts / (counts + norms[rows]))  # a term's rows differ, so none is lost
        return Scored(totals, most, known / len(terms) if len(terms) else 0.0)


def best(scores: Sequence[Vectors], allowed: Sequence[Mask], k: int) -> list[Match]:
    """The k best of the allowed rows, (rows,) a segment; equal ones by segment and row, those of score 0 left out."""
    origin, rows, values = [], [], []
    for number, (score, mask) in enumerate(zip(scores, allowed, strict=True)):
        here = np.flatnonzero((score > 0) & mask)
        if len(here) > k:
            here = here[score[here] >= np.partition(score[here], len(here) - k)[len(here) - k]]
        origin.append(np.full(len(here), number))
        rows.append(here)
        values.append(score[here])
    if not rows:
        return []
    places, at, value = np.concatenate(origin), np.concatenate(rows), np.concatenate(values)
    order = np.lexsort((at, places, -value))[:k]
    return [Match(int(places[n]), int(at[n]), float(value[n])) for n in order]
