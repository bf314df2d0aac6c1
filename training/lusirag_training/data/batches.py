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
        weight: an epoch takes round(weight * rows) rows: a random choice below 1, repetitions above, though never a row
            twice in one batch.
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
            that span clusters. What then is left is dropped, but where a set would have no batch at all: "join" makes
            short ones of it.
        processes: a short batch is cut to a multiple of this.

    Raises:
        InvalidArgumentError: a number is not allowed, a phase names a set that does not exist, or a set gives no batch.
    """
    _check(sets, phases, batch_size, seed, leftovers, processes)
    batches: list[PlannedBatch] = []
    for number, phase in enumerate(phases):
        for epoch in range(phase.epochs):
            made: list[PlannedBatch] = []
            for each in phase.sets:
                found = _batches_of(
                    sets[each],
                    np.random.default_rng([seed, number, epoch, each]),
                    batch_size=batch_size,
                    leftovers=leftovers,
                    processes=processes,
                )
                if not found:
                    raise InvalidArgumentError(_nothing(each, sets[each], batch_size, leftovers, processes))
                made += [PlannedBatch(number, each, rows) for rows in found]
            order = np.random.default_rng([seed, number, epoch]).permutation(len(made))
            batches += [made[at] for at in order]
    return RunPlan(batches)


def _batches_of(
    rows: RowSet, generator: np.random.Generator, *, batch_size: int, leftovers: str, processes: int
) -> list[Numbers]:
    """The batches of one epoch of a data set."""
    made: list[Numbers] = []
    short: list[Numbers] = []
    for chosen in _choose(rows, generator):
        full, left = _cut(chosen, rows.clusters, batch_size)
        if leftovers == "join":
            joined = np.concatenate([left[at] for at in generator.permutation(len(left))])
            more, (rest,) = _cut(joined, None, batch_size)
            full += more
            short.append(rest[: len(rest) // processes * processes])
        made += full
    return made or [batch for batch in short if len(batch)]


def _cut(chosen: Numbers, clusters: Numbers | None, batch_size: int) -> tuple[list[Numbers], list[Numbers]]:
    """Full batches of one cluster each, and what is left of each cluster."""
    groups = [chosen]
    if clusters is not None:
        of_rows = clusters[chosen]
        order = np.argsort(of_rows, kind="stable")
        groups = np.split(chosen[order], np.flatnonzero(np.diff(of_rows[order])) + 1)
    full: list[Numbers] = []
    left: list[Numbers] = []
    for group in groups:
        end = len(group) // batch_size * batch_size
        full += list(group[:end].reshape(-1, batch_size))
        left.append(group[end:])
    return full, left


def _choose(rows: RowSet, generator: np.random.Generator) -> Iterator[Numbers]:
    """The rows of an epoch in random order, in rounds of no more than the whole set.

    Each round is cut for itself: no row meets itself in a batch, where it would be its own false negative.
    """
    wanted = round(rows.weight * rows.rows)
    for start in range(0, wanted, rows.rows):
        yield generator.permutation(rows.rows)[: wanted - start].astype(np.int64)


def _nothing(number: int, rows: RowSet, batch_size: int, leftovers: str, processes: int) -> str:
    where = " in its clusters" if rows.clusters is not None and leftovers == "drop" else ""
    return (
        f"data set {number} has too few rows for one batch: {rows.rows} rows of weight {rows.weight} do not fill "
        f"{batch_size}{where} for {processes} processes; take smaller batches, join the leftovers, raise its weight or "
        "leave it out"
    )


def _check(
    sets: Sequence[RowSet], phases: Sequence[Phase], batch_size: int, seed: int, leftovers: str, processes: int
) -> None:
    rules = [
        (batch_size >= 1, f"batch_size is {batch_size}; 1 or more is needed"),
        (seed >= 0, f"seed is {seed}; 0 or more is needed"),
        (leftovers in LEFTOVERS, f"leftovers is {leftovers!r}; allowed: {', '.join(LEFTOVERS)}"),
        (
            processes >= 1 and batch_size % max(processes, 1) == 0,
            f"{processes} processes cannot share {batch_size} rows",
        ),
        (
            all(rows.rows >= 1 and rows.weight > 0 for rows in sets),
            "a data set has no rows, or a weight that is not above 0; leave it out",
        ),
        (
            bool(phases) and all(phase.epochs >= 1 and phase.sets for phase in phases),
            "there is no phase, or one without data sets or epochs; one of each is needed",
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
