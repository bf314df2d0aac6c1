from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lusirag.retrieval import maximal_marginal_relevance
from lusirag.types import Vectors


def unit(rows: np.ndarray) -> Vectors:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def by_the_definition(relevance: list[float], vectors: Vectors, k: int, diversity: float) -> list[int]:
    """Carbonell and Goldstein, term by term, over lists."""
    cosines = [[float(np.dot(a.astype(float), b.astype(float))) for b in vectors] for a in vectors]
    lowest = min(min(row) for row in cosines)
    low, high = min(relevance), max(relevance)
    chosen: list[int] = []
    while len(chosen) < min(k, len(relevance)):
        gains = {}
        for at in range(len(relevance)):
            if at not in chosen:
                scaled = (relevance[at] - low) / (high - low) if high > low else 0.0
                nearest = max(((cosines[at][other] - lowest) / (1 - lowest) for other in chosen), default=0.0)
                gains[at] = (1 - diversity) * scaled - diversity * nearest
        chosen.append(max(gains, key=lambda at: gains[at]))
    return chosen


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(1, 25), st.integers(1, 30), st.floats(0, 1), st.integers(0, 10_000), st.floats(0.01, 1000))
def test_equals_the_definition(count: int, k: int, diversity: float, seed: int, scale: float) -> None:
    draw = np.random.default_rng(seed)
    vectors = unit(draw.standard_normal((count, 6)) + draw.choice([0, 3]))
    relevance = (draw.standard_normal(count) * scale).tolist()
    found = maximal_marginal_relevance(relevance, vectors, k=k, diversity=diversity)
    assert found == by_the_definition(relevance, vectors, k, diversity)
    # The scale of the scores plays no part.
    moved = [5 * score - 3 for score in relevance]
    assert maximal_marginal_relevance(moved, vectors, k=k, diversity=diversity) == found


def test_off_orders_by_relevance_and_equal_ones_keep_their_order() -> None:
    vectors = unit(np.random.default_rng(1).standard_normal((6, 4)))
    assert maximal_marginal_relevance([1, 3, 2, 3, 1, 0], vectors, k=6, diversity=0) == [1, 3, 2, 0, 4, 5]
    assert maximal_marginal_relevance([2.0] * 6, vectors, k=3, diversity=0) == [0, 1, 2]


def test_full_diversity_takes_one_of_each_cluster() -> None:
    draw = np.random.default_rng(2)
    centres = unit(np.eye(8)[:5])
    vectors = unit(np.repeat(centres, 10, axis=0) + 0.05 * draw.standard_normal((50, 8)))
    relevance = np.linspace(1, 0, 50).tolist()  # the first cluster holds the ten most relevant
    found = maximal_marginal_relevance(relevance, vectors, k=5, diversity=0.95)
    assert found[0] == 0
    assert sorted(at // 10 for at in found) == [0, 1, 2, 3, 4]


def test_a_copy_comes_last_even_among_texts_of_one_narrow_cone() -> None:
    draw = np.random.default_rng(3)
    vectors = unit(np.ones((4, 32)) + 0.1 * draw.standard_normal((4, 32)))  # cosines of about 0.99, as e5 has them
    vectors[1] = vectors[0]
    assert maximal_marginal_relevance([1.0, 0.9, 0.6, 0.5], vectors, k=4, diversity=0.5)[-1] == 1


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_or_equal_candidates(count: int) -> None:
    vectors = np.repeat(unit(np.ones((1, 4))), count, axis=0)
    assert maximal_marginal_relevance([0.5] * count, vectors, k=5, diversity=0.7) == list(range(count))
