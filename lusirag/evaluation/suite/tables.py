"""The figures of a suite as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from lusirag.evaluation.ranking import Measure
from lusirag.evaluation.report.table import Cell, Table
from lusirag.evaluation.statistics import CONFIDENCE, PERMUTATIONS, RESAMPLES, Interval
from lusirag.evaluation.suite.results import Figure, SuiteResults
from lusirag.evaluation.suite.task import ALL

_DIGITS = 3
SIGNIFICANT = 0.01


def suite_tables(results: SuiteResults, figures: Sequence[Figure], *, by_language: bool) -> list[Table]:
    """One table for each measure; then the differences from the baseline; then each group's languages where asked."""
    means = [figure for figure in figures if figure.summary]
    tables = [_summary(results, means, measure) for measure in results.measures]
    if results.baseline is not None:
        tables.append(_differences(results, means))
    if by_language:
        of_languages = [figure for figure in figures if not figure.summary]
        for group in dict.fromkeys(each.group for each in of_languages):
            tables.append(_languages(results, group, [each for each in of_languages if each.group == group]))
    return tables


def plotted(results: SuiteResults, figures: Sequence[Figure]) -> Table:
    """The main measure as numbers: models by groups."""
    main = results.measures[0]
    means = [figure for figure in figures if figure.summary]
    groups = tuple(dict.fromkeys(each.group for each in means))
    rows: list[tuple[Cell, ...]] = [
        (model, *(_value(means, group, model, main) for group in groups)) for model in results.outcomes
    ]
    return Table(f"{main.title} on {results.suite}", ("model", *groups), tuple(rows), _DIGITS)


def _summary(results: SuiteResults, means: Sequence[Figure], measure: Measure) -> Table:
    models = list(results.outcomes)
    rows = []
    for group in dict.fromkeys(each.group for each in means):
        here = {figure.model: figure for figure in means if figure.group == group}
        first = here[models[0]]
        languages = len(results.groups()[group])
        rows.append(
            (
                group,
                "mixed" if first.language == ALL else first.language if languages == 1 else languages,
                first.queries,
                *(_with_interval(here[model].measures[measure]) for model in models),
            )
        )
    note = f"[low, high]: bootstrap over items, {CONFIDENCE:.0%}, {RESAMPLES:,} resamples."
    columns = ("searches", "languages", "queries", *models)
    return Table(f"{measure.title} on {results.suite}, mean over languages", columns, tuple(rows), _DIGITS, (note,))


def _differences(results: SuiteResults, means: Sequence[Figure]) -> Table:
    others = [model for model in results.outcomes if model != results.baseline]
    rows = []
    for group in dict.fromkeys(each.group for each in means):
        cells: list[Cell] = []
        for figure in (each for each in means if each.group == group and each.model in others):
            if figure.against is not None:
                between = figure.against
                bounds = "" if math.isnan(between.low) else f" [{between.low:+.3f}, {between.high:+.3f}]"
                shown = f"{between.mean:+.3f}{bounds}"
                cells.append(f"{shown}, p {_p(between.p)}{' *' if between.p < SIGNIFICANT else ''}")
        rows.append((group, *cells))
    note = (
        f"p: paired randomisation test over items, two-sided, at most {PERMUTATIONS:,} exchanges, each row by itself; "
        f"* below {SIGNIFICANT}."
    )
    title = f"{results.measures[0].title} on {results.suite}, difference from {results.baseline}"
    return Table(title, ("searches", *others), tuple(rows), _DIGITS, (note,))


def _languages(results: SuiteResults, group: str, figures: Sequence[Figure]) -> Table:
    main = results.measures[0]
    rows = []
    for language in dict.fromkeys(figure.language for figure in figures):
        here = {figure.model: figure for figure in figures if figure.language == language}
        rows.append((language, *(_with_interval(here[model].measures[main]) for model in results.outcomes)))
    return Table(f"{main.title} on {group}, by language", ("language", *results.outcomes), tuple(rows), _DIGITS)


def _value(figures: Iterable[Figure], group: str, model: str, measure: Measure) -> float:
    return next(each.measures[measure].mean for each in figures if (each.group, each.model) == (group, model))


def _with_interval(found: Interval) -> str:
    return f"{found.mean:.3f}" + ("" if math.isnan(found.low) else f" [{found.low:.3f}, {found.high:.3f}]")


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.001 else f"{value:.1e}"
