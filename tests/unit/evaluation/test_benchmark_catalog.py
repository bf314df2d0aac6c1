import json
import os
from pathlib import Path

import pytest

import lusirag.evaluation.benchmark.catalog as catalog
from lusirag.errors import InvalidArgumentError
from lusirag.evaluation.benchmark.catalog import benchmark_names, benchmark_notes, load_benchmark
from lusirag.evaluation.benchmark.definition import TYPES

SHARED = Path(os.environ.get("LUSIRAG_SHARED", Path(__file__).resolve().parents[4] / "shared"))
FIGURE = SHARED / "benchmark" / "lusifer_123.json"
needs_figure = pytest.mark.skipif(
    not FIGURE.is_file(), reason=f"no transcription of the paper's figure: set LUSIRAG_SHARED (looked in {SHARED})"
)
PAIRS = {"lusifer-paper": 217, "lusifer-current": 217, "lusifer-crosslingual": 5, "miracl": 36, "belebele": 122}


def figure():
    return json.loads(FIGURE.read_text(encoding="utf-8"))


def test_the_names_are_those_of_the_files():
    folder = Path(catalog.__file__).parent / "data"
    assert set(benchmark_names()) == {file.stem for file in folder.glob("*.json")}
    assert set(benchmark_names()) == set(PAIRS)


@pytest.mark.parametrize("name", benchmark_names())
def test_a_benchmark_is_consistent(name):
    benchmark = load_benchmark(name)
    names = [task.name for task in benchmark.tasks]
    assert benchmark.name == name
    assert len(set(names)) == len(names)
    assert len(benchmark.pairs) == len(set(benchmark.pairs)) == PAIRS[name]
    assert {task.type for task in benchmark.tasks} <= set(TYPES)
    assert benchmark.languages == tuple(benchmark.codes)
    for task in benchmark.tasks:
        assert task.languages
        assert task.instruction
        assert list(task.languages) == [tag for tag in benchmark.codes if tag in task.languages], task.name
    assert all(note.endswith(".") for note in benchmark_notes(name))


@needs_figure
def test_the_paper_s_benchmark_is_its_figure():
    benchmark = load_benchmark("lusifer-paper")
    drawn = [(name, kind.lower()) for kind, names in figure()["tasks"].items() for name in names]
    assert len(drawn) == 123
    assert [(task.name, task.type) for task in benchmark.tasks] == list(dict.fromkeys(drawn))
    assert {tag: codes[0] for tag, codes in benchmark.codes.items()} == figure()["languages"]
    pairs = [tag for _, tag in benchmark.pairs]
    assert {tag: pairs.count(tag) for tag in benchmark.languages} == figure()["pairs_per_language_in_figure"]


@needs_figure
def test_the_cross_lingual_benchmark_is_the_paper_s_in_its_languages_at_once():
    benchmark = load_benchmark("lusifer-crosslingual")
    assert [task.name for task in benchmark.tasks] == figure()["cross_lingual"]
    assert benchmark.codes == {"mul": tuple(figure()["languages"].values())}


def test_successors_keep_what_the_original_was_asked():
    before, after = load_benchmark("lusifer-paper"), load_benchmark("lusifer-current")
    for original, successor in zip(before.tasks, after.tasks, strict=True):
        assert (successor.type, successor.languages) == (original.type, original.languages)
        assert successor.instruction == original.instruction
    changed = [pair for pair in zip(before.tasks, after.tasks, strict=True) if pair[0].name != pair[1].name]
    assert f"{len(changed)} of the 122" in " ".join(benchmark_notes("lusifer-current"))


def test_an_unknown_benchmark_is_refused_with_the_nearest():
    with pytest.raises(InvalidArgumentError, match=r"did you mean lusifer-paper\? Allowed: lusifer-paper, .*belebele$"):
        load_benchmark("lusifer_paper")
    with pytest.raises(InvalidArgumentError, match="no benchmark 'mmlu'; allowed: "):
        benchmark_notes("mmlu")


def test_a_part_is_chosen_by_language_type_and_name():
    benchmark = load_benchmark("lusifer-paper")
    part = benchmark.select(languages=["SWA", "fin"], types=["Clustering", "reranking"])
    assert part.pairs == (
        ("MasakhaNEWSClusteringS2S", "sw"),
        ("MasakhaNEWSClusteringP2P", "sw"),
        ("WikipediaRerankingMultilingual", "fi"),
    )
    assert part.languages == ("fi", "sw")  # the benchmark's order
    assert part.types == ("clustering", "reranking")
    assert part.codes == {"fi": ("fin",), "sw": ("swa",)}
    assert part.name == benchmark.name
    named = benchmark.select(tasks=["sts17"])
    assert named.pairs == (("STS17", "en"), ("STS17", "es"), ("STS17", "fr"), ("STS17", "ar"), ("STS17", "ko"))
    assert benchmark.select() == benchmark


@pytest.mark.parametrize(
    ("wanted", "tags"),
    [
        ("sw", ["sw"]),
        ("swh", ["sw"]),
        ("swa", ["sw"]),
        ("ben", ["bn", "bn-Latn"]),
        ("bn", ["bn"]),
        ("ben-latn", ["bn-Latn"]),
        ("zh", ["zh-Hans", "zh-Hant"]),
        ("zh-hant", ["zh-Hant"]),
        ("fas", ["fa"]),
        ("en", ["en"]),
    ],
)
def test_languages_of_belebele_by_all_their_names(wanted, tags):
    assert load_benchmark("belebele").select(languages=[wanted]).languages == tuple(tags)


def test_several_languages_at_once_cannot_be_taken_apart():
    benchmark = load_benchmark("lusifer-crosslingual")
    assert benchmark.select(languages=["mul"]) == benchmark
    for wanted in ("sw", "swa", "eng"):
        with pytest.raises(InvalidArgumentError, match=f"no language {wanted}; allowed: mul$"):
            benchmark.select(languages=[wanted])


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"languages": ["xx", "sw", "yy"]}, "lusifer-paper has no language xx, yy; .*en, es, ru.*, sw$"),
        ({"types": ["rerank"]}, r"no task type rerank; did you mean reranking\? Allowed: classification, .*, sts$"),
        ({"tasks": ["XNLI2"]}, r"no data set XNLI2; did you mean XNLI\? Allowed: 122 names, such as "),
        ({"languages": []}, "no language is chosen; leave the choice out for all of lusifer-paper"),
        ({"languages": ["sw"], "types": ["sts"]}, "no data set that meets all conditions: language sw; type sts"),
    ],
)
def test_a_wrong_choice_is_one_line_that_tells_what_is_allowed(choice, message):
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        load_benchmark("lusifer-paper").select(**choice)
    assert "\n" not in str(caught.value)
