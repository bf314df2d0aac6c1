"""The searches of parallel texts: X to the pivot language, the pivot to X, within X, and one pool of all languages.

Which texts a task takes depends on the texts alone, never on a random state: too short ones are left out, and those
that are repeated in the pivot language or in X (in a mixed pool: in the pivot language alone; what is the same only
without the masked words stays). Of more than `max_items` those are taken whose parallel_id has the smallest hash.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lusirag.evaluation.suite.description import SetDescription
from lusirag.evaluation.suite.task import ALL, MIXED, SearchTask, one_to_one

_TITLE_WORDS = 3  # least, in the pivot language, of a title that is searched with
_QUERY_CHARACTERS, _DOCUMENT_CHARACTERS = 4, 8  # least


class Side(NamedTuple):
    """A parallel text in one language."""

    title: str
    text: str


Items = dict[str, dict[str, Side]]  # {parallel id: {language: side}}


def parallel_tasks(
    rows: Sequence[Mapping[str, Any]],
    described: SetDescription,
    *,
    pivot: str,
    languages: Collection[str] | None,
    masked: bool,
) -> Iterator[SearchTask]:
    """All searches of a set, language by language, the mixed pool last; see `reading.read_tasks`."""
    by_title = described.query == "title"
    items = _good_items(rows, described, pivot)
    there = {language for sides in items.values() for language in sides}
    here = sorted(there if languages is None else there & set(languages))
    for language in here:
        chosen = {key: items[key] for key in _selected(items, language, described)}
        if language != pivot:
            yield from _task(described, f"x2{pivot}", chosen, language, language, pivot)
            yield from _task(described, f"{pivot}2x", chosen, language, pivot, language)
        if language != pivot and masked:
            without = {key: sides | {language: _masked(sides[language], sides[pivot])} for key, sides in chosen.items()}
            yield from _task(described, f"x2{pivot}", without, language, language, pivot, masked=True)
            yield from _task(described, f"{pivot}2x", without, language, pivot, language, masked=True)
        if by_title:
            yield from _task(described, "x2x", chosen, language, language, language)
    if len(set(here) - {pivot}) > 1:
        yield from _mixed(described, items, pivot, here)


def _good_items(rows: Sequence[Mapping[str, Any]], described: SetDescription, pivot: str) -> Items:
    """Items whose text in the pivot language exists, is long enough and occurs once, as does a title to search with."""
    items: Items = {}
    for row in rows:
        items.setdefault(row["parallel_id"], {})[row["lang"]] = Side(row.get("title") or "", row["text"])
    items = {key: sides for key, sides in items.items() if pivot in sides}
    texts = Counter(_folded(sides[pivot].text) for sides in items.values())
    titles = Counter(_folded(sides[pivot].title) for sides in items.values())

    def good(side: Side) -> bool:
        if texts[_folded(side.text)] > 1 or len(side.text.split()) < described.min_words:
            return False
        alone = len(side.title.split()) >= _TITLE_WORDS and titles[_folded(side.title)] == 1
        return alone or described.query != "title"

    return {key: sides for key, sides in items.items() if good(sides[pivot])}


def _selected(items: Items, language: str, described: SetDescription) -> list[str]:
    """The items of a task in a language: those whose text, and title if it is searched with, occur there once."""
    sides = {key: each[language] for key, each in items.items() if language in each}
    sides = {key: side for key, side in sides.items() if _query(described, side)}
    queries = Counter(_query(described, side) for side in sides.values())
    texts = Counter(side.text for side in sides.values())
    once = [key for key, side in sides.items() if queries[_query(described, side)] == 1 and texts[side.text] == 1]
    return sorted(once, key=_hash)[: described.max_items or None]


def _task(
    described: SetDescription,
    direction: str,
    items: Items,
    language: str,
    asked: str,
    answered: str,
    *,
    masked: bool = False,
) -> list[SearchTask]:
    """The task with queries in the language `asked`, documents in `answered`; all but empty texts are left out."""
    pairs = [(key, _query(described, sides[asked]), sides[answered].text) for key, sides in items.items()]
    return one_to_one(described.name, direction, language, _long_enough(pairs), masked=masked)


def _mixed(described: SetDescription, items: Items, pivot: str, languages: Sequence[str]) -> list[SearchTask]:
    """The task in the pivot language over one pool, in which each document stands in one of the other languages."""
    pairs = []
    for key in sorted(items, key=_hash)[: described.max_items or None]:
        sides = items[key]
        if others := sorted(sides.keys() & set(languages) - {pivot}):
            document = sides[others[_hash("mix" + key) % len(others)]]
            pairs.append((key, _query(described, sides[pivot]), document.text))
    return one_to_one(described.name, MIXED, ALL, _long_enough(pairs))


def _long_enough(pairs: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Those of (item, query, document) whose texts are more than a few characters."""
    return [pair for pair in pairs if len(pair[1]) >= _QUERY_CHARACTERS and len(pair[2]) >= _DOCUMENT_CHARACTERS]


def _query(described: SetDescription, side: Side) -> str:
    return side.title if described.query == "title" else side.text


def _masked(side: Side, other: Side) -> Side:
    """A text without the runs of Latin letters and digits that its other side has, in any case."""
    shared = set(re.findall(r"[a-z0-9]+", f"{other.title} {other.text}".lower()))

    def drop(text: str) -> str:
        kept = re.sub(r"[A-Za-z0-9]+", lambda run: " " if run.group().lower() in shared else run.group(), text)
        return " ".join(kept.split())

    return Side(drop(side.title), drop(side.text))


def _folded(text: str) -> str:
    return " ".join(text.lower().split())


def _hash(text: str) -> int:
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:12], 16)
