"""Measures of rankings: equal to trec_eval's, query by query."""

from __future__ import annotations

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from lusirag.errors import InvalidArgumentError
from lusirag.evaluation import Measure, ranking

ALL = ("ndcg@10", "ndcg@3", "mrr@10", "mrr@2", "recall@1", "recall@10")


def trec(measure: Measure, ranked: list[list[int]], relevant: list[set[int]]) -> list[float]:
    """What trec_eval makes of the same rankings. Its reciprocal rank has no cut, so it is shown the cut ranking."""
    kept = [found[: measure.depth] if measure.name == "mrr" else found for found in ranked]
    name = {"ndcg": f"ndcg_cut_{measure.depth}", "mrr": "recip_rank", "recall": f"recall_{measure.depth}"}[measure.name]
    asked = {"ndcg": f"ndcg_cut.{measure.depth}", "mrr": "recip_rank", "recall": f"recall.{measure.depth}"}
    judged = {str(q): {str(number): 1 for number in right} for q, right in enumerate(relevant)}
    run = {
        str(q): {str(number): float(len(found) - rank) for rank, number in enumerate(found)}
        for q, found in enumerate(kept)
    }
    values = pytrec_eval.RelevanceEvaluator(judged, {asked[measure.name]}).evaluate(run)
    return [values.get(str(q), {}).get(name, 0.0) for q in range(len(ranked))]


@st.composite
def searches(draw: st.DrawFn) -> tuple[list[list[int]], list[set[int]]]:
    """Rankings of up to 30 passages of which some are relevant; rankings may be short."""
    ranked, relevant = [], []
    for _ in range(draw(st.integers(1, 5))):
        passages = draw(st.integers(1, 30))
        order = draw(st.permutations(range(passages)))
        ranked.append(order[: draw(st.integers(1, passages))])
        relevant.append(draw(st.sets(st.integers(0, passages - 1), min_size=1, max_size=15)))
    return ranked, relevant


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=60, deadline=None)
@given(found=searches())
def test_measures_equal_those_of_trec_eval(name: str, found: tuple[list[list[int]], list[set[int]]]) -> None:
    ranked, relevant = found
    measure = Measure.parse(name)
    np.testing.assert_allclose(measure.values(ranked, relevant), trec(measure, ranked, relevant), atol=1e-12)


def test_a_mean_is_the_mean_of_its_values_and_queries_without_an_answer_count_nothing() -> None:
    ranked, relevant = [[0, 1], [1, 0], [0, 1]], [{0}, {0}, set[int]()]
    assert Measure.parse("mrr@10").values(ranked, relevant).tolist() == [1.0, 0.5, 0.0]
    assert Measure.parse("mrr@10").mean(ranked, relevant) == 0.5
    assert Measure.parse("recall@1").mean(ranked, relevant) == pytest.approx(1 / 3)


@pytest.mark.parametrize("text", ["", "ndcg", "ndcg@", "ndcg@0", "ndcg@-1", "ndcg@x", "ndcg@²", "map@10"])
def test_what_is_no_measure_is_refused_with_the_measures_there_are(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="allowed: ndcg@K, mrr@K, recall@K"):
        Measure.parse(text)


def test_names_are_read_in_any_case_and_written_as_people_do() -> None:
    measure = Measure.parse(" NDCG@10 ")
    assert (measure, str(measure), measure.title) == (Measure("ndcg", 10), "ndcg@10", "nDCG@10")


def test_rankings_and_answers_must_be_as_many() -> None:
    with pytest.raises(InvalidArgumentError, match="1 rankings and 2 sets"):
        Measure.parse("mrr@10").values([[0]], [{0}, {1}])
    with pytest.raises(InvalidArgumentError, match="no query"):
        Measure.parse("mrr@10").mean([], [])


def test_ranking_is_by_cosine_and_of_equal_ones_the_first_stands_first() -> None:
    generator = np.random.default_rng(0)
    passages = generator.standard_normal((50, 8)).astype(np.float32)
    passages[20] = passages[10]
    queries = generator.standard_normal((1500, 8)).astype(np.float32)  # more than are scored at once
    found = ranking(queries, passages, depth=50)
    scores = queries @ passages.T
    for row in (0, 1023, 1024, 1499):
        assert found[row] == sorted(range(50), key=lambda number: (-scores[row, number], number))
        assert found[row].index(10) + 1 == found[row].index(20)
    assert [len(row) for row in ranking(queries[:2], passages, depth=100)] == [50, 50]
