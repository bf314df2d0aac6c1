"""How well a model serves each language of an index: how many tokens it takes, what it cannot read, what is cut."""

from __future__ import annotations

from dataclasses import dataclass

MOST_TOKENS = 2.0  # times English
MOST_TRUNCATED = 0.05
MOST_UNKNOWN = 0.02


@dataclass(frozen=True, slots=True)
class LanguageStatistics:
    """One language of an index.

    Attributes:
        language: BCP 47 tag; None for passages whose language is not known.
        documents, passages: how many the index has.
        examined: passages that the figures below are of.
        tokens_per_character: tokens that the model's tokenizer makes of a character of title and text.
        unknown_share: share of the tokens that stand for something the tokenizer does not know.
        truncated_share: share of the passages that are longer than the model surely reads, `max_passage_tokens`.
        ratio: tokens a character, as a multiple of English's.
        content_ratio: tokens for the same content, as a multiple of English's: `ratio` times the length of the
            language's translation of a text beside its English original, because a Chinese character says more than
            an English letter. None for languages that the parallel text is not in.

    The last follows Petrov et al., "Language Model Tokenizers Introduce Unfairness Between Languages", NeurIPS 2023,
    section 3 (premium), with the index's own text for what is not in the parallel one.
    """

    language: str | None
    documents: int
    passages: int
    examined: int
    tokens_per_character: float
    unknown_share: float
    truncated_share: float
    ratio: float
    content_ratio: float | None


@dataclass(frozen=True, slots=True)
class LanguageReport:
    """All languages of an index.

    Attributes:
        languages: most passages first.
        english: which English the ratios are to, in words.
        max_passage_tokens: how many tokens of a passage the model reads.
    """

    languages: tuple[LanguageStatistics, ...]
    english: str
    max_passage_tokens: int

    @property
    def warnings(self) -> list[str]:
        """What is amiss, one line each: over 2 times English's tokens, over 5 % truncated, over 2 % unknown.

        Many tokens a character are not amiss where the language says as much with fewer characters.
        """
        found = []
        for each in self.languages:
            name = each.language or "unknown language"
            if min(each.ratio, each.content_ratio or each.ratio) > MOST_TOKENS:
                same_text = f", {each.content_ratio:.1f} times for the same text" if each.content_ratio else ""
                found.append(
                    f"{name}: {each.ratio:.1f} times the tokens of English for a character{same_text}; "
                    "embedding is slower, and a passage says less"
                )
            if each.truncated_share > MOST_TRUNCATED:
                found.append(
                    f"{name}: {each.truncated_share:.1%} of the passages are longer than the "
                    f"{self.max_passage_tokens} tokens that the model reads and may be cut; "
                    "let `lusirag index` split them (--chunk-tokens)"
                )
            if each.unknown_share > MOST_UNKNOWN:
                found.append(
                    f"{name}: {each.unknown_share:.1%} of the tokens are unknown to the model; "
                    "choose one whose vocabulary has this script"
                )
        return found
