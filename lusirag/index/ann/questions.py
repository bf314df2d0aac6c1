"""The queries that recall is measured with: given ones, or the first sentences of passages drawn at random."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lusirag.errors import InvalidArgumentError
from lusirag.index.requests import checked_k
from lusirag.index.sampling import sampled_rows
from lusirag.index.snapshot import Snapshot

# However many languages there are: drawn queries must be embedded and searched exactly.
MOST_DRAWN = 2000
_FEWEST_OF_A_LANGUAGE = 10
_SENTENCE = re.compile(r".{12,}?(?:[.!?…؟।](?=\s)|[。！？])", re.DOTALL)
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Questions:
    """Queries, and for each the passage it was taken from.

    Attributes:
        texts: of the queries.
        origin: (segment, row) of each, None for queries that were given.
        source: "given" or "sampled".
    """

    texts: tuple[str, ...]
    origin: tuple[tuple[int, int] | None, ...]
    source: str


def given(texts: Sequence[str]) -> Questions:
    """Queries that users ask.

    Raises:
        InvalidArgumentError: there are none, or one is not text.
    """
    if isinstance(texts, str) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise InvalidArgumentError("queries must be a list of str, at least one and none of them empty")
    return Questions(tuple(texts), (None,) * len(texts), "given")


def drawn(snapshot: Snapshot, sample: int, seed: int) -> Questions:
    """First sentences of passages, at most `sample` of each language.

    Raises:
        InvalidArgumentError: sample below 1.
    """
    most = max(_FEWEST_OF_A_LANGUAGE, MOST_DRAWN // max(len(snapshot.languages), 1))
    sample = min(checked_k(sample, "sample"), most)
    texts, origin = [], []
    for number, (segment, rows) in enumerate(sampled_rows(snapshot, sample, seed)):
        for row in np.asarray(rows).tolist():
            text = first_sentence(segment.documents.hit(row).text)
            if text:
                texts.append(text)
                origin.append((number, row))
    return Questions(tuple(texts), tuple(origin), "sampled")


def first_sentence(text: str) -> str:
    """The first sentence of a text, in any script that marks its end; at most 200 characters."""
    text = " ".join(text[: 4 * _LONGEST].split())
    found = _SENTENCE.match(text)
    return (found[0] if found else text)[:_LONGEST].strip()
