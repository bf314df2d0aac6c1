"""Restricting a search to languages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lusirag.errors import InvalidArgumentError
from lusirag.index.snapshot import Snapshot
from lusirag.index.tombstones import Bitmap, to_bitmap


def allowed_rows(snapshot: Snapshot, languages: Sequence[str]) -> list[tuple[Bitmap, int]]:
    """For each segment, the live passages in one of `languages`: a bitmap and how many they are.

    Args:
        snapshot: the state to search.
        languages: BCP 47 tags, compared without case; "zh" also matches "zh-Hant", not the other way round.

    Raises:
        InvalidArgumentError: no list of tags, or a tag that no passage has; names those there are.
    """
    if isinstance(languages, str) or not languages or not all(isinstance(tag, str) for tag in languages):
        raise InvalidArgumentError(
            f'languages is {languages!r}; it must be a list of tags such as ["de", "zh-Hant"], or None for all'
        )
    known = {name for name in snapshot.languages if name is not None}
    for tag in languages:
        if not any(_matches(name, tag) for name in known):
            raise InvalidArgumentError(
                f"no passage has the language {tag!r}; this index has {', '.join(sorted(known)) or 'none'}"
            )
    found = []
    for segment in snapshot.segments:
        codes, names = segment.languages
        wanted = np.array([any(_matches(name or "", tag) for tag in languages) for name in names], dtype=np.bool_)
        mask = wanted[codes] & ~segment.deleted
        found.append((to_bitmap(mask), int(mask.sum())))
    return found


def _matches(name: str, tag: str) -> bool:
    name, tag = name.casefold(), tag.casefold()
    return name == tag or name.startswith(tag + "-")
