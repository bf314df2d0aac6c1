"""What preparation leaves out: planted rows of each kind, and nothing else."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest

from lusirag.errors import CorpusError, InvalidArgumentError
from lusirag_training.data.joining import join
from lusirag_training.data.sources import Place
from lusirag_training.preparation.contamination import EvaluationTexts
from lusirag_training.preparation.filters import Filters, failing
from lusirag_training.preparation.preparing import Preparation, prepare
from lusirag_training.preparation.rows import Row
from tests.unit.training.planted import pairs_of

NOUNS = ("river", "mountain", "engine", "letter", "garden", "teacher", "window", "captain", "winter", "market")


def sentence(seed: int, words: int = 40) -> str:
    """English-looking text without repetition that a compressor could use."""
    draw = random.Random(seed)
    return " ".join(f"{draw.choice(NOUNS)}{draw.randrange(10_000)}" for _ in range(words))


def passages(count: int) -> list[tuple[str, list[str]]]:
    return [(f"question about {sentence(number, 3)}", [sentence(10_000 + number)]) for number in range(count)]


def queries_of(out: Path) -> list[str]:
    return pq.read_table(out).column("query").to_pylist()


def listed(out: Path) -> list[tuple[int, str, str | None]]:
    lines = out.with_name(f"{out.stem}.removed.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [(row["row"], row["reason"], row["because_of"]) for row in rows]


def evaluation(folder: Path, texts: list[str], **options: Any) -> EvaluationTexts:
    folder.mkdir()
    (folder / "dev.jsonl").write_text(
        "".join(json.dumps({"id": f"id {at}", "text": text, "lang": "en"}) + "\n" for at, text in enumerate(texts))
    )
    found = EvaluationTexts(**options)
    found.read([folder], place=Place(cache_dir=str(folder.parent / "cache")))
    return found


def test_planted_rows_are_left_out_with_their_reason_and_the_others_stay(tmp_path: Path) -> None:
    rows = passages(30)
    leaked = sentence(77)
    rows[5] = (rows[2][0].upper(), ["  " + rows[2][1][0].replace(" ", "\n")])  # the same, written otherwise
    rows[8] = (rows[7][0], [rows[7][1][0] + " end"])  # one word more
    rows[11] = ("what is said", [f"before it {' '.join(leaked.split()[10:23])} and after it"])
    rows[12] = ("what is nearly said", [f"before it {' '.join(leaked.split()[10:22])} and after it"])
    rows[14] = ("Tell me: who wrote this", [rows[14][1][0]])
    rows[20] = ("Hello World", ["hello  world"])
    rows[21] = ("table", ["-" * 300])
    out = tmp_path / "out.parquet"
    against = evaluation(tmp_path / "eval", ["unrelated words of some length", leaked, "tell me who wrote this"])
    report = prepare(pairs_of(rows), out, against=against)
    gone = listed(out)
    assert gone == [
        (6, "exact duplicate", "row 3"),
        (9, "near duplicate", "row 8"),
        (12, "evaluation text: 13 words in a row", gone[2][2]),
        (15, "evaluation text: the same text", gone[3][2]),
        (21, "query is its own positive", None),
        (22, "repetitive", None),
    ]
    assert str(gone[2][2]).endswith("dev.jsonl, row 2")
    assert str(gone[3][2]).endswith("dev.jsonl, row 3")
    left = [query for at, (query, _) in enumerate(rows) if at + 1 not in {row for row, _, _ in gone}]
    assert queries_of(out) == left
    assert report["rows"] == {"read": 30, "written": 24}
    assert sum(report["removed"].values()) == 6
    assert json.loads((tmp_path / "out.report.json").read_text()) == json.loads(json.dumps(report, default=str))
    assert report["against"] == {"texts": 3, "words_in_a_row": 13, "min_words": 4}


def test_each_step_can_be_left_out(tmp_path: Path) -> None:
    rows = passages(4)
    rows[1], rows[3] = rows[0], (rows[2][0], [rows[2][1][0] + " end"])
    out = tmp_path / "out.parquet"
    for settings, kept in (
        (Preparation(), 2),
        (Preparation(near=None), 3),
        (Preparation(exact=False), 2),  # an exact duplicate is a near one too
        (Preparation(exact=False, near=None), 4),
        (Preparation(near=1.0), 3),
    ):
        assert prepare(pairs_of(rows), out, settings=settings)["rows"]["written"] == kept


def test_the_border_between_query_and_document_counts(tmp_path: Path) -> None:
    rows = [("a b", ["c d"]), ("a", ["b c d"]), ("a b", ["c", "d"])]
    assert prepare(pairs_of(rows), tmp_path / "out.jsonl", settings=Preparation(near=None))["rows"]["written"] == 3


def test_a_row_that_was_left_out_hides_no_other(tmp_path: Path) -> None:
    """The first of two equal rows is an evaluation text's: both go, neither is kept for the other."""
    leaked = sentence(5)
    rows = [
        ("q", [leaked]),
        ("q", [leaked]),
        ("x", ["y" * 20]),
        ("long " * 30, ["document"]),
        ("long " * 30, ["document"]),
    ]
    out = tmp_path / "out.parquet"
    filters = Filters(query_characters=(None, 50))
    report = prepare(
        pairs_of(rows), out, settings=Preparation(filters=filters), against=evaluation(tmp_path / "eval", [leaked])
    )
    assert queries_of(out) == ["x"]
    assert report["removed"]["query too long"] == 2


