"""Bad input through the whole line, from `lusirag index` down: one line of words, and nothing is left half-written."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import Run

GOOD = '{"id": "good", "text": "a good row"}\n'
Make = Callable[[Path], object]


def jsonl(*lines: str | bytes) -> Make:
    data = b"".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    return lambda folder: (folder / "bad.jsonl").write_bytes(data)


def broken_on_line_2_507(folder: Path) -> None:
    with gzip.open(folder / "bad.jsonl.gz", "wt") as stream:
        for number in range(1, 2_507):
            stream.write(f'{{"id": "{number}", "text": "t"}}\n')
        stream.write('{"id": "broken", "text": \n')


FILES: dict[str, tuple[Make, str]] = {
    "a missing file": (lambda folder: None, "bad"),
    "an empty file": (jsonl(""), "empty"),
    "a Parquet file of 0 bytes": (lambda folder: (folder / "bad.parquet").touch(), "empty"),
    "a Parquet file cut short": (lambda folder: (folder / "bad.parquet").write_bytes(b"PAR1" + b"\0" * 99), "parquet"),
    "a folder with nothing to read": (lambda folder: (folder / "bad").mkdir(), "bad"),
    "an ending that means nothing": (lambda folder: (folder / "bad.docx").write_text("x"), ".jsonl"),
    "no field that could be the text": (jsonl('{"a": 1, "b": 2}\n'), "--text-field"),
}
ROWS: dict[str, tuple[Make, str]] = {
    "broken JSON": (jsonl('{"id": "x", "text": \n'), "line 2"),
    "no text": (jsonl('{"id": "x"}\n'), "line 2"),
    "null text": (jsonl('{"id": "x", "text": null}\n'), "line 2"),
    "white space for text": (jsonl('{"id": "x", "text": " \\n "}\n'), "line 2"),
    "a number for text": (jsonl('{"id": "x", "text": 17}\n'), "line 2"),
    "a list for text": (jsonl('{"id": "x", "text": ["a", "b"]}\n'), "line 2"),
    "a row that is no object": (jsonl("[1, 2]\n"), "line 2"),
    "an id given twice": (jsonl('{"id": "good", "text": "again"}\n'), "'good'"),
    "invalid UTF-8": (jsonl(b'{"id": "x", "text": "\xff\xfe"}\n'), "line 2"),
    "a NUL character": (jsonl('{"id": "x", "text": "a\\u0000b"}\n'), "line 2"),
    "a lone surrogate": (jsonl('{"id": "x", "text": "a\\ud800b"}\n'), "line 2"),
}


def written(make: Make, folder: Path) -> Path:
    """Make the source and return its path; a missing one has a name as well."""
    make(folder)
    return next(folder.glob("bad*"), folder / "bad.jsonl")


@pytest.mark.parametrize("kind", FILES)
def test_a_source_of_no_use_is_one_line_and_writes_nothing(run: Run, tmp_path: Path, kind: str) -> None:
    make, message = FILES[kind]
    source = written(make, tmp_path)
    for policy in ("stop", "skip"):
        result = run("index", source, "--out", tmp_path / "index", "--on-error", policy)
        assert result.code == 1
        assert result.err.startswith("error: ")
        assert result.err.count("\n") == 1
        assert message in result.err
        assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("kind", ROWS)
def test_a_bad_row_stops_with_its_place_or_is_skipped_and_counted(run: Run, tmp_path: Path, kind: str) -> None:
    make, place = ROWS[kind]
    source = written(make, tmp_path)
    source.write_bytes(GOOD.encode() + source.read_bytes() + GOOD.replace("good", "last").encode())
    stopped = run("index", source, "--out", tmp_path / "index")
    assert stopped.code == 1
    assert stopped.err.startswith("error: ")
    assert stopped.err.count("\n") == 1
    assert place in stopped.err
    assert "skip" in stopped.err
    [record] = run("index", source, "--out", tmp_path / "index", "--on-error", "skip", "--json").records
    assert record["documents"] == 2
    assert sum(record["skipped"].values()) == 1


def test_broken_json_behind_gzip_is_named_and_what_came_before_is_kept(run: Run, tmp_path: Path) -> None:
    broken_on_line_2_507(tmp_path)
    command = ("index", tmp_path / "bad.jsonl.gz", "--out", tmp_path / "index")
    stopped = run(*command)
    assert stopped.code == 1
    assert "line 2507" in stopped.err
    assert "--on-error skip" in stopped.err
    kept = json.loads(run("info", tmp_path / "index", "--json").out)
    assert kept["documents"] > 2_506 - 1024
    assert kept["complete"] is False
    [record] = run(*command, "--on-error", "skip", "--json").records
    assert record["documents"] == 2_506
    assert record["unchanged"] == kept["documents"]


def test_ten_megabytes_on_one_line_are_split_and_found(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "long.jsonl"
    source.write_text(json.dumps({"id": "long", "text": "x" * 10_000_000}) + "\n" + GOOD)
    [record] = run("index", source, "--out", tmp_path / "index", "--chunk-tokens", 0, "--json").records
    assert record["documents"] == record["passages"] == 2
    assert record["truncated"] == 1


@pytest.mark.skipif(
    os.geteuid() == 0, reason="root may write everywhere; the next test takes the error from the system"
)
def test_no_write_permission(run: Run, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    result = run("index", corpus, "--out", tmp_path / "locked" / "index")
    assert result.code == 1
    assert "ermission" in result.err


@pytest.mark.parametrize(("number", "words"), [(13, "no permission"), (28, "no space left"), (30, "read-only")])
def test_a_file_system_that_refuses_is_one_line(
    run: Run, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "vectors.arrow")

    monkeypatch.setattr(os, "fsync", refuse)
    result = run("index", corpus, "--out", tmp_path / "index")
    assert result.code == 1
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert words in result.err
    monkeypatch.undo()
    monkeypatch.setenv("LUSIRAG_QUIET", "1")
    assert not (tmp_path / "index" / "manifest.json").exists()
