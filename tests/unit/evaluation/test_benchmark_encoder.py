"""`BenchmarkEncoder`: roles, instructions, and what keeps one model's results apart from another's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from lusirag import Embedder
from lusirag.errors import InvalidArgumentError, MissingDependencyError
from lusirag.evaluation.benchmark.encoder import BenchmarkEncoder
from lusirag.evaluation.benchmark.index_search import IndexSearch
from lusirag.evaluation.benchmark.instructed import InstructedEncoder
from lusirag.evaluation.benchmark.metadata import mteb_name, register_models
from tests.hashing_encoder import Call, HashingEncoder

BOTH = frozenset({"query", "document"})
TOLD = {"LocalRetrieval": "Find the article"}


def encode(model: BenchmarkEncoder, role: str | None, name: str = "LocalRetrieval", **more: Any) -> np.ndarray:
    """What mteb does, with two batches."""
    from mteb.types import PromptType

    from tests.mteb_tasks import TASKS

    return model.encode(
        [{"text": ["one", "two"]}, {"text": ["three"]}],
        task_metadata=TASKS[name].metadata,
        hf_split="test",
        hf_subset="fr",
        prompt_type=None if role is None else PromptType(role),
        **more,
    )


@pytest.mark.parametrize(
    ("role", "roles", "call"),
    [
        ("query", BOTH, ("query", "Find the article")),
        ("document", BOTH, ("document", "Find the article")),
        (None, BOTH, ("query", "Find the article")),
        ("query", {"query"}, ("query", "Find the article")),
        ("document", {"query"}, ("document", None)),
        ("query", (), ("query", None)),
        ("document", (), ("document", None)),
    ],
)
def test_instructions_reach_the_roles_that_take_them(
    role: str | None, roles: Any, call: tuple[str, str | None]
) -> None:
    encoder = HashingEncoder(roles=frozenset(roles))
    encode(BenchmarkEncoder(encoder, TOLD), role)
    assert encoder.calls == [Call(call[0], ["one", "two", "three"], call[1])]


def test_a_task_without_an_instruction_gets_the_models_default() -> None:
    encoder = HashingEncoder(roles=BOTH)
    for role in ("query", "document"):
        encode(BenchmarkEncoder(encoder, {**TOLD, "LocalSTS": None}), role, name="LocalSTS")
    assert [call.instruction for call in encoder.calls] == [None, None]


def test_vectors_are_float32_and_mtebs_options_do_no_harm() -> None:
    model = BenchmarkEncoder(HashingEncoder())
    vectors = encode(model, "query", batch_size=1, show_progress_bar=True, something_new={"a": 1})
    assert (vectors.dtype, vectors.shape) == (np.float32, (3, 48))
    np.testing.assert_allclose(np.diag(model.similarity(vectors, vectors)), 1, atol=1e-6)
    np.testing.assert_allclose(model.similarity_pairwise(vectors, vectors), 1, atol=1e-6)
    assert encode(model, "query", precision="float32").shape == (3, 48)


def test_a_precision_that_would_be_filed_and_not_computed_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="int8"):
        encode(BenchmarkEncoder(HashingEncoder()), "query", precision="int8")


def test_mteb_takes_it_for_an_encoder_and_an_index_for_a_search() -> None:
    from mteb.models import CrossEncoderProtocol, EncoderProtocol, SearchProtocol

    encoder, search = BenchmarkEncoder(HashingEncoder()), IndexSearch(HashingEncoder())
    assert isinstance(encoder, EncoderProtocol)
    assert not isinstance(encoder, SearchProtocol | CrossEncoderProtocol)
    assert isinstance(search, SearchProtocol)
    assert not isinstance(search, EncoderProtocol | CrossEncoderProtocol)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((object(),), "must be an Embedder"),
        ((HashingEncoder(), ["x"]), "mapping"),
        ((HashingEncoder(), {"x": 1}), "mapping"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[Any, ...], words: str) -> None:
    for kind in (BenchmarkEncoder, IndexSearch):
        with pytest.raises(InvalidArgumentError, match=words):
            kind(*arguments)


def test_what_would_change_results_changes_where_they_are_kept(tmp_path: Path) -> None:
    from mteb import ResultCache

    encoder = HashingEncoder(roles=BOTH)
    variants = [
        BenchmarkEncoder(encoder),
        BenchmarkEncoder(encoder, TOLD),
        BenchmarkEncoder(encoder, {"LocalRetrieval": "Find another"}),
        BenchmarkEncoder(HashingEncoder(roles=BOTH, numbers="torch-bfloat16"), TOLD),
        BenchmarkEncoder(HashingEncoder(roles=BOTH, fingerprint="hashing-2"), TOLD),
        BenchmarkEncoder(HashingEncoder(roles=BOTH, fingerprint="a/../b"), TOLD),
        BenchmarkEncoder(HashingEncoder(roles=BOTH, fingerprint="a-..-b"), TOLD),
        BenchmarkEncoder(HashingEncoder(roles=BOTH, name="another"), TOLD),
        IndexSearch(encoder, TOLD),
        IndexSearch(encoder, TOLD, ann="flat"),
        IndexSearch(encoder, TOLD, ann="flat", mode="hybrid"),
        IndexSearch(encoder, TOLD, ann="flat", chunk_tokens=64),
    ]
    store = ResultCache(tmp_path)
    places = {store.get_task_result_path("LocalSTS", model.mteb_model_meta) for model in variants}
    assert len(places) == len(variants)
    assert all(place.resolve().is_relative_to(tmp_path.resolve() / "results") for place in places)


def test_instructions_do_not_count_where_the_model_takes_none() -> None:
    plain, told = BenchmarkEncoder(HashingEncoder()), BenchmarkEncoder(HashingEncoder(), TOLD)
    assert plain.mteb_model_meta == told.mteb_model_meta


def test_the_description_of_the_embedded_model() -> None:
    embedder = Embedder.load("lusifer-mini", runtime="onnx")
    meta = BenchmarkEncoder(embedder, TOLD).mteb_model_meta
    assert (meta.name, meta.revision) == ("lusirag/lusifer-mini", embedder.fingerprint)
    assert (meta.embed_dim, meta.max_tokens, meta.license, meta.open_weights) == (384, 512, "apache-2.0", True)
    assert (meta.framework, meta.use_instructions) == (["ONNX"], False)
    assert meta.similarity_fn_name is not None
    assert meta.similarity_fn_name.value == "cosine"
    assert meta.experiment_kwargs == {"runtime": "onnx-int8"}


def test_a_cut_dimension_is_named(save_tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    embedder = Embedder.load(save_tiny_model(tmp_path / "tiny model"), device="cpu", dimension=16)
    meta = BenchmarkEncoder(embedder).mteb_model_meta
    assert meta.experiment_kwargs == {"runtime": "torch-float32", "dimension": 16, "instructions": "default"}
    assert meta.revision == embedder.fingerprint
    assert str(meta.name).startswith("lusirag/tiny-model-")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lusifer-mini", "lusirag/lusifer-mini"),
        ("Hieuman/LUSIFER", "Hieuman/LUSIFER"),
        ("/models/mine", "lusirag/mine"),
        ("/mine", "lusirag/mine"),
        ("C:\\models\\mine", "lusirag/mine"),
    ],
)
def test_names_have_mtebs_form(name: str, expected: str) -> None:
    assert mteb_name(name) == expected


def test_registered_models_are_loaded_by_mteb_as_ours() -> None:
    import mteb
    from mteb.models.model_implementations import MODEL_REGISTRY

    with patch.dict(MODEL_REGISTRY):
        register_models()
        register_models()
        registered = mteb.get_model_meta("lusirag/lusifer-mini")
        model = mteb.get_model("lusirag/lusifer-mini", instructions=TOLD, runtime="onnx")
        published = mteb.get_model_meta("Hieuman/LUSIFER")
    assert isinstance(model, BenchmarkEncoder)
    assert registered.revision == model.mteb_model_meta.revision == model.encoder.fingerprint
    assert (registered.embed_dim, registered.max_tokens) == (model.encoder.dimension, model.encoder.max_tokens)
    assert model.instructions == TOLD
    assert model.mteb_model_meta.experiment_kwargs == {"runtime": "onnx-int8"}
    assert model.mteb_model_meta.loader is registered.loader
    assert (published.embed_dim, published.use_instructions) == (4096, True)


def test_documents_of_an_instructed_model_carry_the_instruction(
    save_tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    told = {"query": "{instruction}. {text}", "document": "{instruction}: {text}"}
    embedder = Embedder.load(save_tiny_model(tmp_path / "told", templates=told), device="cpu")
    instructed = InstructedEncoder(embedder, "find it")
    np.testing.assert_array_equal(
        instructed.encode_documents(["text"]), embedder.encode_documents(["text"], instruction="find it")
    )
    np.testing.assert_array_equal(
        instructed.encode_queries(["text"]), embedder.encode_queries(["text"], instruction="find it")
    )
    assert instructed.fingerprint != embedder.fingerprint
    longest = instructed.max_passage_tokens
    assert longest is not None
    instructed.encode_documents(["x" * longest])
    assert embedder.statistics.truncated == 0


def test_mteb_is_imported_only_when_a_model_is_made() -> None:
    modules = "definition dependency encoder index_search instructed metadata quiet results running"
    imports = "; ".join(f"import lusirag.evaluation.benchmark.{name}" for name in modules.split())
    program = f"import sys; {imports}; print([name for name in ('mteb', 'datasets', 'torch') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_without_mteb_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "lusirag\[eval\]"'):
        BenchmarkEncoder(HashingEncoder())