def test_other_columns_and_several_sources_stay_in_order(tmp_path: Path) -> None:
    first = pairs_of(passages(3)).add_column("source", ["a", "b", "c"])
    second = pairs_of([("other", ["document " + sentence(1)])], [["bad"]])
    out = tmp_path / "out.jsonl"
    prepare(join([first, second]), out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["source"] for row in rows] == ["a", "b", "c", None]
    assert rows[3]["negative"] == ["bad"]
    with pytest.raises(CorpusError, match="some sources hold pairs and some text"):
        join([first, datasets.Dataset.from_dict({"text": ["a"], "label": [None]})])


def test_plain_text(tmp_path: Path) -> None:
    texts = [sentence(1), sentence(2), sentence(1), "short"]
    data = datasets.Dataset.from_dict({"text": texts, "label": ["x", None, None, None]})
    out = tmp_path / "out.jsonl"
    settings = Preparation(filters=Filters(document_characters=(10, None), query_characters=(1000, None)))
    report = prepare(data, out, settings=settings)
    assert [json.loads(line)["text"] for line in out.read_text().splitlines()] == texts[:2]
    assert report["removed"] == {"exact duplicate": 1, "document too short": 1}


def test_the_old_result_stays_when_nothing_is_left(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("old")
    with pytest.raises(CorpusError, match=r"no row is left \(2 query too short\); loosen the filters"):
        prepare(pairs_of(passages(2)), out, settings=Preparation(filters=Filters(query_characters=(500, None))))
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize(
    ("filters", "row", "reason"),
    [
        (Filters(query_characters=(3, None)), ("  ab ", ["document"]), "query too short"),
        (Filters(query_characters=(3, 5)), ("abcdef", ["document"]), "query too long"),
        (Filters(document_characters=(3, None)), ("query", ["long enough", "no"]), "document too short"),
        (Filters(document_characters=(None, 5)), ("query", ["short", "longer"]), "document too long"),
        (Filters(query_characters=(3, 5), document_characters=(1, 8)), ("abcde", ["document"]), None),
        (Filters(query_tokens=(2, None)), ("one", ["a b"]), "query of too few tokens"),
        (Filters(document_tokens=(None, 2)), ("one", ["a b", "a b c"]), "document of too many tokens"),
        (Filters(query_tokens=(1, 1), document_tokens=(2, 2)), ("one", ["a b"]), None),
        (Filters(), ("Same  text", ["other", "same TEXT"]), "query is its own positive"),
        (Filters(different=False), ("same", ["same"]), None),
        (Filters(), ("query", ["na " * 100]), "repetitive"),
        (Filters(min_packed=0), ("query", ["na " * 100]), None),
        (Filters(), ("query", ["na " * 20]), None),
    ],
)
def test_each_filter(filters: Filters, row: tuple[str, list[str]], reason: str | None) -> None:
    rows = [Row(0, "fine", ["all good"]), Row(1, *row)]
    lenient = Filters(different=filters.different, min_packed=filters.min_packed)
    count = failing(rows, filters, lambda texts: [len(text.split()) for text in texts])
    assert count.get(1) == reason
    if reason is not None:
        assert failing(rows[:1], lenient) == {}


def test_languages_are_those_of_the_documents() -> None:
    texts = {
        "en": "Every person has the right to rest and leisure, including holidays with pay.",
        "de": "Jeder Mensch hat das Recht auf Erholung und Freizeit und auf bezahlten Urlaub.",
        "zh": "人人有享有休息和闲暇的权利,包括工作时间有合理限制和定期给薪休假的权利。",
        "??": "12 34",
    }
    rows = [Row(at, "Where is it?", [text]) for at, text in enumerate(texts.values())]
    assert failing(rows, Filters(languages=frozenset({"en"}))) == {1: "another language", 2: "another language"}
    assert failing(rows, Filters(languages=frozenset({"de", "zh"}))) == {0: "another language"}


def test_what_counts_as_contamination(tmp_path: Path) -> None:
    text = sentence(3, 30)
    against = evaluation(tmp_path / "eval", [text, "three words only", "Exactly four words, here"])
    assert against.texts == 2, "shorter ones are not looked for"
    cases = {
        text: "13 words in a row",
        " ".join(text.split()[5:18]): "13 words in a row",
        " ".join(text.split()[5:17]): None,
        "three words only": None,
        "EXACTLY four words – here!": "the same text",
        "Exactly four words here too": None,
    }
    from lusirag_training.preparation.words import word_keys, words_of

    for given, how in cases.items():
        match = against.find([word_keys(words_of("fine")), word_keys(words_of(given))])
        assert (match and match.how) == how, given


def test_evaluation_columns_are_guessed_or_named(tmp_path: Path) -> None:
    file = tmp_path / "eval.jsonl"
    file.write_text(json.dumps({"utterance": "four words stand here", "id": "another text of words"}) + "\n")
    place = Place(cache_dir=str(tmp_path / "cache"))
    against = EvaluationTexts()
    with pytest.raises(CorpusError, match="utterance, id; name them by --against-column"):
        against.read([file], place=place)
    against.read([file], columns=["utterance"], place=place)
    assert against.texts == 1


def test_settings_that_are_not_allowed() -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        Filters(query_characters=(9, 3), document_tokens=(None, 0), min_packed=1.0, languages=frozenset())
    for part in ("query_characters is 9:3", "document_tokens is None:0", "min_packed is 1.0", "languages is empty"):
        assert part in str(raised.value)
    with pytest.raises(InvalidArgumentError, match="1 <= min_words <= n"):
        EvaluationTexts(n=3, min_words=4)
