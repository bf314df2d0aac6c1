"""Recall of each language beside an independent computation; searching harder until it is good enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_embedder import FakeEmbedder, documents, stored_vectors_of, vectors_of

from lusirag.errors import IndexStateError, InvalidArgumentError
from lusirag.index import Index
from lusirag.index.ann.questions import first_sentence
from lusirag.index.ann.recall import interval
from lusirag.index.ann.records import LanguageRecall, SearchSettings
from lusirag.index.ann.tuning import tuned
from lusirag.types import Document

ROWS = 1200
QUERIES = [f"query {number}" for number in range(80)]

pytestmark = pytest.mark.usefixtures("small_on_one_thread")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    # Four lists of which few are looked into, and two codes a vector: enough is missed to be measured.
    with Index.create(tmp_path / "index", FakeEmbedder(), ann="IVF30,PQ2x4", identify_languages=False) as index:
        index.add(documents(range(ROWS)))
        index.delete(["d5", "d7"])
        yield index


def by_hand(index: Index, queries: list[str], origins: list[str | None]) -> dict[str, tuple[int, int, int]]:
    """(queries, true neighbours, found) of each language: from texts and hits alone."""
    live = {found.id: found for found in index.get([f"d{number}" for number in range(ROWS)])}
    names = list(live)
    scores = stored_vectors_of([live[name].text for name in names]).astype(np.float64) @ vectors_of(queries).T
    found = index.search_many(queries, k=11)
    queries_of, true, seen = Counter[str](), Counter[str](), Counter[str]()
    for column, hits, origin in zip(scores.T, found, origins, strict=True):
        best = [names[row] for row in np.argsort(-column) if names[row] != origin][:10]
        got = {hit.id for hit in [hit for hit in hits if hit.id != origin][:10]}
        for language in {live[name].language or "" for name in best}:
            queries_of[language] += 1
        for name in best:
            true[live[name].language or ""] += 1
            seen[live[name].language or ""] += name in got
    return {language: (queries_of[language], true[language], seen[language]) for language in true}


def test_recall_of_given_queries_is_that_of_the_passages_languages(index: Index) -> None:
    record = index.measure_recall(QUERIES)
    expected = by_hand(index, QUERIES, [None] * len(QUERIES))
    assert {each.language for each in record.languages} == {"en", "de", "zh-Hant"}
    for each in record.languages:
        queries, true, seen = expected[each.language or ""]
        assert (each.queries, each.neighbours) == (queries, true)
        assert each.recall == pytest.approx(seen / true, abs=1e-6)
        assert each.low < each.recall < each.high
    assert [each.recall for each in record.languages] == sorted(each.recall for each in record.languages)
    assert record.worst == record.languages[0].recall < 0.99
    assert (record.k, record.queries, record.source) == (10, 80, "given")


def test_a_sampled_passage_does_not_count_as_its_own_neighbour(index: Index) -> None:
    record = index.measure_recall(sample=ROWS)
    names = [f"d{number}" for number in range(ROWS) if number not in (5, 7)]
    expected = by_hand(index, [found.text for found in index.get(names)], list(names))
    assert (record.queries, record.source) == (ROWS - 2, "sampled")
    for each in record.languages:
        queries, true, seen = expected[each.language or ""]
        assert (each.queries, each.neighbours) == (queries, true)
        assert each.recall == pytest.approx(seen / true, abs=1e-6)


def test_info_shows_what_was_measured_until_passages_change(index: Index) -> None:
    facts = index.info()["ann"]
    assert facts["recall"] is None
    record = index.measure_recall(sample=20)
    assert record.queries == 60
    assert record.milliseconds is not None
    assert 0 < record.milliseconds < 1e4
    assert index.info()["ann"]["recall_of"]["milliseconds"] == record.milliseconds
    assert index.measure_recall(sample=20, seed=0) == record
    facts = Index.open(index.path, FakeEmbedder()).info()["ann"]
    assert (facts["recall"], facts["stale"]) == (record.worst, False)
    assert [each["language"] for each in facts["languages"]] == [each.language for each in record.languages]
    index.delete(["d1"])
    assert index.info()["ann"]["stale"]
    index.measure_recall(sample=20)
    assert not index.info()["ann"]["stale"]
    index.add(documents([ROWS + 1]))
    assert index.info()["ann"]["stale"]
    index.compact()
    assert index.info()["ann"]["stale"]


def test_exact_search_misses_nothing(tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", FakeEmbedder(), ann="flat") as index:
        assert index.measure_recall().languages == ()
        index.add(documents(range(400)))
        record = index.measure_recall()
        assert {each.recall for each in record.languages} == {1.0}
        assert all(each.low < 1 for each in record.languages)
        assert index.info()["ann"]["recall"] == 1.0


def test_a_target_is_reached_stored_and_used(index: Index) -> None:
    before = index.measure_recall(QUERIES).worst
    target = before + (1 - before) / 2
    record = index.measure_recall(QUERIES, target=target)
    assert target <= record.worst < 1
    again = Index.open(index.path, FakeEmbedder())
    settings = SearchSettings(**again.info()["ann"]["settings"])
    assert settings != SearchSettings()
    assert again.measure_recall(QUERIES).worst == record.worst
    lower = index.measure_recall(QUERIES, target=before / 2)
    assert SearchSettings(**index.info()["ann"]["settings"]).nprobe < settings.nprobe or lower.worst < record.worst
    with pytest.raises(IndexStateError, match="read_only"):
        Index.open(index.path, FakeEmbedder(), read_only=True).measure_recall()


def test_the_least_settings_that_suffice_are_chosen() -> None:
    def attempt(settings: SearchSettings) -> tuple[LanguageRecall, ...]:
        good = settings.ef_search >= 300 and settings.rescored >= 4
        return tuple(LanguageRecall(name, 9, 90, share, 0, 1) for name, share in (("en", 1.0), ("sw", 0.5 + good / 2)))

    chosen = tuned(attempt, 0.9)
    assert chosen.rescored == 4
    assert 300 <= chosen.ef_search <= 300 * 2 ** (1 / 8) + 1
    assert tuned(lambda _: attempt(SearchSettings(1, 1, 1)), 0.9).ef_search == 16 * 2**6


@pytest.mark.parametrize("target", [0, 1.5, -1, "much", float("nan")])
def test_targets_are_shares(index: Index, target: object) -> None:
    with pytest.raises(InvalidArgumentError, match="a share above 0"):
        index.measure_recall(target=target)  # type: ignore[arg-type]


@pytest.mark.parametrize("queries", [[], "text", [""], [3]])
def test_queries_are_texts(index: Index, queries: object) -> None:
    with pytest.raises(InvalidArgumentError, match="queries must be a list of str"):
        index.measure_recall(queries)  # type: ignore[arg-type]


def test_the_interval_covers_the_truth() -> None:
    """Over 2,000 samples of queries whose neighbours are missed together, about 95 % of the intervals hold it."""
    random = np.random.default_rng(0)
    held = []
    for _ in range(2000):
        chances = random.beta(9, 1, size=100)  # mean 0.9
        seen = random.binomial(10, chances)
        low, high = interval(np.full(100, 10), seen)
        held.append(low <= 0.9 <= high)
    assert 0.92 < np.mean(held) < 0.98
    assert interval(np.full(100, 10), np.full(100, 10)) == pytest.approx((0.963, 1.0), abs=1e-3)


def test_first_sentences_end_where_their_script_says() -> None:
    for text, expected in (
        ("Water boils at 100.5 degrees. Then it steams.", "Water boils at 100.5 degrees."),
        ("一个人在家里读书学习新的东西。然后睡觉。", "一个人在家里读书学习新的东西。"),
        ("सभी मनुष्य स्वतंत्र हैं। दूसरा वाक्य।", "सभी मनुष्य स्वतंत्र हैं।"),
        ("no end at all", "no end at all"),
        ("x" * 900, "x" * 200),
        ("  \n ", ""),
    ):
        assert first_sentence(text) == expected


def test_passages_without_a_language_count_too(tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", FakeEmbedder(), ann="hnsw", identify_languages=False) as index:
        index.add(Document(f"d{number}", f"text {number}") for number in range(400))
        [only] = index.measure_recall().languages
        assert (only.language, only.queries) == (None, 100)
