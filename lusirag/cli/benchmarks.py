"""What `lusirag eval` does with a benchmark that mteb runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lusirag.cli.console import note, output, progress_bar, show_table, write_json
from lusirag.cli.measuring import Loading, Running, closing_model, named_models, quiet
from lusirag.cli.reporting import Form, show_tables

if TYPE_CHECKING:
    from lusirag.evaluation.benchmark.definition import Benchmark
    from lusirag.evaluation.benchmark.encoder import BenchmarkEncoder
    from lusirag.evaluation.benchmark.index_search import IndexSearch
    from lusirag.evaluation.benchmark.results import Mean, Summary
    from lusirag.evaluation.benchmark.running import Run, RunProgress
    from lusirag.types import Encoder


class Choice(NamedTuple):
    """What of a benchmark is run, and through what."""

    languages: list[str] | None
    types: list[str] | None
    tasks: list[str] | None
    ann: str | None
    mode: str | None


def show_names(form: Form) -> None:
    """List what can be evaluated by name."""
    from lusirag.evaluation.benchmark.catalog import benchmark_names, load_benchmark
    from lusirag.evaluation.suite.catalog import BUNDLED

    rows = [(name, "suite", "in the package; needs no network") for name in BUNDLED]
    rows += [(name, "benchmark", load_benchmark(name).title) for name in benchmark_names()]
    if form is Form.JSON:
        for name, kind, title in rows:
            write_json({"name": name, "kind": kind, "title": title})
    else:
        show_table(("name", "kind", ""), rows, whole=True)


def run(
    name: str,
    choice: Choice,
    models: Sequence[str],
    loading: Loading,
    running: Running,
) -> None:
    """Run models on a benchmark and write scores, means and the paper's figures beside them."""
    from lusirag.embedding import DEFAULT_MODEL
    from lusirag.errors import LusiragError
    from lusirag.evaluation.benchmark.catalog import load_benchmark
    from lusirag.evaluation.benchmark.results import summarise
    from lusirag.evaluation.benchmark.tables import summary_tables
    from lusirag.evaluation.report.plot import plot_table, require_picture

    whole = load_benchmark(name)
    benchmark = whole.select(languages=choice.languages, types=choice.types, tasks=choice.tasks)
    if running.listing:
        _list(benchmark, running.form)
        return
    if running.plot is not None:
        require_picture(running.plot)
    named = named_models(models or (DEFAULT_MODEL,))
    loading.require_use(named.values())
    _note_dropped(benchmark, choice)
    directory = running.directory("mteb")
    instructions = {task.name: task.instruction for task in whole.tasks}
    runs: dict[str, Run] = {}
    for label, spec in named.items():
        with closing_model(loading.load(spec), label) as encoder:
            runs[label] = _run(label, benchmark, _model(encoder, instructions, choice), directory, running)
        for task, reason in runs[label].failures.items():
            note(f"{label}: {task} is not complete: {reason}")
    if not any(done.scores for done in runs.values()):
        raise LusiragError(
            f"{name}: no data set could be evaluated; the first reason: {next(_reasons(runs), 'none is given')}"
        )
    summaries = {label: summarise(benchmark, done.scores) for label, done in runs.items()}
    tables = summary_tables(summaries, benchmark)
    show_tables(tables, running.form, _records(benchmark, runs, summaries))
    if running.plot is not None:
        published = [str(row[0]) for row in tables[0].rows if row[0] not in runs]
        plot_table(tables[0], running.plot, muted=published)
    if any(done.failures for done in runs.values()):
        raise LusiragError(f"{name}: what is shown is a part, for the reasons above; run it again to complete it")


def _note_dropped(benchmark: Benchmark, choice: Choice) -> None:
    """Tell what was chosen but has no data set together with the rest of the choice."""
    from lusirag.evaluation.benchmark.catalog import load_benchmark
    from lusirag.evaluation.benchmark.choosing import choose_languages

    whole = load_benchmark(benchmark.name)
    tags = (
        choose_languages(choice.languages, whole.codes, whole.languages, owner=whole.name) if choice.languages else ()
    )
    dropped = [tag for tag in tags if tag not in benchmark.languages]
    dropped += [kind for kind in choice.types or () if kind.lower() not in benchmark.types]
    if dropped:
        note(f"{benchmark.name} has no data set of this choice in or of: {', '.join(dropped)}")


