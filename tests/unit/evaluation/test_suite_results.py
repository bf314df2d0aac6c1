"""Suites: what ranks, what is kept, what the figures are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from lusirag import Document, Index
from lusirag.evaluation import Measure
from lusirag.evaluation.statistics import Sample, difference, interval
from lusirag.evaluation.suite.cache import RankingCache
from lusirag.evaluation.suite.rankers import DenseRanker, LexicalRanker
from lusirag.evaluation.suite.results import Figure, SuiteResults, run_tasks
from lusirag.evaluation.suite.tables import plotted, suite_tables
from lusirag.evaluation.suite.task import SearchTask
from tests.hashing_encoder import HashingEncoder

NDCG, RECALL = Measure("ndcg", 10), Measure("recall", 1)
ENGLISH = ("cats purr at night", "dogs bark all day", "birds sing in the morning", "fish swim in the sea")
TASKS = [
    SearchTask("pets", "x2en", "fr", False, ENGLISH, ENGLISH, tuple(frozenset([n]) for n in range(4)), tuple("abcd")),
    SearchTask(
        "pets", "x2en", "sw", False, ("purr cats", "sing fish"), ENGLISH, (frozenset([0]), frozenset([2])), ("a", "c")
    ),
    SearchTask("pets", "mixed", "all", False, ENGLISH[:2], ENGLISH, (frozenset([0]), frozenset([1])), ("a", "b")),
]


@pytest.fixture
def tokenizer(mini_tokenizer: Tokenizer) -> Tokenizer:
    return mini_tokenizer


@pytest.fixture(scope="module")
def mini_tokenizer() -> Tokenizer:
    from lusirag.embedding.catalog import EMBEDDED_MODELS

    return Tokenizer.from_file(str(EMBEDDED_MODELS["lusifer-mini"] / "tokenizer.json"))


def texts_of(encoder: HashingEncoder) -> list[tuple[str, str]]:
    return [(call.role, text) for call in encoder.calls for text in call.texts]


def test_each_text_is_embedded_once_in_each_role() -> None:
    encoder = HashingEncoder()
    run_tasks(DenseRanker(encoder), TASKS, [NDCG])
    seen = texts_of(encoder)
    assert len(seen) == len(set(seen)) == 4 + 2 + 4


def test_the_nearest_documents_come_first() -> None:
    [found] = DenseRanker(HashingEncoder()).rank(TASKS[1], depth=1)[:1]
    assert found == [0]


def test_bm25_ranks_as_an_index_does(tokenizer: Tokenizer, tmp_path: Path) -> None:
    encoder = HashingEncoder()
    encoder.tokenizer = tokenizer  # type: ignore[attr-defined]
    with Index.create(tmp_path / "index", encoder, chunk_tokens=0, identify_languages=False) as index:
        index.add(Document(str(number), text) for number, text in enumerate(TASKS[1].documents))
        expected = [[int(hit.id) for hit in index.search(query, 10, "lexical")] for query in TASKS[1].queries]
    assert LexicalRanker(tokenizer).rank(TASKS[1], depth=10) == expected
    assert expected[1] == [2, 3] or expected[1] == [3, 2]  # the others share no word with it


class TestCache:
    def test_what_was_ranked_is_not_ranked_again(self, tmp_path: Path) -> None:
        cache = RankingCache(tmp_path / "kept")
        first = HashingEncoder()
        one = run_tasks(DenseRanker(first), TASKS, [NDCG], cache=cache)
        again = HashingEncoder()
        two = run_tasks(DenseRanker(again), TASKS, [NDCG, RECALL], cache=cache)
        assert first.calls
        assert not again.calls
        assert all(np.array_equal(a.values[NDCG], b.values[NDCG]) for a, b in zip(one, two, strict=True))

    def test_an_interrupted_run_goes_on_after_its_last_task(self, tmp_path: Path) -> None:
        cache = RankingCache(tmp_path)

        def stop(_: str, task: SearchTask) -> None:
            if task is TASKS[1]:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_tasks(DenseRanker(HashingEncoder()), TASKS, [NDCG], cache=cache, on_task=stop)
        encoder = HashingEncoder()
        run_tasks(DenseRanker(encoder), TASKS[:1], [NDCG], cache=cache)
        assert not encoder.calls

    @pytest.mark.parametrize(
        "change", [{"fingerprint": "hashing-2"}, {"numbers": "torch-float32"}], ids=["weights", "runtime"]
    )
    def test_another_model_or_runtime_ranks_anew(self, tmp_path: Path, change: dict[str, str]) -> None:
        cache = RankingCache(tmp_path)
        run_tasks(DenseRanker(HashingEncoder()), TASKS, [NDCG], cache=cache)
        other = HashingEncoder(**change)  # type: ignore[arg-type]
        run_tasks(DenseRanker(other), TASKS, [NDCG], cache=cache)
        assert other.calls

    def test_other_texts_rank_anew(self, tmp_path: Path) -> None:
        cache = RankingCache(tmp_path)
        run_tasks(DenseRanker(HashingEncoder()), TASKS[:1], [NDCG], cache=cache)
        encoder = HashingEncoder()
        run_tasks(DenseRanker(encoder), TASKS[1:2], [NDCG], cache=cache)
        assert encoder.calls

    def test_a_deeper_measure_ranks_anew_and_a_shallower_one_reads_less(self, tmp_path: Path) -> None:
        cache, ranker = RankingCache(tmp_path), DenseRanker(HashingEncoder())
        assert [len(row) for row in cache.rank(ranker, TASKS[0], depth=2)] == [2] * 4
        assert [len(row) for row in cache.rank(ranker, TASKS[0], depth=4)] == [4] * 4
        assert [len(row) for row in cache.rank(ranker, TASKS[0], depth=1)] == [1] * 4

    def test_overwrite_ranks_anew(self, tmp_path: Path) -> None:
        run_tasks(DenseRanker(HashingEncoder()), TASKS, [NDCG], cache=RankingCache(tmp_path))
        encoder = HashingEncoder()
        run_tasks(DenseRanker(encoder), TASKS, [NDCG], cache=RankingCache(tmp_path, overwrite=True))
        assert encoder.calls

    @pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"junk" * 100])
    def test_a_damaged_file_is_written_anew(self, tmp_path: Path, damage: bytes) -> None:
        cache, ranker = RankingCache(tmp_path), DenseRanker(HashingEncoder())
        right = cache.rank(ranker, TASKS[0], depth=4)
        [file] = tmp_path.iterdir()
        file.write_bytes(damage)
        assert cache.rank(ranker, TASKS[0], depth=4) == right
        assert cache.rank(ranker, TASKS[0], depth=4) == right
        assert [found.name for found in tmp_path.iterdir()] == [file.name]

    def test_short_rankings_stay_short(self, tmp_path: Path, tokenizer: Tokenizer) -> None:
        cache, ranker = RankingCache(tmp_path), LexicalRanker(tokenizer)
        plain = ranker.rank(TASKS[1], depth=10)
        assert cache.rank(ranker, TASKS[1], depth=10) == plain == cache.rank(ranker, TASKS[1], depth=10)
        assert {len(row) for row in plain} != {10}


@pytest.fixture
def results(tokenizer: Tokenizer) -> SuiteResults:
    rankers = (DenseRanker(HashingEncoder(), "good"), LexicalRanker(tokenizer))
    outcomes = {ranker.name: run_tasks(ranker, TASKS, [NDCG, RECALL]) for ranker in rankers}
    return SuiteResults("pets suite", (NDCG, RECALL), outcomes, "BM25")


def test_a_group_is_summed_over_its_languages_and_then_shown_by_language(results: SuiteResults) -> None:
    figures = list(results.figures())
    assert [(f.model, f.direction, f.language, f.summary, f.queries) for f in figures] == [
        ("good", "x2en", "mean", True, 6),
        ("BM25", "x2en", "mean", True, 6),
        ("good", "x2en", "fr", False, 4),
        ("BM25", "x2en", "fr", False, 4),
        ("good", "x2en", "sw", False, 2),
        ("BM25", "x2en", "sw", False, 2),
        ("good", "mixed", "all", True, 2),
        ("BM25", "mixed", "all", True, 2),
    ]
    french, swahili = results.outcomes["good"][0], results.outcomes["good"][1]
    sample = Sample.of([(each.task.items, each.values[NDCG]) for each in (french, swahili)])
    assert figures[0].measures[NDCG] == interval(sample)
    assert figures[0].measures[NDCG].mean == pytest.approx(
        (french.values[NDCG].mean() + swahili.values[NDCG].mean()) / 2
    )


def test_differences_are_those_from_the_baseline(results: SuiteResults) -> None:
    figures = list(results.figures(by_language=False))
    [first, baseline, *_] = figures
    assert baseline.against is None
    samples = [
        Sample.of([(each.task.items, each.values[NDCG]) for each in results.outcomes[name][:2]])
        for name in ("good", "BM25")
    ]
    assert first.against == difference(*samples)


def test_tables_hold_every_measure_the_differences_and_the_languages(results: SuiteResults) -> None:
    figures = list(results.figures())
    tables = suite_tables(results, figures, by_language=True)
    assert [table.title for table in tables] == [
        "nDCG@10 on pets suite, mean over languages",
        "recall@1 on pets suite, mean over languages",
        "nDCG@10 on pets suite, difference from BM25",
        "nDCG@10 on pets, x2en, by language",
    ]
    summary = tables[0]
    assert summary.columns == ("searches", "languages", "queries", "good", "BM25")
    assert [row[:3] for row in summary.rows] == [("pets, x2en", 2, 6), ("pets, mixed", "mixed", 2)]
    mean = next(f for f in figures if f.model == "good" and f.group == "pets, x2en" and f.summary).measures[NDCG]
    assert summary.rows[0][3] == f"{mean.mean:.3f} [{mean.low:.3f}, {mean.high:.3f}]"
    assert [row[0] for row in tables[3].rows] == ["fr", "sw"]


def test_what_is_plotted_are_the_means(results: SuiteResults) -> None:
    figures: list[Figure] = list(results.figures(by_language=False))
    table = plotted(results, figures)
    assert table.columns == ("model", "pets, x2en", "pets, mixed")
    values: dict[str, Any] = {str(row[0]): row[1:] for row in table.rows}
    assert values["good"] == tuple(f.measures[NDCG].mean for f in figures if f.model == "good")
