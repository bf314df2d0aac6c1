"""What LangChain users give as a filter: a function, a dict, or SQL."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import Any, TypeAlias

from langchain_core.documents import Document

from langchain_lusirag.documents import from_hit
from langchain_lusirag.metadata import RESERVED, column_name
from lusirag.errors import InvalidArgumentError
from lusirag.index.filters import Where
from lusirag.types import Hit

Predicate: TypeAlias = Callable[[Any], bool]
Filter: TypeAlias = Predicate | Where

_MORE = 4  # how many times as many hits are fetched when a function left too few
_LEAST = 64


class Candidate(Document):
    """What a filter function gets: a document that also answers as its metadata does.

    So both of LangChain's customs work: `lambda document: document.metadata["year"] > 1990`, as with
    InMemoryVectorStore, and `lambda metadata: metadata["year"] > 1990`, as with FAISS.
    """

    def __getitem__(self, key: str) -> Any:
        """A value of the metadata."""
        return self.metadata[key]

    def __contains__(self, key: object) -> bool:
        """Whether the metadata has a key."""
        return key in self.metadata

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """The keys of the metadata."""
        return iter(self.metadata)

    def __len__(self) -> int:
        """How many keys the metadata has."""
        return len(self.metadata)

    def get(self, key: str, default: Any = None) -> Any:
        """A value of the metadata, or the default."""
        return self.metadata.get(key, default)

    def keys(self) -> KeysView[str]:
        """The keys of the metadata."""
        return self.metadata.keys()

    def values(self) -> ValuesView[Any]:
        """The values of the metadata."""
        return self.metadata.values()

    def items(self) -> ItemsView[str, Any]:
        """The items of the metadata."""
        return self.metadata.items()


def where_of(filter: Any, columns: Callable[[], Mapping[str, str]]) -> Where | None:
    """A dict or SQL as an index takes it; None for no filter.

    The keys of a dict are keys of metadata. Those that every index has as columns too (id, text, title, language,
    source) mean these columns where no document has such a key in its metadata.

    Args:
        filter: a dict, SQL or None.
        columns: returns the index's own columns, when they are needed.

    Raises:
        InvalidArgumentError: it is something else.
    """
    if filter is None or filter == {}:
        return None
    if isinstance(filter, str):
        return filter
    if not isinstance(filter, Mapping):
        raise InvalidArgumentError(
            f"filter is {filter!r}; give a dict such as {{'year': {{'$gte': 1990}}}} or SQL such as 'year >= 1990'"
        )
    return _renamed(filter, columns)


def hits_that_pass(find: Callable[[int], Sequence[Hit]], k: int, passes: Predicate) -> list[Hit]:
    """The k best hits that a function lets through; the search goes deeper until there are k, or no more hits.

    Args:
        find: returns the best hits, as many as it is asked for.
        k: how many to return.
        passes: called once with each candidate.
    """
    depth = max(_MORE * k, _LEAST)
    passed: dict[str, bool] = {}
    while True:
        hits = find(depth)
        found: list[Hit] = []
        for hit in hits:
            if hit.id not in passed:
                passed[hit.id] = bool(passes(_candidate(hit)))
            if passed[hit.id]:
                found.append(hit)
            if len(found) == k:
                return found
        if len(hits) < depth:
            return found
        depth *= _MORE


def _candidate(hit: Hit) -> Candidate:
    document = from_hit(hit)
    return Candidate(id=document.id, page_content=document.page_content, metadata=document.metadata)


def _renamed(where: Mapping[str, Any], columns: Callable[[], Mapping[str, str]]) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for key, value in where.items():
        if key in ("$and", "$or") and isinstance(value, list | tuple):
            renamed[key] = [_renamed(part, columns) if isinstance(part, Mapping) else part for part in value]
        elif key == "$not" and isinstance(value, Mapping):
            renamed[key] = _renamed(value, columns)
        else:
            renamed[_column(key, columns)] = value
    return renamed


def _column(key: Any, columns: Callable[[], Mapping[str, str]]) -> Any:
    if not isinstance(key, str) or key.rstrip("_") not in RESERVED:
        return key
    name = column_name(key)
    return name if name in columns() else key
