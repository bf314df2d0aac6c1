"""Runs the command line in this process and returns what a shell would see."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lusirag.cli.main import main

ROWS = [
    {"id": "a", "text": "Adults have the right to marry.", "lang": "en", "year": 1948},
    {"id": "b", "text": "Every person has a right to education.", "lang": "en", "year": 1949},
    {"id": "c", "text": "Каждый человек имеет право на отдых.", "lang": "ru", "year": 1950},
    {"id": "d", "text": "Kila mtu ana haki ya kupumzika.", "lang": "sw", "year": 1951},
]


@dataclass(frozen=True)
class Result:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_directory: Path) -> Run:
    """`run("search", index, "question")`; LUSIRAG_MODEL is the tiny model."""
    monkeypatch.setenv("LUSIRAG_MODEL", str(tiny_directory))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["lusirag", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        return Result(int(stopped.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Four documents in three languages."""
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), encoding="utf-8")
    return file


@pytest.fixture
def index(run: Run, corpus: Path, tmp_path: Path) -> Path:
    """An index of them."""
    directory = tmp_path / "index"
    result = run("index", corpus, "--out", directory)
    assert result.code == 0, result.err
    return directory
