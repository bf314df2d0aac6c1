"""A text into its sentences, in any language.

Sentence ends are those of sentencex (Wikimedia), which knows the abbreviations and marks of some 240 languages and
falls back to those of a related language for others.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semantic_text_splitter import TextSplitter

Span = tuple[int, int]

# In characters. What is longer is no sentence, but text whose ends nobody marked: it is cut at line breaks and words.
_LONGEST = 1000
# The splitter looks at all text that is left for each piece, which takes quadratic time: it sees this many pieces.
_WINDOW = 32
_UNMARKED = {"th": 200, "lo": 200, "km": 200, "bo": 200, "dz": 200}  # these write no full stop that sentencex knows


def sentence_spans(text: str, language: str | None = None) -> list[Span]:
    """Where the sentences of a text begin and end, in characters, end exclusive, white space around them left out.

    Args:
        text: any text; one without a visible character has no sentence.
        language: BCP 47 tag; English rules when None.
    """
    from sentencex import get_sentence_boundaries

    primary = (language or "en").split("-")[0].lower()
    longest = _UNMARKED.get(primary, _LONGEST)
    spans: list[Span] = []
    for found in get_sentence_boundaries(primary, text):
        start, end = _trimmed(text, found["start_index"], found["end_index"])
        spans += [(start, end)] if end - start <= longest else _cut(text, start, end, longest)
    return [(start, end) for start, end in spans if start < end]


def _cut(text: str, start: int, end: int, longest: int) -> Iterator[Span]:
    width = _WINDOW * longest
    while start < end:
        found = _splitter(longest).chunk_indices(text[start : min(start + width, end)])
        # The last piece of a window ends where the window does: it is cut again, as the next window's first.
        again = start + width < end and len(found) > 1
        for at, piece in found[:-1] if again else found:
            yield _trimmed(text, start + at, start + at + len(piece))
        start += found[-1][0] if again else width


def _trimmed(text: str, start: int, end: int) -> Span:
    inside = text[start:end]
    return start + len(inside) - len(inside.lstrip()), start + len(inside.rstrip())


@lru_cache
def _splitter(characters: int) -> TextSplitter:
    from semantic_text_splitter import TextSplitter

    return TextSplitter(characters)
