"""Which rows are left out for what they are: too short or long, in another language, said twice, repetitive."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lusirag.corpus import identify
from lusirag.errors import InvalidArgumentError
from lusirag_training.preparation.rows import Row
from lusirag_training.preparation.texts import normalise

Bounds = tuple[int | None, int | None]
# Counts the tokens of each text.
CountTokens = Callable[[Sequence[str]], list[int]]

_OPEN: Bounds = (None, None)
# Below that a text's packed size says little about it.
_REPETITIVE_FROM = 100


@dataclass(frozen=True, slots=True)
class Filters:
    """What rows must be. A row with several positives is left out when one of them is.

    Args:
        query_characters, document_characters: (least, most); None: no bound. White space at the ends does not count.
        query_tokens, document_tokens: the same in tokens.
        languages: BCP 47 tags of the documents' language; rows whose language cannot be told stay. None: any.
        different: leave out rows whose query is also a positive, when compared as `texts.normalise` does.
        min_packed: documents of 100 bytes or more that zlib packs to less than this share of their size are repetitive
            (tables, menus, runs of one character); 0: no such rule. Plain English text packs to 0.4 to 0.7.
    """

    query_characters: Bounds = _OPEN
    document_characters: Bounds = _OPEN
    query_tokens: Bounds = _OPEN
    document_tokens: Bounds = _OPEN
    languages: frozenset[str] | None = None
    different: bool = True
    min_packed: float = 0.2

    def __post_init__(self) -> None:
        wrong = []
        for name in ("query_characters", "document_characters", "query_tokens", "document_tokens"):
            least, most = getattr(self, name)
            if (least or 0) < 0 or (most is not None and most < max(least or 0, 1)):
                wrong.append(f"{name} is {least}:{most}; give LEAST:MOST with LEAST <= MOST, either may be left out")
        if not 0 <= self.min_packed < 1:
            wrong.append(f"min_packed is {self.min_packed}; give 0 (no such rule) or more, below 1")
        if self.languages is not None and not self.languages:
            wrong.append("languages is empty; name at least one, or leave it out")
        if wrong:
            raise InvalidArgumentError("; ".join(wrong))

    @property
    def count_tokens(self) -> bool:
        """Whether a tokenizer is needed."""
        return self.query_tokens != _OPEN or self.document_tokens != _OPEN


def failing(rows: Sequence[Row], filters: Filters, count_tokens: CountTokens | None = None) -> dict[int, str]:
    """Say which rows are left out.

    Args:
        rows: some rows.
        filters: what they must be.
        count_tokens: needed when tokens are bounded.

    Returns:
        place among `rows` -> the first reason.
    """
    out: dict[int, str] = {}
    for at, row in enumerate(rows):
        reason = _by_characters(row, filters) or _by_content(row, filters)
        if reason is not None:
            out[at] = reason
    if filters.languages is not None:
        left = [at for at in range(len(rows)) if at not in out]
        for at, language in zip(left, identify([" ".join(rows[at].documents) for at in left]), strict=True):
            # "zh" allows "zh-Hant" too.
            if language is not None and not {language, language.split("-")[0]} & filters.languages:
                out[at] = "another language"
    if filters.count_tokens and count_tokens is not None:
        _by_tokens(rows, filters, count_tokens, out)
    return out


def _by_characters(row: Row, filters: Filters) -> str | None:
    if row.query is not None and (reason := _beyond([len(row.query.strip())], filters.query_characters)):
        return f"query too {reason}"
    if reason := _beyond([len(text.strip()) for text in row.documents], filters.document_characters):
        return f"document too {reason}"
    return None


def _by_content(row: Row, filters: Filters) -> str | None:
    if filters.different and row.query is not None:
        query = normalise(row.query)
        if any(normalise(text) == query for text in row.documents):
            return "query is its own positive"
    if filters.min_packed and any(_is_repetitive(text, filters.min_packed) for text in row.documents):
        return "repetitive"
    return None


def _by_tokens(rows: Sequence[Row], filters: Filters, count_tokens: CountTokens, out: dict[int, str]) -> None:
    left = [at for at in range(len(rows)) if at not in out]
    counts = iter(count_tokens([text for at in left for text in rows[at].texts]))
    for at in left:
        row = rows[at]
        if row.query is not None and (reason := _beyond([next(counts)], filters.query_tokens)):
            out[at] = f"query of too {_FEW_OR_MANY[reason]} tokens"
        if (reason := _beyond([next(counts) for _ in row.documents], filters.document_tokens)) and at not in out:
            out[at] = f"document of too {_FEW_OR_MANY[reason]} tokens"


_FEW_OR_MANY = {"short": "few", "long": "many"}


def _beyond(lengths: Sequence[int], bounds: Bounds) -> str | None:
    least, most = bounds
    if least is not None and min(lengths) < least:
        return "short"
    return "long" if most is not None and max(lengths) > most else None


def _is_repetitive(text: str, min_packed: float) -> bool:
    content = text.encode("utf-8", "replace")
    return len(content) >= _REPETITIVE_FROM and len(zlib.compress(content, 6)) < min_packed * len(content)
