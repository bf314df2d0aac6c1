"""`lusirag search` with its later stages: reranking, diversity, one hit a document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lusirag.index import Index
from lusirag.retrieval import CrossEncoderReranker, Retriever
from tests.command_line import Run
from tests.cross_encoder import write_cross_encoder


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cross_encoder(tmp_path_factory.mktemp("cross-encoder"))


@pytest.fixture
def chunks(run: Run, tmp_path: Path) -> Path:
    """An index of 20 documents, split into several passages each."""
    corpus = tmp_path / "chunks.jsonl"
    texts = [" ".join(f"Sentence {at} of text {number}." for at in range(8)) for number in range(20)]
    corpus.write_text("".join(json.dumps({"id": f"d{at}", "text": text}) + "\n" for at, text in enumerate(texts)))
    assert run("index", corpus, "--out", tmp_path / "chunks", "--chunk-tokens", 40, "--overlap", 0).code == 0
    return tmp_path / "chunks"


def test_options_are_those_of_the_retriever(run: Run, chunks: Path, cross_encoder: Path) -> None:
    result = run(
        "search", chunks, "sentence 3", "-k", 4, "--json",
        "--rerank", cross_encoder, "--candidates", 30, "--diversity", 0.4, "--group",
    )  # fmt: skip
    assert (result.code, result.err) == (0, "")
    with Index.open(chunks) as index:
        retriever = Retriever(
            index,
            reranker=CrossEncoderReranker(cross_encoder),
            candidates=30,
            diversity=0.4,
            group_documents=True,
        )
        expected = retriever.search("sentence 3", 4)
    assert [record["id"] for record in result.records] == [hit.id for hit in expected]
    assert [record["score"] for record in result.records] == pytest.approx([hit.score for hit in expected], abs=1e-5)
    assert len({record["document_id"] for record in result.records}) == 4


def test_each_has_an_environment_variable(
    run: Run, chunks: Path, cross_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("search", chunks, "sentence 3", "-k", 6, "--json")
    plain = run(*command).records
    assert len({record["document_id"] for record in plain}) < 6
    monkeypatch.setenv("LUSIRAG_GROUP", "1")
    assert len({record["document_id"] for record in run(*command).records}) == 6
    monkeypatch.setenv("LUSIRAG_DIVERSITY", "0.9")
    assert run(*command).records == run(*command, "--diversity", 0.9).records != run(*command, "--diversity", 0).records
    monkeypatch.setenv("LUSIRAG_RERANK", str(cross_encoder))
    assert run(*command).records[0]["score"] != plain[0]["score"]
    monkeypatch.setenv("LUSIRAG_CANDIDATES", "5")
    assert "candidates is 5" in run(*command).err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--diversity", "2"], 2, "diversity is 2.0"),
        (["--candidates", "30"], 2, "candidates is 30"),
        (["--candidates", "0", "--group"], 2, "candidates is 0"),
        (["--rerank", "{index}/nowhere"], 1, "nowhere"),
        (["--rerank", "{index}"], 1, "cannot be loaded"),
        (["--rerank", "{cross_encoder}", "--device", "abacus"], 2, "abacus"),
    ],
)
def test_wrong_use_is_one_line(
    run: Run, chunks: Path, cross_encoder: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], code: int,
    message: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = run("search", chunks, "x", *(part.format(index=chunks, cross_encoder=cross_encoder) for part in options))
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert result.err.count("\n") == 1
