"""Dense search over segments of which some have a structure: candidates from each, then one exact ranking of all.

A structure's scores are rough, and rough in another way for each kind. So it only proposes: several times as many
candidates as hits are taken from it, those that look best among all segments are scored again from the stored vectors,
and ranked together with what exact search found elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lusirag.index import flat
from lusirag.index.ann.records import SearchSettings
from lusirag.index.ann.stored import Find, Found, StoredStructure
from lusirag.index.ranking import Match, Proposal, rank, with_spare
from lusirag.index.threads import in_threads
from lusirag.types import Vectors

# Where at most so many rows of a segment may be found, or one in so many, they are searched exactly, because a
# structure must pass over most of what it looks at. Of 60,000 rows of 384 numbers, on one core: where a fifth may be
# found HNSW takes 3 ms and exact search 11, a tenth 4 and 5, a twentieth 9 and 2.
EXACT_ROWS = 4096
EXACT_ONE_IN = 10
# Exact too where candidates would be more than one row in so many.
_CANDIDATES_ONE_IN = 4
# Candidates that are scored again at once; their vectors take 8 bytes a number.
_ROWS_AT_ONCE = 1 << 13
# Structures that score their candidates again themselves. That takes FAISS a fraction of the time, but it is done for
# those of each, and where vectors must be read from a disk first, so many more are read.
_STRUCTURES_THAT_SCORE = 2


def nearest(
    allowed: Sequence[flat.Candidates],
    structures: Sequence[StoredStructure | None],
    queries: Vectors,
    k: int,
    settings: SearchSettings,
) -> list[list[Match]]:
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
    if new := [structure for structure in used.values() if not structure.loaded]:
        in_threads(StoredStructure.load, new)
    kept = with_spare(k) if len(used) <= _STRUCTURES_THAT_SCORE else None
    finders = {
        number: (
            structure.finder(settings, allowed[number].allowed, allowed[number].rows, kept),
            structure.candidates_for(k, settings),
        )
        for number, structure in used.items()
    }
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    at_once = max(1, _ROWS_AT_ONCE // max(depth for _, depth in finders.values()))
    results: list[list[Match]] = []
    for start in range(0, len(queries), at_once):
        part = slice(start, start + at_once)
        results += _nearest(allowed, finders, queries[part], k, found[part])
    return results


def _exact(part: flat.Candidates, candidates: int) -> bool:
    few = max(EXACT_ROWS, len(part.vectors) // EXACT_ONE_IN)
    return part.rows <= few or candidates > part.rows // _CANDIDATES_ONE_IN


def _nearest(
    allowed: Sequence[flat.Candidates],
    finders: dict[int, tuple[Find, int]],
    queries: Vectors,
    k: int,
    elsewhere: Sequence[list[Match]],
) -> list[list[Match]]:
    """The answers to some queries: from the structures that `finders` search, and what was found elsewhere."""

    def find(number: int) -> Found:
        run, depth = finders[number]
        return run(queries, depth)

    # One query is one thread's work in each segment, many are shared out among threads in each.
    found = in_threads(find, finders) if len(queries) == 1 else [find(number) for number in finders]
    again: dict[int, list[int]] = {}  # segments of a query
    for number, part in zip(finders, found, strict=True):
        if part.rows.min() >= 0:
            continue
        # Each segment that is searched this way has more rows than k: one that gives fewer is searched exactly.
        short = np.count_nonzero(part.rows >= 0, axis=1) < k
        part.rows[short] = -1
        for at in np.flatnonzero(short).tolist():
            again.setdefault(at, []).append(number)
    proposals = [Proposal(number, *part[:2]) for number, part in zip(finders, found, strict=True)]
    rough = None if all(part.exact for part in found) else max(depth for _, depth in finders.values())
    results = rank([part.vectors for part in allowed], queries, proposals, k, rough=rough)
    for at, numbers in again.items():
        parts = [part if number in numbers else part._replace(rows=0) for number, part in enumerate(allowed)]
        results[at] = _merged(results[at], flat.nearest(parts, queries[at : at + 1], k)[0], k)
    return [_merged(*both, k) for both in zip(results, elsewhere, strict=True)]


def _merged(here: list[Match], there: list[Match], k: int) -> list[Match]:
    if not there:
        return here
    return sorted([*here, *there], key=lambda match: (-match.score, match.segment, match.row))[:k]
