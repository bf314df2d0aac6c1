"""Every command as a user types it: results, exit codes, one-line errors."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lusirag import Index
from tests.command_line import ROWS, Run


def test_index_reports_what_it_did(run: Run, corpus: Path, tmp_path: Path) -> None:
    [record] = run("index", corpus, "--out", tmp_path / "index", "--json").records
    assert record["documents"] == record["added"] == record["passages"] == 4
    assert record["languages"] == {"en": 2, "ru": 1, "sw": 1}
    assert record["tokens"] > 0
    assert record["skipped"] == {}


def test_index_again_embeds_only_what_changed(run: Run, corpus: Path, tmp_path: Path) -> None:
    command = ("index", corpus, "--out", tmp_path / "index", "--json")
    run(*command)
    changed = [ROWS[0], ROWS[1] | {"text": "New words."}, ROWS[3] | {"id": "e"}]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in changed))
    [record] = run(*command).records
    assert (record["unchanged"], record["replaced"], record["added"], record["deleted"]) == (1, 1, 1, 2)
    assert record["documents"] == 3


def test_search_prints_hits_as_json(run: Run, index: Path) -> None:
    result = run("search", index, ROWS[0]["text"], "-k", 2, "--json")
    assert result.code == 0
    assert len(result.records) == 2
    assert set(result.records[0]) >= {"id", "score", "text", "title", "language", "source", "metadata", "document_id"}
    scores = [record["score"] for record in result.records]
    assert scores == sorted(scores, reverse=True)
    found = {row["id"]: row for row in ROWS}[result.records[0]["id"]]
    assert result.records[0]["metadata"] == {"year": found["year"]}
    assert result.records[0]["text"] == found["text"]


def test_search_prints_a_table_for_a_person(run: Run, index: Path) -> None:
    result = run("search", index, "right to rest")
    assert result.code == 0
    for row in ROWS:
        assert str(row["text"]) in result.out


def test_search_in_some_languages(run: Run, index: Path) -> None:
    result = run("search", index, "rest", "--language", "ru", "--language", "sw", "--json")
    assert {record["language"] for record in result.records} == {"ru", "sw"}


def test_k_larger_than_the_corpus_gives_all(run: Run, index: Path) -> None:
    assert len(run("search", index, "rest", "-k", 1000, "--json").records) == 4


def test_a_query_of_100_000_characters(run: Run, index: Path) -> None:
    assert len(run("search", index, "right " * 17_000, "--json").records) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "{index}", "rest", "-k", "0"], 2, "k "),
        (["search", "{index}", "rest", "-k", "-3"], 2, "k "),
        (["search", "{index}", "  "], 2, "query"),
        (["search", "{index}", "rest", "--language", "xx"], 2, "ru"),
        (["search", "{index}", "rest", "--mode", "telepathy"], 2, "dense"),
        (["search", "nowhere", "rest"], 1, "nowhere"),
        (["info", "nowhere"], 1, "nowhere"),
        (["verify", "nowhere"], 1, "nowhere"),
        (["index", "nothing.jsonl", "--out", "new"], 1, "nothing.jsonl"),
        (["index", "{corpus}", "--out", "new", "--text-field", "words"], 1, "lang"),
        (["index", "{corpus}", "--out", "new", "--model", "no-such-model"], 1, "lusifer-mini"),
        (["index", "{corpus}", "--out", "new", "--chunk-tokens", "4"], 2, "chunk"),
        (["index", "{corpus}", "--out", "{index}", "--chunk-tokens", "20"], 2, "--overwrite"),
        (["index", "{corpus}"], 2, "--out"),
        (["index", "{corpus}", "--out", "new", "--device", "abacus"], 2, "abacus"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_wrong_use_gets_words_and_its_exit_code(
    run: Run, corpus: Path, index: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    result = run(*(part.format(index=index, corpus=corpus) for part in arguments))
    assert result.code == code
    assert message in result.err
    assert result.out == ""
    assert "Traceback" not in result.err
    assert not (Path.cwd() / "new").exists()


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def test_errors_are_one_line(run: Run) -> None:
    result = run("info", "nowhere")
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from lusirag import LusiragError
    from lusirag.cli.main import main

    monkeypatch.setattr(sys, "argv", ["lusirag", "--debug", "info", "nowhere"])
    with pytest.raises(LusiragError):
        main()


def test_a_directory_that_is_no_index_is_left_alone(run: Run, corpus: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "letter.txt").write_text("dear")
    result = run("index", corpus, "--out", precious)
    assert result.code == 1
    assert "not a lusirag index" in result.err
    assert [file.name for file in precious.iterdir()] == ["letter.txt"]


def test_an_index_of_other_sources_is_not_overwritten_unasked(run: Run, index: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"id": "x", "text": "something else"}\n')
    refused = run("index", other, "--out", index)
    assert refused.code == 1
    assert "--overwrite" in refused.err
    assert json.loads(run("info", index, "--json").out)["documents"] == 4
    assert run("index", other, "--out", index, "--overwrite").code == 0
    assert json.loads(run("info", index, "--json").out)["documents"] == 1


def test_an_index_made_with_another_model_is_refused(
    run: Run, corpus: Path, index: Path, tmp_path: Path, save_tiny_model: object
) -> None:
    other = save_tiny_model(tmp_path / "other-model", projection="linear", embedding_size=32)  # type: ignore[operator]
    result = run("index", corpus, "--out", index, "--model", other)
    assert result.code == 1
    assert "other-model" in result.err


def test_a_bad_line_stops_or_is_skipped_and_named(run: Run, corpus: Path, tmp_path: Path) -> None:
    with corpus.open("a") as stream:
        stream.write('{"id": "bad", "text": \n{"id": "a", "text": "the id again"}\n{"id": "f", "text": "last"}\n')
    stopped = run("index", corpus, "--out", tmp_path / "index")
    assert stopped.code == 1
    assert "line 5" in stopped.err
    assert "--on-error skip" in stopped.err
    [record] = run("index", corpus, "--out", tmp_path / "index", "--on-error", "skip", "--json").records
    assert record["documents"] == 5
    assert sum(record["skipped"].values()) == 2


def test_a_duplicate_id_is_named(run: Run, corpus: Path, tmp_path: Path) -> None:
    with corpus.open("a") as stream:
        stream.write('{"id": "b", "text": "the id again"}\n')
    result = run("index", corpus, "--out", tmp_path / "index")
    assert result.code == 1
    assert "'b'" in result.err


def test_standard_input(run: Run, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(corpus.read_bytes())))
    [record] = run("index", "-", "--out", tmp_path / "index", "--json").records
    assert record["documents"] == 4


def test_info_and_verify(run: Run, index: Path) -> None:
    [facts] = run("info", index, "--json").records
    assert facts["documents"] == 4
    assert facts["columns"] == {"year": "int64"}
    assert facts["complete"] is True
    assert "documents" in run("info", index).out
    assert run("verify", index).code == 0
    vectors = next(index.glob("segments/*/vectors.arrow"))
    damaged = bytearray(vectors.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    vectors.write_bytes(damaged)
    result = run("verify", index)
    assert result.code == 1
    assert "vectors.arrow" in result.err


def test_embed_writes_vectors(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    records = run("embed", "one", "two", "--json").records
    assert [record["text"] for record in records] == ["one", "two"]
    assert all(len(record["vector"]) == 32 for record in records)
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\ntwo\n"))
    assert run("embed", "--json").records == records
    assert run("embed", "one", "--json", "--role", "document").records != records[:1]
    assert "32 values" in run("embed", "one").out


def test_embed_writes_smaller_vectors(run: Run) -> None:
    [short] = run("embed", "one", "--json", "--dimension", 8).records
    assert len(short["vector"]) == 8
    [whole] = run("embed", "one", "--json", "--precision", "int8").records
    assert max(map(abs, whole["vector"])) == 127
    [bits] = run("embed", "one", "--json", "--precision", "binary").records
    assert len(bits["vector"]) == 4
    assert "32 values" in run("embed", "one", "--precision", "int8").out


def test_several_devices_are_named_with_commas(run: Run) -> None:
    expected = run("embed", "one", "two", "--json").records
    for record, other in zip(
        run("embed", "one", "two", "--json", "--device", "cpu,cpu").records, expected, strict=True
    ):
        assert record["vector"] == pytest.approx(other["vector"], abs=1e-5)
    assert run("embed", "one", "--device", "cpu,nowhere").code == 1


def test_an_index_of_shorter_vectors_is_searched_with_them(run: Run, corpus: Path, tmp_path: Path) -> None:
    assert run("index", corpus, "--out", tmp_path / "short", "--dimension", 16).code == 0
    assert len(run("search", tmp_path / "short", "marry", "--json").records) == 4
    assert json.loads(run("info", tmp_path / "short", "--json").out)["dimension"] == 16
    with Index.open(tmp_path / "short") as index:
        assert len(index.search("marry", k=2)) == 2


@pytest.mark.parametrize("form", ["onnx", "model", "sentence-transformers"])
def test_models_export_writes_directories(run: Run, tiny_directory: Path, tmp_path: Path, form: str) -> None:
    result = run("models", "export", tiny_directory, "--out", tmp_path / "out", "--format", form, "--json")
    assert result.code == 0, result.err
    written = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= written
    assert result.records[0]["files"].keys() <= written
    places = (tiny_directory, tmp_path / "out")
    vectors = [run("embed", "one", "--json", "--runtime", "torch", "--model", each).records for each in places]
    assert vectors[0][0]["vector"] == pytest.approx(vectors[1][0]["vector"], abs=1e-6)
    again = run("models", "export", tiny_directory, "--out", tmp_path / "out", "--format", form)
    assert again.code == 2
    assert "is not an empty folder" in again.err


def test_models_export_stores_in_blocks(run: Run, tiny_directory: Path, tmp_path: Path) -> None:
    for bits in (8, 4):
        out = tmp_path / str(bits)
        assert run("models", "export", tiny_directory, "--out", out, "--format", "model", "--bits", bits).code == 0
    sizes = [
        (folder / "model.safetensors").stat().st_size for folder in (tmp_path / "4", tmp_path / "8", tiny_directory)
    ]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3
    assert run("models", "export", tiny_directory, "--out", tmp_path / "no", "--bits", 8).code == 2


def test_models_lists_the_embedded_model(run: Run) -> None:
    [record] = run("models", "--json").records
    assert record["name"] == "lusifer-mini"
    assert record["dimension"] == 384
    assert record["max_tokens"] == 512
    assert "lusifer-mini" in run("models").out


def test_models_export_writes_what_runs_without_torch(run: Run, tiny_directory: Path, tmp_path: Path) -> None:
    [record] = run("models", "export", tiny_directory, "--out", tmp_path / "out", "--json").records
    assert set(record["files"]) == {"model.onnx", "model.onnx.data", "model_uint8.onnx", "smoothing.safetensors"}
    assert "model.onnx" in run("models", "export", tiny_directory, "--out", tmp_path / "graph", "--graph-only").out
    assert not (tmp_path / "graph" / "model.onnx.data").exists()
    exact, rough = (
        np.array(
            run("embed", "a text", "--model", tmp_path / "graph", "--runtime", runtime, "--json").records[0]["vector"]
        )
        for runtime in ("torch", "onnx")
    )
    assert 0.99 < exact @ rough < 0.9999999


def test_a_runtime_that_is_not_there(run: Run) -> None:
    result = run("embed", "a text", "--runtime", "abacus")
    assert result.code == 2
    assert "onnx, torch" in result.err


def test_version(run: Run) -> None:
    from lusirag import __version__

    assert run("--version").out == f"lusirag {__version__}\n"
