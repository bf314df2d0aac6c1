"""The benchmarks of the package against the mteb that is installed: drift is noticed here."""

import pytest

from lusirag.evaluation.benchmark.catalog import benchmark_names, load_benchmark


@pytest.fixture(scope="module")
def metadata():
    mteb = pytest.importorskip("mteb", reason="mteb is not installed: lusirag[eval]")
    return lambda name: mteb.get_task(name).metadata


def newest(metadata, name):
    while successor := metadata(name).superseded_by:
        name = successor
    return name


def knows(subset, code):
    """Whether a subset's language, such as ben-Beng, is the one of a code, such as ben or ben-Latn."""
    return code == subset or code == subset.split("-")[0]


@pytest.mark.parametrize("name", benchmark_names())
def test_every_score_has_a_subset(metadata, name):
    benchmark = load_benchmark(name)
    for task in benchmark.tasks:
        found = metadata(task.name)
        assert found.name == task.name  # mteb follows old names
        subsets = [language for languages in found.hf_subsets_to_langscripts.values() for language in languages]
        for tag in task.languages:
            assert any(knows(language, code) for language in subsets for code in benchmark.codes[tag]), (task.name, tag)


def test_successors_are_the_newest(metadata):
    originals = [task.name for task in load_benchmark("lusifer-paper").tasks]
    assert [task.name for task in load_benchmark("lusifer-current").tasks] == [
        newest(metadata, name) for name in originals
    ]


@pytest.mark.parametrize("name", ["lusifer-crosslingual", "miracl", "belebele"])
def test_the_others_have_no_successors(metadata, name):
    assert [task.name for task in load_benchmark(name).tasks if newest(metadata, task.name) != task.name] == []


def test_types_are_mteb_s_own_but_for_the_paper_s_liberties(metadata):
    same = {"Classification", "Clustering", "Reranking", "Retrieval", "STS"}
    for name in ("lusifer-crosslingual", "miracl", "belebele"):
        assert all(metadata(task.name).type.lower() == task.type for task in load_benchmark(name).tasks)
    odd = {task.name: (task.type, metadata(task.name).type) for task in load_benchmark("lusifer-paper").tasks}
    odd = {name: (ours, theirs) for name, (ours, theirs) in odd.items() if theirs not in same or ours != theirs.lower()}
    pairs = [name for name, kinds in odd.items() if kinds == ("classification", "PairClassification")]
    several = [name for name, kinds in odd.items() if kinds == ("classification", "MultilabelClassification")]
    assert (len(pairs), len(several)) == (9, 2)
    assert {name: kinds for name, kinds in odd.items() if name not in pairs + several} == {
        "TERRa": ("clustering", "PairClassification"),
        "KLUE-TC": ("clustering", "Classification"),
        "SummEval": ("sts", "Summarization"),
        "SummEvalFr": ("sts", "Summarization"),
        "OpusparcusPC": ("sts", "PairClassification"),
    }


def test_belebele_and_miracl_have_all_languages_of_mteb(metadata):
    belebele = load_benchmark("belebele")
    within = {pair[0] for pair in metadata("BelebeleRetrieval").eval_langs.values() if pair[0] == pair[1]}
    matched = {language: [t for t, c in belebele.codes.items() if knows(language, c[0])] for language in within}
    assert len(within) == 122
    assert all(len(tags) == 1 for tags in matched.values())
    assert sorted(tags[0] for tags in matched.values()) == sorted(belebele.languages)
    for task in load_benchmark("miracl").tasks:
        assert set(task.languages) == set(metadata(task.name).eval_langs)


def test_tags_are_the_names_that_unicode_gives_the_codes():
    from babel.core import get_global

    short = get_global("language_aliases")
    # Tagalog is fil in CLDR and tl for everyone who identifies languages; Southern Pashto has no alias there.
    other = {"tgl": "tl", "pbt": "ps"}
    for name in ("lusifer-paper", "miracl", "belebele"):
        for tag, codes in load_benchmark(name).codes.items():
            language = codes[0].split("-")[0]
            assert tag.split("-")[0] == other.get(language, short.get(language, language))
