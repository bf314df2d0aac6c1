"""Running a benchmark: every data set once, in mteb's cache, so that nothing is ever computed twice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.benchmark.definition import Benchmark, TaskScore
from lusirag.evaluation.benchmark.dependency import require_mteb
from lusirag.evaluation.benchmark.encoder import BenchmarkEncoder
from lusirag.evaluation.benchmark.index_search import IndexSearch
from lusirag.evaluation.benchmark.planned import PlannedTask, TaskProvenance, plan_task
from lusirag.evaluation.benchmark.quiet import quiet_mteb

if TYPE_CHECKING:
    from mteb import ResultCache
    from mteb.abstasks.abstask import AbsTask
    from mteb.models.model_meta import ModelMeta

logger = logging.getLogger(__name__)

LoadTask = Callable[[str, Sequence[str]], "AbsTask"]


@dataclass(frozen=True, slots=True)
class RunProgress:
    """What is about to be done.

    Attributes:
        done, total: data sets that are finished or failed, of how many.
        task: the data set that is at work; the last one when done equals total.
        subset: its part (a language, a pair of languages) that is being evaluated; None while it is loaded, and when
            it is finished.
    """

    done: int
    total: int
    task: str
    subset: str | None


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a benchmark.

    Attributes:
        scores: of each data set in each language in which all its subsets are finished, in the benchmark's order.
        failures: {data set: why it is not complete, in one line}.
        model, revision: mteb's name of the model, and its fingerprint.
        experiment: what else keeps its results apart: runtime, instructions, ANN kind, ...
        mteb_version: that ran it.
        tasks: {data set: split, dataset revision, subsets and seconds}, for those of which anything is finished.
    """

    scores: tuple[TaskScore, ...]
    failures: Mapping[str, str]
    model: str
    revision: str
    experiment: Mapping[str, object]
    mteb_version: str
    tasks: Mapping[str, TaskProvenance]


def get_task(name: str, codes: Sequence[str]) -> AbsTask:
    """mteb's data set of that name, with its subsets in which one of the languages occurs.

    Raises:
        KeyError: mteb has none.
        ValueError: it has no subset in these languages.
    """
    import mteb

    with quiet_mteb():
        return mteb.get_task(name, languages=list(codes))


def run_benchmark(
    benchmark: Benchmark,
    model: BenchmarkEncoder | IndexSearch,
    *,
    cache: Path,
    load_task: LoadTask = get_task,
    overwrite: bool = False,
    on_progress: Callable[[RunProgress], None] | None = None,
    stop_on_error: bool = False,
) -> Run:
    """Evaluate a model on each data set of a benchmark, on one split and the subsets in the benchmark's languages.

    What `cache` has of this model (same fingerprint, runtime and instructions) and data set revision is not run again:
    an interrupted run goes on after its last finished subset, and one with more languages runs what is new. Each subset
    starts from the same random state, so its score does not depend on which others were run before it. Several
    processes may share a cache; one at a time works on a data set with one model.

    Args:
        benchmark: which data sets and languages. The instructions are those that the model was given.
        model: an `IndexSearch` can run retrieval and reranking only.
        cache: directory of mteb's `ResultCache`; mteb reads it too.
        load_task: finds a data set by name and ISO 639-3 codes.
        overwrite: run everything again; results of other languages in the cache stay.
        on_progress: called before each step.
        stop_on_error: raise what goes wrong. Otherwise a subset that fails (no network, a gated data set, a package
            that is missing) is noted in `Run.failures`, and all others are run.

    Raises:
        InvalidArgumentError: a language of the benchmark without codes.
        MissingDependencyError: mteb is not installed.
        KeyboardInterrupt: passed on; what is finished is in the cache.
    """
    require_mteb()
    from mteb import ResultCache

    _check_codes(benchmark)
    store = ResultCache(cache)
    failures: dict[str, str] = {}
    planned: list[PlannedTask] = []
    total = len(benchmark.tasks)
    for done, entry in enumerate(benchmark.tasks):
        tell = _teller(on_progress, done, total, entry.name)
        tell(None)
        try:
            task = plan_task(entry, benchmark.codes, load_task, monolingual=benchmark.monolingual)
            planned.append(task)
            with _locked(task, store, model.mteb_model_meta):  # mteb reads a file, adds to it and writes it back
                reason = _run_task(task, model, store, overwrite=overwrite, tell=tell, stop_on_error=stop_on_error)
            if reason is not None:
                failures[entry.name] = reason
        except Exception as error:  # whatever a data set, its loader or its packages raise
            if stop_on_error:
                raise
            failures[entry.name] = _one_line(error)
        finally:
            if isinstance(model, IndexSearch):
                model.close()
    if total and on_progress is not None:
        on_progress(RunProgress(total, total, benchmark.tasks[-1].name, None))
    return _collect(planned, model.mteb_model_meta, store, failures)


