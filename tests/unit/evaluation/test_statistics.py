"""Intervals and tests: against closed forms and what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wilcoxon

from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.statistics import Sample, difference, interval

ITEMS = [f"item {number}" for number in range(200)]


def sample(*rows: np.ndarray) -> Sample:
    """One language a row, over the same items."""
    return Sample.of([(ITEMS[: len(row)], row) for row in rows])


def test_the_interval_of_one_language_is_about_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(1).random(200)
    found = interval(sample(values))
    half = 1.96 * values.std() / np.sqrt(200)
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=half / 5)
    assert found.high == pytest.approx(values.mean() + half, abs=half / 5)


def test_the_same_texts_in_more_languages_make_nothing_surer() -> None:
    values = np.random.default_rng(1).random(200)
    one, ten = interval(sample(values)), interval(sample(*[values] * 10))
    assert ten == pytest.approx(one)


def test_other_texts_in_more_languages_do() -> None:
    generator = np.random.default_rng(2)
    rows = generator.random((10, 200))
    apart = Sample.of([([f"{language} {item}" for item in ITEMS], row) for language, row in enumerate(rows)])
    together = interval(sample(*[rows[0]] * 10))
    found = interval(apart)
    assert found.high - found.low < (together.high - together.low) / 2


def test_the_mean_is_that_of_languages_not_of_queries() -> None:
    found = Sample.of([(ITEMS[:100], np.ones(100)), (ITEMS[:1], np.zeros(1))])
    assert found.mean == 0.5


def test_several_queries_of_one_item_count_each_but_fall_together() -> None:
    values = np.array([1.0, 0.0, 0.0, 0.0])
    found = Sample.of([(["a", "b", "b", "b"], values)])
    assert found.mean == pytest.approx(0.25)
    assert interval(found).low == 0.0


def test_a_language_that_was_not_drawn_is_left_out_of_that_mean() -> None:
    found = interval(Sample.of([(ITEMS[:50], np.ones(50)), (ITEMS[:1], np.ones(1))]))
    assert found == (1.0, 1.0, 1.0)


def test_intervals_of_known_samples_hold_the_true_mean_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(3)
    held = 0
    for trial in range(100):
        found = interval(sample(*(generator.random(60) < 0.7).astype(float)[None]), seed=trial)
        held += found.low <= 0.7 <= found.high
    assert 88 <= held <= 100


def test_a_difference_is_found_where_there_is_one_and_not_where_there_is_none() -> None:
    generator = np.random.default_rng(4)
    base = generator.random((5, 200))
    noise = 0.2 * generator.standard_normal((5, 200))
    same = difference(sample(*(base + noise)), sample(*base))
    better = difference(sample(*(base + noise + 0.1)), sample(*base))
    assert same.p > 0.05
    assert same.low < 0 < same.high
    assert better.p < 0.001
    assert better.low > 0
    assert better.mean == pytest.approx(same.mean + 0.1)


def test_turning_systems_around_turns_the_sign_alone() -> None:
    generator = np.random.default_rng(5)
    one, other = sample(generator.random(200)), sample(generator.random(200))
    forward, backward = difference(one, other), difference(other, one)
    assert backward.mean == pytest.approx(-forward.mean)
    assert backward.p == pytest.approx(forward.p, abs=0.02)


def test_p_is_near_that_of_another_paired_test() -> None:
    generator = np.random.default_rng(6)
    one = generator.random(200)
    other = one + 0.02 + 0.15 * generator.standard_normal(200)
    assert difference(sample(other), sample(one)).p == pytest.approx(wilcoxon(other, one).pvalue, abs=0.05)


def test_equal_systems_differ_by_nothing() -> None:
    values = np.random.default_rng(7).random(200)
    assert difference(sample(values), sample(values)) == (0.0, 0.0, 0.0, 1.0)


def test_the_same_seed_gives_the_same_figures() -> None:
    values = np.random.default_rng(8).random(50)
    assert interval(sample(values), seed=0) == interval(sample(values), seed=0)
    assert interval(sample(values), seed=0) != interval(sample(values), seed=1)


def test_other_queries_cannot_be_compared() -> None:
    one = Sample.of([(ITEMS[:3], np.ones(3))])
    for other in (
        Sample.of([(ITEMS[:2], np.ones(2))]),
        Sample.of([([*ITEMS[:2], ITEMS[0]], np.ones(3))]),
        Sample.of([(ITEMS[:3], np.ones(3)), (ITEMS[:3], np.ones(3))]),
    ):
        with pytest.raises(InvalidArgumentError, match="not measured on the same queries"):
            difference(one, other)


def test_a_single_item_has_a_mean_but_no_interval_and_shows_nothing_of_a_difference() -> None:
    one = Sample.of([(["a", "a"], np.array([1.0, 0.0]))])
    found = interval(one)
    assert found.mean == 0.5
    assert np.isnan(found.low)
    assert np.isnan(found.high)
    assert difference(one, Sample.of([(["a", "a"], np.array([0.0, 0.0]))]))[::3] == (0.5, 1.0)


def test_differences_that_cancel_are_nothing() -> None:
    values = np.array([1.0, -1.0] * 25)
    assert difference(sample(values), sample(np.zeros(50))).p == 1.0


@pytest.mark.parametrize("languages", [[], [([], np.array([]))], [(["a"], np.ones(1)), ([], np.array([]))]])
def test_no_query_is_no_sample(languages: list[tuple[list[str], np.ndarray]]) -> None:
    with pytest.raises(InvalidArgumentError, match="no query"):
        Sample.of(languages)
