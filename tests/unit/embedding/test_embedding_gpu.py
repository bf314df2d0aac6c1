"""lusifer-mini on a GPU: the vectors of the CPU, smaller batches where memory runs out, workers on GPUs."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from lusirag.embedding import Embedder

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU on this machine")

GPU = "cuda:0"
WORDS = ["Всеки", "човек", "има", "право", "on", "every", "person", "has", "the", "right", "to", "education"]
WORDS += ["教育を受ける権利"]
# From one word to beyond the model's longest input, some of equal length.
TEXTS = [" ".join(WORDS[at % 13] for at in range(count)) for count in (1, 1, 2, 7, 7, 30, 100, 200, 700)] + [""]


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    """Vectors of the CPU, float32."""
    return Embedder.load("lusifer-mini", runtime="torch", device="cpu").encode_documents(TEXTS)


def cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape
    return (ours * theirs).sum(axis=1)


@pytest.mark.parametrize(("dtype", "least"), [("float32", 0.9999), ("bfloat16", 0.999)])
def test_vectors_are_those_of_the_cpu(expected: np.ndarray, dtype: str, least: float) -> None:
    embedder = Embedder.load("lusifer-mini", device=GPU, dtype=dtype)
    assert embedder.arithmetic == f"torch-{dtype}"
    vectors = embedder.encode_documents(TEXTS)
    assert cosines(vectors, expected).min() >= least
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(("dtype", "least"), [("float32", 0.9999), ("bfloat16", 0.999)])
def test_a_vector_does_not_depend_on_the_other_texts(dtype: str, least: float) -> None:
    embedder = Embedder.load("lusifer-mini", device=GPU, dtype=dtype)
    alone = np.concatenate([embedder.encode_documents([text]) for text in TEXTS])  # no padding: no mask
    assert cosines(embedder.encode_documents(TEXTS), alone).min() >= least


def test_a_gpu_is_taken_by_itself_and_computes_in_bfloat16() -> None:
    embedder = Embedder.load("lusifer-mini")
    assert embedder.arithmetic == "torch-bfloat16"
    assert embedder.encode_queries([]).shape == (0, embedder.dimension)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Of the GPU this process may take what lusifer-mini needs and little more."""
    torch.cuda.empty_cache()
    everything = torch.cuda.get_device_properties(GPU).total_memory
    yield torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(GPU) + 800e6) / everything, GPU)
    torch.cuda.set_per_process_memory_fraction(1.0, GPU)
    torch.cuda.empty_cache()


@pytest.mark.usefixtures("little_memory")
def test_batches_become_smaller_where_memory_runs_out(caplog: pytest.LogCaptureFixture) -> None:
    # 13 different texts of 512 tokens each, many times over: all at once would take many GB.
    texts = [" ".join(WORDS[(at + number) % 13] for at in range(700)) for number in range(13)] * 150
    embedder = Embedder.load("lusifer-mini", device=GPU, dtype="float32", batch_tokens=2**20)
    with caplog.at_level(logging.WARNING, logger="lusirag"):
        vectors = embedder.encode_documents(texts)
    assert "did not fit into memory" in caplog.text
    exact = Embedder.load("lusifer-mini", runtime="torch", device="cpu").encode_documents(texts[:13])
    assert cosines(vectors, np.tile(exact, (150, 1))).min() >= 0.9999


@pytest.mark.parametrize("devices", [[GPU], [GPU, "cpu"]])
def test_worker_processes_on_a_gpu(expected: np.ndarray, devices: list[str]) -> None:
    with Embedder.load("lusifer-mini", devices=devices, dtype="float32", batch_tokens=256) as embedder:
        assert cosines(embedder.encode_documents(TEXTS), expected).min() >= 0.9999
        assert cosines(embedder.encode_documents(TEXTS[::-1]), expected[::-1]).min() >= 0.9999
