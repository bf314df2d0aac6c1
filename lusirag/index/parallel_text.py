"""One text in many languages, as a measure of how they write: the bundled Universal Declaration of Human Rights."""

from __future__ import annotations

from functools import lru_cache

from lusirag.embedding.catalog import ASSETS

ENGLISH = "en"


def english_articles() -> list[str]:
    """Its articles in English."""
    return list(_articles()[ENGLISH].values())


def relative_length(language: str) -> float | None:
    """Characters that a language takes for what English says in one: 0.26 for Chinese, 1.1 for German.

    Args:
        language: BCP 47 tag; of one that the text is not in, the shorter tag is taken ("pt" for "pt-BR").

    Returns:
        the ratio over the articles that are there in both; None when the text is not in that language.
    """
    texts = _articles()
    while language not in texts:
        language, _, rest = language.rpartition("-")
        if not rest or not language:
            return None
    both = texts[language].keys() & texts[ENGLISH].keys()
    lengths = [sum(len(texts[name][article]) for article in both) for name in (language, ENGLISH)]
    return lengths[0] / lengths[1] if lengths[1] else None


@lru_cache(maxsize=1)
def _articles() -> dict[str, dict[int, str]]:
    """Language to article number to text."""
    from pyarrow.parquet import ParquetFile  # NOTE: its read_table would import pandas where that is installed

    with ParquetFile(ASSETS / "udhr.parquet") as file:
        table = file.read(["language", "article", "text"])
    found: dict[str, dict[int, str]] = {}
    for language, article, text in zip(*(column.to_pylist() for column in table.columns), strict=True):
        found.setdefault(language, {})[article] = text
    return found
