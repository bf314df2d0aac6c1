"""From query vectors to hits in one snapshot, and the checks of what a caller asks for."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from lusirag.errors import InvalidArgumentError
from lusirag.index import flat
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


def candidates(snapshot: Snapshot, languages: Sequence[str] | None) -> list[flat.Candidates]:
    """The passages of each segment that may be found: live ones, in one of `languages` when given."""
    if languages is None:
        return [flat.Candidates(part.vectors, part.live, part.live_rows) for part in snapshot.segments]
    return [
        flat.Candidates(segment.vectors, bitmap, count)
        for segment, (bitmap, count) in zip(snapshot.segments, allowed_rows(snapshot, languages), strict=True)
    ]


def check_search(queries: Sequence[str], mode: str, where: object) -> None:
    """Refuse queries, modes and filters that this version cannot serve."""
    if isinstance(queries, str):
        raise InvalidArgumentError("queries must be a list of str; for one query use search")
    for query in queries:
        if not isinstance(query, str):
            raise InvalidArgumentError(f"a query must be a str, not {type(query).__name__}")
        if not query.strip():
            raise InvalidArgumentError("the query is empty; give a question or some words")
    if mode != "dense":
        raise InvalidArgumentError(f"mode is {mode!r}; this version of lusirag has only 'dense'")
    if where is not None:
        raise InvalidArgumentError("this version of lusirag has no where filter; it must be None")


def checked_k(k: object, name: str = "k") -> int:
    """How many hits, as an int of at least 1."""
    try:
        number = operator.index(k)  # type: ignore[arg-type]
    except TypeError:
        number = 0
    if number < 1 or isinstance(k, bool):
        raise InvalidArgumentError(f"{name} is {k!r}; it must be a whole number of at least 1")
    return number


def checked_ids(ids: Iterable[str]) -> list[str]:
    """Document ids as a list of str."""
    if isinstance(ids, str):
        raise InvalidArgumentError("ids must be a list of str, not one str")
    wanted = list(ids)
    if wrong := [name for name in wanted if not isinstance(name, str)]:
        raise InvalidArgumentError(f"ids must be str; one is {wrong[0]!r}")
    return wanted
