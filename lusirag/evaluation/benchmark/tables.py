"""Summaries of models as tables, with the LUSIFER paper's figures beside those that can be compared with them."""

from __future__ import annotations

from collections.abc import Mapping

from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.benchmark.catalog import benchmark_names, load_benchmark
from lusirag.evaluation.benchmark.choosing import SEVERAL
from lusirag.evaluation.benchmark.definition import Benchmark
from lusirag.evaluation.benchmark.published import PublishedResult, published_results
from lusirag.evaluation.benchmark.results import Mean, Summary
from lusirag.evaluation.report.cells import MARK, mark
from lusirag.evaluation.report.table import Cell, Table

AVERAGE = "average"
MISSING = "?"
_DIGITS = 2
_WIDE = 20  # languages; more of them stand in rows


def summary_tables(summaries: Mapping[str, Summary], benchmark: Benchmark, *, published: bool = True) -> list[Table]:
    """Return the tables of a report, in percent.

    First the means by language and their average (of the cross-lingual benchmark: the scores by data set), a model a
    row, then, where `published`, the paper's rows. Then, where there are several types, the means by type; then a table
    a model of all data sets in all languages. More than 20 languages stand in rows instead of columns.

    A mean that lacks scores is marked, and a note says what it lacks. Of the paper's rows only figures over the very
    data sets of `benchmark` are shown: no language of which a part is chosen, no average unless all 14 are whole.

    Args:
        summaries: {model: its summary of `benchmark`}.
        benchmark: whole, or what `Benchmark.select` left of it.

    Raises:
        InvalidArgumentError: a summary is of another benchmark or another part of it.
    """
    for model, summary in summaries.items():
        if summary.benchmark != benchmark.name or {p: m.expected for p, m in summary.cells.items()} != _sizes(
            benchmark
        ):
            raise InvalidArgumentError(
                f"the summary of {model} is not of this part of {benchmark.name}; summarise its scores with the same"
            )
    several = SEVERAL in benchmark.languages
    tables = [_overview(summaries, benchmark, published=published)]
    if len(benchmark.types) > 1:
        tables.append(_by_type(summaries, benchmark))
    if not several and len(benchmark.tasks) > 1:
        tables += [_all_scores(model, summary, benchmark) for model, summary in summaries.items()]
    return tables


def _overview(summaries: Mapping[str, Summary], benchmark: Benchmark, *, published: bool) -> Table:
    by_task = SEVERAL in benchmark.languages
    headings = tuple(task.name for task in benchmark.tasks) if by_task else benchmark.languages
    columns = (*headings, AVERAGE) if len(headings) > 1 else headings
    rows: list[tuple[Cell, ...]] = []
    notes = _part(benchmark)
    for model, summary in summaries.items():
        means = _of_tasks(summary, benchmark) if by_task else dict(summary.languages)
        means[AVERAGE] = summary.overall
        rows.append((model, *(_cell(means[column]) for column in columns)))
        notes += _lacking(model, {column: means[column] for column in columns})
    if published and benchmark.name in benchmark_names():
        results = published_results(benchmark.name)
        comparable = _comparable(benchmark, headings, by_task=by_task)
        shown = [(result, _paper_row(result, columns, comparable)) for result in results]
        kept = [result for result, row in shown if any(cell is not None for cell in row[1:])]
        rows += [row for result, row in shown if result in kept]
        notes += _about(kept)
        if results and (hidden := [column for column in headings if column not in comparable]):
            notes.append(f"The paper has no figures over the chosen part of the data sets: {', '.join(hidden)}.")
    what = "data set" if by_task else "language"
    table = Table(
        f"{benchmark.name}: main score by {what}, percent", ("model", *columns), tuple(rows), _DIGITS, tuple(notes)
    )
    return _turned(table, what) if len(headings) > _WIDE else table


def _by_type(summaries: Mapping[str, Summary], benchmark: Benchmark) -> Table:
    rows: list[tuple[Cell, ...]] = []
    notes = _part(benchmark)
    for model, summary in summaries.items():
        rows.append((model, *(_cell(summary.types[kind]) for kind in benchmark.types)))
        notes += _lacking(model, summary.types)
    title = f"{benchmark.name}: main score by type, percent"
    return Table(title, ("model", *benchmark.types), tuple(rows), _DIGITS, tuple(notes))


