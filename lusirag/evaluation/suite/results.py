"""What a suite's searches gave: every query's value, and from them means over languages with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.ranking import Measure, Values
from lusirag.evaluation.statistics import Difference, Interval, Sample, difference, interval
from lusirag.evaluation.suite.cache import RankingCache
from lusirag.evaluation.suite.rankers import Ranker
from lusirag.evaluation.suite.task import SearchTask

MEAN = "mean"  # in the place of a language: over all languages of a group
Progress = Callable[[str, SearchTask], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The values (N,) of one task's queries by each measure."""

    task: SearchTask
    values: dict[Measure, Values]


@dataclass(frozen=True, slots=True)
class Figure:
    """How one model did on a group of tasks, in one language or on average over its languages.

    Attributes:
        model: name. set, direction, masked, group: of the tasks. language: tag, "all" for a mixed pool, or "mean" over
            several. summary: whether it stands for the whole group. queries: how many.
        measures: the mean by each, with its interval.
        against: by how much the first measure is above the baseline's; None without a baseline, or for itself.
    """

    model: str
    set: str
    direction: str
    masked: bool
    group: str
    language: str
    summary: bool
    queries: int
    measures: dict[Measure, Interval]
    against: Difference | None


@dataclass(frozen=True, slots=True)
class SuiteResults:
    """All outcomes of a suite.

    Attributes:
        suite: its name. measures: the first is the main one. outcomes: {model: of every task, in one order}.
        baseline: the model that the others are compared with, if any.
    """

    suite: str
    measures: tuple[Measure, ...]
    outcomes: dict[str, list[Outcome]]
    baseline: str | None = None

    def __post_init__(self) -> None:
        if self.baseline is not None and self.baseline not in self.outcomes:
            raise InvalidArgumentError(
                f"the baseline is {self.baseline!r}, which was not measured; allowed: {', '.join(self.outcomes)}"
            )

    def groups(self) -> dict[str, list[int]]:
        """The numbers of the tasks of each group, {title: numbers}, in the order of the suite."""
        grouped: dict[str, list[int]] = {}
        for number, outcome in enumerate(next(iter(self.outcomes.values()), [])):
            grouped.setdefault(outcome.task.group, []).append(number)
        return grouped

    def figures(self, *, by_language: bool = True) -> Iterator[Figure]:
        """Of each group and model the mean over its languages, then each language where there are several."""
        for numbers in self.groups().values():
            for model in self.outcomes:
                yield self._figure(model, numbers, summary=True)
            for number in numbers if by_language and len(numbers) > 1 else ():
                for model in self.outcomes:
                    yield self._figure(model, [number], summary=False)

    def _figure(self, model: str, numbers: Sequence[int], *, summary: bool) -> Figure:
        task = self.outcomes[model][numbers[0]].task
        against = None
        if self.baseline is not None and model != self.baseline:
            main = self.measures[0]
            against = difference(self._sample(model, numbers, main), self._sample(self.baseline, numbers, main))
        return Figure(
            model,
            task.set,
            task.direction,
            task.masked,
            task.group,
            MEAN if len(numbers) > 1 else task.language,
            summary,
            sum(len(self.outcomes[model][number].task.queries) for number in numbers),
            {measure: interval(self._sample(model, numbers, measure)) for measure in self.measures},
            against,
        )

    def _sample(self, model: str, numbers: Sequence[int], measure: Measure) -> Sample:
        outcomes = [self.outcomes[model][number] for number in numbers]
        return Sample.of([(outcome.task.items, outcome.values[measure]) for outcome in outcomes])


def run_tasks(
    ranker: Ranker,
    tasks: Sequence[SearchTask],
    measures: Sequence[Measure],
    *,
    cache: RankingCache | None = None,
    on_task: Progress | None = None,
) -> list[Outcome]:
    """Let a model order the documents of all tasks.

    Args:
        cache: of rankings; nothing is kept when None. on_task: called with the model's name before each task.

    Raises:
        InvalidArgumentError: no measure is given.
        ModelError: the model failed.
    """
    if not measures:
        raise InvalidArgumentError("no measure is given; give one at least, such as Measure('ndcg', 10)")
    depth = max(measure.depth for measure in measures)
    outcomes = []
    for task in tasks:
        if on_task is not None:
            on_task(ranker.name, task)
        ranked = ranker.rank(task, depth=depth) if cache is None else cache.rank(ranker, task, depth=depth)
        outcomes.append(Outcome(task, {measure: measure.values(ranked, task.relevant) for measure in measures}))
    return outcomes
