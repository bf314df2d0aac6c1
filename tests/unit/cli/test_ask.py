"""`lusirag ask`: the answer and its citations on standard output, all else on standard error."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lusirag import Document, Embedder, Index
from lusirag.errors import ModelError
from lusirag.rag import Answerer, Message, loading
from tests.command_line import Run
from tests.unit.rag.tiny_language_model import write_language_model

DOCUMENTS = [
    Document(
        "https://example.org/laws/a-rather-long-address/that-does-not-fit-into-a-line-of-eighty/26",
        "Everyone has the right to education. It shall be free.",
        title="Education [bold]for[/bold] all", language="en", source="laws.jsonl", metadata={"year": 1948},
    ),
    Document("sw-26", "Kila mtu ana haki ya kupata elimu. Itolewe bure.", language="sw", metadata={"year": 1966}),
    Document("odd", "[/red] Каждый имеет право на отдых.", language="[/x]", metadata={"year": 1966}),
]  # fmt: skip
EDUCATION = DOCUMENTS[0].id


@pytest.fixture(scope="module")
def mini() -> Embedder:
    return Embedder.load("lusifer-mini", device="cpu")


@pytest.fixture(scope="module")
def laws(tmp_path_factory: pytest.TempPathFactory, mini: Embedder) -> Path:
    """Three documents, embedded by the embedded model."""
    directory = tmp_path_factory.mktemp("ask") / "index"
    with Index.create(directory, mini) as index:
        index.add(DOCUMENTS)
    return directory


class Scripted:
    """A generator that says what it is told."""

    name, context_tokens = "scripted", 10_000

    def __init__(self, *pieces: str | Exception | type[BaseException]) -> None:
        self.pieces = pieces

    def count_tokens(self, messages: Sequence[Message]) -> int:
        return sum(len(message["content"]) for message in messages)

    def generate(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
        for piece in self.pieces:
            if not isinstance(piece, str):
                raise piece
            yield piece


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`say("One ", "two.")`: what every generator answers from then on; returns what was asked of the loader."""
    asked: list[dict[str, Any]] = []

    def script(*pieces: Any) -> list[dict[str, Any]]:
        def load(spec: str, **options: Any) -> Scripted:
            asked.append({"spec": spec} | {name: value for name, value in options.items() if value is not None})
            return Scripted(*pieces)

        monkeypatch.setattr(loading, "load_generator", load)
        return asked

    return script


@pytest.fixture(autouse=True)
def _loaded(monkeypatch: pytest.MonkeyPatch, mini: Embedder) -> None:
    """The model is loaded once for all commands."""
    monkeypatch.setattr(Embedder, "load", lambda *_, **__: mini)


def show_on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output is a terminal."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


def test_the_best_sentence_and_where_it_stands(run: Run, laws: Path) -> None:
    result = run("ask", laws, "Who has a right to education?")
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        "Everyone has the right to education. [1]\n\n"
        f"[1]  en  Education [bold]for[/bold] all · {EDUCATION}, characters 0-36 · laws.jsonl\n"
    )
    assert run("ask", laws, "Nani ana haki ya kupata elimu?").out.startswith("Kila mtu ana haki ya kupata elimu. [1]\n")


def test_a_record(run: Run, laws: Path) -> None:
    result = run("ask", laws, "Who has a right to education?", "--json")
    assert (result.code, result.err) == (0, "")
    (record,) = result.records
    with Index.open(laws, read_only=True) as index:
        answer = Answerer(index).ask("Who has a right to education?")
    assert record == {
        "question": "Who has a right to education?", "answered": True, "refusal": None,
        "answer": "Everyone has the right to education. [1]", "language": "en", "generator": None,
        "relevance": pytest.approx(answer.relevance, abs=1e-4),
        "citations": [
            {
                "number": 1, "document_id": EDUCATION, "title": "Education [bold]for[/bold] all", "language": "en",
                "source": "laws.jsonl", "quote": "Everyone has the right to education.", "start": 0, "end": 36,
                "marked": True,
            }
        ],
        "passages": [
            {
                "number": found.number, "document_id": found.hit.document_id, "language": found.hit.language,
                "score": pytest.approx(found.hit.score, abs=1e-5), "start": found.start, "end": found.end,
            }
            for found in answer.passages
        ],
    }  # fmt: skip
    assert list(record) == [
        "question", "answered", "refusal", "answer", "language", "generator", "relevance", "citations", "passages",
    ]  # fmt: skip