def _all_scores(model: str, summary: Summary, benchmark: Benchmark) -> Table:
    rows = []
    for task in benchmark.tasks:
        cells: list[Cell] = [
            summary.scores.get((task.name, tag), MISSING) if tag in task.languages else None
            for tag in benchmark.languages
        ]
        rows.append((task.name, task.type, *cells))
    notes = _part(benchmark)
    if not summary.overall.complete:
        notes.append(f"{MISSING} no score; there are {summary.overall.coverage}.")
    columns = ("data set", "type", *benchmark.languages)
    table = Table(f"{benchmark.name}: all scores of {model}, percent", columns, tuple(rows), _DIGITS, tuple(notes))
    return _turned(table, "language") if len(benchmark.languages) > _WIDE else table


def _turned(table: Table, heading: str) -> Table:
    """Rows as columns, for what has many columns."""
    columns = (heading, *(str(row[0]) for row in table.rows))
    rows = tuple((name, *(row[at] for row in table.rows)) for at, name in enumerate(table.columns) if at)
    return Table(table.title, columns, rows, table.digits, table.notes)


def _of_tasks(summary: Summary, benchmark: Benchmark) -> dict[str, Mean]:
    found = {task.name: summary.scores.get((task.name, SEVERAL)) for task in benchmark.tasks}
    return {name: Mean(percent, int(percent is not None), 1) for name, percent in found.items()}


def _cell(mean: Mean) -> Cell:
    if mean.percent is None or mean.complete:
        return mean.percent
    return mark(mean.percent, _DIGITS)


def _lacking(model: str, means: Mapping[str, Mean]) -> list[str]:
    parts = [f"{name} {mean.coverage}" for name, mean in means.items() if not mean.complete]
    return [f"{MARK} {model}: mean over a part of the scores: {', '.join(parts)}."] if parts else []


def comparable_columns(benchmark: Benchmark) -> set[str]:
    """The languages, or data sets of the cross-lingual benchmark, that stand for all that the paper has there."""
    by_task = SEVERAL in benchmark.languages
    headings = tuple(task.name for task in benchmark.tasks) if by_task else benchmark.languages
    return _comparable(benchmark, headings, by_task=by_task)


def _part(benchmark: Benchmark) -> list[str]:
    if benchmark.name not in benchmark_names():
        return []
    whole = len(load_benchmark(benchmark.name).pairs)
    chosen = len(benchmark.pairs)
    return [] if chosen == whole else [f"A chosen part of {benchmark.name}: {chosen} of {whole} scores."]


def _comparable(benchmark: Benchmark, headings: tuple[str, ...], *, by_task: bool) -> set[str]:
    """The columns that stand for the same data sets as the paper's."""
    if by_task:
        return set(headings)
    whole = load_benchmark(benchmark.name)
    return {tag for tag in headings if _tasks_of(benchmark, tag) == _tasks_of(whole, tag)}


def _tasks_of(benchmark: Benchmark, tag: str) -> set[str]:
    return {task.name for task in benchmark.tasks if tag in task.languages}


def _paper_row(result: PublishedResult, columns: tuple[str, ...], comparable: set[str]) -> tuple[Cell, ...]:
    cells = {column: score for column, score in result.scores.items() if column in comparable}
    if set(result.scores) <= comparable:
        cells[AVERAGE] = result.average
    return (result.label, *(cells.get(column) for column in columns))


def _about(results: list[PublishedResult]) -> list[str]:
    if not results:
        return []
    supervised = [result.model for result in results if result.multilingual]
    also = f"; trained on labelled data in many languages: {', '.join(supervised)}" if supervised else ""
    return [f"(paper): figures of {results[0].source}{also}."]


def _sizes(benchmark: Benchmark) -> dict[tuple[str, str], int]:
    sizes: dict[tuple[str, str], int] = {}
    for task in benchmark.tasks:
        for tag in task.languages:
            sizes[tag, task.type] = sizes.get((tag, task.type), 0) + 1
    return sizes
