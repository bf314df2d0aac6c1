"""Planted clusters are found; sizes are bounded; few rows make few clusters."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from lusirag.errors import InvalidArgumentError
from lusirag.types import Vectors
from lusirag_training.preparation.clustering import ClusteringSettings, assign, cluster, find_centres
from tests.unit.training.planted import PlantedEmbedder, pairs_of


def clouds(count: int, rows: int, *, dimension: int = 16, seed: int = 0) -> tuple[Vectors, np.ndarray]:
    """Rows around `count` directions that are at right angles, mixed, and the cloud of each."""
    rng = np.random.default_rng(seed)
    home = rng.permutation(np.repeat(np.arange(count), rows))
    vectors = np.eye(dimension, dtype=np.float32)[home] + 0.05 * rng.standard_normal((len(home), dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), home


def same_grouping(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two numberings put the same rows together."""
    pairs = set(zip(left.tolist(), right.tolist(), strict=True))
    return len(pairs) == len(set(left.tolist())) == len(set(right.tolist()))


@pytest.mark.parametrize("by", ["query", "document"])
def test_planted_clusters_are_found(tmp_path: Path, by: str) -> None:
    vectors, home = clouds(4, 60)
    own = [f"own {row}" for row in range(240)]
    rows = [(f"q{row}", [own[row], "second"]) for row in range(240)]
    names = [query for query, _ in rows] if by == "query" else own
    embedder = PlantedEmbedder(dict(zip(names, vectors.tolist(), strict=True)))
    out = tmp_path / "out.parquet"
    report = cluster(pairs_of(rows), embedder, out, settings=ClusteringSettings(clusters=4, by=by))  # type: ignore[arg-type]
    table = pq.read_table(out)
    assert same_grouping(table.column("cluster").to_numpy(), home)
    assert table.column("query").to_pylist() == [query for query, _ in rows]
    assert report["sizes"] == {"smallest": 60, "median": 60.0, "largest": 60, "empty": 0}
    assert report["mean_similarity_to_centre"] > 0.9
    assert json.loads((tmp_path / "out.report.json").read_text())["clusters"] == 4


def test_each_row_goes_to_its_nearest_centre() -> None:
    vectors, _ = clouds(5, 50, seed=1)
    centres = find_centres(vectors, 7)
    assert np.allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-5)
    numbers, scores = assign(vectors, centres)
    products = vectors @ centres.T
    assert (numbers == products.argmax(axis=1)).all()
    assert np.allclose(scores, products.max(axis=1), atol=1e-5)


def test_the_seed_decides_seed_0_too() -> None:
    vectors = np.random.default_rng(0).standard_normal((500, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    first, again, other = (find_centres(vectors, 6, seed=seed) for seed in (0, 0, 5))
    assert (first == again).all()
    assert not np.allclose(first, other)


@pytest.mark.parametrize("most", [50, 55, 80])
def test_no_cluster_is_larger_than_its_bound(most: int) -> None:
    vectors, _ = clouds(2, 200)
    uneven = np.concatenate([vectors, np.tile(vectors[:1], (100, 1))])  # 500 rows, 100 of them equal
    centres = find_centres(uneven, 10)
    numbers, scores = assign(uneven, centres, most=most)
    sizes = np.bincount(numbers, minlength=10)
    assert sizes.sum() == 500
    assert sizes.max() <= most
    assert np.allclose(scores, (uneven * centres[numbers]).sum(axis=1), atol=1e-5)


def test_a_bound_that_binds_nothing_changes_nothing() -> None:
    vectors, _ = clouds(5, 50)
    centres = find_centres(vectors, 5)
    assert (assign(vectors, centres)[0] == assign(vectors, centres, most=250)[0]).all()


def test_rows_in_excess_are_those_farthest_from_the_centre() -> None:
    centres = np.eye(2, dtype=np.float32)
    angles = np.deg2rad([5, 10, 30, 20])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert assign(vectors, centres, most=3)[0].tolist() == [0, 0, 1, 0]


def test_few_rows_make_few_clusters_and_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    vectors, _ = clouds(4, 25)
    rows = [(f"q{row}", ["p"]) for row in range(100)]
    embedder = PlantedEmbedder({query: vector for (query, _), vector in zip(rows, vectors.tolist(), strict=True)})
    with caplog.at_level(logging.WARNING):
        report = cluster(pairs_of(rows), embedder, tmp_path / "out.parquet")
    assert report["clusters"] == 2
    assert "100 rows make 2 clusters of 39 rows and more, not 1024" in caplog.text
    report = cluster(pairs_of(rows[:5]), embedder, tmp_path / "few.parquet")
    assert report["clusters"] == 1


def test_settings_are_checked_all_at_once() -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        ClusteringSettings(clusters=0, by="title", iterations=0, balance=0.5, seed=-1)  # type: ignore[arg-type]
    for part in ("clusters is 0", "by is 'title'", "iterations is 0", "balance is 0.5", "seed is -1"):
        assert part in str(raised.value)