def _model(encoder: Encoder, instructions: Any, choice: Choice) -> BenchmarkEncoder | IndexSearch:
    from lusirag.evaluation.benchmark.encoder import BenchmarkEncoder
    from lusirag.evaluation.benchmark.index_search import IndexSearch

    if choice.ann is None and choice.mode is None:
        return BenchmarkEncoder(encoder, instructions)
    return IndexSearch(encoder, instructions, ann=choice.ann or "auto", mode=choice.mode or "dense")


def _run(label: str, benchmark: Benchmark, model: Any, directory: Path, running: Running) -> Run:
    from lusirag.evaluation.benchmark.running import run_benchmark

    # What cannot be fetched is told once, by its data set; the libraries tell each attempt.
    with quiet("huggingface_hub", "datasets"), progress_bar(enabled=not running.quiet) as bar:
        shown = bar.add_task(label, total=len(benchmark.tasks), state="")

        def show(progress: RunProgress) -> None:
            state = f"{progress.task} {progress.subset or ''}".rstrip()
            bar.update(shown, completed=progress.done, state=state)

        return run_benchmark(benchmark, model, cache=directory, overwrite=running.overwrite, on_progress=show)


def _reasons(runs: dict[str, Run]) -> Iterator[str]:
    for done in runs.values():
        yield from done.failures.values()


def _list(benchmark: Benchmark, form: Form) -> None:
    from lusirag.evaluation.benchmark.catalog import benchmark_notes

    if form is Form.JSON:
        for task in benchmark.tasks:
            write_json(
                {
                    "task": task.name,
                    "type": task.type,
                    "languages": list(task.languages),
                    "instruction": task.instruction,
                }
            )
        return
    rows = [(task.name, task.type, " ".join(task.languages), task.instruction or "") for task in benchmark.tasks]
    show_table(("task", "type", "languages", "instruction"), rows, whole=True)
    pairs = sum(len(task.languages) for task in benchmark.tasks)
    output().print(f"{len(rows)} data sets; {pairs} scores, one for each of their languages")
    for remark in benchmark_notes(benchmark.name):
        output().print(remark, markup=False)


def _records(benchmark: Benchmark, runs: dict[str, Run], summaries: dict[str, Summary]) -> Iterator[dict[str, Any]]:
    """All that is known, an object a line: every score, then the means, then the paper's figures."""
    from lusirag.evaluation.benchmark.published import published_results
    from lusirag.evaluation.benchmark.tables import comparable_columns

    for label, done in runs.items():
        for score in done.scores:
            yield {
                "model": label,
                "task": score.task,
                "type": score.type,
                "language": score.language,
                "score": round(100 * score.score, 4),
                "split": done.tasks[score.task].split,
                "dataset_revision": done.tasks[score.task].dataset_revision,
                "mteb": done.mteb_version,
                "revision": done.revision,
            }
        for task, reason in done.failures.items():
            yield {"model": label, "task": task, "failure": reason}
    for label, summary in summaries.items():
        for tag, mean in summary.languages.items():
            yield {"model": label, "mean_of": "language", "language": tag} | _mean(mean)
        for kind, mean in summary.types.items():
            yield {"model": label, "mean_of": "type", "type": kind} | _mean(mean)
        yield {"model": label, "mean_of": "all"} | _mean(summary.overall)
    comparable = comparable_columns(benchmark)
    for result in published_results(benchmark.name):
        scores = {column: score for column, score in result.scores.items() if column in comparable}
        average = {"average": result.average} if len(scores) == len(result.scores) else {}
        if scores:
            yield {"model": result.model, "published": result.source, "scores": scores} | average


def _mean(mean: Mean) -> dict[str, Any]:
    percent = None if mean.percent is None else round(mean.percent, 4)
    return {"percent": percent, "scores": mean.present, "of": mean.expected}
