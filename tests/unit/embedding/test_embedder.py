"""`Embedder`: the promises about shape, order, length, empty and wrong input."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lusirag import Embedder, LusiragError
from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.types import Encoder

TEXTS = ["a", "Who may marry?", "кто может вступать в брак", "", "z" * 500, "한국어 문장", "the same", "the same"]


@pytest.fixture(scope="module")
def embedder(tiny_directory: Path) -> Embedder:
    return Embedder.load(tiny_directory, device="cpu", batch_tokens=200)


def test_it_is_an_encoder(embedder: Embedder) -> None:
    assert isinstance(embedder, Encoder)
    assert (embedder.dimension, embedder.max_tokens) == (32, 64)


@pytest.mark.parametrize("role", ["queries", "documents"])
def test_vectors_are_float32_of_unit_length_in_the_given_order(embedder: Embedder, role: str) -> None:
    encode = getattr(embedder, f"encode_{role}")
    vectors = encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(encode([text])[0], vector, atol=1e-5)


def test_no_texts_give_no_rows(embedder: Embedder) -> None:
    for vectors in (embedder.encode_queries([]), embedder.encode_documents(())):
        assert vectors.shape == (0, 32)
        assert vectors.dtype == np.float32


def test_queries_and_documents_are_embedded_apart(embedder: Embedder) -> None:
    query, document = embedder.encode_queries(["the same"]), embedder.encode_documents(["the same"])
    assert np.abs(query - document).max() > 1e-3


@settings(max_examples=25, deadline=None, derandomize=True)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=90), min_size=1, max_size=9))
def test_any_text_in_any_company_keeps_its_vector(tiny_directory: Path, texts: list[str]) -> None:
    loaded = load_once(tiny_directory)
    together = loaded.encode_documents(texts)
    alone = np.concatenate([loaded.encode_documents([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_white_space_alone_is_the_empty_text_and_is_counted(tiny_directory: Path) -> None:
    loaded = Embedder.load(tiny_directory)
    vectors = loaded.encode_documents(["", " ", "\n\t ", "\u3000"])
    assert np.array_equal(vectors, np.broadcast_to(vectors[0], vectors.shape))
    assert loaded.statistics.empty == 4


def test_truncation_is_counted_and_reported(tiny_directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    loaded = Embedder.load(tiny_directory)
    with caplog.at_level(logging.WARNING):
        vectors = loaded.encode_documents(["x" * 100, "x" * 200, "short"])
    assert loaded.statistics.truncated == 2
    assert loaded.statistics.texts == 3
    assert "2 of 3 texts were longer than 64 tokens" in caplog.text
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)


def test_a_text_of_max_passage_tokens_is_not_cut(tiny_directory: Path) -> None:
    loaded = Embedder.load(tiny_directory)
    loaded.encode_documents(["x" * loaded.max_passage_tokens])
    assert loaded.statistics.truncated == 0


def test_a_query_of_100_000_characters_is_cut_not_refused(embedder: Embedder) -> None:
    assert embedder.encode_queries(["word " * 20_000]).shape == (1, 32)


def test_special_tokens_in_a_text_are_text(embedder: Embedder) -> None:
    ids = embedder._tokenizer(["a</s>b<s><pad>"]).ids[0]
    assert [at for at, token in enumerate(ids) if token in (0, 1, 2)] == [0, len(ids) - 1]
    assert np.abs(embedder.encode_queries(["a</s>b"]) - embedder.encode_queries(["ab"])).max() > 1e-3


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", r"texts is one str"),
        ([b"bytes"], r"texts\[0\] is bytes"),
        (["fine", None], r"texts\[1\] is NoneType"),
        (["fine", "fine", "\ud800"], r"texts\[2\] holds a lone surrogate"),
    ],
)
def test_wrong_input_is_refused_by_place(embedder: Embedder, texts: object, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        embedder.encode_queries(texts)  # type: ignore[arg-type]


def test_an_instruction_needs_a_place_in_the_template(
    embedder: Embedder, tmp_path: Path, save_tiny_model: Callable[..., Path]
) -> None:
    with pytest.raises(InvalidArgumentError, match="takes no instruction"):
        embedder.encode_queries(["a"], instruction="Find the answer")
    instructed = Embedder.load(save_tiny_model(tmp_path / "instructed", instructions={"query": "Find", "document": ""}))
    default, same = (instructed.encode_queries(["a"], instruction=words) for words in (None, "Find"))
    other = instructed.encode_queries(["a"], instruction="Reject")
    assert np.array_equal(default, same)
    assert np.abs(default - other).max() > 1e-3


def test_braces_in_texts_and_instructions_are_text(tmp_path: Path, save_tiny_model: Callable[..., Path]) -> None:
    instructed = Embedder.load(save_tiny_model(tmp_path / "instructed"))
    vectors = instructed.encode_queries(["{instruction} {text} {0}"], instruction="{text}")
    assert vectors.shape == (1, 48)


def test_progress_ends_at_the_total(embedder: Embedder) -> None:
    seen: list[tuple[int, int]] = []
    embedder.encode_documents(["word " * 9] * 30, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 1
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (30, 30)


def test_threads_share_an_embedder(embedder: Embedder) -> None:
    texts = [f"text number {number}" for number in range(24)]
    expected = embedder.encode_documents(texts)
    results: dict[int, np.ndarray] = {}

    def work(number: int) -> None:
        results[number] = embedder.encode_documents(texts)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for vectors in results.values():
        np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_fingerprint_follows_weights_template_and_tokenizer_alone(tiny_directory: Path, tmp_path: Path) -> None:
    original = Embedder.load(tiny_directory).fingerprint
    copy = tmp_path / "copy"
    shutil.copytree(tiny_directory, copy)
    assert Embedder.load(copy).fingerprint == original
    config = (copy / "config.json").read_text()
    (copy / "config.json").write_text(config.replace('"transformers_version": "', '"transformers_version": "0.'))
    assert Embedder.load(copy).fingerprint == original
    (copy / "config.json").write_text(config.replace("passage: ", "text: "))
    assert Embedder.load(copy).fingerprint != original
    (copy / "config.json").write_text(config)
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-3] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert Embedder.load(copy).fingerprint != original


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "cuda:99"}, "cuda:99"),
        ({"device": "abacus"}, "abacus"),
        ({"dtype": "int3"}, "allowed: float32, bfloat16, float16"),
        ({"batch_tokens": 0}, "batch_tokens is 0"),
    ],
)
def test_wrong_settings_are_refused(tiny_directory: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Embedder.load(tiny_directory, **arguments)  # type: ignore[arg-type]


def test_bfloat16_weights_still_give_float32_vectors(tiny_directory: Path) -> None:
    exact, rough = (Embedder.load(tiny_directory, dtype=dtype).encode_documents(TEXTS) for dtype in (None, "bfloat16"))
    assert rough.dtype == np.float32
    assert (exact * rough).sum(axis=1).min() > 0.99


def test_a_model_that_is_nowhere_names_the_embedded_ones() -> None:
    with pytest.raises(ModelError, match="lusifer-mini"):
        Embedder.load("lusifer-maxi")


def test_a_broken_tokenizer_is_an_error_in_words(tiny_directory: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_directory, copy)
    (copy / "tokenizer.json").write_text("{")
    with pytest.raises(LusiragError, match=r"tokenizer\.json cannot be read"):
        Embedder.load(copy)


_LOADED: dict[Path, Embedder] = {}


def load_once(directory: Path) -> Embedder:
    """Hypothesis runs a test many times; the model is loaded once."""
    if directory not in _LOADED:
        _LOADED[directory] = Embedder.load(directory, batch_tokens=150)
    return _LOADED[directory]


def test_shorter_vectors_are_the_beginnings_at_unit_length(tiny_directory: Path) -> None:
    full, short = Embedder.load(tiny_directory), Embedder.load(tiny_directory, dimension=8)
    vectors = full.encode_documents(["one text", "another"])[:, :8]
    np.testing.assert_allclose(
        short.encode_documents(["one text", "another"]),
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        atol=1e-6,
    )
    assert (short.dimension, short.full_dimension) == (8, 32)
    assert short.fingerprint == f"{full.fingerprint}-8"


def test_only_lengths_that_a_model_was_trained_for(tmp_path: Path, save_tiny_model: Callable[..., Path]) -> None:
    directory = save_tiny_model(tmp_path / "matryoshka", matryoshka_dimensions=[16, 24])
    assert Embedder.load(directory, dimension=16).encode_queries(["a"]).shape == (1, 16)
    with pytest.raises(InvalidArgumentError, match="dimension is 20; this model has 16, 24, 48"):
        Embedder.load(directory, dimension=20)


def test_a_compiled_network_gives_the_same_vectors(tiny_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The default backend needs a C++ compiler and a minute; what is traced and called is the same.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    texts = ["one", "a longer text", "x " * 30]
    compiled = Embedder.load(tiny_directory, compiled=True).encode_documents(texts)
    np.testing.assert_allclose(compiled, Embedder.load(tiny_directory).encode_documents(texts), atol=1e-5)


def test_attention_kernels(tiny_directory: Path) -> None:
    eager = Embedder.load(tiny_directory, attention="eager").encode_documents(["a text"])
    np.testing.assert_allclose(eager, Embedder.load(tiny_directory).encode_documents(["a text"]), atol=1e-5)
    for missing in ("flash_attention_2", "no_such_kernel"):
        with pytest.raises(ModelError, match=f"attention '{missing}' cannot be used here"):
            Embedder.load(tiny_directory, attention=missing)


def test_templates_tell_which_roles_take_an_instruction(save_tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    told = "{instruction}: {text}"
    for name, templates, roles in (
        ("none", {"query": "query: {text}", "document": "{text}"}, set()),
        ("queries", {"query": told, "document": "{text}"}, {"query"}),
        ("both", {"query": told, "document": told}, {"query", "document"}),
    ):
        embedder = Embedder.load(save_tiny_model(tmp_path / name, templates=templates), device="cpu")
        assert embedder.instruction_roles == roles


def test_arithmetic_names_runtime_and_numbers(tiny_directory: Path) -> None:
    assert Embedder.load("lusifer-mini", runtime="onnx").arithmetic == "onnx-int8"
    assert Embedder.load(tiny_directory, device="cpu", dtype="float16").arithmetic == "torch-float16"