def test_no_answer_is_no_failure(run: Run, laws: Path, say: Any, tmp_path: Path) -> None:
    result = run("ask", laws, "How do I bake bread?")
    assert (result.code, result.out) == (0, "")
    assert result.err.startswith("no answer: no passage is about the question (relevance ")
    assert "--min-relevance 0 answers all the same" in result.err
    assert run("ask", laws, "How do I bake bread?", "--min-relevance", 0).out
    record = run("ask", laws, "How do I bake bread?", "--json").records[0]
    assert (record["answered"], record["answer"], record["citations"]) == (False, "", [])
    assert record["refusal"] == "no passage is about the question"
    say("NO ", "ANSWER")
    result = run("ask", laws, "Who has a right to education?", "-g", "any:thing")
    assert (result.code, result.out, result.err) == (0, "", "no answer: the passages do not hold the answer\n")
    assert run("ask", laws, "x", "--where", "year > 2000").err == "no answer: no passage was found\n"


def test_a_generated_answer_on_a_pipe(run: Run, laws: Path, say: Any) -> None:
    asked = say("<think>hm</think>Everyone may ", "learn [1].")
    result = run("ask", laws, "Who has a right to education?", "-g", "openai:m", "--base-url", "http://x",
                 "--context-tokens", 9000, "--device", "cpu", "--dtype", "float32")  # fmt: skip
    assert (result.code, result.err) == (0, "")
    answer, blank, citation = result.out.splitlines()
    assert (answer, blank) == ("Everyone may learn [1].", "")
    assert citation.endswith(f"{EDUCATION}, characters 0-36 · laws.jsonl  Everyone has the right to education.")
    assert asked == [{"spec": "openai:m", "base_url": "http://x", "context_tokens": 9000}]
    asked.clear()
    run("ask", laws, "education", "-g", "transformers:m", "--device", "cpu, cpu", "--dtype", "float32")
    assert asked == [{"spec": "transformers:m", "device": "cpu", "dtype": "float32"}]


def test_what_is_wrong_with_citations_is_noted(run: Run, laws: Path, say: Any) -> None:
    say("Everyone has the right to education.")
    result = run("ask", laws, "Who has a right to education?", "-g", "any:thing")
    assert result.err == "the answer names no passage; these sentences are nearest to it:\n"
    assert result.out.count("\n") >= 3
    say("Bread is baked in an oven.")
    result = run("ask", laws, "Who has a right to education?", "-g", "any:thing")
    assert result.out == "Bread is baked in an oven.\n\n"
    assert result.err.startswith("the answer names no passage, and no sentence of the passages is near it: check it")


