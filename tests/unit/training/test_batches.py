"""The plan of a run: what the published sampler promises and keeps, and what it promises and does not."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lusirag.errors import InvalidArgumentError
from lusirag_training.data.batches import Phase, PlannedBatch, RowSet, RunPlan, plan_run
from tests.parity.reference import FOLDER, needs_reference

ALL = (Phase((0,)),)


def clustered(*sizes: int) -> RowSet:
    """Clusters of these sizes, their rows in turn rather than one after the other."""
    numbers = np.repeat(np.arange(len(sizes)), sizes)
    return RowSet(len(numbers), np.random.default_rng(1).permutation(numbers))


def seen(plan: Sequence[PlannedBatch]) -> list[tuple[int, int, list[int]]]:
    return [(batch.phase, batch.data_set, batch.rows.tolist()) for batch in plan]


def clusters_of(batch: PlannedBatch, sets: Sequence[RowSet]) -> set[int]:
    clusters = sets[batch.data_set].clusters
    return set() if clusters is None else set(clusters[batch.rows].tolist())


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    sets = []
    for _ in range(draw(st.integers(1, 3))):
        sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
        rows = clustered(*sizes)
        weight = draw(st.sampled_from([0.5, 1.0, 1.7, 2.0]))
        sets.append(RowSet(rows.rows, rows.clusters if draw(st.booleans()) else None, weight))
    processes = draw(st.integers(1, 2))
    return {
        "sets": sets,
        "batch_size": processes * draw(st.integers(1, 3)),
        "seed": draw(st.integers(0, 3)),
        "leftovers": draw(st.sampled_from(["drop", "join"])),
        "processes": processes,
    }


@settings(max_examples=80, deadline=None)
@given(run=runs(), epochs=st.integers(1, 2))
def test_what_always_holds(run: dict[str, Any], epochs: int) -> None:
    sets: list[RowSet] = run.pop("sets")
    phases = [Phase(tuple(range(len(sets))), epochs)]
    try:
        plan = plan_run(sets, phases, **run)
    except InvalidArgumentError:
        smallest = min(min(rows.rows, round(rows.weight * rows.rows)) for rows in sets)
        # Only where clusters or a set are smaller than a batch can this be.
        assert run["leftovers"] == "drop" or smallest < run["processes"]
        return
    assert seen(plan) == seen(plan_run(sets, phases, **run))
    used = [Counter[int]() for _ in sets]
    for batch in plan:
        rows = batch.rows.tolist()
        assert len(set(rows)) == len(rows), "a row meets itself"
        assert len(rows) % run["processes"] == 0
        assert 0 < len(rows) <= run["batch_size"]
        assert max(rows) < sets[batch.data_set].rows
        used[batch.data_set].update(rows)
        if run["leftovers"] == "drop":
            assert len(rows) == run["batch_size"]
            assert len(clusters_of(batch, sets)) <= 1
    for rows, counts in zip(sets, used, strict=True):
        assert counts.total() <= epochs * round(rows.weight * rows.rows)
        assert max(counts.values()) <= epochs * -(-round(rows.weight * rows.rows) // rows.rows)
        if run["leftovers"] == "join":
            rounds = -(-round(rows.weight * rows.rows) // rows.rows)
            assert epochs * round(rows.weight * rows.rows) - counts.total() < epochs * rounds * run["batch_size"]


def test_a_batch_is_of_one_cluster_and_epochs_bring_others() -> None:
    sets = [clustered(9, 14, 5)]
    plan = plan_run(sets, [Phase((0,), 3)], batch_size=4, seed=0, leftovers="drop")
    assert len(plan) == 3 * (2 + 3 + 1)
    assert all(len(clusters_of(batch, sets)) == 1 for batch in plan)
    epochs = [seen(plan[at : at + 6]) for at in (0, 6, 12)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    # Not the order of the batches alone: who is with whom, and who is left out.
    assert {frozenset(rows) for *_, rows in epochs[0]} != {frozenset(rows) for *_, rows in epochs[1]}


def test_leftovers_join_within_their_data_set_and_only_when_asked() -> None:
    sets = [clustered(5, 6, 3), clustered(7, 2)]
    both = [Phase((0, 1))]
    joined = plan_run(sets, both, batch_size=4, seed=0, leftovers="join")
    spans = Counter((batch.data_set, len(clusters_of(batch, sets)) > 1) for batch in joined)
    # 5 + 6 + 3: two batches of one cluster, 6 rows are left and give one; 7 + 2: one batch, 5 are left and give one.
    assert spans == {(0, False): 2, (0, True): 1, (1, False): 1, (1, True): 1}
    dropped = plan_run(sets, both, batch_size=4, seed=0, leftovers="drop")
    assert Counter(batch.data_set for batch in dropped) == {0: 2, 1: 1}


def test_batches_of_the_sets_alternate() -> None:
    plan = plan_run([RowSet(200), RowSet(200)], [Phase((0, 1))], batch_size=4, seed=0)
    order = [batch.data_set for batch in plan]
    assert sum(left != right for left, right in pairwise(order)) > 25
    another = plan_run([RowSet(200), RowSet(200)], [Phase((0, 1))], batch_size=4, seed=1)
    assert order != [batch.data_set for batch in another]


def test_seeds_differ_and_zero_is_one() -> None:
    plans = [seen(plan_run([RowSet(40)], ALL, batch_size=4, seed=seed)) for seed in (0, 1, 0)]
    assert plans[0] == plans[2] != plans[1]
    assert [row for *_, rows in plans[0] for row in rows] != list(range(40))


def test_weights() -> None:
    sets = [RowSet(100, weight=0.3), RowSet(100, weight=2.5), RowSet(10, weight=3)]
    plan = plan_run(sets, [Phase((0, 1, 2), 2)], batch_size=5, seed=0)
    counts = [Counter[int]() for _ in sets]
    first: Counter[int] = Counter()
    for number, batch in enumerate(plan):
        counts[batch.data_set].update(batch.rows.tolist())
        if number < len(plan) // 2 and batch.data_set == 0:
            first.update(batch.rows.tolist())
    assert [count.total() for count in counts] == [60, 500, 60]
    assert set(first.values()) == {1}
    assert len(counts[0]) > 30, "another part of the set each epoch"
    assert set(counts[1].values()) <= {4, 5, 6}
    assert set(counts[2].values()) == {6}


def test_phases_follow_each_other() -> None:
    plan = plan_run([RowSet(8), RowSet(8)], [Phase((0,), 2), Phase((0, 1), 1)], batch_size=4, seed=0)
    assert [batch.phase for batch in plan] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert {batch.data_set for batch in plan[:4]} == {0}
    assert {batch.data_set for batch in plan[4:]} == {0, 1}


def test_a_set_smaller_than_a_batch_gives_a_short_one_for_all_processes() -> None:
    """The published sampler leaves it out without a word."""
    plan = plan_run([RowSet(7), RowSet(16)], [Phase((0, 1), 2)], batch_size=8, seed=0, processes=2)
    assert Counter((batch.data_set, len(batch.rows)) for batch in plan) == {(0, 6): 2, (1, 8): 4}


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (RowSet(7), {"leftovers": "drop"}, "too few rows for one batch: 7 rows of weight 1.0 do not fill 8 for"),
        (clustered(7, 7), {"leftovers": "drop"}, "14 rows .* do not fill 8 in its clusters"),
        (RowSet(3), {"processes": 4}, "for 4 processes"),
        (RowSet(10, weight=0.01), {}, "raise its weight"),
    ],
)
def test_a_set_that_gives_nothing_is_an_error(rows: RowSet, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        plan_run([rows], ALL, **({"batch_size": 8, "seed": 0} | options))


@pytest.mark.parametrize(
    ("sets", "phases", "options", "words"),
    [
        ([RowSet(4)], ALL, {"batch_size": 0}, "batch_size is 0"),
        ([RowSet(4)], ALL, {"seed": -1}, "seed is -1"),
        ([RowSet(4)], ALL, {"leftovers": "keep"}, "leftovers is 'keep'; allowed: drop, join"),
        ([RowSet(4)], ALL, {"processes": 3}, "3 processes cannot share 4 rows"),
        ([RowSet(4)], [Phase((1,))], {}, "beyond the 1 that there are"),
        ([RowSet(4)], [], {}, "there is no phase"),
        ([RowSet(4)], [Phase((0,), 0)], {}, "without data sets or epochs"),
        ([RowSet(0)], ALL, {}, "has no rows"),
        ([RowSet(4, weight=0)], ALL, {}, "a weight that is not above 0"),
        ([RowSet(4, np.zeros(3, np.int64))], ALL, {}, "one a row is needed"),
        ([RowSet(4)], ALL, {"batch_size": 0, "seed": -1}, "batch_size is 0.*seed is -1"),
    ],
)
def test_what_is_not_allowed(sets: list[RowSet], phases: list[Phase], options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        plan_run(sets, phases, **({"batch_size": 4, "seed": 0} | options))


def test_a_step_is_had_without_those_before() -> None:
    plan = plan_run([RowSet(40), clustered(9, 9)], [Phase((0, 1), 2)], batch_size=4, seed=0)
    assert [plan[step].rows.tolist() for step in (11, 3, 0)] == [seen(plan)[step][2] for step in (11, 3, 0)]
    for step in (-1, len(plan)):
        with pytest.raises(IndexError, match=f"step {step} of a run of {len(plan)} steps"):
            plan[step]


def test_a_million_rows_stay_numbers() -> None:
    """Eight bytes a row and epoch when it is made, and no row becomes a Python object on the way."""
    sets = [RowSet(1_000_000, np.arange(1_000_000) % 1024)]
    tracemalloc.start()
    plan = plan_run(sets, ALL, batch_size=256, seed=0)
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(plan) == 3906
    assert kept < 9e6
    assert most < 60e6


@needs_reference
def test_the_published_sampler_s_data_sets() -> None:
    """On its own inputs: all that holds there holds here, and what does not hold there does."""
    runs = json.loads((FOLDER / "samplers" / "samplers.json").read_text("utf-8"))["runs"]
    compared = mixed_there = spanning_there = 0
    for run in runs:
        if run["cls"] != "ClusteringDataSampler" or not run["shuffle"]:
            continue
        sets = []
        for size, info in zip(run["each_data_sizes"], run["cluster_info"], strict=True):
            clusters = np.empty(size, np.int64)
            for number, rows in enumerate(info.values()):
                clusters[rows] = number
            sets.append(RowSet(size, clusters))
        mixed_there += sum(len(batch["datasets"]) > 1 for batch in run["global_batches"])
        spanning_there += sum(len(batch["clusters"]) > 1 for batch in run["global_batches"])
        leftovers = "drop" if run["drop_last"] else "join"
        options = {"batch_size": run["global_batch_size"], "seed": run["seed"], "processes": run["num_replicas"]}
        phase = Phase(tuple(range(len(sets))))
        if leftovers == "drop":  # a set of which no cluster fills a batch must be left out here, in words
            largest = [max(np.bincount(rows.clusters)) for rows in sets if rows.clusters is not None]
            phase = Phase(tuple(at for at, size in enumerate(largest) if size >= run["global_batch_size"]))
        if not phase.sets:  # every one of its batches spans clusters
            assert all(len(batch["clusters"]) > 1 for batch in run["global_batches"])
            continue
        plan = plan_run(sets, [phase], leftovers=leftovers, **options)
        assert_as_promised(plan, sets, **options, leftovers=leftovers)
        assert seen(plan) != seen(plan_run(sets, [phase], leftovers=leftovers, **(options | {"seed": 778})))
        two = plan_run(sets, [Phase(phase.sets, 2)], leftovers=leftovers, **options)
        assert seen(two[: len(plan)]) == seen(plan)
        assert seen(two[len(plan) :]) != seen(plan)
        assert run["order_changes_after_set_epoch"] is False
        compared += 1
    assert compared == 14
    assert mixed_there
    assert spanning_there


def assert_as_promised(
    plan: RunPlan, sets: Sequence[RowSet], *, batch_size: int, seed: int, processes: int, leftovers: str
) -> None:
    indices = [(batch.data_set, row) for batch in plan for row in batch.rows.tolist()]
    assert len(set(indices)) == len(indices)
    sizes = Counter(index[0] for index in indices)
    for batch in plan:
        assert len(batch.rows) % processes == 0
        assert len(batch.rows) == batch_size or len(batch.rows) == sizes[batch.data_set]
        if leftovers == "drop":
            assert len(clusters_of(batch, sets)) == 1
    if leftovers == "join":
        assert all(rows.rows - sizes[number] < batch_size for number, rows in enumerate(sets))
