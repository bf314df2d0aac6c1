"""The demo and the README's example, with the embedded model itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lusirag.embedding import catalog
from tests.command_line import Run

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ["en", "sw", "ta"]
ARTICLES = [4, 13, 26]


@pytest.fixture
def few_articles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's assets with nine articles and two questions, so that a test is quick."""
    assets = tmp_path / "assets"
    assets.mkdir()
    table = pq.read_table(catalog.ASSETS / "udhr.parquet")
    chosen = pc.and_(pc.is_in(table["language"], pa.array(LANGUAGES)), pc.is_in(table["article"], pa.array(ARTICLES)))
    pq.write_table(table.filter(chosen), assets / "udhr.parquet")
    questions = json.loads((catalog.ASSETS / "demo_questions.json").read_text("utf-8"))
    few = [question for question in questions if question["article"] in ARTICLES][:2]
    (assets / "demo_questions.json").write_text(json.dumps(few), "utf-8")
    monkeypatch.setattr(catalog, "ASSETS", assets)
    return assets


def test_demo_indexes_asks_and_says_what_to_do_next(run: Run, few_articles: Path, tmp_path: Path) -> None:
    result = run("demo", "--out", tmp_path / "demo")
    assert result.code == 0, result.err
    assert "9 articles in 3 languages" in result.out
    ranks = [int(rank) for rank in re.findall(r"Answer, found at rank (\d)", result.out)]
    assert result.out.count("Answer, ") == 2
    assert f"{len(ranks)} of 2 questions found" in result.out
    assert ranks, "the embedded model finds neither article among nine"
    assert "lusirag index my-files/ --out my-index" in result.out
    again = run("demo", "--out", tmp_path / "demo")
    assert again.code == 0
    assert again.out.count("Answer, ") == 2


def test_the_readme_example_runs_and_finds_the_passage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [example] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["(1, 384)", "1 sw Kila mtu ana haki ya kupata elimu. {'year': 1948}"]


def test_readme_commands_exist() -> None:
    from lusirag.cli.main import app

    named = set(re.findall(r"^\| `lusirag (\w+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    assert named == {entry.name for entry in [*app.registered_commands, *app.registered_groups]}
