"""Suites: which searches a folder of Parquet files holds."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.sets import find_sets
from lusirag.errors import CorpusError, InvalidArgumentError
from lusirag.evaluation.suite.catalog import UDHR
from lusirag.evaluation.suite.description import SuiteDescription, describe_suite
from lusirag.evaluation.suite.reading import read_tasks
from lusirag.evaluation.suite.task import SearchTask

EVAL_DEV = Path(__file__).resolve().parents[3] / "benchmarks" / "eval_dev.toml"
NUMBERS = ["one", "two", "three", "four", "five", "six"]


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def parallel(*, items: int = 6, languages: tuple[str, ...] = ("en", "fr", "sw")) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{item}/{tag}",
            "lang": tag,
            "text": f"{tag} text {NUMBERS[item]} with enough words in GPT{item}",
            "title": f"{tag} title of {NUMBERS[item]}",
            "parallel_id": f"p{item}",
        }
        for item in range(items)
        for tag in languages
    ]


def row(role: str, number: int, lang: str, text: str, passage: int) -> dict[str, Any]:
    return {"role": role, "id": f"{lang}{role}{number}", "lang": lang, "text": text, "doc_parallel_id": f"k{passage}"}


QUESTIONS = [
    *(row("doc", number, "ar", f"passage {number}", number) for number in range(3)),
    *(row("doc", number, "en", f"english {number}", number) for number in range(3)),
    *(row("query", number, "ar", f"question {number}", number % 2) for number in range(3)),
    row("query", 9, "ar", "no passage has it", 9),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "news.parquet", parallel())
    write(tmp_path / "qa.parquet", [{"set": "quiz", **row} for row in QUESTIONS])
    write(tmp_path / "other.parquet", [{"a": 1}])
    return tmp_path


def tasks_of(path: Path, **options: Any) -> dict[tuple[str, str, str, bool], SearchTask]:
    found = {
        (task.set, task.direction, task.language, task.masked): task
        for task in read_tasks(describe_suite(path), **options)
    }
    assert found
    return found


def test_columns_tell_what_a_folder_holds(folder: Path) -> None:
    described = describe_suite(folder)
    assert [(found.name, found.query) for found in described.sets] == [
        ("news", "text"),
        ("news_title", "title"),
        ("quiz", "question"),
    ]
    assert (described.name, described.pivot) == (folder.name, "en")


def test_each_direction_has_its_queries_documents_and_answers(folder: Path) -> None:
    tasks = tasks_of(folder)
    assert set(tasks) == {
        *(("news", direction, tag, False) for direction in ("x2en", "en2x") for tag in ("fr", "sw")),
        *(("news_title", direction, tag, False) for direction in ("x2en", "en2x") for tag in ("fr", "sw")),
        *(("news_title", "x2x", tag, False) for tag in ("en", "fr", "sw")),
        ("news", "mixed", "all", False),
        ("news_title", "mixed", "all", False),
        ("quiz", "x2x", "ar", False),
        ("quiz", "x2en", "ar", False),
    }
    for (_, direction, tag, _), task in tasks.items():
        if task.set == "quiz":
            continue
        asked = {"x2en": tag, "en2x": "en", "x2x": tag, "mixed": "en"}[direction]
        answered = {"x2en": ["en"], "en2x": [tag], "x2x": [tag], "mixed": ["fr", "sw"]}[direction]
        kind = "text" if task.set == "news" else "title"
        assert len(task.queries) == 6
        for query, item, right in zip(task.queries, task.items, task.relevant, strict=True):
            number = NUMBERS[int(item[1:])]
            assert query.startswith(f"{asked} {kind}")
            assert query.split()[2 if kind == "text" else 3] == number
            [place] = right
            assert task.documents[place].split()[0] in answered
            assert task.documents[place].split()[2] == number


def test_a_mixed_pool_holds_each_document_in_one_language_and_several_languages(folder: Path) -> None:
    task = tasks_of(folder)["news", "mixed", "all", False]
    assert {document.split()[0] for document in task.documents} == {"fr", "sw"}
    assert len(task.documents) == 6


def test_questions_search_all_passages_of_their_language_and_those_without_one_are_left_out(folder: Path) -> None:
    task = tasks_of(folder)["quiz", "x2x", "ar", False]
    assert task.queries == ("question 0", "question 1", "question 2")
    assert task.documents == ("passage 0", "passage 1", "passage 2")
    assert task.relevant == (frozenset({0}), frozenset({1}), frozenset({0}))
    assert task.items == ("k0", "k1", "k0")  # two questions of one passage fall together


def test_masked_searches_lose_the_latin_words_and_numbers_that_both_sides_share(folder: Path) -> None:
    tasks = tasks_of(folder / "news.parquet", masked=True)
    assert ("news", "x2en", "sw", False) in tasks
    assert ("news", "x2en", "sw", True) not in tasks  # "sw" alone is left of each text, which is no query


def test_masking_leaves_other_scripts_and_words_of_its_own(tmp_path: Path) -> None:
    texts = {
        "en": "The GPT{0} model of OpenAI costs 20 dollars",
        "ru": "Модель gpt{0} от OpenAI: 20 долларов, Made{0}",
    }
    rows = [
        {"id": f"{tag}{number}", "lang": tag, "parallel_id": str(number), "text": text.format(number)}
        for number in range(2)
        for tag, text in texts.items()
    ]
    tasks = tasks_of(write(tmp_path / "f.parquet", rows), masked=True)
    assert set(tasks["f", "x2en", "ru", True].queries) == {f"Модель от : долларов, Made{number}" for number in range(2)}
    assert set(tasks["f", "en2x", "ru", True].documents) == set(tasks["f", "x2en", "ru", True].queries)
    assert all("OpenAI" in query for query in tasks["f", "en2x", "ru", True].queries)


def test_repeated_and_short_texts_are_left_out(tmp_path: Path) -> None:
    rows = parallel()
    by_id = {row["id"]: row for row in rows}
    by_id["1/en"]["text"] = by_id["0/en"]["text"].upper()  # as good as the same
    by_id["2/fr"]["text"] = by_id["3/fr"]["text"]  # the same in French alone
    by_id["4/en"]["text"] = "too short"
    tasks = tasks_of(write(tmp_path / "f.parquet", rows))
    assert set(tasks["f", "x2en", "sw", False].items) == {"p2", "p3", "p5"}
    assert ("f", "x2en", "fr", False) not in tasks  # one text is left, which is no search


def test_more_items_than_allowed_are_cut_by_hash_the_same_in_every_language(tmp_path: Path) -> None:
    write(tmp_path / "f.parquet", parallel())
    (tmp_path / "suite.toml").write_text('[[set]]\nname = "few"\nfile = "f.parquet"\nquery = "text"\nmax_items = 3\n')
    tasks = tasks_of(tmp_path)
    kept = {task.items for task in tasks.values()}
    assert len(kept) == 1
    assert len(kept.pop()) == 3


def test_languages_choose_searches_and_the_pool(folder: Path) -> None:
    tasks = tasks_of(folder / "news.parquet", languages=["sw"])
    assert {key[1:3] for key in tasks} == {("x2en", "sw"), ("en2x", "sw"), ("x2x", "sw")}
    both = tasks_of(folder / "news.parquet", languages=["sw", "fr"])
    assert ("news", "mixed", "all", False) in both
    with pytest.raises(InvalidArgumentError, match="no texts in xx; there are in en, fr, sw"):
        tasks_of(folder / "news.parquet", languages=["sw", "xx"])
    assert tasks_of(folder / "news.parquet", languages=["SW"]).keys() == tasks.keys()


def test_suite_toml_may_lie_elsewhere_and_name_another_pivot(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("elsewhere") / "mine.toml"
    file.write_text(
        f'name = "mine"\nfolder = "{folder}"\npivot = "fr"\n'
        '[[set]]\nname = "n"\nfile = "news.parquet"\nquery = "text"\n'
    )
    described = describe_suite(file)
    assert described.name == "mine"
    assert {task.direction for task in read_tasks(described)} == {"x2fr", "fr2x", "mixed"}


def test_all_mistakes_of_a_suite_toml_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(
        "colour = 1\n"
        '[[set]]\nname = "a"\nfile = "gone.parquet"\nquery = "body"\nmin_words = -1\nwidth = 3\n'
        '[[set]]\nname = "a"\nquery = "text"\nset = 3\n'
    )
    with pytest.raises(InvalidArgumentError) as caught:
        describe_suite(tmp_path)
    message = str(caught.value)
    for part in (
        "'colour'",
        "'width'",
        "query is 'body'; allowed: text, title, question",
        "min_words is -1",
        "there is no",
        "has no 'file'",
        "two sets are called 'a'",
        "set is 3",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("content", ["", "[[set]", 'set = "news"', "set = []"])
def test_a_suite_toml_without_sets_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "suite.toml").write_text(content)
    with pytest.raises(InvalidArgumentError, match=r"suite\.toml"):
        describe_suite(tmp_path)


def test_what_holds_no_suite_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no Parquet file there"):
        describe_suite(tmp_path)
    write(tmp_path / "other.parquet", [{"a": 1}])
    with pytest.raises(CorpusError, match="parallel_id"):
        describe_suite(tmp_path)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not at all")
    with pytest.raises(CorpusError, match=r"broken\.parquet: not a Parquet file"):
        describe_suite(tmp_path)


def test_rows_without_a_value_and_files_without_a_column_are_named(tmp_path: Path) -> None:
    rows = parallel()
    rows[3]["text"] = None
    file = write(tmp_path / "f.parquet", rows)
    with pytest.raises(CorpusError, match=r"f\.parquet: 1 rows have no value in 'text'"):
        list(read_tasks(describe_suite(file)))
    (tmp_path / "suite.toml").write_text('[[set]]\nname = "q"\nfile = "f.parquet"\nquery = "question"\n')
    with pytest.raises(CorpusError, match="no column role, doc_parallel_id; it has id, lang"):
        list(read_tasks(describe_suite(tmp_path)))


def test_numbers_name_passages_as_text_does(tmp_path: Path) -> None:
    rows = [{**found, "doc_parallel_id": int(found["doc_parallel_id"][1:]), "set": 7} for found in QUESTIONS]
    tasks = tasks_of(write(tmp_path / "q.parquet", rows))
    assert tasks["7", "x2x", "ar", False].items == ("0", "1", "0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"doc_parallel_id": None}, "no value in 'doc_parallel_id'"),
        ({"role": "passage"}, "the role of some rows is passage; allowed: query, doc"),
        ({"text": b"bytes"}, "the column 'text' holds"),
    ],
    ids=["null", "role", "bytes"],
)
def test_questions_that_cannot_be_used_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    changed = [
        {**found, **change} if message.startswith("the column") or not at else found
        for at, found in enumerate(QUESTIONS)
    ]
    with pytest.raises(CorpusError) as caught:
        tasks_of(write(tmp_path / "q.parquet", changed))
    assert message in str(caught.value)


def test_two_sets_of_one_name_in_a_folder_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / f"{name}.parquet", [{"set": "quiz", **found} for found in QUESTIONS])
    with pytest.raises(CorpusError, match="several sets are called quiz"):
        describe_suite(tmp_path)


def test_the_bundled_suite_has_thirty_one_items_in_more_than_ninety_languages() -> None:
    tasks = list(read_tasks(UDHR))
    languages = {task.language for task in tasks if task.direction == "x2en"}
    assert len(languages) == 91
    assert {len(task.queries) for task in tasks if task.direction == "x2en"} <= {30, 31}
    assert sum(len(task.queries) for task in tasks if task.direction == "x2en") == 2820
    assert len({task.documents for task in tasks if task.direction == "x2en" and len(task.queries) == 31}) == 1


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> tuple[SuiteDescription, Any]:
    """The development sets and the module that cuts them."""
    folder = find_sets()
    if folder is None:
        pytest.skip("the development sets are not at hand; set LUSIRAG_SHARED to the folder that holds data/eval_dev")
    here = tmp_path_factory.mktemp("development") / EVAL_DEV.name
    here.write_text(re.sub("^folder = .*$", f'folder = "{folder}"', EVAL_DEV.read_text("utf-8"), flags=re.MULTILINE))
    spec = importlib.util.spec_from_file_location("eval_dev_tasks", folder / "tasks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return describe_suite(here), module


def test_the_development_sets_are_cut_as_their_own_module_cuts_them(development: tuple[SuiteDescription, Any]) -> None:
    described, module = development
    compared = 0
    languages = ("fi", "ar", "ko", "en")
    for task in read_tasks(described, languages=languages, masked=True):
        one = next(found for found in described.sets if found.name == task.set)
        if one.query == "question":
            queries, documents, relevant = module.load_questions(one.set)
        elif task.direction == "mixed":
            queries, documents, relevant, _ = module.mixed_pool(task.set, languages, size=one.max_items or 10**9)
        else:
            queries, documents, relevant = module.load(task.set, task.language, task.direction, mask=task.masked)
        numbers = {identifier: number for number, (identifier, _) in enumerate(documents)}
        assert [text for _, text in queries] == list(task.queries)
        assert [text for _, text in documents] == list(task.documents)
        assert [{numbers[key] for key in relevant[name]} for name, _ in queries] == [set(r) for r in task.relevant]
        compared += 1
    assert compared > 30
