"""What a search may be asked for, and how an index answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from langchain_lusirag.filters import Filter, hits_that_pass, where_of
from lusirag.errors import InvalidArgumentError
from lusirag.index import Fusion, Index
from lusirag.index.filters import Where
from lusirag.index.fusion import Method
from lusirag.index.requests import checked_k
from lusirag.types import Hit


@dataclass(frozen=True, slots=True)
class Search:
    """How to search; see `LusiragVectorStore`."""

    k: int
    filter: Filter | None = None
    languages: Sequence[str] | None = None
    mode: str = "dense"
    instruction: str | None = None
    fusion: Fusion | Method = "weighted"

    @classmethod
    def of(cls, k: int, options: Mapping[str, Any]) -> Self:
        """A search from a caller's keyword arguments.

        Raises:
            InvalidArgumentError: k below 1, or an option that is not known.
        """
        known = [field.name for field in fields(cls) if field.name != "k"]
        if unknown := [name for name in options if name not in known]:
            raise InvalidArgumentError(f"a search takes no option {unknown[0]!r}; it takes {', '.join(known)}")
        return cls(checked_k(k), **options)

    @classmethod
    def dense(cls, k: int, options: Mapping[str, Any]) -> Self:
        """The same for a search by vector.

        Raises:
            InvalidArgumentError: another mode is asked for.
        """
        search = cls.of(k, options)
        if search.mode != "dense":
            raise InvalidArgumentError(f"mode is {search.mode!r}, but vectors are searched by meaning; leave it out")
        return search


def found_by_vector(index: Index, vector: Sequence[float], search: Search) -> list[Hit]:
    """The best hits for a query vector (dim,), best first.

    Args:
        index: one state of an index.
        vector: need not have unit length.
        search: what is asked for.

    Raises:
        InvalidArgumentError: as `Index.search_vectors`.
    """

    def find(depth: int, where: Where | None) -> list[Hit]:
        return index.search_vectors([vector], depth, where=where, languages=search.languages)[0]

    return _found(index, search, find)


def found_by_words(index: Index, query: str, search: Search, instruction: str | None) -> list[Hit]:
    """The best hits for a query by lexical or hybrid search, best first.

    Raises:
        InvalidArgumentError: as `Index.search`.
    """

    def find(depth: int, where: Where | None) -> list[Hit]:
        return index.search(query, depth, search.mode, where, search.languages, instruction, fusion=search.fusion)

    return _found(index, search, find)


def _found(index: Index, search: Search, find: Callable[[int, Where | None], list[Hit]]) -> list[Hit]:
    if not len(index):  # it has no columns and no languages yet, so that filters could only fail
        return []
    if callable(search.filter):
        return hits_that_pass(lambda depth: find(depth, None), search.k, search.filter)
    return find(search.k, where_of(search.filter, lambda: index.info()["columns"]))
