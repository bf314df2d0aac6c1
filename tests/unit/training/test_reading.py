"""`read_set`: every format gives the same rows; what cannot be used is named; draws are seeded."""

from __future__ import annotations

import gzip
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from lusirag.errors import CorpusError, InvalidArgumentError
from lusirag_training.data.reading import Place, read_set, read_with_report

ROWS = [
    {"query": "who wrote it", "positive": ["Ann did.", "It was Ann."], "negative": ["Bob slept."], "cluster": 3},
    {"query": 'café, "when"', "positive": ["In 1948."], "negative": [], "cluster": 0},
    {"query": "NA", "positive": ["null"], "negative": ["None", "nan"], "cluster": -1},
]
Read = Callable[..., datasets.Dataset]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    return lambda source, **options: read_set(source, cache_dir=tmp_path / "cache", **options)


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"query": f"q{number}", "positive": f"p{number}"} for number in range(count)]


def write_all_formats(folder: Path) -> dict[str, Path]:
    folder.mkdir()
    table = pa.Table.from_pylist(ROWS)
    names = ("jsonl", "json", "parquet", "arrow", "gz", "zst", "saved", "stream")
    files = {name: folder / f"rows.{name}" for name in names}
    files["gz"], files["zst"] = folder / "packed.jsonl.gz", folder / "packed.jsonl.zst"
    files["stream"] = folder / "stream.arrow"
    files["jsonl"].write_text(lines(ROWS), "utf-8")
    files["json"].write_text(json.dumps(ROWS), "utf-8")
    files["gz"].write_bytes(gzip.compress(lines(ROWS).encode()))
    files["zst"].write_bytes(zstandard.compress(lines(ROWS).encode()))
    pq.write_table(table, files["parquet"])
    for name, open_file in (("arrow", pa.ipc.new_file), ("stream", pa.ipc.new_stream)):
        with open_file(files[name], table.schema) as writer:
            writer.write_table(table)
    datasets.Dataset.from_list(ROWS).save_to_disk(files["saved"])
    return files


@pytest.mark.parametrize("form", ["jsonl", "json", "parquet", "arrow", "gz", "zst", "saved", "stream"])
def test_every_format_gives_the_same_rows(read: Read, tmp_path: Path, form: str) -> None:
    rows = read(write_all_formats(tmp_path / "in")[form])
    assert rows.to_list() == ROWS
    assert rows.column_names == ["query", "positive", "negative", "cluster"]
    assert rows.cache_files, "the rows are memory-mapped"


@pytest.mark.parametrize(("ending", "mark"), [(".csv", ","), (".tsv", "\t")])
def test_words_of_a_table_that_look_like_missing_values_stay_words(
    read: Read, tmp_path: Path, ending: str, mark: str
) -> None:
    file = tmp_path / f"rows{ending}"
    cells = [["query", "positive", "cluster"], ["NA", "null", "1"], ['"a, b"', '"two\nlines"', ""], ["nan", "007", "2"]]
    file.write_text("".join(mark.join(row) + "\n" for row in cells), "utf-8")
    rows = read(file)
    assert rows["query"][:] == ["NA", "a, b", "nan"]
    assert rows["positive"][:] == [["null"], ["two\nlines"], ["007"]]
    assert rows["cluster"][:] == [1, -1, 2]
    assert rows["negative"][:] == [[], [], []]


def test_a_string_a_list_and_both_in_one_column(read: Read, tmp_path: Path) -> None:
    file = tmp_path / "mixed.jsonl"
    file.write_text(
        lines([{"query": "a", "pos": "x"}, {"query": "b", "pos": ["y", " ", "z"], "neg": ["n", None, ""]}]), "utf-8"
    )
    rows = read(file)
    assert rows["positive"][:] == [["x"], ["y", "z"]]
    assert rows["negative"][:] == [[], ["n"]]


def test_columns_are_told_by_the_user_and_others_are_dropped(read: Read, tmp_path: Path) -> None:
    file = tmp_path / "faq.jsonl"
    file.write_text(lines([{"question": "q", "answer": "a", "text": "other", "source": "faq", "id": 4}]), "utf-8")
    rows = read(file, columns={"query": "question", "positive": "answer"})
    assert rows.to_list() == [{"query": "q", "positive": ["a"], "negative": [], "cluster": -1, "source": "faq"}]


def test_text_and_its_label_in_words(read: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plain = tmp_path / "plain.jsonl"
    plain.write_text(lines([{"text": "a", "label": "news"}, {"text": "b", "label": " "}]), "utf-8")
    assert read(plain).to_list() == [{"text": "a", "label": "news"}, {"text": "b", "label": None}]
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["sport", "art"])}
    )
    named = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    named.save_to_disk(tmp_path / "named")
    assert read(tmp_path / "named")["label"][:] == ["art", "sport", None]
    numbers = tmp_path / "numbers.jsonl"
    numbers.write_text(lines([{"text": "a", "label": 1}]), "utf-8")
    with caplog.at_level(logging.WARNING):
        assert read(numbers)["label"][:] == [None]
    assert "numbers without names" in caplog.text


