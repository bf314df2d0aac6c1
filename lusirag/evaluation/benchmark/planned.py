"""One data set of a benchmark: what of it is to be run, what is in the cache, and what its results come to."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.benchmark.choosing import SEVERAL
from lusirag.evaluation.benchmark.definition import BenchmarkTask, TaskScore

if TYPE_CHECKING:
    from mteb import ResultCache
    from mteb.abstasks.abstask import AbsTask
    from mteb.models.model_meta import ModelMeta
    from mteb.results import TaskResult

logger = logging.getLogger(__name__)

# The first of these that a data set has is run, as in the published evaluation.
SPLITS = ("test", "test.full", "test_expert", "validation", "dev", "train")


@dataclass(frozen=True, slots=True)
class TaskProvenance:
    """What a data set's scores come from.

    Attributes:
        split: of the data set.
        dataset_revision: commit of the data on the hub.
        subsets: that are finished, of those that the benchmark wants.
        seconds: that evaluation took, of these and of other subsets in the cache.
    """

    split: str
    dataset_revision: str
    subsets: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A data set of mteb as the benchmark runs it.

    Attributes:
        entry: the benchmark's.
        task: mteb's, with that split and these subsets.
        split: that is run.
        subsets: in which one of the benchmark's languages occurs.
        codes: {tag: codes of the language}, for the entry's languages.
    """

    entry: BenchmarkTask
    task: AbsTask
    split: str
    subsets: tuple[str, ...]
    codes: Mapping[str, tuple[str, ...]]

    def missing(self, store: ResultCache, meta: ModelMeta) -> list[str]:
        """The subsets that the cache has no results of."""
        result = read_result(self, store, meta)
        finished = () if result is None else finished_subsets(result, self.split)
        return [subset for subset in self.subsets if subset not in finished]

    def forget(self, store: ResultCache, meta: ModelMeta, subsets: Sequence[str]) -> None:
        """Take results of these subsets out of the cache, and whatever cannot be used; other results stay."""
        result = read_result(self, store, meta)
        scores = {} if result is None else result.scores
        kept = {
            split: [score for score in some if split != self.split or score["hf_subset"] not in subsets]
            for split, some in scores.items()
        }
        if result is None or not any(kept.values()):
            store.get_task_result_path(self.task.metadata.name, meta).unlink(missing_ok=True)
        elif kept != scores:
            store.save_to_cache(result.model_copy(update={"scores": kept}), meta)

    @contextmanager
    def loaded(self, subsets: Sequence[str]) -> Iterator[None]:
        """With the data of these subsets in memory."""
        self.task.hf_subsets = list(subsets)
        try:
            self.task.load_data()
            yield
        finally:
            if self.task.data_loaded:
                self.task.unload_data()
            self.task.hf_subsets = list(self.subsets)

    def only(self, subset: str) -> AbsTask:
        """mteb's task with one subset, and in the random state in which tasks are made."""
        self.task.hf_subsets = [subset]
        self.task.rng_state = random.Random(self.task.seed)
        self.task.np_rng = np.random.default_rng(self.task.seed)
        return self.task

    def scores(self, store: ResultCache, meta: ModelMeta) -> tuple[list[TaskScore], str | None]:
        """The mean main score of each language's subsets, where all are finished; and what is wrong, if anything."""
        result = read_result(self, store, meta)
        main = {} if result is None else main_scores(result, self.split)
        found: list[TaskScore] = []
        problem: str | None = None
        for language in self.entry.languages:
            wanted = [subset for subset in self.subsets if has_language(self._spoken(subset), self.codes[language])]
            if not wanted:
                problem = problem or f"no subset in {language} ({', '.join(self.codes[language])})"
            elif all(subset in main for subset in wanted):
                score = self._over_languages(main) if language == SEVERAL else fmean(main[each] for each in wanted)
                if math.isfinite(score):
                    found.append(TaskScore(self.entry.name, self.entry.type, language, score))
                else:
                    problem = problem or f"the main score in {language} is {score}"
        return found, problem

    def provenance(self, store: ResultCache, meta: ModelMeta) -> TaskProvenance | None:
        """What the scores come from; None where nothing is finished."""
        result = read_result(self, store, meta)
        finished = () if result is None else finished_subsets(result, self.split)
        mine = tuple(subset for subset in self.subsets if subset in finished)
        if result is None or not mine:
            return None
        return TaskProvenance(self.split, str(result.dataset_revision), mine, float(result.evaluation_time or 0.0))

    def _over_languages(self, main: Mapping[str, float]) -> float:
        """The mean over all languages of the subsets of each one's mean over the subsets that have it.

        So the published evaluation sums the cross-lingual data sets; languages without a finite mean are left out.
        """
        spoken = {subset: {language.split("-")[0] for language in self._spoken(subset)} for subset in self.subsets}
        means = [
            fmean(main[subset] for subset in self.subsets if language in spoken[subset])
            for language in sorted(set().union(*spoken.values()))
        ]
        finite = [mean for mean in means if math.isfinite(mean)]
        return fmean(finite) if finite else math.nan

    def _spoken(self, subset: str) -> Sequence[str]:
        """The languages of a subset, with their scripts."""
        return spoken_in(self.task, subset)


