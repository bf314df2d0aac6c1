"""`lusirag add`, `delete`, `compact` and `search --where` as a user types them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from lusirag import Index
from tests.command_line import ROWS, Run


@pytest.fixture
def more(tmp_path: Path) -> Path:
    """Two new documents and a new version of one that is there."""
    file = tmp_path / "more.jsonl"
    rows = [
        {"id": "e", "text": "Everyone has the right to life.", "lang": "en", "year": 1960},
        {"id": "f", "text": "Toute personne a droit au repos.", "lang": "fr", "year": 1961},
        ROWS[0] | {"year": 2000},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def ids(run: Run, index: Path, *arguments: object) -> set[str]:
    result = run("search", index, "right", "--json", *arguments)
    assert result.code == 0, result.err
    return {record["id"] for record in result.records}


def test_search_where(run: Run, index: Path) -> None:
    assert ids(run, index, "--where", "year >= 1950") == {"c", "d"}
    assert ids(run, index, "--where", '{"year": {"$gte": 1950}}', "--language", "sw") == {"d"}
    result = run("search", index, "right", "--where", "year > 3000")
    assert (result.code, result.out) == (0, "")
    assert "no passage meets" in result.err


def test_where_from_the_environment(run: Run, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUSIRAG_SEARCH_WHERE", "year = 1951")
    assert ids(run, index) == {"d"}


def test_add_puts_documents_to_those_that_are_there(run: Run, index: Path, more: Path) -> None:
    result = run("add", index, more, "--json")
    assert result.code == 0, result.err
    [record] = result.records
    assert (record["added"], record["replaced"], record["documents"], record["deleted"]) == (2, 1, 6, 0)
    assert ids(run, index) == {*"abcdef"}
    assert ids(run, index, "--where", "year = 2000") == {"a"}
    [record] = run("add", index, more, "--json").records
    assert (record["unchanged"], record["added"], record["replaced"], record["tokens"]) == (3, 0, 0, 0)
    assert "documents" in run("add", index, more).out


def test_index_asks_for_the_sources_that_were_added(run: Run, index: Path, corpus: Path, more: Path) -> None:
    added = run("add", index, more)
    assert f"`lusirag index` updates this index from all of {corpus} {more}" in added.err
    assert "from now on" not in run("add", index, more).err
    refused = run("index", corpus, "--out", index)
    assert refused.code == 1
    assert "more.jsonl" in refused.err
    assert ids(run, index) == {*"abcdef"}
    twice = run("index", corpus, more, "--out", index)
    assert (twice.code, "'a' is given twice" in twice.err) == (1, True)
    [record] = run("index", corpus, more, "--out", index, "--on-duplicate", "replace", "--json").records
    assert (record["documents"], record["deleted"]) == (6, 0)
    assert ids(run, index, "--where", "year = 2000") == {"a"}
    rows = more.read_text().splitlines(keepends=True)
    more.write_text("".join(rows[:2]))
    [record] = run("index", corpus, more, "--out", index, "--json").records
    assert (record["documents"], record["unchanged"], record["deleted"]) == (6, 5, 0)


def test_an_index_made_in_python_records_no_sources(run: Run, index: Path, more: Path, tmp_path: Path) -> None:
    with Index.open(index) as opened, Index.create(tmp_path / "other", opened.embedder):
        pass
    assert run("add", tmp_path / "other", more).code == 0
    assert json.loads(run("info", tmp_path / "other", "--json").out)["sources"] == []


def test_a_refused_add_records_no_sources(run: Run, index: Path, more: Path) -> None:
    result = run("add", index, more, "--on-duplicate", "error")
    assert result.code == 1
    assert "'a'" in result.err
    assert ids(run, index) == {*"abcd"}
    assert len(json.loads(run("info", index, "--json").out)["sources"]) == 1


def test_add_skips_what_is_there(run: Run, index: Path, more: Path) -> None:
    [record] = run("add", index, more, "--on-duplicate", "skip", "--json").records
    assert record["skipped"] == {"duplicate id": 1}
    assert ids(run, index, "--where", "year = 1948") == {"a"}


def test_add_from_standard_input(run: Run, index: Path, more: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(more.read_bytes())))
    [record] = run("add", index, "-", "--json").records
    assert record["documents"] == 6


def test_delete_by_id(run: Run, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("delete", index, "a", "nobody", "--json")
    assert result.records == [{"deleted": 1, "documents": 3}]
    assert "1 of the ids" in result.err
    monkeypatch.setattr(sys, "stdin", io.StringIO("b\n\nc\n"))
    assert run("delete", index, "-").out.split() == ["documents", "deleted", "2", "documents", "left", "1"]
    assert ids(run, index) == {"d"}


def test_delete_by_filter(run: Run, index: Path) -> None:
    assert run("delete", index, "a", "d", "--where", "year > 1949", "--json").records == [
        {"deleted": 1, "documents": 3}
    ]
    assert run("delete", index, "--where", '{"year": 1949}', "--json").records == [{"deleted": 1, "documents": 2}]
    assert ids(run, index) == {"a", "c"}


def test_compact_says_what_it_saved(run: Run, index: Path, more: Path) -> None:
    run("add", index, more)
    [record] = run("compact", index, "--json").records
    assert record["before"]["segments"] == 2
    assert record["before"]["deleted_passages"] == 1
    assert record["after"]["segments"] == 1
    assert record["after"]["deleted_passages"] == 0
    assert record["after"]["bytes"] < record["before"]["bytes"]
    assert "1 before, 1 after" in run("compact", index).out
    assert ids(run, index) == {*"abcdef"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "{index}", "rest", "--where", "yeer > 1"], 2, "year"),
        (["search", "{index}", "rest", "--where", "year"], 2, "true or false"),
        (["search", "{index}", "rest", "--where", "1=1) OR (1=1"], 2, "syntax error"),
        (["search", "{index}", "rest", "--where", '{"year": '], 2, "JSON"),
        (["search", "{index}", "rest", "--where", '{"year": "x"}'], 2, "int64"),
        (["delete", "{index}"], 2, "--where"),
        (["delete", "{index}", "--where", ""], 2, "empty"),
        (["delete", "{index}", "--where", "{}"], 2, "empty"),
        (["delete", "nowhere", "a"], 1, "nowhere"),
        (["delete"], 2, "DIR"),
        (["add", "{index}"], 2, "SOURCE"),
        (["add", "nowhere", "{corpus}"], 1, "nowhere"),
        (["add", "{index}", "nothing.jsonl"], 1, "nothing.jsonl"),
        (["add", "{index}", "{corpus}", "--on-duplicate", "perhaps"], 2, "replace"),
        (["compact", "nowhere"], 1, "nowhere"),
    ],
)
def test_wrong_use_gets_words_and_its_exit_code(
    run: Run, corpus: Path, index: Path, arguments: list[str], code: int, message: str
) -> None:
    result = run(*(part.replace("{index}", str(index)).replace("{corpus}", str(corpus)) for part in arguments))
    assert result.code == code
    assert message in result.err
    assert result.out == ""
    assert "Traceback" not in result.err
    assert ids(run, index) == {*"abcd"}


@pytest.mark.parametrize(("command", "message"), [("delete", "nothing was deleted"), ("compact", "nothing is lost")])
def test_interrupted_it_says_what_is_safe(
    run: Run, index: Path, monkeypatch: pytest.MonkeyPatch, command: str, message: str
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Index, command, interrupted)
    result = run(command, index, *(["a"] if command == "delete" else []))
    assert result.code == 130
    assert message in result.err
    assert ids(run, index) == {*"abcd"}


def test_an_interrupted_add_keeps_what_was_committed(
    run: Run, index: Path, more: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lusirag.cli import building

    def interrupted(*_: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "_state", interrupted)
    result = run("add", index, more)
    assert result.code == 130
    assert "the same command goes on" in result.err
    monkeypatch.undo()
    with Index.open(index) as opened:
        assert opened.verify().ok
        assert len(opened) == 6
