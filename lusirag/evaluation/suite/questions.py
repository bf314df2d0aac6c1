"""The searches of questions: the passage with the answer among all passages of the set in its language."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from lusirag.evaluation.suite.description import SetDescription
from lusirag.evaluation.suite.task import SearchTask


def question_tasks(
    rows: Sequence[Mapping[str, Any]], described: SetDescription, *, pivot: str, languages: Collection[str] | None
) -> Iterator[SearchTask]:
    """Questions and passages in one language, or one of both in the pivot language; see `reading.read_tasks`."""
    rows = [row for row in rows if described.set in (None, row.get("set"))]
    passages: dict[str, dict[str, str]] = {}  # {language: {id by which questions name it: text}}
    questions: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["role"] == "doc":
            passages.setdefault(row["lang"], {})[row["doc_parallel_id"]] = row["text"]
        else:
            questions.setdefault(row["lang"], []).append(row)
    for asked in sorted(questions):
        for answered in sorted(passages):
            if asked != answered and pivot not in (asked, answered):
                continue
            language = answered if asked == pivot else asked
            if languages is None or language in languages:
                direction = "x2x" if asked == answered else f"x2{pivot}" if answered == pivot else f"{pivot}2x"
                yield from _task(described.name, direction, language, questions[asked], passages[answered])


def _task(
    name: str, direction: str, language: str, questions: Sequence[Mapping[str, Any]], passages: Mapping[str, str]
) -> list[SearchTask]:
    """The task of the questions whose passage is there; none without one, or with a single passage."""
    numbers = {key: number for number, key in enumerate(passages)}
    kept = [row for row in questions if row["doc_parallel_id"] in numbers]
    if not kept or len(passages) < 2:
        return []
    keys = tuple(str(row["doc_parallel_id"]) for row in kept)
    relevant = tuple(frozenset([numbers[key]]) for key in keys)
    queries = tuple(str(row["text"]) for row in kept)
    return [SearchTask(name, direction, language, False, queries, tuple(passages.values()), relevant, keys)]
