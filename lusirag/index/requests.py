"""Checks of what a caller asks an index for."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Literal, TypedDict, get_args

import numpy as np
import numpy.typing as npt

from lusirag.errors import InvalidArgumentError
from lusirag.index.filters import Where
from lusirag.index.fusion import Fusion, Method
from lusirag.index.snapshot import Snapshot

Mode = Literal["dense", "lexical", "hybrid"]


class SearchOptions(TypedDict, total=False):
    """What else than query and k `Index.search` takes, for those who pass it on; see there."""

    mode: str
    where: Where | None
    languages: Sequence[str] | None
    instruction: str | None
    fusion: Fusion | Method


def check_search(snapshot: Snapshot, queries: Sequence[str], mode: str) -> None:
    """Refuse queries and modes that cannot be served."""
    if isinstance(queries, str):
        raise InvalidArgumentError("queries must be a list of str; for one query use search")
    for query in queries:
        if not isinstance(query, str):
            raise InvalidArgumentError(f"a query must be a str, not {type(query).__name__}")
        if not query.strip():
            raise InvalidArgumentError("the query is empty; give a question or some words")
    if mode not in get_args(Mode):
        raise InvalidArgumentError(f"mode is {mode!r}; allowed: {', '.join(get_args(Mode))}")
    if mode != "dense" and snapshot.manifest.lexical is None:
        raise InvalidArgumentError(
            f"mode is {mode!r}, but this index was made without a lexical part; "
            "use mode='dense', or build the index again with this version"
        )


def checked_queries(
    vectors: npt.ArrayLike, dimension: int, queries: Sequence[str] | None = None
) -> npt.NDArray[np.float32]:
    """Query vectors (n, dimension), one for each of `queries` if given, brought to unit length."""
    unit = unit_vectors(vectors, dimension, "query")
    if queries is not None and len(unit) != len(queries):
        raise InvalidArgumentError(f"there are {len(unit)} query vectors for {len(queries)} queries; give one for each")
    return unit


def unit_vectors(vectors: npt.ArrayLike, dimension: int, kind: str) -> npt.NDArray[np.float32]:
    """Vectors (n, dimension) of some kind brought to unit length."""
    try:
        found = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError):
        raise InvalidArgumentError(
            f"{kind} vectors must be numbers of shape (n, {dimension}); these differ in length, or are no numbers"
        ) from None
    if found.ndim != 2 or found.shape[1] != dimension:
        raise InvalidArgumentError(f"{kind} vectors must have shape (n, {dimension}), not {found.shape}")
    wide = found.astype(np.float64)
    lengths = np.sqrt(np.vecdot(wide, wide))  # (n,)
    if not all(0 < length < math.inf for length in lengths.tolist()):
        raise InvalidArgumentError(f"a {kind} vector is zero or not finite")
    wide /= lengths[:, None]
    unit: npt.NDArray[np.float32] = wide.astype(np.float32)
    return unit


def checked_k(k: object, name: str = "k") -> int:
    """How many hits, as an int of at least 1."""
    try:
        number = operator.index(k)  # type: ignore[arg-type]
    except TypeError:
        number = 0
    if number < 1 or isinstance(k, bool):
        raise InvalidArgumentError(f"{name} is {k!r}; it must be a whole number of at least 1")
    return number


def checked_share(share: object, name: str) -> float:
    """A number from 0, which turns something off, to 1."""
    try:
        number = -1.0 if isinstance(share, bool | str) else float(share)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        raise InvalidArgumentError(f"{name} is {share!r}; it must be a number from 0 (off) to 1")
    return number


def checked_ids(ids: Iterable[str]) -> list[str]:
    """Document ids as a list of str."""
    if isinstance(ids, str):
        raise InvalidArgumentError("ids must be a list of str, not one str")
    wanted = list(ids)
    if wrong := [name for name in wanted if not isinstance(name, str)]:
        raise InvalidArgumentError(f"ids must be str; one is {wrong[0]!r}")
    return wanted


def check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse an option that is none of those allowed."""
    if value not in allowed:
        raise InvalidArgumentError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")


def checked_sources(sources: Sequence[str]) -> Sequence[str]:
    """Where documents come from, as a list of str."""
    if isinstance(sources, str) or not all(isinstance(source, str) for source in sources):
        raise InvalidArgumentError(f"sources must be a list of str, not {sources!r}")
    return sources
