"""Models of other libraries, measured as lusirag's own."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from lusirag import Embedder
from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.evaluation.models import _missing_prompts, load_encoder
from lusirag.types import Encoder
from tests.conftest import tiny_tokenizer

TEXTS = ["a cat", "a much longer text about dogs, and more of it", ""]


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with prompts, as sentence-transformers saves it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    base, out = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    tokenizer: Tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        pad_token_id=1,
    )
    BertModel(config).save_pretrained(base)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", cls_token="<s>", sep_token="</s>"
    ).save_pretrained(base)
    words = Transformer(str(base), max_seq_length=32)
    prompts = {"query": "ask ", "document": "tell "}
    SentenceTransformer(modules=[words, Pooling(16)], prompts=prompts, device="cpu").save(
        str(out), create_model_card=False
    )
    return out


def test_a_sentence_transformers_model_is_run_with_its_own_prompts(transformer: Path) -> None:
    from sentence_transformers import SentenceTransformer

    encoder = load_encoder(f"sentence-transformers:{transformer}", device="cpu")
    assert isinstance(encoder, Encoder)
    assert (encoder.dimension, encoder.max_tokens) == (16, 32)
    peer = SentenceTransformer(str(transformer), device="cpu")
    for found, prompt in ((encoder.encode_queries(TEXTS), "ask "), (encoder.encode_documents(TEXTS), "tell ")):
        expected = peer.encode([prompt + text for text in TEXTS], normalize_embeddings=True)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert found.dtype == np.float32
    assert encoder.encode_queries([]).shape == (0, 16)
    with pytest.raises(InvalidArgumentError, match="takes no instruction"):
        encoder.encode_queries(TEXTS, instruction="find")


@pytest.mark.parametrize(
    ("name", "own", "found"),
    [
        (
            "intfloat/multilingual-e5-small",
            {"query": "", "document": ""},
            {"query": "query: ", "document": "passage: "},
        ),
        ("intfloat/multilingual-e5-small", {"query": "mine "}, {}),
        ("BAAI/bge-m3", {}, {}),
        ("nobody/knows-it", {}, {}),
    ],
    ids=["e5", "its own", "none needed", "unknown"],
)
def test_prompts_that_a_model_does_not_name_itself_are_mtebs(
    name: str, own: dict[str, str], found: dict[str, str]
) -> None:
    assert _missing_prompts(name, own) == found


def test_its_fingerprint_changes_with_weights_pooling_and_prompts(transformer: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    first = load_encoder(f"sentence-transformers:{transformer}", device="cpu").fingerprint
    assert load_encoder(f"sentence-transformers:{transformer}", device="cpu").fingerprint == first
    model = SentenceTransformer(str(transformer), device="cpu")
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1
    model.save(str(tmp_path / "weights"), create_model_card=False)
    last = SentenceTransformer(str(transformer), device="cpu")
    with torch.no_grad():
        max(last.parameters(), key=lambda tensor: tensor.numel()).view(-1)[-1] += 1
    last.save(str(tmp_path / "last"), create_model_card=False)
    pooled = SentenceTransformer(str(transformer), device="cpu")
    pooling = SentenceTransformer(modules=[pooled[0], Pooling(16, pooling_mode="cls")], prompts=pooled.prompts)
    pooling.save(str(tmp_path / "pooling"), create_model_card=False)
    other = SentenceTransformer(str(transformer), device="cpu", prompts={"query": "else ", "document": "tell "})
    other.save(str(tmp_path / "prompts"), create_model_card=False)
    for name in ("weights", "last", "pooling", "prompts"):
        assert load_encoder(f"sentence-transformers:{tmp_path / name}", device="cpu").fingerprint != first


def test_what_is_no_sentence_transformers_model_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="sentence-transformers cannot load it"):
        load_encoder(f"sentence-transformers:{tmp_path}", device="cpu")


def test_other_names_are_lusirags_own(tiny_directory: Path) -> None:
    assert isinstance(load_encoder(str(tiny_directory), device="cpu"), Embedder)
    with pytest.raises(ModelError):
        load_encoder("no-such-model")


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("lusifer-mini", {"base_url": "http://x"}, "takes no base_url"),
        ("openai:m", {"dtype": "float16"}, "takes no dtype; it takes base_url"),
        (
            "sentence-transformers:m",
            {"runtime": "onnx", "base_url": "u"},
            "no base_url and no runtime; it takes device",
        ),
        ("python:tests.unit:gone", {}, "importable from here"),
        ("python:no_such_module_anywhere:f", {}, "No module named"),
        ("python:os", {}, "write python:<module>:<function>"),
        ("python:tests.odd_encoders:_Odd._encode", {}, "AttributeError"),
        ("python:os:getcwdb:x", {}, "AttributeError"),
        ("python:json:loads", {}, "TypeError"),
        ("python:tests.conftest:tiny_tokenizer", {}, "returned a Tokenizer; an object with the members"),
    ],
    ids=["url", "dtype", "several", "function", "module", "half", "dots", "colons", "arguments", "kind"],
)
def test_wrong_names_and_options_are_told_with_what_is_allowed(
    spec: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        load_encoder(spec, **options)
    assert message in str(caught.value)


def test_a_function_of_ones_own_makes_the_model() -> None:
    encoder = load_encoder("python:tests.hashing_encoder:HashingEncoder")
    assert encoder.name == "hashing"
    assert "tests.hashing_encoder" in sys.modules


class Endpoint(BaseHTTPRequestHandler):
    """Answers with vectors out of order, of which one value is the length of the text."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body["key"] = self.headers["Authorization"]
        self.server.seen.append(body)  # type: ignore[attr-defined]
        if any("fail" in text for text in body["input"]):
            self.send_response(400)
            content = b'{"error": {"message": "bad input"}}'
        else:
            self.send_response(200)
            rows = [
                {"object": "embedding", "index": n, "embedding": [3.0 * len(text), 4.0 * len(text)]}
                for n, text in enumerate(body["input"])
            ]
            usage = {"prompt_tokens": 0, "total_tokens": 0}
            text = body["input"][0]
            if text == "fewer":
                rows = rows[:1]
            elif text == "shorter":
                rows = [{**row, "embedding": [1.0]} for row in rows]
            elif text == "zero":
                rows = [{**row, "embedding": [0.0, 0.0]} for row in rows]
            answer = {"object": "list", "model": "m", "data": rows[::-1], "usage": usage}
            content = json.dumps(answer).encode()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        server.seen = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_an_endpoint_is_asked_in_batches_and_its_vectors_are_normalised(endpoint: ThreadingHTTPServer) -> None:
    encoder = load_encoder("openai:m", base_url=f"http://127.0.0.1:{endpoint.server_address[1]}/v1")
    texts = ["x" * (1 + number % 9) for number in range(100)] + [""]
    found = encoder.encode_queries(texts)
    assert found.shape == (101, 2)
    np.testing.assert_allclose(found, np.tile([0.6, 0.8], (101, 1)), atol=1e-6)
    seen: list[dict[str, Any]] = endpoint.seen  # type: ignore[attr-defined]
    assert [len(body["input"]) for body in seen] == [1, 64, 37]
    assert all(text for body in seen for text in body["input"])  # the protocol allows no empty text
    with pytest.raises(ModelError, match="bad input"):
        encoder.encode_documents(["fail"])
    with pytest.raises(InvalidArgumentError, match="no instruction"):
        encoder.encode_queries(["a"], instruction="find")
    assert encoder.encode_documents([]).shape == (0, 2)


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_key_is_sent_and_an_odd_answer_is_no_vector(
    endpoint: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "mine")
    encoder = load_encoder("openai:m", base_url=f"http://127.0.0.1:{endpoint.server_address[1]}/v1")
    for text, message in (
        ("fewer", "gave 1 embeddings for 2 texts"),
        ("shorter", r"\(n, 2\), not \(2, 1\)"),
        ("zero", "zero"),
    ):
        with pytest.raises(ModelError, match=message):
            encoder.encode_queries([text, "another"])
    seen: list[dict[str, Any]] = endpoint.seen  # type: ignore[attr-defined]
    assert {body["key"] for body in seen} == {"Bearer mine"}


def test_without_a_key_the_public_endpoint_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ModelError, match="api_key"):
        load_encoder("openai:text-embedding-3-small")
