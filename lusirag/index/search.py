"""From query vectors to hits in one snapshot, and the checks of what a caller asks for."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from lusirag.errors import InvalidArgumentError
from lusirag.index import flat
from lusirag.index.filters import Where, matching
from lusirag.index.hits import to_hit
from lusirag.index.languages import allowed_rows
from lusirag.index.snapshot import Snapshot
from lusirag.types import Hit


def search_snapshot(
    snapshot: Snapshot, allowed: Sequence[flat.Candidates], queries: npt.NDArray[np.float32], k: int
) -> list[list[Hit]]:
    """The k best hits for each of the unit vectors `queries` (n, dim) among the candidates of each segment."""
    documents = [segment.documents for segment in snapshot.segments]
    return [
        [to_hit(documents[match.segment].row(match.row), match.score) for match in matches]
        for matches in flat.nearest(allowed, queries, k)
    ]


def candidates(
    snapshot: Snapshot, languages: Sequence[str] | None, where: Where | None = None
) -> list[flat.Candidates]:
    """The passages of each segment that may be found: live, in one of `languages` if given, let through by `where`."""
    segments = snapshot.segments
    allowed = [(part.live, part.live_rows) for part in segments]
    if languages is not None:
        allowed = allowed_rows(snapshot, languages)
    if where is not None:
        both = [live & found for (live, _), found in zip(allowed, matching(snapshot, where), strict=True)]
        allowed = [(bitmap, int(np.bitwise_count(bitmap).sum())) for bitmap in both]
    return [flat.Candidates(part.vectors, *rows) for part, rows in zip(segments, allowed, strict=True)]


def check_search(queries: Sequence[str], mode: str) -> None:
    """Refuse queries and modes that this version cannot serve."""
    if isinstance(queries, str):
        raise InvalidArgumentError("queries must be a list of str; for one query use search")
    for query in queries:
        if not isinstance(query, str):
            raise InvalidArgumentError(f"a query must be a str, not {type(query).__name__}")
        if not query.strip():
            raise InvalidArgumentError("the query is empty; give a question or some words")
    if mode != "dense":
        raise InvalidArgumentError(f"mode is {mode!r}; this version of lusirag has only 'dense'")


def checked_queries(vectors: npt.ArrayLike, dimension: int) -> npt.NDArray[np.float32]:
    """Query vectors (n, dimension) brought to unit length."""
    queries = np.asarray(vectors, dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != dimension:
        raise InvalidArgumentError(f"query vectors must have shape (n, {dimension}), not {queries.shape}")
    lengths = np.linalg.norm(queries.astype(np.float64), axis=1, keepdims=True)  # (n, 1)
    if not np.all(np.isfinite(lengths) & (lengths > 0)):
        raise InvalidArgumentError("a query vector is zero or not finite")
    unit: npt.NDArray[np.float32] = (queries / lengths).astype(np.float32)
    return unit


def checked_k(k: object) -> int:
    """How many hits, as an int of at least 1."""
    try:
        number = operator.index(k)  # type: ignore[arg-type]
    except TypeError:
        number = 0
    if number < 1 or isinstance(k, bool):
        raise InvalidArgumentError(f"k is {k!r}; it must be a whole number of at least 1")
    return number


def checked_ids(ids: Iterable[str]) -> list[str]:
    """Document ids as a list of str."""
    if isinstance(ids, str):
        raise InvalidArgumentError("ids must be a list of str, not one str")
    wanted = list(ids)
    if wrong := [name for name in wanted if not isinstance(name, str)]:
        raise InvalidArgumentError(f"ids must be str; one is {wrong[0]!r}")
    return wanted
