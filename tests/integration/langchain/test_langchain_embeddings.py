"""`LusiferEmbeddings` beyond LangChain's own suites."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_fakes import FakeEmbedder, InstructedEmbedder

from langchain_lusirag import LusiferEmbeddings
from langchain_lusirag.encoding import LangChainEncoder
from lusirag.embedding import Embedder
from lusirag.types import Encoder

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def mini() -> Embedder:
    return Embedder.load("lusifer-mini")


def test_vectors_are_those_of_the_model_in_its_two_templates(mini: Embedder) -> None:
    embeddings = LusiferEmbeddings(embedder=mini)
    texts = ["Who may marry?", "Nani ana haki ya kuoa?"]
    passages, questions = embeddings.embed_documents(texts), embeddings.embed_queries(texts)
    assert np.array_equal(np.array(passages, dtype=np.float32), mini.encode_documents(texts))
    assert np.array_equal(np.array(questions, dtype=np.float32), mini.encode_queries(texts))
    assert np.allclose(embeddings.embed_query(texts[1]), questions[1], atol=1e-4)
    assert not np.allclose(passages, questions, atol=0.01)
    assert {type(value) for row in (*passages, *questions) for value in row} == {float}
    assert np.linalg.norm(passages[0]) == pytest.approx(1, abs=1e-5)
    assert embeddings.embed_documents([]) == embeddings.embed_queries([]) == []
    assert embeddings.model_name == embeddings.model == "lusifer-mini"


def test_it_goes_into_another_store_and_finds_across_languages(mini: Embedder) -> None:
    texts = ["Kila mtu ana haki ya kupata elimu.", "Men and women of full age have the right to marry."]
    store = InMemoryVectorStore.from_texts(texts, LusiferEmbeddings(embedder=mini))
    assert store.similarity_search("Кто имеет право на образование?", k=1)[0].page_content == texts[0]


def test_progress_is_called_and_shown(mini: Embedder, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[int, int]] = []
    LusiferEmbeddings(embedder=mini, show_progress=lambda done, total: seen.append((done, total))).embed_query("a")
    assert seen[-1] == (1, 1)
    LusiferEmbeddings(embedder=mini, show_progress=True).embed_documents(["a", "b"])
    captured = capsys.readouterr()
    assert "Embedding documents: 100%" in captured.err
    assert "2/2" in captured.err
    assert captured.out == ""


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """What Embedder.load was called with."""
    calls: list[tuple[Any, dict[str, Any]]] = []

    def load(name: Any, **options: Any) -> Encoder:
        calls.append((name, options))
        return FakeEmbedder(name=name)

    monkeypatch.setattr("langchain_lusirag.embeddings.Embedder.load", load)
    return calls


def test_what_hugging_face_embeddings_take(loaded: list[tuple[Any, dict[str, Any]]]) -> None:
    LusiferEmbeddings(
        model_name="a/b",
        model_kwargs={"device": "cpu", "trust_remote_code": True, "truncate_dim": 64, "backend": "torch"},
        encode_kwargs={"batch_size": 8, "normalize_embeddings": True},
    )
    LusiferEmbeddings(model="a/b", model_name="a/b", model_kwargs={"batch_tokens": 512})
    LusiferEmbeddings()
    assert loaded == [
        ("a/b", {"device": "cpu", "dimension": 64, "runtime": "torch"}),
        ("a/b", {"batch_tokens": 512}),
        ("lusifer-mini", {}),
    ]


@pytest.mark.parametrize(("gpus", "expected"), [(0, {}), (1, {}), (2, {"devices": ["cuda:0", "cuda:1"]})])
def test_multi_process_takes_all_gpus(
    loaded: list[tuple[Any, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch, gpus: int, expected: dict[str, Any]
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    LusiferEmbeddings(multi_process=True)
    assert loaded == [("lusifer-mini", expected)]


def test_queries_take_the_instruction_and_documents_do_not() -> None:
    plain, asked = InstructedEmbedder(), LusiferEmbeddings(embedder=InstructedEmbedder(), query_instruction="find")
    same = LusiferEmbeddings(embedder=plain, instruction="find")
    assert asked.embed_query("ant") == same.embed_query("ant") == plain.encode_documents(["find: ant"])[0].tolist()
    assert asked.embed_documents(["ant"]) == plain.encode_documents(["ant"]).tolist()


def test_any_langchain_model_is_an_encoder_of_its_own_dimension() -> None:
    class Doubled(DeterministicFakeEmbedding):
        model_name: str = "m"

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[2 * value for value in row] for row in super().embed_documents(texts)]

    encoder = LangChainEncoder(Doubled(size=5))
    assert isinstance(encoder, Encoder)
    assert (encoder.name, encoder.dimension) == ("Doubled(m)", 5)
    vectors = encoder.encode_documents(["a", "b"])
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.allclose(vectors, encoder.encode_queries(["a", "b"]))
    assert encoder.encode_documents([]).shape == encoder.encode_queries([]).shape == (0, 5)
    assert encoder.fingerprint == LangChainEncoder(Doubled(size=5)).fingerprint
    others = [Doubled(size=6), Doubled(size=5, model_name="n"), DeterministicFakeEmbedding(size=5)]
    assert encoder.fingerprint not in [LangChainEncoder(other).fingerprint for other in others]


@pytest.mark.parametrize(
    "rows", [[[1.0, 2.0], [1.0]], [[1.0] * 4, [1.0] * 4], [1.0, 2.0], [["a"] * 5, ["b"] * 5], [[1.0] * 5]]
)
def test_a_langchain_model_that_returns_no_vectors_is_refused(rows: Any, message: Refused) -> None:
    class Broken(DeterministicFakeEmbedding):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            found: list[list[float]] = rows
            return found

    assert "vectors" in message(LangChainEncoder(Broken(size=5)).encode_documents, ["a", "b"])


def test_errors_are_one_line(message: Refused) -> None:
    model = {"embedder": FakeEmbedder()}
    assert "they mean the same" in message(LusiferEmbeddings, model="a", model_name="b")
    assert "they mean the same" in message(LusiferEmbeddings, **model, query_instruction="a", instruction="b")
    assert "model_kwargs has 'colour'; it takes runtime" in message(LusiferEmbeddings, model_kwargs={"colour": 1})
    twice = {"truncate_dim": 1, "dimension": 1}
    assert "by both of its names" in message(LusiferEmbeddings, model_kwargs=twice)
    assert "encode_kwargs has 'prompt'" in message(LusiferEmbeddings, encode_kwargs={"prompt": "query: "})
    assert "encode_kwargs has 'precision'" in message(LusiferEmbeddings, encode_kwargs={"precision": "int8"})
    assert "always have unit length" in message(LusiferEmbeddings, encode_kwargs={"normalize_embeddings": False})
    assert "HF_HUB_CACHE" in message(LusiferEmbeddings, cache_folder="/models")
    assert "must be left out" in message(LusiferEmbeddings, **model, model="lusifer-mini")
    assert "reports no progress" in message(LusiferEmbeddings, **model, show_progress=True)
    assert "Embedder.load returns" in message(LusiferEmbeddings, embedder="lusifer-mini")
    assert "nowhere" in message(LusiferEmbeddings, model="./nowhere", model_kwargs={"local_files_only": True})
