"""Hits into the passages of a prompt: numbered, neighbouring chunks joined, repeated texts left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lusirag.rag.answer import Passage
from lusirag.types import Hit


@dataclass(slots=True)
class _Run:
    """Chunks of one document that overlap or touch."""

    best: int  # rank of its best hit
    hit: Hit
    text: str
    start: int
    end: int
    number: int  # of its last chunk


def as_passages(hits: Sequence[Hit]) -> list[Passage]:
    """The passages of some hits, numbered from 1 in the order of each one's best hit.

    Chunks of a document that overlap or follow each other become one passage, so that no sentence is shown twice and
    none is cut where its chunk ends; a text that another passage has too is left out.
    """
    runs: list[_Run] = []
    for rank, hit in sorted(enumerate(hits), key=lambda item: (item[1].document_id, item[1].start)):
        last = runs[-1] if runs else None
        if last is not None and last.hit.document_id == hit.document_id and _continues(last, hit):
            _extend(last, rank, hit)
        else:
            runs.append(_Run(rank, hit, hit.text, hit.start, hit.end, _number(hit)))
    runs.sort(key=lambda run: run.best)
    different: dict[str, _Run] = {}
    for run in runs:
        different.setdefault(run.text, run)
    return [
        Passage(number, run.hit, run.text, run.start, run.end) for number, run in enumerate(different.values(), start=1)
    ]


def _continues(run: _Run, hit: Hit) -> bool:
    return hit.start <= run.end or _number(hit) == run.number + 1  # chunks leave out white space between them


def _number(hit: Hit) -> int:
    """The n of the n-th chunk of a document; 0 for a whole document."""
    suffix = hit.id.removeprefix(hit.document_id).removeprefix("#")
    return int(suffix) if suffix.isdecimal() else 0


def _extend(run: _Run, rank: int, hit: Hit) -> None:
    if hit.end > run.end:
        run.text = run.text.ljust(hit.start - run.start) + hit.text[max(0, run.end - hit.start) :]
        run.end, run.number = hit.end, _number(hit)
    if rank < run.best:
        run.best, run.hit = rank, hit
