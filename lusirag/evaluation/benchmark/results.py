"""What the scores of one model sum to: means as the LUSIFER paper takes them, each with how much of it is there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.benchmark.definition import Benchmark, TaskScore

Pair = tuple[str, str]  # task, language


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean of main scores.

    Attributes:
        percent: None where no score is there.
        present: (task, language) pairs that went in.
        expected: pairs that the benchmark has here.
    """

    percent: float | None
    present: int
    expected: int

    @property
    def complete(self) -> bool:
        """Whether all went in. Only complete means can be compared with published ones."""
        return self.present == self.expected

    @property
    def coverage(self) -> str:
        """ "complete", or such as "3 of 55"."""
        return "complete" if self.complete else f"{self.present} of {self.expected}"


@dataclass(frozen=True, slots=True)
class Summary:
    """How a model did on a benchmark. Every language and type of the benchmark has its entry, also with nothing in it.

    Attributes:
        benchmark: its name.
        scores: {(task, language): percent}, in the benchmark's order, of what is there.
        languages: {tag: mean over the data sets of the language}.
        types: {type: mean over languages of the means over the type's data sets}.
        cells: {(language, type): mean over data sets}, where the benchmark has any.
        overall: mean over languages of `languages`.
    """

    benchmark: str
    scores: Mapping[Pair, float]
    languages: Mapping[str, Mean]
    types: Mapping[str, Mean]
    cells: Mapping[tuple[str, str], Mean]
    overall: Mean


def summarise(benchmark: Benchmark, scores: Sequence[TaskScore]) -> Summary:
    """Take the means of a model's scores.

    As in the paper (section on results): the main score of each data set, their mean in each language, and the mean
    over languages. The cross-lingual benchmark has one tag, so there it is the mean over data sets. What is missing is
    left out of a mean and told by its `present` and `expected`; a score that is not finite counts as missing.

    Args:
        benchmark: whole, or what `Benchmark.select` left of it; the types are its own, whatever the scores say.
        scores: from -1 to 1, in any order.

    Raises:
        InvalidArgumentError: a score is not of the benchmark, is there twice, or is above 1 or below -1.
    """
    kind = {task.name: task.type for task in benchmark.tasks}
    percent = _percent(benchmark, scores)
    pairs = benchmark.pairs
    cells = {
        (tag, name): _mean(percent, [pair for pair in pairs if pair[1] == tag and kind[pair[0]] == name])
        for tag in benchmark.languages
        for name in benchmark.types
    }
    languages = {tag: _mean(percent, [pair for pair in pairs if pair[1] == tag]) for tag in benchmark.languages}
    return Summary(
        benchmark=benchmark.name,
        scores=percent,
        languages=languages,
        types={name: _mean_of_means(cells[tag, name] for tag in benchmark.languages) for name in benchmark.types},
        cells={place: mean for place, mean in cells.items() if mean.expected},
        overall=_mean_of_means(languages.values()),
    )


def _percent(benchmark: Benchmark, scores: Sequence[TaskScore]) -> dict[Pair, float]:
    allowed = set(benchmark.pairs)
    found: dict[Pair, float] = {}
    for score in scores:
        pair = (score.task, score.language)
        if pair not in allowed:
            raise InvalidArgumentError(
                f"{benchmark.name} does not count {score.task} in {score.language}; leave such scores out, or take the "
                f"benchmark that they are of"
            )
        if pair in found:
            raise InvalidArgumentError(f"{score.task} in {score.language} has two scores; give one")
        if abs(score.score) > 1:
            raise InvalidArgumentError(
                f"{score.task} in {score.language} has the score {score.score}; allowed are -1 to 1, not percent"
            )
        found[pair] = 100 * score.score
    return {pair: found[pair] for pair in benchmark.pairs if math.isfinite(found.get(pair, math.nan))}


def _mean(percent: Mapping[Pair, float], pairs: Sequence[Pair]) -> Mean:
    present = [percent[pair] for pair in pairs if pair in percent]
    return Mean(fmean(present) if present else None, len(present), len(pairs))


def _mean_of_means(means: Iterable[Mean]) -> Mean:
    parts = list(means)
    present = [mean.percent for mean in parts if mean.percent is not None]
    return Mean(
        fmean(present) if present else None, sum(mean.present for mean in parts), sum(mean.expected for mean in parts)
    )
