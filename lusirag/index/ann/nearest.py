"""Dense search over segments of which some have a structure: candidates from each, then one exact ranking of all.

A structure's scores are rough, and rough in another way for each kind. So it only proposes: several times as many
candidates as hits are taken from it, those that look best among all segments are scored again from the stored vectors,
and ranked together with what exact search found elsewhere. Queries are answered one by one, because some structures
give a query other candidates in the company of others; threads make up for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lusirag.index import flat
from lusirag.index.ann.records import SearchSettings
from lusirag.index.ann.stored import Find, StoredStructure
from lusirag.index.engine import in_threads
from lusirag.types import Vectors

# Where at most so many rows of a segment may be found, or one in so many, they are searched exactly, because a
# structure must pass over most of what it looks at. Of 60,000 rows of 384 numbers, on one core: where a fifth may be
# found HNSW takes 3 ms and exact search 11, a tenth 4 and 5, a twentieth 9 and 2.
EXACT_ROWS = 4096
EXACT_ONE_IN = 10
# Exact too where candidates would be more than one row in so many.
_CANDIDATES_ONE_IN = 4


def nearest(
    allowed: Sequence[flat.Candidates],
    structures: Sequence[StoredStructure | None],
    queries: Vectors,
    k: int,
    settings: SearchSettings,
) -> list[list[flat.Match]]:
    """Find the k best rows of all segments for each query, as `flat.nearest` does, but perhaps missing some.

    Args:
        allowed: where to search, of each segment.
        structures: of each segment; None where it has none.
        queries: (n, dim) unit vectors.
        k: at least 1; fewer are returned only when fewer rows are allowed.
        settings: how hard to look.

    Returns:
        For each query its matches by exact score from large to small, equal ones by segment and row.

    Raises:
        IndexStateError: the file of a structure was altered.
    """
    used = {
        number: structure
        for number, (part, structure) in enumerate(zip(allowed, structures, strict=True))
        if structure is not None and not _exact(part, structure.candidates_for(k, settings))
    }
    rest = [part._replace(rows=0) if number in used else part for number, part in enumerate(allowed)]
    found = flat.nearest(rest, queries, k) if any(part.rows for part in rest) else [[] for _ in queries]
    if not used or not len(queries):
        return found
    _load(list(used.values()))
    finders = {number: used[number].finder(settings, allowed[number].allowed, allowed[number].rows) for number in used}
    depths = {number: structure.candidates_for(k, settings) for number, structure in used.items()}

    def answer(query: npt.NDArray[np.float32], elsewhere: list[flat.Match]) -> list[flat.Match]:
        return _answer(allowed, finders, depths, query, k, elsewhere)

    queries = np.ascontiguousarray(queries, dtype=np.float32)
    return in_threads(lambda each: answer(*each), zip(queries, found, strict=True))


def _exact(part: flat.Candidates, candidates: int) -> bool:
    few = max(EXACT_ROWS, len(part.vectors) // EXACT_ONE_IN)
    return part.rows <= few or candidates > part.rows // _CANDIDATES_ONE_IN


def _load(structures: Sequence[StoredStructure]) -> None:
    """Check and read several files at once: that is a pass over gigabytes when an index was just opened."""
    in_threads(StoredStructure.load, [structure for structure in structures if not structure.loaded])


def _answer(
    allowed: Sequence[flat.Candidates],
    finders: dict[int, Find],
    depths: dict[int, int],
    query: npt.NDArray[np.float32],
    k: int,
    elsewhere: list[flat.Match],
) -> list[flat.Match]:
    origin, rows, scores = [], [], []
    short = []
    found = in_threads(lambda number: finders[number](query, depths[number]), finders)
    for number, (rough, here) in zip(finders, found, strict=True):
        if len(here) < k:  # each segment searched this way has more rows than k
            short.append(number)
            continue
        origin.append(np.full(len(here), number))
        rows.append(here)
        scores.append(rough)
    if short:
        parts = [part if number in short else part._replace(rows=0) for number, part in enumerate(allowed)]
        elsewhere = elsewhere + flat.nearest(parts, query[None], k)[0]
    proposed: list[flat.Match] = []
    if rows:
        best = _largest(np.concatenate(scores), max(depths.values()))
        proposed = flat.rank(allowed, query, np.concatenate(origin)[best], np.concatenate(rows)[best], k)
    if not elsewhere:
        return proposed
    return sorted([*proposed, *elsewhere], key=lambda match: (-match.score, match.segment, match.row))[:k]


def _largest(scores: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.int64]:
    """Places of the `count` largest scores, in no order."""
    if len(scores) <= count:
        return np.arange(len(scores))
    return np.argpartition(-scores, count - 1)[:count]