def spoken_in(task: AbsTask, subset: str) -> Sequence[str]:
    """The languages of a data set's subset as mteb writes them: "swh-Latn"."""
    found: Sequence[str] = task.metadata.hf_subsets_to_langscripts.get(subset, [])
    return found


def has_language(spoken: Sequence[str], codes: Sequence[str]) -> bool:
    """Whether one of the languages with scripts is meant by a code, with its script or in any."""
    return any(language in codes or language.split("-")[0] in codes for language in spoken)


def plan_task(
    entry: BenchmarkTask,
    codes: Mapping[str, tuple[str, ...]],
    load_task: Callable[[str, Sequence[str]], AbsTask],
    *,
    monolingual: bool = False,
) -> PlannedTask:
    """Find a data set in mteb and choose what of it is run; no data is loaded.

    Args:
        entry: of the benchmark.
        codes: {tag: codes of the language}.
        load_task: see `run_benchmark`.
        monolingual: only subsets of one language.

    Raises:
        InvalidArgumentError: it has none of `SPLITS`.
        Exception: what `load_task` raises.
    """
    wanted = {tag: codes[tag] for tag in entry.languages}
    task = load_task(entry.name, list(dict.fromkeys(code for some in wanted.values() for code in some)))
    split = choose_split(task.metadata.eval_splits)
    task.filter_eval_splits([split])
    # NOTE: mteb's own filter looks at languages alone, not at their scripts.
    subsets = {subset: spoken_in(task, subset) for subset in task.hf_subsets}
    chosen = [
        subset
        for subset, spoken in subsets.items()
        if any(has_language(spoken, some) for some in wanted.values()) and (not monolingual or len(set(spoken)) == 1)
    ]
    task.hf_subsets = chosen
    return PlannedTask(entry, task, split, tuple(chosen), wanted)


def choose_split(splits: Sequence[str]) -> str:
    """The split that is run: the first of `SPLITS` among those that mteb evaluates.

    Raises:
        InvalidArgumentError: there is none.
    """
    for split in SPLITS:
        if split in splits:
            return split
    raise InvalidArgumentError(f"the data set has the splits {', '.join(splits)}; one of {', '.join(SPLITS)} is needed")


def read_result(task: PlannedTask, store: ResultCache, meta: ModelMeta) -> TaskResult | None:
    """What the cache has of a data set; None where that is nothing, damaged, or of other data.

    mteb writes results in place, so a process that was killed may have left half a file.
    """
    name = task.task.metadata.name
    try:
        result = store.load_task_result(name, meta)
    except OSError:
        raise
    except Exception as error:  # of JSON, of pydantic, of the conversion from older formats
        logger.warning("the cached result of %s cannot be read and counts as missing: %s", name, str(error)[:200])
        return None
    return result if result is not None and result.is_mergeable(task.task) else None


def finished_subsets(result: TaskResult, split: str) -> set[str]:
    """The subsets of a split that a result has."""
    return {str(score["hf_subset"]) for score in result.scores.get(split, [])}


def main_scores(result: TaskResult, split: str) -> dict[str, float]:
    """{subset: main score} of a split."""
    return {str(score["hf_subset"]): float(score["main_score"]) for score in result.scores.get(split, [])}
