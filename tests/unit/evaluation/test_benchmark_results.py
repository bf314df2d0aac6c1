import math

import pytest

from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.benchmark.catalog import load_benchmark
from lusirag.evaluation.benchmark.definition import Benchmark, BenchmarkTask, TaskScore
from lusirag.evaluation.benchmark.published import published_results
from lusirag.evaluation.benchmark.results import Mean, summarise
from lusirag.evaluation.benchmark.tables import summary_tables
from lusirag.evaluation.report.cells import number

SMALL = Benchmark(
    "small",
    "Three data sets",
    (
        BenchmarkTask("A", "sts", ("en", "sw"), None),
        BenchmarkTask("B", "sts", ("en",), None),
        BenchmarkTask("C", "retrieval", ("en",), None),
    ),
    {"en": ("eng",), "sw": ("swa",)},
)
SCORES = [
    TaskScore("C", "retrieval", "en", 0.1),
    TaskScore("A", "sts", "en", 0.4),
    TaskScore("A", "sts", "sw", 0.6),
    TaskScore("B", "sts", "en", 0.7),
]


def all_scores(benchmark, score=lambda task, tag: 0.5):
    kinds = {task.name: task.type for task in benchmark.tasks}
    return [TaskScore(task, kinds[task], tag, score(task, tag)) for task, tag in benchmark.pairs]


def row(table, name):
    return dict(zip(table.columns, next(row for row in table.rows if row[0] == name), strict=True))


def test_means_are_over_data_sets_then_languages():
    summary = summarise(SMALL, SCORES)
    assert summary.languages["en"].percent == pytest.approx(40)  # (10 + 40 + 70) / 3
    assert summary.languages["sw"].percent == pytest.approx(60)
    assert summary.overall.percent == pytest.approx(50)  # not 45, the mean of all four scores
    assert summary.cells["en", "sts"].percent == pytest.approx(55)
    assert summary.types["sts"].percent == pytest.approx((55 + 60) / 2)
    assert summary.types["retrieval"] == Mean(pytest.approx(10), 1, 1)
    assert ("sw", "retrieval") not in summary.cells
    assert list(summary.scores) == [("A", "en"), ("A", "sw"), ("B", "en"), ("C", "en")]
    assert (summary.overall.present, summary.overall.expected, summary.overall.coverage) == (4, 4, "complete")


def test_what_is_missing_is_told():
    summary = summarise(SMALL, SCORES[:2])
    assert summary.languages["en"].coverage == "2 of 3"
    assert summary.languages["sw"] == Mean(None, 0, 1)
    assert summary.overall == Mean(pytest.approx(25), 2, 4)
    assert not summary.overall.complete
    assert summary.types["retrieval"].complete
    nothing = summarise(SMALL, [])
    assert nothing.overall == Mean(None, 0, 4)


def test_a_score_that_is_not_finite_is_missing():
    scores = [*SCORES[:3], TaskScore("B", "sts", "en", math.nan)]
    assert summarise(SMALL, scores) == summarise(SMALL, SCORES[:3])


def test_the_types_are_the_benchmark_s():
    renamed = [TaskScore(score.task, "PairClassification", score.language, score.score) for score in SCORES]
    assert summarise(SMALL, renamed) == summarise(SMALL, SCORES)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (TaskScore("D", "sts", "en", 0.1), "small does not count D in en"),
        (TaskScore("B", "sts", "sw", 0.1), "small does not count B in sw"),
        (TaskScore("A", "sts", "sw", 0.1), "A in sw has two scores"),
    ],
)
def test_foreign_scores_and_doubles_are_refused(score, message):
    with pytest.raises(InvalidArgumentError, match=message):
        summarise(SMALL, [*SCORES, score])


def test_percent_is_refused():
    with pytest.raises(InvalidArgumentError, match=r"A in en has the score 57\.2; allowed are -1 to 1, not percent"):
        summarise(SMALL, [TaskScore("A", "sts", "en", 57.2)])


def test_cross_lingual_scores_are_averaged_over_data_sets():
    benchmark = load_benchmark("lusifer-crosslingual")
    lusifer = published_results(benchmark.name)[1]
    summary = summarise(benchmark, all_scores(benchmark, lambda task, _: lusifer.scores[task] / 100))
    assert summary.overall.percent == pytest.approx(57.89, abs=0.005)
    overview = summary_tables({"ours": summary}, benchmark)[0]
    assert overview.columns == ("model", *lusifer.scores, "average")
    ours, papers = row(overview, "ours"), row(overview, "LUSIFER (paper)")
    assert all(ours[name] == pytest.approx(papers[name], abs=0.006) for name in overview.columns[1:])


