"""`lusirag info --languages` over an index of the embedded model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.command_line import Run


@pytest.fixture
def mini_index(run: Run, tmp_path: Path) -> Path:
    rows = [
        {"id": "en", "text": "Everyone has the right to education. " * 30, "lang": "en"},
        {"id": "sw", "text": "Kila mtu ana haki ya kupata elimu.", "lang": "sw"},
        {"id": "long", "text": "Jeder hat das Recht auf Bildung. " * 120, "lang": "de"},
        {"id": "odd", "text": "ꔀ ꔁ ꔂ ꔃ ꔄ", "lang": "vai"},
    ]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "mini"
    assert run("index", corpus, "--out", out, "--model", "lusifer-mini", "--chunk-tokens", 0).code == 0
    return out


def test_table_and_warnings(run: Run, mini_index: Path) -> None:
    result = run("info", mini_index, "--languages")
    assert result.code == 0
    for language in ("en", "sw", "de", "vai"):
        assert f"\n  {language}  " in result.out
    assert "at most 1,000 passages of each language" in result.out
    assert "From all passages" in run("info", mini_index, "--languages", "--all").out
    warnings = result.err.splitlines()
    assert all(line.startswith("warning: ") for line in warnings)
    assert any("de: 100.0% of the passages are longer" in line for line in warnings)
    assert any(line.startswith("warning: vai: ") and "unknown" in line for line in warnings)
    assert not any("sw" in line for line in warnings)


def test_json_says_what_was_looked_at(run: Run, mini_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # the weights are not needed
    [report] = run("info", mini_index, "--languages", "--json").records
    figures = {each["language"]: each for each in report["languages"]}
    assert figures.keys() == {"en", "sw", "de", "vai"}
    assert {each["examined"] for each in figures.values()} == {1}
    assert figures["en"]["ratio"] == 1
    assert 0.15 < figures["en"]["tokens_per_character"] < 0.3
    assert figures["de"]["truncated_share"] == 1
    assert figures["vai"]["unknown_share"] > 0.3
    assert len(report["warnings"]) >= 2
    assert report["english"] == "the English passages of this index"


def test_wrong_use(run: Run, mini_index: Path) -> None:
    result = run("info", mini_index, "--all")
    assert result.code == 2
    assert "--all belongs to --languages" in result.err
    assert run("info", "nowhere", "--languages").code == 1
