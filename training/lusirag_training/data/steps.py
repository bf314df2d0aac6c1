"""What each step of a run computes on: a pure function of the recipe, the seed and the step, whoever asks for it.

So an interrupted run goes on exactly where it stopped, with any number of processes that tokenise ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from torch.utils.data import Dataset

Batch = TypeVar("Batch", covariant=True)
Rows = Sequence[Mapping[str, Any]]
Generators = Sequence[np.random.Generator]


class Planned(Protocol):
    """Which rows make a step's batch; `data.batches` plans them."""

    @property
    def data_set(self) -> int:
        """The data set's number."""

    @property
    def phase(self) -> int:
        """The phase's number."""

    @property
    def rows(self) -> Any:
        """(n,) numbers of rows."""


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of each batch is this process's: number `rank` of `world`."""

    rank: int = 0
    world: int = 1


class Steps(Dataset[Batch], Generic[Batch]):
    """The batches of one process, by step.

    Args:
        plan: of all steps. sets: data sets whose items are rows.
        make: (rows, generators, data set's number, phase's number) -> batch.
        seed: of what is drawn for a row; a row's draws depend on seed, step and place in the whole batch alone.
        share: of this process.
    """

    def __init__(
        self,
        plan: Sequence[Planned],
        sets: Sequence[Any],
        make: Callable[[Rows, Generators, int, int], Batch],
        *,
        seed: int,
        share: Share = Share(),
    ) -> None:
        self.plan = plan
        self.sets = sets
        self.make = make
        self.seed = seed
        self.share = share

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, step: int) -> Batch:
        planned = self.plan[step]
        numbers = np.asarray(planned.rows)
        count = len(numbers) // self.share.world
        places = range(self.share.rank * count, (self.share.rank + 1) * count)
        table = self.sets[planned.data_set]
        rows = [table[int(numbers[place])] for place in places]
        generators = [np.random.default_rng([self.seed, step, place]) for place in places]
        return self.make(rows, generators, planned.data_set, planned.phase)
