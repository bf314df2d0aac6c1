"""Counting tokens of the passages of an index, by language, over all of them or a random sample."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from lusirag.corpus import passage_text
from lusirag.errors import ModelError
from lusirag.index.language_report import LanguageReport, LanguageStatistics
from lusirag.index.parallel_text import ENGLISH, english_articles, relative_length
from lusirag.index.requests import checked_k
from lusirag.index.sampling import sampled_rows
from lusirag.index.snapshot import Snapshot
from lusirag.types import Encoder

_PASSAGES_AT_ONCE = 256
# Fewer characters of English than these say too little to measure other languages by.
_ENOUGH_ENGLISH = 1000


def language_report(snapshot: Snapshot, embedder: Encoder, *, sample: int | None, seed: int) -> LanguageReport:
    """Look at passages of each language, a few hundred at a time.

    Args:
        snapshot: the state to look at.
        embedder: the index's model, with its `tokenizer` and, where it says so, `max_passage_tokens`.
        sample: passages of each language that are looked at, drawn at random; None looks at all.
        seed: of the draw.

    Raises:
        InvalidArgumentError: sample below 1.
        ModelError: the embedder has no tokenizer.
    """
    sample = None if sample is None else checked_k(sample, "sample")
    tokenizer = getattr(embedder, "tokenizer", None)
    if tokenizer is None:
        raise ModelError(
            f"the embedder {embedder.name!r} has no tokenizer, so its tokens cannot be counted; "
            "open the index with one that has, such as Embedder.load gives"
        )
    longest = int(getattr(embedder, "max_passage_tokens", None) or embedder.max_tokens)
    count = _Counting(tokenizer, longest)
    for segment, rows in sampled_rows(snapshot, sample, seed):
        codes, names = segment.languages
        for start in range(0, len(rows), _PASSAGES_AT_ONCE):
            some = rows[start : start + _PASSAGES_AT_ONCE]
            passages = [segment.documents.hit(int(row)) for row in some]
            texts = [passage_text(passage.title, passage.text) for passage in passages]
            count([names[code] for code in codes[some]], texts)
    documents = _documents(snapshot)
    tokens_of_english, words = count.english()
    return LanguageReport(
        tuple(
            count.statistics(language, documents[language], passages, tokens_of_english)
            for language, passages in sorted(snapshot.languages.items(), key=lambda item: (-item[1], item[0] or ""))
        ),
        words,
        longest,
    )


class _Counting:
    """Tokens of texts, added up by language: texts, characters, tokens, unknown tokens, truncated texts."""

    def __init__(self, tokenizer: Tokenizer, longest: int) -> None:
        self._tokenizer = tokenizer
        self._longest = longest
        self._unknown = _unknown_id(tokenizer)
        self._sums: dict[str | None, npt.NDArray[np.int64]] = {}

    def __call__(self, languages: list[str | None], texts: list[str]) -> None:
        for language, counts in zip(languages, self._counts(texts), strict=True):
            self._sums[language] = self._sums.get(language, np.zeros(5, np.int64)) + counts

    def english(self) -> tuple[float, str]:
        """Tokens a character of English, and which English that is."""
        own = [sums for name, sums in self._sums.items() if name == ENGLISH or (name or "").startswith(f"{ENGLISH}-")]
        sums = np.sum(own, axis=0) if own else np.zeros(5, np.int64)
        if sums[1] >= _ENOUGH_ENGLISH:
            return float(sums[2] / sums[1]), "the English passages of this index"
        sums = np.sum(self._counts(english_articles()), axis=0)
        how_much = "little" if own else "no"
        return (
            float(max(sums[2], 1) / sums[1]),
            f"the Universal Declaration of Human Rights in English, because this index has {how_much} English",
        )

    def statistics(
        self, language: str | None, documents: int, passages: int, tokens_of_english: float
    ) -> LanguageStatistics:
        examined, characters, tokens, unknown, truncated = map(int, self._sums[language])
        ratio = tokens / characters / tokens_of_english
        length = None if language is None else relative_length(language)
        return LanguageStatistics(
            language,
            documents,
            passages,
            examined,
            tokens_per_character=tokens / characters,
            unknown_share=unknown / max(tokens, 1),
            truncated_share=truncated / examined,
            ratio=ratio,
            content_ratio=None if length is None else ratio * length,
        )

    def _counts(self, texts: list[str]) -> list[tuple[int, ...]]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [
            (1, len(text), len(ids), ids.count(self._unknown), len(ids) > self._longest)
            for text, ids in zip(texts, (encoding.ids for encoding in encodings), strict=True)
        ]


def _unknown_id(tokenizer: Tokenizer) -> int:
    """The id of the unknown token; -1 where the tokenizer knows every byte."""
    model = json.loads(tokenizer.to_str())["model"]  # the library has no other way to it for a Unigram model
    found = model.get("unk_id")
    if found is None and model.get("unk_token") is not None:
        found = tokenizer.token_to_id(model["unk_token"])
    return -1 if found is None else int(found)


def _documents(snapshot: Snapshot) -> Counter[str | None]:
    """How many live documents each language has."""
    counts: Counter[str | None] = Counter()
    for segment in snapshot.segments:
        codes, names = segment.languages
        first = segment.keys.first_rows[~segment.deleted[segment.keys.first_rows]]
        counts.update(names[code] for code in codes[first])
    return counts
