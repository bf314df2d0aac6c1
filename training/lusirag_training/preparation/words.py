"""Texts as sequences of words, and the n-grams of these as numbers."""

from __future__ import annotations

import hashlib
import unicodedata
from functools import lru_cache

import numpy as np

from lusirag_training.preparation.texts import Keys, normalise

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, with its bits well spread: 2^64 divided by the golden ratio
# Scripts that put no space between words: there, each character is a word.
_WITHOUT_SPACES = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF), (0x20000, 0x3FFFF),
)  # fmt: skip


def words_of(text: str) -> list[str]:
    """The words of the normalised text, without punctuation and symbols."""
    return normalise(text).translate(_TABLE).split()


def word_keys(words: list[str]) -> Keys:
    """64 bits of each word's BLAKE2b, (w,); the same on every machine and in every run."""
    return np.fromiter(map(_word_key, words), dtype=np.uint64, count=len(words))


def ngrams(keys: Keys, n: int) -> Keys:
    """The different n-grams of a sequence of words, as sorted numbers; a shorter text is one n-gram as a whole.

    Args:
        keys: (w,) as from `word_keys`.
        n: words together.

    Returns:
        (g,), at most w - n + 1; none for no words.
    """
    if not len(keys):
        return keys
    width = min(n, len(keys))
    windows = np.zeros(len(keys) - width + 1, dtype=np.uint64)
    for at in range(width):  # a polynomial in the multiplier, modulo 2^64
        windows = windows * _MULTIPLIER + keys[at : at + len(windows)]
    found: Keys = np.unique(windows)
    return found


def jaccard(left: Keys, right: Keys) -> float:
    """The share of n-grams that two texts have in common, of all that either has; 0 when neither has any."""
    common = len(np.intersect1d(left, right, assume_unique=True))
    together = len(left) + len(right) - common
    return common / together if together else 0.0


@lru_cache(maxsize=1 << 20)
def _word_key(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), "little")


class _Table(dict[int, str]):
    """Fills itself: a character -> what stands for it. `str.translate` asks for no more than indexing."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if any(first <= code <= last for first, last in _WITHOUT_SPACES):
            character = f" {character} "
        elif unicodedata.category(character)[0] in "PSZC":
            character = " "
        self[code] = character
        return character


_TABLE = _Table()
