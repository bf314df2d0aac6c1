"""One search to be evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MIXED = "mixed"
ALL = "all"  # the language of a mixed pool


@dataclass(frozen=True, slots=True)
class SearchTask:
    """Queries, the documents among which they search, and which of these are right.

    Attributes:
        set: name of the set. direction: "x2en", "en2x" (with the pivot's tag), "x2x" or "mixed".
        language: tag of X; "all" for a mixed pool.
        masked: whether the words in Latin letters and the numbers that both sides share were taken out of the side in
            X, so that nothing is found by names alone.
        queries: N texts. documents: M texts. relevant: of each query, numbers of documents.
        items: of each query, what it is drawn from: the same text in all languages is one item.
    """

    set: str
    direction: str
    language: str
    masked: bool
    queries: tuple[str, ...]
    documents: tuple[str, ...]
    relevant: tuple[frozenset[int], ...]
    items: tuple[str, ...]

    @property
    def group(self) -> str:
        """What is averaged over languages: the set, the direction, and whether it is masked."""
        return f"{self.set}, {self.direction}{', masked' if self.masked else ''}"


def one_to_one(
    name: str, direction: str, language: str, pairs: Sequence[tuple[str, str, str]], *, masked: bool = False
) -> list[SearchTask]:
    """The task of (item, query, its document); none where there are fewer than two documents."""
    if len(pairs) < 2:
        return []
    items, queries, documents = zip(*pairs, strict=True)
    relevant = tuple(frozenset([number]) for number in range(len(pairs)))
    return [SearchTask(name, direction, language, masked, queries, documents, relevant, items)]
