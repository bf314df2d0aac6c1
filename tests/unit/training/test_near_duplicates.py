"""Near duplicates planted at known similarities; signatures against the similarity itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lusirag_training.preparation.near_duplicates import SLOTS, NearDuplicates, band_rows, sign
from lusirag_training.preparation.texts import Keys
from lusirag_training.preparation.words import jaccard, ngrams, word_keys, words_of


def sequence(seed: int, length: int = 104) -> Keys:
    """Random words: 100 different 5-grams."""
    return np.random.default_rng(seed).integers(0, 2**63, length, dtype=np.uint64)


def with_tail(text: Keys, changed: int, seed: int) -> Keys:
    """The text with its last words changed: of 100 n-grams, `changed` differ, so J = (100 - c) / (100 + c)."""
    return np.concatenate([text[: len(text) - changed], sequence(seed, changed)])


def find(folder: Path, texts: list[Keys], **options: float) -> list[int]:
    with NearDuplicates(folder, **options) as near:
        near.add(texts[:7])
        near.add(texts[7:])
        return near.find().tolist()


def brute_force(texts: list[Keys], threshold: float) -> list[int]:
    kept: list[int] = []
    found = []
    for at, text in enumerate(texts):
        own = set(ngrams(text, 5).tolist())
        alike = (
            other
            for other in kept
            if len(own & (there := set(ngrams(texts[other], 5).tolist()))) / len(own | there) >= threshold
        )
        found.append(next(alike, -1))
        if found[-1] < 0:
            kept.append(at)
    return found


def test_pairs_above_the_threshold_are_found_and_those_below_are_not(tmp_path: Path) -> None:
    texts, expected = [], []
    # 100 n-grams of which 11 differ: 89/111 = 0.802; of which 12 differ: 88/112 = 0.786.
    for number in range(60):
        original = sequence(number)
        above, below = with_tail(original, 11, 1000 + number), with_tail(original, 12, 2000 + number)
        assert jaccard(ngrams(original, 5), ngrams(above, 5)) == pytest.approx(89 / 111)
        assert jaccard(ngrams(original, 5), ngrams(below, 5)) == pytest.approx(88 / 112)
        expected += [-1, len(texts), -1]
        texts += [original, above, below]
    found = find(tmp_path, texts)
    missed = sum(left != right for left, right in zip(found, expected, strict=True))
    assert missed <= 2, "a pair at the threshold is a candidate with a chance of 0.99"
    assert all(found[at] == -1 for at in range(0, len(texts), 3)), "the first is kept"
    assert all(found[at] == -1 for at in range(2, len(texts), 3)), "never on an estimate"


def test_a_chain_is_compared_with_what_is_kept(tmp_path: Path) -> None:
    """b is like a, c is like b but not like a: c is kept, as b is gone."""
    a = sequence(1)
    b = with_tail(a, 8, 2)
    c = np.concatenate([sequence(3, 8), b[8:]])
    assert jaccard(ngrams(b, 5), ngrams(c, 5)) > 0.8 > jaccard(ngrams(a, 5), ngrams(c, 5))
    assert find(tmp_path, [a, b, c]) == [-1, 0, -1]


def test_as_brute_force_says_on_many_variants(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bases = [sequence(number, int(rng.integers(20, 120))) for number in range(25)]
    texts = [with_tail(bases[rng.integers(25)], int(rng.integers(0, 12)), 100 + at) for at in range(400)]
    found, expected = find(tmp_path, texts), brute_force(texts, 0.8)
    assert sum(left != right for left, right in zip(found, expected, strict=True)) <= 4
    assert sum(at >= 0 for at in found) > 100


def test_short_and_empty_texts(tmp_path: Path) -> None:
    texts = [word_keys(words_of(text)) for text in ("one two", "One, two!", "two one", "", " ", "one")]
    assert find(tmp_path, texts) == [-1, 0, -1, -1, -1, -1]
    assert find(tmp_path, []) == []


def test_nothing_is_left_in_the_folder_and_the_result_does_not_depend_on_the_batches(tmp_path: Path) -> None:
    texts = [with_tail(sequence(at % 10), at % 12, at) for at in range(50)]
    whole = find(tmp_path, texts)
    with NearDuplicates(tmp_path) as near:
        for text in texts:
            near.add([text])
        assert list(tmp_path.iterdir()) == [], "the files have no name"
        assert near.find().tolist() == whole


@pytest.mark.parametrize("changed", [5, 20, 50])
def test_signatures_estimate_the_similarity(changed: int) -> None:
    grams = [ngrams(text, 5) for n in range(40) for text in (sequence(n), with_tail(sequence(n), changed, 500 + n))]
    signatures = sign(np.concatenate(grams), np.cumsum([len(some) for some in grams]))
    assert signatures.shape == (80, SLOTS)
    estimates = (signatures[::2] == signatures[1::2]).mean(axis=1)
    expected = (100 - changed) / (100 + changed)
    # The standard error of the mean of 40 estimates of 128 slots is below 0.007.
    assert estimates.mean() == pytest.approx(expected, abs=0.025)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 1.0])
def test_bands_leave_a_pair_at_the_threshold_its_chance(threshold: float) -> None:
    rows = band_rows(threshold)
    assert 1 - (1 - threshold**rows) ** (SLOTS // rows) >= 0.99
    if rows < 16:
        assert 1 - (1 - threshold ** (rows + 1)) ** (SLOTS // (rows + 1)) < 0.99


@given(st.lists(st.sampled_from("abcd"), max_size=12), st.lists(st.sampled_from("abcd"), max_size=12))
@settings(max_examples=80, deadline=None)
def test_ngrams_are_those_of_the_words(left: list[str], right: list[str]) -> None:
    def plain(words: list[str]) -> set[tuple[str, ...]]:
        width = min(3, len(words))
        return {tuple(words[at : at + width]) for at in range(len(words) - width + 1)} if words else set()

    keys = [ngrams(word_keys(words), 3) for words in (left, right)]
    assert [len(some) for some in keys] == [len(plain(left)), len(plain(right))]
    together = plain(left) | plain(right)
    expected = len(plain(left) & plain(right)) / len(together) if together else 0.0
    assert jaccard(*keys) == pytest.approx(expected)


def test_words_of_scripts_with_and_without_spaces() -> None:
    assert words_of("Don’t PANIC: ﬁle-name, 100%") == ["don", "t", "panic", "file", "name", "100"]
    assert words_of("中文句子。") == ["中", "文", "句", "子"]
    assert words_of("हिन्दी में") == ["हिन्दी", "में"]
