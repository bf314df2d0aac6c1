"""What the manifest remembers of approximate search: what was asked for, how hard to look, what was measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DEFAULT_LATENCY_MS = 10.0


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How hard approximate search looks; larger finds more and takes longer.

    Attributes:
        ef_search: passages that HNSW keeps in view (Malkov and Yashunin 2018, "ef").
        nprobe: lists that IVF looks into.
        rescored: multiple of the structure's usual number of candidates that are scored again exactly.
    """

    ef_search: int = 128
    nprobe: int = 128
    rescored: int = 1


@dataclass(frozen=True, slots=True)
class LanguageRecall:
    """How much of what exact search finds in one language approximate search finds too.

    Attributes:
        language: of the passages found, BCP 47; None for those without one.
        queries: those with a true neighbour in this language.
        neighbours: true neighbours in this language, over all queries.
        recall: share of the neighbours that were found.
        low, high: its 95 % confidence interval.
    """

    language: str | None
    queries: int
    neighbours: int
    recall: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RecallRecord:
    """A measurement of recall, and of which state it is.

    Attributes:
        k: hits a query that were compared.
        queries: how many there were.
        source: "given", or "sampled" from the passages themselves.
        state: `manifest.content_state` of the segments that were searched.
        languages: worst first.
        milliseconds: median of one query alone, its documents not read, on the machine that measured (since format 3).
    """

    k: int
    queries: int
    source: str
    state: str
    languages: tuple[LanguageRecall, ...]
    milliseconds: float | None = field(default=None, compare=False)

    @property
    def worst(self) -> float:
        """Recall of the worst language; 1 where nothing could be found."""
        return min((each.recall for each in self.languages), default=1.0)


@dataclass(frozen=True, slots=True)
class AnnRecord:
    """How the vectors of an index are searched.

    Attributes:
        kind: auto, flat, hnsw, ivf, ivf-pq, binary, or a FAISS factory string.
        memory: bytes that the search structures may take, for auto; None for no limit.
        settings: how hard to look.
        recall: the last measurement, None before the first.
        latency_ms: what one query may take by exact search before `auto` gives it up (since format 3).
    """

    kind: str = "auto"
    memory: int | None = None
    settings: SearchSettings = SearchSettings()
    recall: RecallRecord | None = None
    latency_ms: float = DEFAULT_LATENCY_MS


FLAT = AnnRecord("flat")


def parse_ann(fields: dict[str, Any]) -> AnnRecord:
    """An AnnRecord from the manifest's JSON.

    Raises:
        KeyError, TypeError: a field is missing or not known.
    """
    recall = fields["recall"]
    if recall is not None:
        languages = tuple(LanguageRecall(**each) for each in recall["languages"])
        recall = RecallRecord(**{**recall, "languages": languages})
    return AnnRecord(**{**fields, "settings": SearchSettings(**fields["settings"]), "recall": recall})
