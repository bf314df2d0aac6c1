"""The demo and the README's example, with the embedded model itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from transformers import Qwen3ForCausalLM, XLMRobertaModel

from lusirag.embedding import catalog
from lusirag.model import LusiferModel
from tests.command_line import Run
from tests.conftest import DECODERS, ENCODERS
from tests.published import adapted_model, write_published

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


def run_readme_examples(*numbers: int) -> None:
    """Run some of them, one after the other in one session."""
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for number in numbers:
        exec(compile(examples[number], "README.md", "exec"), names)  # noqa: S102


def test_the_readme_examples_of_an_index_run_and_find_the_passages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_readme_examples(0, 1, 2, 3)
    assert capsys.readouterr().out.splitlines() == [
        "(1, 384)",
        "1 sw Kila mtu ana haki ya kupata elimu. {'year': 1948}",
        "['1', '2']",
        "2",
        "Men and women of full age have the right to marry. [1] [('2', 0, 50)]",
        "no passage is about the question",
    ]


def test_the_readme_example_of_langchain_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_readme_examples(5)
    assert capsys.readouterr().out == "Kila mtu ana haki ya kupata elimu.\n"


def test_the_readme_example_of_llama_index_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import llama_index.core

    # LlamaIndex's own tokenizer is loaded from the network.
    monkeypatch.setattr(llama_index.core, "global_tokenizer", str.split)
    monkeypatch.setattr(llama_index.core.Settings, "_tokenizer", str.split)
    monkeypatch.chdir(tmp_path)
    run_readme_examples(6)
    assert capsys.readouterr().out == "Kila mtu ana haki ya kupata elimu.\n"


def test_the_readme_example_of_models_runs_on_a_hub_of_tiny_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = {
        "Hieuman/LUSIFER": write_published(tmp_path / "published", adapted_model()),
        "intfloat/multilingual-e5-large": tmp_path / "encoder",
        "Qwen/Qwen3-0.6B": tmp_path / "decoder",
    }
    XLMRobertaModel(ENCODERS["xlm-roberta"]()).save_pretrained(tmp_path / "encoder")
    Qwen3ForCausalLM(DECODERS["qwen3"]()).save_pretrained(tmp_path / "decoder")
    monkeypatch.setattr("lusirag.model.source.snapshot_download", lambda name, **_: str(hub[name]))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    run_readme_examples(4)
    trained = sum(file.stat().st_size for file in (tmp_path / "work" / "my-adapters").iterdir())
    whole = sum(file.stat().st_size for file in (tmp_path / "work" / "my-model").iterdir())
    assert trained > 0
    assert whole > 0
    assert LusiferModel.from_pretrained(tmp_path / "work" / "my-model").config.lora is None


def test_the_readme_example_of_evaluation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    run_readme_examples(7)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["udhr, x2en, sw", "udhr, en2x, sw"]
    assert all(0.8 < float(line.split()[-3]) < 1 for line in lines)


def test_readme_commands_exist() -> None:
    from lusirag.cli.main import program

    app = program()
    named = set(re.findall(r"^\| `lusirag (\w+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    assert named == {entry.name for entry in [*app.registered_commands, *app.registered_groups]}
