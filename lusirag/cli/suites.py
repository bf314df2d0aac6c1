"""What `lusirag eval` does with a suite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lusirag.cli.console import progress_bar, show_table, write_json
from lusirag.cli.measuring import Loading, Running, closing_model, named_models
from lusirag.cli.reporting import Form, show_tables
from lusirag.errors import InvalidArgumentError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from lusirag.evaluation.ranking import Measure
    from lusirag.evaluation.suite.cache import RankingCache
    from lusirag.evaluation.suite.description import SuiteDescription
    from lusirag.evaluation.suite.rankers import Ranker
    from lusirag.evaluation.suite.results import Figure, Outcome
    from lusirag.evaluation.suite.task import SearchTask


class Choice(NamedTuple):
    """What of a suite is measured, and how."""

    languages: list[str] | None
    max_items: int | None
    masked: bool
    measures: tuple[str, ...]
    baseline: str | None
    by_language: bool


def describe(name: str | None, path: Path | None) -> SuiteDescription:
    """The suite that is meant."""
    from lusirag.evaluation.suite.catalog import BUNDLED
    from lusirag.evaluation.suite.description import describe_suite

    return BUNDLED[str(name)] if path is None else describe_suite(path)


def run(
    suite: SuiteDescription,
    choice: Choice,
    models: Sequence[str],
    loading: Loading,
    running: Running,
) -> None:
    """Measure models on a suite and write the figures."""
    from lusirag.embedding import DEFAULT_MODEL
    from lusirag.evaluation.ranking import Measure
    from lusirag.evaluation.report.plot import plot_table, require_picture
    from lusirag.evaluation.suite.cache import RankingCache
    from lusirag.evaluation.suite.rankers import DenseRanker, LexicalRanker
    from lusirag.evaluation.suite.reading import read_tasks
    from lusirag.evaluation.suite.results import SuiteResults
    from lusirag.evaluation.suite.tables import plotted, suite_tables

    measures = tuple(dict.fromkeys(map(Measure.parse, choice.measures)))
    if not measures:
        raise InvalidArgumentError("--measures names none; give some, such as ndcg@10,recall@1")
    named = named_models(models or (DEFAULT_MODEL,))
    loading.require_use(named.values())
    baseline = _baseline(choice.baseline, named)
    if running.plot is not None:
        require_picture(running.plot)
    if choice.max_items is not None:
        suite = replace(suite, sets=tuple(replace(each, max_items=choice.max_items) for each in suite.sets))
    tasks = list(read_tasks(suite, languages=choice.languages, masked=choice.masked))
    if not tasks:
        raise InvalidArgumentError(
            f"the suite {suite.name} holds no search; one needs two texts or more that stand in {suite.pivot} (of "
            "min_words words at least) and in another of the chosen languages, or two passages and a question"
        )
    if running.listing:
        _list(tasks, running.form)
        return
    kept = RankingCache(running.directory("suites"), overwrite=running.overwrite)
    outcomes: dict[str, list[Outcome]] = {}
    for label, spec in named.items():
        with closing_model(loading.load(spec), label) as encoder:
            outcomes[label] = _measure(DenseRanker(encoder, label), tasks, measures, kept, running)
    # The floor under all of them: BM25 over the pieces of the embedded model.
    outcomes[LexicalRanker.name] = _measure(LexicalRanker(_tokenizer()), tasks, measures, kept, running)
    results = SuiteResults(suite.name, measures, outcomes, baseline)
    figures = list(results.figures(by_language=choice.by_language or running.form is Form.JSON))
    show_tables(suite_tables(results, figures, by_language=choice.by_language), running.form, map(_record, figures))
    if running.plot is not None:
        plot_table(plotted(results, figures), running.plot)


def _baseline(given: str | None, named: Mapping[str, str]) -> str | None:
    """The name in tables of the model that is meant, by that name or as it was given.

    Raises:
        InvalidArgumentError: it is not measured.
    """
    from lusirag.evaluation.suite.rankers import LexicalRanker

    if given is None or given in named:
        return given
    if given.lower() == LexicalRanker.name.lower():
        return LexicalRanker.name
    if found := next((label for label, spec in named.items() if spec == given), None):
        return found
    raise InvalidArgumentError(
        f"--baseline is {given!r}, which is not measured; allowed: {', '.join([*named, LexicalRanker.name])}"
    )


def _tokenizer() -> Tokenizer:
    from tokenizers import Tokenizer

    from lusirag.embedding.catalog import DEFAULT_MODEL, EMBEDDED_MODELS

    return Tokenizer.from_file(str(EMBEDDED_MODELS[DEFAULT_MODEL] / "tokenizer.json"))


def _measure(
    ranker: Ranker, tasks: Sequence[SearchTask], measures: Sequence[Measure], kept: RankingCache, running: Running
) -> list[Outcome]:
    from lusirag.evaluation.suite.results import run_tasks

    with progress_bar(enabled=not running.quiet) as bar:
        shown = bar.add_task(ranker.name, total=len(tasks), state="")

        def show(_: str, task: SearchTask) -> None:
            bar.update(shown, state=f"{task.group}, {task.language}", advance=1)

        return run_tasks(ranker, tasks, measures, cache=kept, on_task=show)


def _list(tasks: Sequence[SearchTask], form: Form) -> None:
    columns = ("set", "direction", "masked", "language", "queries", "documents")
    rows = [
        (task.set, task.direction, task.masked, task.language, len(task.queries), len(task.documents)) for task in tasks
    ]
    if form is Form.JSON:
        for row in rows:
            write_json(dict(zip(columns, row, strict=True)))
    else:
        show_table(columns, [(*row[:2], "yes" if row[2] else "", *row[3:]) for row in rows])


def _record(figure: Figure) -> dict[str, Any]:
    """A figure as it is written with --json."""
    record: dict[str, Any] = {
        "model": figure.model,
        "set": figure.set,
        "direction": figure.direction,
        "masked": figure.masked,
        "language": figure.language,
        "summary": figure.summary,
        "queries": figure.queries,
        **{str(measure): _interval(found) for measure, found in figure.measures.items()},
    }
    if figure.against is not None:
        against = figure.against
        record["difference"] = {**_interval(against), "p": against.p}
    return record


def _interval(found: Any) -> dict[str, float | None]:
    values = {"mean": found.mean, "low": found.low, "high": found.high}
    return {name: None if math.isnan(value) else round(value, 6) for name, value in values.items()}
