"""What a benchmark consists of: data sets by their mteb names, in languages, under task types, with instructions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
        codes: {tag: codes of ISO 639-3 by which mteb knows the language}, for every tag that the tasks name.
    """

    name: str
    title: str
    tasks: tuple[BenchmarkTask, ...]
    codes: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class TaskScore:
    """How a model did on one data set in one language: its main score, from 0 to 1 (correlations from -1)."""

    task: str
    type: str
    language: str
    score: float