def test_a_terminal_shows_the_answer_as_it_comes(
    run: Run, laws: Path, say: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_on_terminal(monkeypatch)
    monkeypatch.setenv("COLUMNS", "60")
    written: list[str] = []
    write = sys.stdout.write
    monkeypatch.setattr(sys.stdout, "write", lambda text: written.append(text) or write(text))  # type: ignore[func-returns-value]
    say("<think>hm</think>", "Everyone ", "may learn [1].")
    result = run("ask", laws, "Who has a right to education?", "-g", "any:thing")
    assert written[:3] == ["Everyone ", "may learn [1].", "\n\n"]
    assert result.out.startswith("Everyone may learn [1].\n\n[1]  en  Everyone has the right to education.")
    assert EDUCATION in re.sub(r"\x1b\[\d+m|\s", "", result.out)
    record = run("ask", laws, "Who has a right to education?", "-g", "any:thing", "--json").records
    assert record[0]["answer"] == "Everyone may learn [1]."


def test_a_failure_on_a_terminal_begins_a_line(run: Run, laws: Path, say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    show_on_terminal(monkeypatch)
    say("Everyone ", ModelError("the model is gone"))
    result = run("ask", laws, "Who has a right to education?", "-g", "any:thing")
    assert (result.code, result.out, result.err) == (1, "Everyone \n", "error: the model is gone\n")


def test_on_a_pipe_half_an_answer_is_none(run: Run, laws: Path, say: Any) -> None:
    say("Everyone ", ModelError("the model is gone"))
    for more in ([], ["--json"]):
        result = run("ask", laws, "Who has a right to education?", "-g", "any:thing", *more)
        assert (result.code, result.out, result.err) == (1, "", "error: the model is gone\n")


def test_control_c_is_130(run: Run, laws: Path, say: Any) -> None:
    say("Everyone ", KeyboardInterrupt)
    assert run("ask", laws, "Who has a right to education?", "-g", "any:thing").code == 130


def test_what_looks_like_markup_is_shown_as_it_stands(run: Run, laws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    show_on_terminal(monkeypatch)
    result = run("ask", laws, "Каждый имеет право на отдых", "--min-relevance", 0)
    assert result.code == 0
    assert "[/x]" in result.out


def test_search_options(run: Run, laws: Path) -> None:
    for more in (["--where", "year = 1966"], ["--where", '{"year": 1966}'], ["--language", "sw"]):
        result = run("ask", laws, "Who has a right to education?", "--json", *more)
        assert [found["document_id"] for found in result.records[0]["citations"]] == ["sw-26"]
    assert len(run("ask", laws, "education", "--json", "-k", 1, "-l", "en").records[0]["passages"]) == 1
    swahili = run("ask", laws, "Who has a right to education?", "--answer-language", "sw", "--json").records[0]
    assert (swahili["language"], swahili["citations"][0]["document_id"]) == ("sw", "sw-26")
    hybrid = run("ask", laws, "right to education", "--mode", "hybrid", "--fusion", "rrf", "--json").records[0]
    assert hybrid["passages"][0]["score"] < 0.1


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--base-url", "http://x"], 2, "without a generator --base-url would change nothing; add --generator"),
        (["--max-tokens", "5", "--context-tokens", "9"], 2, "--context-tokens and --max-tokens would change nothing"),
        (["-g", "gpt"], 2, "the generator is 'gpt'; allowed: openai:..., transformers:..."),
        (["-g", "openai:m"], 2, "there is no API key: set OPENAI_API_KEY, or give base_url (--base-url)"),
        (["-g", "transformers:{tmp}/none"], 1, "cannot be loaded"),
        (["-g", "transformers:{tmp}", "--base-url", "x"], 2, "takes no base_url"),
        (["-g", "openai:m", "--base-url", "http://127.0.0.1:9/v1", "--max-tokens", "0"], 2, "max_tokens is 0"),
        (["-k", "0"], 2, "k is 0"),
        (["--min-relevance", "2"], 2, "min_relevance is 2.0"),
        (["--language", "fr"], 2, "no passage has the language 'fr'"),
        (["--where", "{"], 2, "--where begins like a JSON object"),
        (["--rerank", "{tmp}/none"], 1, "none"),
    ],
)
def test_wrong_use_is_one_line(
    run: Run, laws: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], code: int, message: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    result = run("ask", laws, "education", *(option.replace("{tmp}", str(tmp_path)) for option in options))
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert result.err.count("\n") == 1


def test_the_index_is_looked_at_before_a_model_is_loaded(run: Run, tmp_path: Path, say: Any) -> None:
    asked = say("x")
    result = run("ask", tmp_path / "nowhere", "x", "-g", "any:thing")
    assert (result.code, asked) == (1, [])
    assert "there is no index at" in result.err
    assert run("ask", tmp_path / "nowhere").code == 2


def test_an_empty_question(run: Run, laws: Path) -> None:
    result = run("ask", laws, " ")
    assert (result.code, result.err) == (2, "error: the query is empty; give a question or some words\n")


def test_help_names_the_kinds(run: Run) -> None:
    text = " ".join(run("ask", "--help").out.replace("│", " ").split())
    for part in ("openai:MODEL", "transformers:MODEL", "LUSIRAG_GENERATOR", "--min-relevance"):
        assert part in text


def test_a_real_model(run: Run, laws: Path, tmp_path: Path) -> None:
    model = write_language_model(tmp_path / "model")
    result = run("ask", laws, "education", "-g", f"transformers:{model}", "--max-tokens", 7, "--json")
    assert (result.code, result.records[0]["generator"]) == (0, str(model))
    assert "no room for passages" in run("ask", laws, "education", "-g", f"transformers:{model}", "--context-tokens",
                                         20).err  # fmt: skip


def test_control_c_ends_a_model_in_mid_answer(
    run: Run, laws: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_language_model(tmp_path / "model", max_position_embeddings=200_000)
    show_on_terminal(monkeypatch)
    interrupt = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    write = sys.stdout.write

    def begun(text: str) -> int:
        if interrupt.ident is None:
            interrupt.start()
        return write(text)

    monkeypatch.setattr(sys.stdout, "write", begun)
    result = run("ask", laws, "education", "-g", f"transformers:{model}", "--max-tokens", 100_000)
    assert result.code == 130
    assert result.out
    assert "Traceback" not in result.err
    assert not [thread for thread in threading.enumerate() if thread.name == "lusirag-generate"]
