"""The commands prepare, mine and cluster, one after another, as a shell would run them; and a run that is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from tokenizers import Tokenizer
from typer.testing import CliRunner

from lusirag.errors import CorpusError, InvalidArgumentError, ModelError
from lusirag_training.commands import cluster, mine, prepare
from tests.conftest import tiny_tokenizer

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, tiny_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("mine", source, "--out", file)`; the model is the tiny one."""
    monkeypatch.setenv("LUSIRAG_MODEL", str(tiny_directory))
    app = typer.Typer()
    for command in (prepare, mine, cluster):
        command.register(app)

    def call(*arguments: object) -> Result:
        given = [*map(str, arguments), "--cache-dir", str(tmp_path / "cache")]
        return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, given)

    return call


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """120 pairs, two of which are equal, under names of their own."""
    rows = [{"frage": f"which number is {n}", "antwort": f"it is {n * 7919} as everyone knows"} for n in range(119)]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[4]]), "utf-8")
    return file


NAMES = ("--column", "query=frage", "--column", "positive=antwort")


def read_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_from_raw_pairs_to_clusters_with_negatives(run: Run, source: Path, tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_text(json.dumps({"query": "WHICH number is 8?"}) + "\n")
    prepared, mined, clustered = (tmp_path / name for name in ("a.parquet", "b.parquet", "c.jsonl"))
    result = run("prepare", source, "--out", prepared, *NAMES, "--against", tmp_path / "dev.jsonl", "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == "", "no bar where nobody watches"
    report = json.loads(result.stdout)
    assert report["rows"] == {"read": 120, "written": 118}
    assert report["removed"] == {"exact duplicate": 1, "evaluation text: the same text": 1}
    assert report["sources"][0]["used"] == 120
    result = run("mine", prepared, "--out", mined, "--range", "0:50", "--max-ratio", 0, "-n", 3, "--quiet")
    assert result.exit_code == 0, result.output
    assert "118 rows, 354 negatives" in result.stdout
    result = run("cluster", mined, "--out", clustered, "-k", 3)
    assert result.exit_code == 0, result.output
    assert "118 rows in 3 clusters" in result.stdout
    rows = read_lines(clustered)
    assert {row["cluster"] for row in rows} == {0, 1, 2}
    assert all(len(row["negative"]) == 3 and row["positive"][0] not in row["negative"] for row in rows)


def test_tokens_are_counted_by_the_tokenizer_of_a_model(
    run: Run, source: Path, tmp_path: Path, tiny_directory: Path
) -> None:
    out = tmp_path / "out.jsonl"
    result = run("prepare", source, "--out", out, *NAMES, "--query-tokens", ":19", "--tokenizer", tiny_directory)
    assert result.exit_code == 0, result.output
    tokenizer: Tokenizer = tiny_tokenizer()
    kept = [row["query"] for row in read_lines(out)]
    expected = [f"which number is {n}" for n in range(119)]
    lengths = {query: len(tokenizer.encode(query, add_special_tokens=False).ids) for query in expected}
    assert kept == [query for query in expected if lengths[query] <= 19]
    assert 0 < len(kept) < 119


def test_a_corpus_of_its_own_and_a_cap(run: Run, source: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": f"text {n}"}) + "\n" for n in range(60)))
    out = tmp_path / "out.jsonl"
    options = ("--corpus", corpus, "--cap", 10, "--range", "0:9", "--max-ratio", 0, "--sampling", "hardest")
    result = run("mine", source, "--out", out, *NAMES, *options)
    assert result.exit_code == 0, result.output
    rows = read_lines(out)
    assert len(rows) == 10
    assert all(len(row["negative"]) == 7 and all(n.startswith("text ") for n in row["negative"]) for row in rows)


@pytest.fixture
def cross_encoder(tmp_path: Path) -> Callable[[int], Path]:
    """A tiny sequence classifier with so many outputs."""

    def save(labels: int) -> Path:
        import torch
        from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

        torch.manual_seed(0)
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        config = BertConfig(**sizes, vocab_size=256, num_labels=labels, pad_token_id=1)
        directory = tmp_path / f"cross-{labels}"
        network = BertForSequenceClassification(config)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        network.save_pretrained(directory)
        special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
        PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer(), **special).save_pretrained(directory)
        return directory

    return save


@pytest.mark.parametrize("labels", [1, 2])
def test_a_cross_encoder_scores_pairs_as_transformers_does(cross_encoder: Callable[[int], Path], labels: int) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from lusirag_training.preparation.reranking import CrossEncoder

    directory = cross_encoder(labels)
    texts = [f"text number {'x' * n}" for n in range(7)]
    scores = CrossEncoder(str(directory), batch_size=3, device="cpu").score("question", texts)
    network = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    for text, score in zip(texts, scores, strict=True):
        with torch.inference_mode():
            logits = network(**tokenizer("question", text, return_tensors="pt")).logits[0]
        expected = logits.sigmoid()[0] if labels == 1 else logits.softmax(-1)[1]
        assert score == pytest.approx(float(expected), abs=1e-5)
    assert scores.std() > 1e-4


def test_a_reranker_is_named_in_the_report(
    run: Run, source: Path, tmp_path: Path, cross_encoder: Callable[[int], Path]
) -> None:
    options = ("--cap", 12, "--range", "0:5", "-n", 2, "--reranker", cross_encoder(1), "--json")
    result = run("mine", source, "--out", tmp_path / "out.jsonl", *NAMES, *options)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["reranker"].endswith("cross-1")
    histogram = report["score_histogram"]["positive"]
    assert sum(histogram[:20]) == 0, "scores are chances"
    assert sum(histogram[20:]) == 12


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("mine", "--range", "30"), InvalidArgumentError, "--range 30: give LEAST:MOST"),
        (("mine", "--range", "30:"), InvalidArgumentError, "--range 30:: give FIRST:END"),
        (("mine", "--reranker", "./nothing"), ModelError, r"the reranker \./nothing cannot be loaded"),
        (("mine", "--corpus", "{source}"), CorpusError, "the columns are frage, antwort"),
        (("cluster", "--column", "query"), InvalidArgumentError, "--column query: give ROLE=COLUMN"),
        (("cluster", "--balance", "0.5"), InvalidArgumentError, r"balance is 0\.5"),
        (("prepare", "--query-characters", "a:b"), InvalidArgumentError, "--query-characters a:b: give LEAST:MOST"),
        (("prepare", "--query-tokens", "3:"), InvalidArgumentError, "--tokenizer goes with"),
        (("prepare", "--out", "{source}"), InvalidArgumentError, "is read as well; write to another file"),
        (("prepare", "--out", "out.csv"), InvalidArgumentError, r"allowed: \.parquet, \.jsonl"),
        (("prepare", "--near", "1.5"), InvalidArgumentError, r"near is 1\.5; give a similarity above 0"),
    ],
)
def test_what_is_refused(
    run: Run, source: Path, tmp_path: Path, arguments: tuple[str, ...], error: type[Exception], message: str
) -> None:
    command, *options = (argument.format(source=source) for argument in arguments)
    if "--out" not in options:
        options += ["--out", str(tmp_path / "out.jsonl")]
    names = () if "--column" in options else NAMES
    before = source.read_bytes()
    result = run(command, source, *names, *options)
    assert result.exit_code != 0, result.output
    assert isinstance(result.exception, error)
    assert re.search(message, str(result.exception))
    assert source.read_bytes() == before
    assert not (tmp_path / "out.jsonl").exists()


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from lusirag_training.data.reading import read_set
    from lusirag_training.preparation import preparing

    plain = preparing._kept_tables

    def tables(*arguments):
        yield from plain(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    preparing._kept_tables = tables
    columns = {"query": "frage", "positive": "antwort"}
    preparing.prepare(read_set(sys.argv[1], columns=columns, cache_dir=sys.argv[3]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_a_killed_run_leaves_the_old_result_and_the_next_one_finishes(
    run: Run, source: Path, tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"out.{ending}"
    out.write_text("old")
    environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(source), str(out), str(tmp_path / "cache")]
    killed = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert out.read_text() == "old"
    assert not (tmp_path / "out.report.json").exists()
    assert run("prepare", source, "--out", out, *NAMES).exit_code == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"out.{ending}", "out.report.json", "out.removed.jsonl", "pairs.jsonl", "cache"}
