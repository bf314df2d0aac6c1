"""--ann, --memory, --recall and --queries, and what info shows of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lusirag.index.ann import kinds, nearest
from tests.command_line import Run


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sixty documents, which count as many."""
    monkeypatch.setattr(kinds, "SMALLEST_SEGMENT", 20)
    monkeypatch.setattr(nearest, "EXACT_ROWS", 10)
    file = tmp_path / "large.jsonl"
    rows = [{"id": str(n), "text": f"Right number {n}. It is {n % 7}.", "lang": ("en", "ru")[n % 2]} for n in range(60)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_recall_is_measured_at_the_end_and_shown(run: Run, large: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    built = run("index", large, "--out", out, "--ann", "hnsw", "--language-field", "lang", "--json", "-q")
    assert built.code == 0, built.err
    facts = built.records[0]["ann"]
    assert facts["structures"] == {"HNSW32,SQ8": 1}
    assert {each["language"] for each in facts["languages"]} == {"en", "ru"}
    shown = run("info", out).out
    assert "hnsw: 1 x HNSW32,SQ8" in shown
    assert "recall@10" in shown
    assert run("info", out, "--json").records[0]["ann"] == facts
    again = run("index", large, "--out", out, "--language-field", "lang", "--json", "-q").records[0]["ann"]
    assert again == facts  # nothing changed, so nothing is measured again
    other = run("index", large, "--out", out, "--ann", "ivf", "--language-field", "lang")
    assert (other.code, "was begun with --ann hnsw" in other.err) == (2, True)


def test_storage_and_latency(run: Run, large: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    options = ("--language-field", "lang", "--vectors", "int8", "--latency", "0")
    built = run("index", large, "--out", out, *options)
    assert built.code == 0, built.err
    assert "HNSW32,SQ8" in built.out
    assert "ms here, more than the 0 of --latency; what would be quicker: --ann ivf-pq, more threads\n" in built.err
    facts = run("info", out, "--json").records[0]
    assert (facts["vectors"], facts["ann"]["latency_ms"]) == ("int8", 0)
    pq = ("--language-field", "lang", "--latency", "0", "--ann", "ivf-pq", "--recall", "0.5")
    slow = run("index", large, "--out", tmp_path / "pq", *pq)
    assert "what would be quicker: a lower --recall, more threads\n" in slow.err
    for option, value in (("--vectors", "float16"), ("--latency", "5")):
        other = run("index", large, "--out", out, "--language-field", "lang", option, value)
        assert (other.code, f"was begun with {option}" in other.err) == (2, True)
    wrong = run("index", large, "--out", tmp_path / "other", "--latency", "-1")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)


def test_recall_target_with_queries(run: Run, large: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.jsonl"
    queries.write_text('{"query": "education"}\n\n{"query": "rest", "language": "en"}\n')
    options = ("--ann", "hnsw", "--recall", "0.9", "--queries", queries, "--language-field", "lang", "--json", "-q")
    built = run("index", large, "--out", tmp_path / "index", *options)
    assert built.code == 0, built.err
    facts = built.records[0]["ann"]
    assert facts["recall_of"].items() >= {"k": 10, "queries": 2, "source": "given"}.items()
    assert facts["recall"] >= 0.9
    assert facts["settings"]["ef_search"] < 128


@pytest.mark.parametrize("content", ["", "\n", '{"text": "x"}\n', "plain\n", '{"query": 3}\n'])
def test_queries_that_are_none(run: Run, large: Path, tmp_path: Path, content: str) -> None:
    queries = tmp_path / "queries.jsonl"
    queries.write_text(content)
    failed = run("index", large, "--out", tmp_path / "index", "--queries", queries)
    assert (failed.code, failed.err.count("\n")) == (2, 1)
    assert "--queries" in failed.err
    assert not (tmp_path / "index").exists()


def test_what_cannot_be_is_refused_before_anything_is_written(run: Run, large: Path, tmp_path: Path) -> None:
    for options in (("--ann", "nonsense"), ("--memory", "much"), ("--memory", "1kB", "--ann", "flat")):
        failed = run("index", large, "--out", tmp_path / "index", *options)
        assert (failed.code, failed.err.count("\n")) == (2, 1), failed.err
        assert not (tmp_path / "index").exists()
