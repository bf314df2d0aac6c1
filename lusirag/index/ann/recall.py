"""Recall: how much of what exact search finds approximate search finds too, for each language of the documents.

One figure for a whole index hides what a user of a small language sees: FAISS learns its lists and codes from all
passages, and so mostly from the large languages. Here every true neighbour of a query counts for the language of the
passage that it is, whatever language the query is in, so nothing need be known of the queries.

A query taken from a passage finds that passage at once; so it is left out of both results, and the k best of the others
are compared.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lusirag.index import flat
from lusirag.index.ann.nearest import nearest
from lusirag.index.ann.questions import Questions
from lusirag.index.ann.records import LanguageRecall, SearchSettings
from lusirag.index.ranking import Match
from lusirag.index.search import candidates, query_vectors
from lusirag.index.snapshot import Snapshot
from lusirag.types import Encoder

K = 10
_TIMED = 50  # queries, of which the median is taken
_Z = 1.959964  # of a normal distribution, 95 % within
_Place = tuple[int, int]


class Measurement:
    """Queries and their true neighbours in one state of an index, against which settings are tried.

    Args:
        snapshot: the state.
        embedder: its model.
        questions: the queries.
    """

    def __init__(self, snapshot: Snapshot, embedder: Encoder, questions: Questions) -> None:
        self._snapshot = snapshot
        self._origin = questions.origin
        self._allowed = candidates(snapshot, None)
        self._queries = query_vectors(embedder, questions.texts, None)  # (n, dim)
        self._true = self._places(flat.nearest(self._allowed, self._queries, K + 1))

    def recall(self, settings: SearchSettings) -> tuple[LanguageRecall, ...]:
        """Recall of each language that some true neighbour has, worst first.

        Raises:
            IndexStateError: the file of a structure was altered.
        """
        structures = [segment.structure for segment in self._snapshot.segments]
        found = self._places(nearest(self._allowed, structures, self._queries, K + 1, settings))
        counts: dict[str | None, list[tuple[int, int]]] = defaultdict(list)  # (true, found) of each query
        for true, seen in zip(self._true, map(set, found), strict=True):
            here: dict[str | None, list[bool]] = defaultdict(list)
            for place in true:
                here[self._language(place)].append(place in seen)
            for language, hits in here.items():
                counts[language].append((len(hits), sum(hits)))
        every = [_language_recall(language, np.array(pairs)) for language, pairs in counts.items()]
        return tuple(sorted(every, key=lambda each: (each.recall, -each.neighbours, each.language or "")))

    def milliseconds(self, settings: SearchSettings) -> float:
        """Median time of one query alone, its documents not read.

        Raises:
            IndexStateError: the file of a structure was altered.
        """
        structures = [segment.structure for segment in self._snapshot.segments]
        taken = []
        for query in self._queries[:_TIMED]:
            started = time.perf_counter()
            nearest(self._allowed, structures, query[None], K, settings)
            taken.append(1e3 * (time.perf_counter() - started))
        return round(float(np.median(taken)), 3)

    def _places(self, found: Sequence[Sequence[Match]]) -> list[list[_Place]]:
        """The K best of each query besides the passage that it comes from."""
        places = []
        for matches, origin in zip(found, self._origin, strict=True):
            others = [(match.segment, match.row) for match in matches if (match.segment, match.row) != origin]
            places.append(others[:K])
        return places

    def _language(self, place: _Place) -> str | None:
        codes, names = self._snapshot.segments[place[0]].languages
        return names[int(codes[place[1]])]


def _language_recall(language: str | None, pairs: npt.NDArray[np.int64]) -> LanguageRecall:
    true, seen = pairs[:, 0], pairs[:, 1]
    recall = float(seen.sum() / true.sum())
    low, high = interval(true, seen)
    return LanguageRecall(language, len(pairs), int(true.sum()), round(recall, 6), round(low, 6), round(high, 6))


def interval(true: npt.NDArray[np.int64], seen: npt.NDArray[np.int64]) -> tuple[float, float]:
    """A 95 % confidence interval of sum(seen) / sum(true) over queries (n,).

    Neighbours of one query are found or missed together, so they count for less than as many of different queries:
    Wilson's interval with the effective number of neighbours, which is that of a binomial with the variance of the
    ratio estimator over queries (Korn and Graubard 1998), at least one a query and at most all. Where nothing or
    everything was missed the variance says nothing, and each query counts once.
    """
    n, total = len(true), int(true.sum())
    share = float(seen.sum() / total)
    effective = float(n)
    if n > 1 and 0 < share < 1:
        variance = float(((seen - share * true) ** 2).sum()) * n / (n - 1) / total**2
        effective = min(max(share * (1 - share) / variance, n), total) if variance > 0 else float(n)
    centre = (share + _Z**2 / (2 * effective)) / (1 + _Z**2 / effective)
    half = _Z * math.sqrt(share * (1 - share) / effective + _Z**2 / (4 * effective**2)) / (1 + _Z**2 / effective)
    return max(0.0, centre - half), min(1.0, centre + half)
