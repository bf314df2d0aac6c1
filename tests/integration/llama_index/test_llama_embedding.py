"""`LusiferEmbedding`: which text gets which vector, with and without a cache, and who waits meanwhile."""

from __future__ import annotations

import asyncio
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_fakes import DIMENSION, WordEncoder, bag
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore

from llama_index_lusirag import LusiferEmbedding
from lusirag import Embedder
from lusirag.errors import InvalidArgumentError, ModelError


def test_questions_and_documents_are_embedded_differently(embedding: LusiferEmbedding) -> None:
    asked, stored = embedding.get_query_embedding("a cat"), embedding.get_text_embedding("a cat")
    assert asked == pytest.approx(bag("a cat", "query"))
    assert stored == pytest.approx(bag("a cat", "document"))
    assert asked != stored
    assert all(type(value) is float for value in asked)
    assert embedding.get_agg_embedding_from_queries(["a cat"]) == pytest.approx(asked)


@pytest.mark.parametrize("size", [1, 3, 2048])
def test_batches_keep_the_order(encoder: WordEncoder, size: int) -> None:
    steps: list[tuple[int, int]] = []
    embedding = LusiferEmbedding(encoder, embed_batch_size=size, progress=lambda *step: steps.append(step))
    texts = [f"text {number}" for number in range(7)]
    expected = [pytest.approx(bag(text, "document")) for text in texts]
    assert embedding.get_text_embedding_batch(texts) == expected
    assert sum(done for done, _ in steps) == 7
    assert len(steps) == -(-7 // size)
    assert asyncio.run(embedding.aget_text_embedding_batch(texts)) == expected
    assert embedding.get_text_embedding_batch([]) == []


def test_the_instruction_is_for_questions(encoder: WordEncoder) -> None:
    embedding = LusiferEmbedding(encoder, instruction="Find laws")
    assert embedding.get_query_embedding("marry") == pytest.approx(bag("Find laws marry", "query"))
    assert embedding.get_text_embedding("marry") == pytest.approx(bag("marry", "document"))


def test_nodes_are_embedded_with_their_metadata(embedding: LusiferEmbedding, encoder: WordEncoder) -> None:
    (found,) = embedding([TextNode(text="a cat", metadata={"year": 1990})])
    assert encoder.asked == [("document", "year: 1990\n\na cat")]
    assert found.embedding == pytest.approx(bag("year: 1990 a cat", "document"))


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("first", ["query", "text", "batch"])
def test_the_cache_keeps_questions_and_documents_apart(encoder: WordEncoder, first: str, asynchronous: bool) -> None:
    embedding = LusiferEmbedding(encoder, embeddings_cache=SimpleKVStore())

    def embed(kind: str) -> Any:
        name = {"query": "query_embedding", "text": "text_embedding", "batch": "text_embedding_batch"}[kind]
        argument = ["x", "x", "y"] if kind == "batch" else "x"
        if asynchronous:
            return asyncio.run(getattr(embedding, f"aget_{name}")(argument))
        return getattr(embedding, f"get_{name}")(argument)

    stored = pytest.approx(bag("x", "document"))
    expected = {
        "query": pytest.approx(bag("x", "query")),
        "text": stored,
        "batch": [stored, stored, pytest.approx(bag("y", "document"))],
    }
    for kind in (first, "query", "text", "batch", "query", "text", "batch"):
        assert embed(kind) == expected[kind]
    assert sorted(encoder.asked) == [("document", "x"), ("document", "y"), ("query", "x")]  # each once


def test_a_cache_may_serve_several_models_and_instructions() -> None:
    cache = SimpleKVStore()
    encoders = [WordEncoder(), WordEncoder(fingerprint="words-2")]
    for encoder in encoders:
        for instruction in (None, "laws"):
            embedding = LusiferEmbedding(encoder, instruction=instruction, embeddings_cache=cache)
            assert embedding.get_query_embedding("x") == pytest.approx(bag(f"{instruction or ''} x", "query"))
            assert embedding.get_text_embedding("x") == pytest.approx(bag("x", "document"))
        assert sorted(encoder.asked) == [("document", "x"), ("query", "laws x"), ("query", "x")]


def test_a_cache_outlives_the_process(encoder: WordEncoder, tmp_path: Path) -> None:
    cache = SimpleKVStore()
    LusiferEmbedding(encoder, embeddings_cache=cache).get_text_embedding_batch(["x", "y"])
    cache.persist(str(tmp_path / "cache.json"))
    other = WordEncoder()
    again = LusiferEmbedding(other, embeddings_cache=SimpleKVStore.from_persist_path(str(tmp_path / "cache.json")))
    assert again.get_text_embedding("y") == pytest.approx(bag("y", "document"))
    assert other.asked == []


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("method", ["aget_query_embedding", "aget_text_embedding", "aget_text_embedding_batch"])
async def test_the_event_loop_goes_on(method: str, cached: bool) -> None:
    going = threading.Event()

    def wait() -> None:
        assert going.wait(20), "the event loop waits for the model"

    embedding = LusiferEmbedding(WordEncoder(before=wait), embeddings_cache=SimpleKVStore() if cached else None)
    work = asyncio.create_task(getattr(embedding, method)(["x"] if method.endswith("batch") else "x"))
    await asyncio.sleep(0.05)
    going.set()
    assert len(await work) == (1 if method.endswith("batch") else DIMENSION)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model_name": "no/such/place/at all"}, ModelError, "no model at"),
        ({"model_name": 5}, InvalidArgumentError, "model_name is 5; give a name"),
        ({"model_name": WordEncoder(), "device": "cpu"}, InvalidArgumentError, "loaded already"),
        ({"embed_batch_size": 0}, InvalidArgumentError, "from 1 to 2048"),
        ({"embed_batch_size": 4096}, InvalidArgumentError, "from 1 to 2048"),
        ({"device": "abacus"}, InvalidArgumentError, "abacus"),
    ],
)
def test_errors_are_one_line(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        LusiferEmbedding(**arguments)
    assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match="unexpected keyword"):
        LusiferEmbedding(batch=3)  # type: ignore[call-arg]


def test_the_embedded_model() -> None:
    embedding = LusiferEmbedding("lusifer-mini", device="cpu", embed_batch_size=8)
    embedder = Embedder.load("lusifer-mini")
    texts = ["Kila mtu ana haki ya kupata elimu.", "Everyone has the right to education."]
    np.testing.assert_allclose(embedding.get_text_embedding_batch(texts), embedder.encode_documents(texts), atol=1e-6)
    np.testing.assert_allclose(
        embedding.get_query_embedding(texts[0]), embedder.encode_queries(texts[:1])[0], atol=1e-6
    )
    described = embedding.to_dict()
    assert (described["class_name"], described["model_name"]) == ("LusiferEmbedding", "lusifer-mini")
    for again in (pickle.loads(pickle.dumps(embedding)), LusiferEmbedding.from_dict(described)):  # noqa: S301
        assert again.embed_batch_size == 8
        assert again.get_query_embedding("x") == pytest.approx(embedding.get_query_embedding("x"), abs=1e-6)
