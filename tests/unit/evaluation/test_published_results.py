from statistics import fmean

import pytest

from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.benchmark.catalog import load_benchmark
from lusirag.evaluation.benchmark.published import published_ablations, published_results

MODELS = {
    "lusifer-paper": ["E5-Mistral", "LUSIFER", "BGE-M3", "multilingual-e5-large"],
    "lusifer-crosslingual": ["E5-Mistral", "LUSIFER"],
}


@pytest.mark.parametrize("name", MODELS)
def test_the_stated_averages_are_the_means(name):
    results = published_results(name)
    assert [result.model for result in results] == MODELS[name]
    for result in results:
        assert fmean(result.scores.values()) == pytest.approx(result.average, abs=0.00501), result.model


def test_the_columns_are_the_benchmark_s():
    for result in published_results("lusifer-paper"):
        assert tuple(result.scores) == load_benchmark("lusifer-paper").languages
    for result in published_results("lusifer-crosslingual"):
        assert list(result.scores) == [task.name for task in load_benchmark("lusifer-crosslingual").tasks]


def test_some_figures_as_they_are_printed():
    lusifer = published_results("lusifer-paper")[1]
    assert (lusifer.scores["te"], lusifer.scores["en"], lusifer.average) == (69.30, 57.20, 62.63)
    assert lusifer.label == "LUSIFER (paper)"
    assert "2501.00874" in lusifer.source
    supervised = [result.model for result in published_results("lusifer-paper") if result.multilingual]
    assert supervised == ["BGE-M3", "multilingual-e5-large"]
    assert published_results("lusifer-crosslingual")[1].scores["IndicCrosslingualSTS"] == 43.40


def test_ablations_begin_with_the_full_model():
    ablations = published_ablations()
    assert next(iter(ablations.items())) == ("full", published_results("lusifer-paper")[1].average)
    assert sorted(ablations.values(), reverse=True) == list(ablations.values())
    assert len(ablations) == 5


def test_what_the_paper_did_not_run_has_no_figures():
    for name in ("lusifer-current", "miracl", "belebele"):
        assert published_results(name) == ()
    with pytest.raises(InvalidArgumentError, match=r"did you mean miracl\?"):
        published_results("mircl")