def test_a_folder_and_a_pattern_are_read_in_order_with_their_own_columns(read: Read, tmp_path: Path) -> None:
    folder = tmp_path / "in [1]"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.jsonl").write_text(lines([{"query": "1", "positive": "one", "source": "s"}]), "utf-8")
    (folder / "deep" / "b.csv").write_text("query,pos\n2,two\n", "utf-8")
    (folder / ".hidden.jsonl").write_text("not json", "utf-8")
    (folder / "README.md").write_text("words", "utf-8")
    rows = read(folder)
    assert [(row["query"], row["positive"], row["source"]) for row in rows] == [
        ("1", ["one"], "s"),
        ("2", ["two"], None),
    ]
    assert read(str(tmp_path / "*" / "*.jsonl"))["query"][:] == ["1"]


def test_a_row_without_a_query_stops_and_names_file_and_row(read: Read, tmp_path: Path) -> None:
    rows = numbered(2500)
    rows[1700]["query"] = " \n"
    rows[2300]["positive"] = ""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text(lines(numbered(10)), "utf-8")
    (tmp_path / "in" / "b.jsonl").write_text(lines(rows), "utf-8")
    with pytest.raises(CorpusError, match=r"b\.jsonl, row 1701: query is empty; .*on_error=skip"):
        read(tmp_path / "in")


def test_skipped_rows_are_counted_also_when_they_were_read_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = numbered(2500)
    rows[1700]["query"] = None
    rows[2300]["positive"] = ""
    rows[2301] |= {"query": "", "positive": ""}
    file = tmp_path / "rows.jsonl"
    file.write_text(lines(rows), "utf-8")
    place = Place(cache_dir=str(tmp_path / "cache"))
    for _ in range(2):
        caplog.clear()
        data, report = read_with_report(file, place, on_error="skip")
        assert (report.rows, report.used) == (2500, 2497)
        assert report.skipped == {"query is empty": 2, "positive is empty": 1}, "a row counts once"
        assert "3 of 2500 rows left out" in caplog.text
        assert "q1700" not in data["query"][:]