def test_the_paper_s_rows_stand_below_and_say_so():
    benchmark = load_benchmark("lusifer-paper")
    tables = summary_tables({"ours": summarise(benchmark, all_scores(benchmark))}, benchmark)
    overview = tables[0]
    assert overview.columns == ("model", *benchmark.languages, "average")
    assert [cells[0] for cells in overview.rows] == ["ours", *(r.label for r in published_results(benchmark.name))]
    assert all(cells[0].endswith("(paper)") for cells in overview.rows[1:])
    assert row(overview, "LUSIFER (paper)")["average"] == 62.63
    assert row(overview, "ours")["average"] == pytest.approx(50)
    assert any("2501.00874" in note and "BGE-M3, multilingual-e5-large" in note for note in overview.notes)
    without = summary_tables({"ours": summarise(benchmark, all_scores(benchmark))}, benchmark, published=False)[0]
    assert without.rows == overview.rows[:1]
    assert without.notes == ()
    assert [table.columns[0] for table in tables] == ["model", "model", "data set"]
    assert tables[1].columns == ("model", "classification", "clustering", "reranking", "retrieval", "sts")
    assert len(tables[2].rows) == 122


def test_a_partial_mean_is_never_a_plain_figure():
    benchmark = load_benchmark("lusifer-paper")
    scores = [score for score in all_scores(benchmark) if score.language != "te" and score.task != "XNLI"]
    overview, types, everything = summary_tables({"ours": summarise(benchmark, scores)}, benchmark)
    ours = row(overview, "ours")
    assert ours["en"] == pytest.approx(50)
    assert ours["sw"] == "50.00*"
    assert ours["te"] is None
    assert ours["average"] == "50.00*"
    (note,) = [note for note in overview.notes if note.startswith("*")]
    assert "sw 7 of 8" in note
    assert "te 0 of 12" in note
    assert "average 199 of 217" in note
    assert "en " not in note
    assert row(types, "ours")["reranking"] == pytest.approx(50)
    assert row(types, "ours")["classification"] == "50.00*"
    xnli = row(everything, "XNLI")
    assert (xnli["sw"], xnli["en"]) == ("?", None)  # expected and missing; not of the benchmark
    assert any("199 of 217" in note for note in everything.notes)


def test_only_what_was_chosen_is_a_column():
    benchmark = load_benchmark("lusifer-paper").select(languages=["te", "en"])
    overview = summary_tables({"ours": summarise(benchmark, all_scores(benchmark))}, benchmark)[0]
    assert overview.columns == ("model", "en", "te", "average")
    assert overview.rows[2] == ("LUSIFER (paper)", 57.20, 69.30, None)
    assert any("67 of 217" in note for note in overview.notes)
    one = benchmark.select(languages=["te"])
    assert summary_tables({"ours": summarise(one, all_scores(one))}, one)[0].columns == ("model", "te")


def test_the_paper_s_figure_of_a_language_needs_all_its_data_sets():
    whole = load_benchmark("lusifer-paper")
    no_clustering = [name for name in whole.types if name != "clustering"]
    benchmark = whole.select(types=no_clustering)  # Persian and Finnish have no clustering sets, the others do
    overview = summary_tables({"ours": summarise(benchmark, all_scores(benchmark))}, benchmark)[0]
    papers = row(overview, "LUSIFER (paper)")
    assert {name for name, cell in papers.items() if number(cell) is not None} == {
        tag for tag in whole.languages if not any(t.type == "clustering" and tag in t.languages for t in whole.tasks)
    }
    assert papers["fa"] == 76.17
    assert papers["average"] is None
    assert any(note.startswith("The paper has no figures over the chosen part") for note in overview.notes)
    retrieval = whole.select(types=["retrieval"])
    overview = summary_tables({"ours": summarise(retrieval, all_scores(retrieval))}, retrieval)[0]
    assert len(overview.rows) == 1


def test_successors_stand_beside_no_figures_of_the_paper():
    benchmark = load_benchmark("lusifer-current")
    overview = summary_tables({"ours": summarise(benchmark, all_scores(benchmark))}, benchmark)[0]
    assert [cells[0] for cells in overview.rows] == ["ours"]


def test_many_languages_stand_in_rows():
    benchmark = load_benchmark("belebele")
    summaries = {name: summarise(benchmark, all_scores(benchmark)[:count]) for name, count in (("a", 122), ("b", 2))}
    (table,) = summary_tables(summaries, benchmark)
    assert table.columns == ("language", "a", "b")
    assert [cells[0] for cells in table.rows] == [*benchmark.languages, "average"]
    assert table.rows[-1] == ("average", pytest.approx(50), "50.00*")


def test_a_summary_of_another_part_is_refused():
    benchmark = load_benchmark("miracl")
    summary = summarise(benchmark, [])
    for other in (benchmark.select(languages=["sw"]), benchmark.select(types=["retrieval"]), SMALL):
        with pytest.raises(InvalidArgumentError, match="the summary of ours is not of this part of"):
            summary_tables({"ours": summary}, other)


def test_a_benchmark_of_one_s_own_has_tables_too():
    first, second, third, fourth = summary_tables({"x": summarise(SMALL, SCORES), "y": summarise(SMALL, [])}, SMALL)
    assert first.rows == (("x", pytest.approx(40), pytest.approx(60), pytest.approx(50)), ("y", None, None, None))
    assert second.columns == ("model", "retrieval", "sts")
    assert third.rows[1] == ("B", "sts", pytest.approx(70), None)
    assert fourth.rows[1] == ("B", "sts", "?", None)
