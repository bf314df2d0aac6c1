"""What a benchmark consists of: data sets by their mteb names, in languages, under task types, with instructions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.benchmark.choosing import choose, choose_languages

TYPES = ("classification", "clustering", "reranking", "retrieval", "sts")


@dataclass(frozen=True, slots=True)
class BenchmarkTask:
    """One data set.

    Attributes:
        name: as mteb calls it.
        type: one of `TYPES`, under which the benchmark counts it; mteb's own type may differ.
        languages: tags such as "sw" in which the benchmark counts it.
        instruction: what a model that takes instructions is told; None for its own default.
    """

    name: str
    type: str
    languages: tuple[str, ...]
    instruction: str | None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Data sets that are run and averaged together.

    Attributes:
        name: "lusifer-paper" and so on.
        title: one line for people.
        tasks: each name once.
        codes: {tag: codes of ISO 639-3 by which mteb knows the language, also with a script: "ben-Latn"}, for every tag
            that the tasks name.
        monolingual: whether a language is measured within itself alone; otherwise on every subset of a data set in
            which it takes part, as in the LUSIFER paper.
    """

    name: str
    title: str
    tasks: tuple[BenchmarkTask, ...]
    codes: Mapping[str, tuple[str, ...]]
    monolingual: bool = False

    @property
    def languages(self) -> tuple[str, ...]:
        """The tags in which something is counted, in the order of `codes`."""
        counted = {tag for task in self.tasks for tag in task.languages}
        return tuple(tag for tag in self.codes if tag in counted)

    @property
    def types(self) -> tuple[str, ...]:
        """Those of `TYPES` that occur, in their order."""
        counted = {task.type for task in self.tasks}
        return tuple(kind for kind in TYPES if kind in counted)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(task, language) of every score that the benchmark consists of, task by task."""
        return tuple((task.name, tag) for task in self.tasks for tag in task.languages)

    def select(
        self,
        *,
        languages: Collection[str] | None = None,
        types: Collection[str] | None = None,
        tasks: Collection[str] | None = None,
    ) -> Benchmark:
        """Keep a part; what is None is not narrowed. Order and names stay, case does not matter.

        Args:
            languages: tags of the benchmark ("sw"), codes of ISO 639-3 ("swa", "swh"), or a tag that begins others
                ("zh" for "zh-Hans" and "zh-Hant", where the benchmark has no plain "zh").
            types: of `TYPES`.
            tasks: names of data sets.

        Raises:
            InvalidArgumentError: one of them is not in the benchmark, or nothing is left.
        """
        tags = choose_languages(languages, self.codes, self.languages, owner=self.name)
        kinds = choose(types, self.types, what="task type", owner=self.name)
        names = choose(tasks, tuple(task.name for task in self.tasks), what="data set", owner=self.name)
        kept = []
        for task in self.tasks:
            counted = tuple(tag for tag in task.languages if tag in tags)
            if counted and task.type in kinds and task.name in names:
                kept.append(replace(task, languages=counted))
        if not kept:
            raise InvalidArgumentError(
                f"{self.name} has no data set that meets all conditions: language {', '.join(tags)}; type "
                f"{', '.join(kinds)}; {len(names)} by name; leave one out"
            )
        left = {tag for task in kept for tag in task.languages}
        return replace(self, tasks=tuple(kept), codes={tag: codes for tag, codes in self.codes.items() if tag in left})


@dataclass(frozen=True, slots=True)
class TaskScore:
    """How a model did on one data set in one language: its main score, from 0 to 1 (correlations from -1)."""

    task: str
    type: str
    language: str
    score: float