def cached_scores(
    benchmark: Benchmark, model: BenchmarkEncoder | IndexSearch, *, cache: Path, load_task: LoadTask = get_task
) -> tuple[TaskScore, ...]:
    """The scores of a benchmark that `cache` has for this model, without running or downloading anything.

    Raises:
        InvalidArgumentError: a language of the benchmark without codes.
        MissingDependencyError: mteb is not installed.
    """
    require_mteb()
    from mteb import ResultCache

    _check_codes(benchmark)
    if not cache.is_dir():
        return ()
    planned = []
    for entry in benchmark.tasks:
        try:
            planned.append(plan_task(entry, benchmark.codes, load_task, monolingual=benchmark.monolingual))
        except Exception as error:  # such a data set has no results either; running it would tell why
            logger.debug("%s cannot be looked up: %s", entry.name, error)
    return _collect(planned, model.mteb_model_meta, ResultCache(cache), {}).scores


def _run_task(
    task: PlannedTask,
    model: BenchmarkEncoder | IndexSearch,
    store: ResultCache,
    *,
    overwrite: bool,
    tell: Callable[[str | None], None],
    stop_on_error: bool,
) -> str | None:
    """Evaluate the subsets that are missing; why the first of those that failed did, or None."""
    import mteb
    from mteb.abstasks import AbsTaskRetrieval

    meta = model.mteb_model_meta
    missing = list(task.subsets) if overwrite else task.missing(store, meta)
    if not missing:
        return None
    if isinstance(model, IndexSearch) and not isinstance(task.task, AbsTaskRetrieval):
        raise InvalidArgumentError("only retrieval and reranking can be run through an index; use a BenchmarkEncoder")
    failure: str | None = None
    with quiet_mteb(), task.loaded(missing):
        task.forget(store, meta, missing)
        for subset in missing:
            tell(subset)
            try:
                mteb.evaluate(
                    model,
                    task.only(subset),
                    co2_tracker=False,
                    encode_kwargs={"batch_size": 32, "show_progress_bar": False},
                    cache=store,
                    overwrite_strategy="only-missing",
                    show_progress_bar=False,
                )
            except Exception as error:  # whatever a data set or its packages raise
                if stop_on_error:
                    raise
                where = "" if len(task.subsets) == 1 else f"{subset}: "
                failure = failure or where + _one_line(error)
    return failure


def _locked(task: PlannedTask, store: ResultCache, meta: ModelMeta) -> FileLock:
    """Held by the one process that works on this data set with this model."""
    file = store.get_task_result_path(task.task.metadata.name, meta)
    file.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(file.with_suffix(".lock"))


def _collect(planned: Sequence[PlannedTask], meta: ModelMeta, store: ResultCache, failures: Mapping[str, str]) -> Run:
    scores: list[TaskScore] = []
    provenance: dict[str, TaskProvenance] = {}
    found = dict(failures)
    for task in planned:
        some, problem = task.scores(store, meta)
        scores += some
        if problem is None and len(some) < len(task.entry.languages):
            problem = "some of its results are not in the cache"
        if problem is not None:
            found.setdefault(task.entry.name, problem)
        if (known := task.provenance(store, meta)) is not None:
            provenance[task.entry.name] = known
    return Run(
        scores=tuple(scores),
        failures=found,
        model=str(meta.name),
        revision=str(meta.revision),
        experiment=dict(meta.experiment_kwargs or {}),
        mteb_version=require_mteb(),
        tasks=provenance,
    )


def _check_codes(benchmark: Benchmark) -> None:
    tags = {tag for entry in benchmark.tasks for tag in entry.languages}
    if unknown := sorted(tag for tag in tags if not benchmark.codes.get(tag)):
        raise InvalidArgumentError(f"the benchmark {benchmark.name!r} has no codes for {', '.join(unknown)}")


def _teller(
    on_progress: Callable[[RunProgress], None] | None, done: int, total: int, task: str
) -> Callable[[str | None], None]:
    def tell(subset: str | None) -> None:
        if on_progress is not None:
            on_progress(RunProgress(done, total, task, subset))

    return tell


def _one_line(error: Exception) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