def test_a_cap_draws_by_the_seed_without_replacement_and_keeps_the_order(read: Read, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, rows in (("a", numbered(300)), ("b", [{"query": f"q{n}", "positive": "p"} for n in range(300, 700)])):
        (tmp_path / "in" / f"{name}.jsonl").write_text(lines(rows), "utf-8")
    drawn = {seed: [int(q[1:]) for q in read(tmp_path / "in", cap=100, seed=seed)["query"]] for seed in (0, 1)}
    assert drawn[0] != drawn[1]
    for numbers in drawn.values():
        assert len(set(numbers)) == 100
        assert numbers == sorted(numbers)
        assert 20 < sum(number < 300 for number in numbers) < 66, "all rows have the same chance"
    for seed, numbers in drawn.items():
        assert set(numbers) == set(np.random.default_rng(seed).choice(700, size=100, replace=False).tolist())
    assert drawn[0] == [int(q[1:]) for q in read(tmp_path / "in", cap=100)["query"]], "seed 0 is the default"
    assert read(tmp_path / "in", cap=1000).num_rows == 700


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(lines(numbered(3)), "utf-8")
    first = read(file)
    assert read(file).cache_files == first.cache_files
    file.write_text(lines(numbered(5)), "utf-8")
    assert read(file).num_rows == 5


def test_a_stream_is_shuffled_by_the_seed_and_capped(read: Read, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(lines(numbered(3000)), "utf-8")
    first, again, other = (read(file, streaming=True, cap=50, seed=seed)["query"][:] for seed in (0, 0, 1))
    assert first == again != other
    assert len(set(first)) == 50
    assert first != [f"q{number}" for number in range(50)]
    assert read(file, streaming=True, cap=9999).num_rows == 3000
    bad = tmp_path / "bad.jsonl"
    bad.write_text(lines([{"query": "a", "positive": "b"}, {"query": "", "positive": "c"}]), "utf-8")
    assert read(bad, streaming=True, cap=2, on_error="skip")["query"][:] == ["a"]
    with pytest.raises(CorpusError, match="query is empty"):
        read(bad, streaming=True, cap=2)


def test_a_stream_takes_no_more_than_it_needs(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0

    def rows() -> Any:
        nonlocal taken
        for taken in range(1, 1_000_000):
            yield {"query": f"q{taken}", "positive": "p"}

    endless = datasets.IterableDataset.from_generator(rows)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: endless)
    assert read("owner/endless", streaming=True, cap=20).num_rows == 20
    assert taken < 11_000, "the shuffling window and the rows that are kept"


def test_a_hub_name_is_handed_on_with_its_options(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(*arguments: Any, **options: Any) -> datasets.Dataset:
        asked.append((arguments, options))
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(datasets, "load_dataset", load)
    rows = read("owner/name", split="dev", subset="en", revision="v2")
    assert rows.to_list() == ROWS
    (arguments, options) = asked[0]
    assert arguments == ("owner/name",)
    expected = {"split": "dev", "name": "en", "revision": "v2", "cache_dir": str(tmp_path / "cache")}
    assert options == expected


def test_local_files_only_reads_what_was_downloaded_and_asks_no_network(read: Read, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(lines(ROWS), "utf-8")
    read(file)
    # What a download leaves: owner___name/<subset>/<version>/<hash>/name-<split>.arrow
    cache = tmp_path / "cache"
    made = next(path for path in cache.glob("json/*/*") if path.is_dir())
    target = cache / "owner___name" / "default" / "0.0.0" / "abc"
    shutil.copytree(made, target)
    (target / "json-train.arrow").rename(target / "name-train.arrow")
    info = json.loads((target / "dataset_info.json").read_text())
    info |= {"dataset_name": "name", "config_name": "default"}
    (target / "dataset_info.json").write_text(json.dumps(info))
    assert read("owner/name", local_files_only=True).to_list() == ROWS
    with pytest.raises(CorpusError, match="owner/other: cannot be read"):
        read("owner/other", local_files_only=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"question": "a"}\n', r"rows\.jsonl: the columns are question; needed are query and positive, or text"),
        ('{"query": "a"}\n', "needed are query and positive"),
        ('{"query": "a", "positive": "b", "pos": "c"}\n', "positive and pos could both be the positive"),
        (
            '{"query": "a", "positive": {"text": "b"}}\n',
            r"column 'positive' \(positive\) holds struct.*must hold strings",
        ),
        ('{"query": 1.5, "positive": "b"}\n', r"column 'query' \(query\) holds double; it must hold strings"),
        ('{"query": "a", "positive": "b", "cluster": "x"}\n', r"column 'cluster' .*must hold whole numbers"),
        ('{"query": "a", "positive": "b"}\n{oops\n', r"rows\.jsonl: cannot be read .*JSON parse error"),
        ("", r"rows\.jsonl: the file is empty"),
        ('{"query": "", "positive": "b"}\n', "row 1: query is empty"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(read: Read, tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(content, "utf-8")
    with pytest.raises(CorpusError, match=message) as raised:
        read(file)
    assert "\n" not in str(raised.value)


def test_sources_that_are_none(read: Read, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "rows.xyz").write_text("a")
    for source, message in (
        (tmp_path / "gone.jsonl", "no such file or folder"),
        ("gone.jsonl", "no such file or folder"),
        (str(tmp_path / "*.jsonl"), "no file of that pattern"),
        (tmp_path / "empty", "holds nothing that can be read; known endings: .jsonl"),
        (tmp_path / "rows.xyz", "cannot tell the format"),
    ):
        with pytest.raises(CorpusError, match=message):
            read(source)


def test_files_of_two_kinds_are_not_mixed(read: Read, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text(lines(numbered(1)))
    (tmp_path / "in" / "b.jsonl").write_text(lines([{"text": "b"}]))
    with pytest.raises(CorpusError, match="some files hold pairs and some text"):
        read(tmp_path / "in")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cap": 0}, "cap is 0; give 1 or more"),
        ({"seed": -1}, "seed is -1"),
        ({"streaming": True}, "streaming needs a cap"),
        ({"on_error": "ignore"}, "allowed: stop, skip"),
        ({"columns": {"question": "query"}}, "which are no roles; allowed: query, positive"),
        ({"split": "dev"}, "local file or folder: it has no split"),
    ],
)
def test_options_that_are_not_allowed(read: Read, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(lines(numbered(1)))
    with pytest.raises(InvalidArgumentError, match=message):
        read(file, **options)
    with pytest.raises(CorpusError, match="there is no column 'question' for query"):
        read(file, columns={"query": "question"})


def test_a_saved_set_of_several_splits(read: Read, tmp_path: Path) -> None:
    parts = {"train": datasets.Dataset.from_list(ROWS[:1]), "dev": datasets.Dataset.from_list(ROWS[1:])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    before = sorted(path.name for path in (tmp_path / "saved").rglob("*"))
    assert read(tmp_path / "saved", split="dev").to_list() == ROWS[1:]
    assert sorted(path.name for path in (tmp_path / "saved").rglob("*")) == before, "nothing is written beside it"
    with pytest.raises(CorpusError, match="no split 'test'; it has train, dev"):
        read(tmp_path / "saved", split="test")
