"""Which rows make which batch: a plan of the whole run, from sizes, clusters and a seed alone.

A batch is of one data set and, where the set has clusters of similar examples, of one cluster: then the in-batch
negatives are hard ones (LUSIFER paper, section 3.3). The order is drawn anew each epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from lusirag.errors import InvalidArgumentError

Numbers = npt.NDArray[np.int64]
LEFTOVERS = ("drop", "join")


@dataclass(frozen=True, slots=True)
class RowSet:
    """A data set as the plan sees it.

    Args:
        rows: how many. clusters: (rows,) the cluster of each, -1 for none; None where there are no clusters.
        weight: an epoch takes round(weight * rows) rows: a random choice below 1, repetitions above.
    """

    rows: int
    clusters: Numbers | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Phase:
    """Data sets, by number, that are gone through `epochs` times."""

    sets: tuple[int, ...]
    epochs: int = 1


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """One step's batch: numbers of the phase, of the data set, and of its rows."""

    phase: int
    data_set: int
    rows: Numbers


class RunPlan(Sequence[PlannedBatch]):
    """The batches of a run, in order; eight bytes a row."""

    def __init__(self, batches: Sequence[PlannedBatch]) -> None:
        self._phases = np.array([batch.phase for batch in batches], dtype=np.int16)
        self._sets = np.array([batch.data_set for batch in batches], dtype=np.int16)
        self._ends = np.cumsum([len(batch.rows) for batch in batches], dtype=np.int64)
        self._rows = np.concatenate([batch.rows for batch in batches]) if batches else np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, step: int) -> PlannedBatch: ...
    @overload
    def __getitem__(self, step: slice) -> Sequence[PlannedBatch]: ...
    def __getitem__(self, step: int | slice) -> PlannedBatch | Sequence[PlannedBatch]:
        """The batch of a step, or of several."""
        if isinstance(step, slice):
            return [self[each] for each in range(*step.indices(len(self)))]
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} of a run of {len(self)} steps")
        start = int(self._ends[step - 1]) if step else 0
        return PlannedBatch(int(self._phases[step]), int(self._sets[step]), self._rows[start : self._ends[step]])


def plan_run(
    sets: Sequence[RowSet],
    phases: Sequence[Phase],
    *,
    batch_size: int,
    seed: int,
    leftovers: str = "join",
    processes: int = 1,
) -> RunPlan:
    """Plan all steps of a run.

    Args:
        sets: the data sets. phases: one after the other.
        batch_size: rows a batch, of all processes together.
        seed: of all choices and orders.
        leftovers: rows of a cluster that do not fill a batch: "drop" them, or "join" those of one data set to batches
            that span clusters. What then is left is dropped, but for a set that would have no batch at all: "join"
            makes a short one of it.
        processes: a short batch is cut to a multiple of this.

    Raises:
        InvalidArgumentError: a number is not allowed, or a phase names a set that does not exist.
    """
    _check(sets, phases, batch_size, leftovers, processes)
    batches: list[PlannedBatch] = []
    for number, phase in enumerate(phases):
        for epoch in range(phase.epochs):
            made = [
                PlannedBatch(number, each, rows)
                for each in phase.sets
                for rows in _batches_of(
                    sets[each],
                    np.random.default_rng([seed, number, epoch, each]),
                    batch_size=batch_size,
                    leftovers=leftovers,
                    processes=processes,
                )
            ]
            order = np.random.default_rng([seed, number, epoch]).permutation(len(made))
            batches += [made[at] for at in order]
    return RunPlan(batches)


def _batches_of(
    rows: RowSet, generator: np.random.Generator, *, batch_size: int, leftovers: str, processes: int
) -> Iterator[Numbers]:
    """Full batches of one epoch of a data set."""
    chosen = _choose(rows, generator)
    clusters = np.zeros(len(chosen), np.int64) if rows.clusters is None else rows.clusters[chosen]
    order = np.argsort(clusters, kind="stable")
    groups = np.split(chosen[order], np.flatnonzero(np.diff(clusters[order])) + 1)
    rest: list[Numbers] = []
    made = 0
    for group in groups:
        full = len(group) // batch_size * batch_size
        made += full
        yield from group[:full].reshape(-1, batch_size)
        rest.append(group[full:])
    if leftovers == "drop":
        return
    left = np.concatenate([rest[at] for at in generator.permutation(len(rest))])
    full = len(left) // batch_size * batch_size
    yield from left[:full].reshape(-1, batch_size)
    if not made + full and (short := len(left) // processes * processes):
        yield left[:short]


def _choose(rows: RowSet, generator: np.random.Generator) -> Numbers:
    """The rows of an epoch, in random order; none twice before each was there."""
    wanted = round(rows.weight * rows.rows)
    rounds = -(-wanted // rows.rows) if rows.rows else 0
    if not rounds:
        return np.zeros(0, np.int64)
    return np.concatenate([generator.permutation(rows.rows) for _ in range(rounds)])[:wanted].astype(np.int64)


def _check(sets: Sequence[RowSet], phases: Sequence[Phase], batch_size: int, leftovers: str, processes: int) -> None:
    rules = [
        (batch_size >= 1, f"batch_size is {batch_size}; 1 or more is needed"),
        (leftovers in LEFTOVERS, f"leftovers is {leftovers!r}; allowed: {', '.join(LEFTOVERS)}"),
        (
            processes >= 1 and batch_size % max(processes, 1) == 0,
            f"{processes} processes cannot share {batch_size} rows",
        ),
        (
            all(0 <= each < len(sets) for phase in phases for each in phase.sets),
            f"a phase names a data set beyond the {len(sets)} that there are",
        ),
        (
            all(rows.clusters is None or len(rows.clusters) == rows.rows for rows in sets),
            "a data set has not as many clusters as rows; one a row is needed",
        ),
    ]
    if problems := [problem for fine, problem in rules if not fine]:
        raise InvalidArgumentError(f"the run cannot be planned: {'; '.join(problems)}")
