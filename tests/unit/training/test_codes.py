"""Tables that are product-quantised: near to the original, restored alike by torch and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lusirag import Embedder
from lusirag.embedding.onnx_export import export_onnx
from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.model import LusiferModel
from lusirag.model.storage import restore_blocks
from lusirag_training.codes import quantize_table

WORDS = "multilingual_encoder.embeddings.word_embeddings.weight"


def table(rows: int = 2000, columns: int = 24) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(3)) * 0.3 + 0.1


def test_codes_are_near_to_the_table_and_small() -> None:
    values = table()
    stored = quantize_table("t", values, width=4)
    (restored,) = restore_blocks(stored).values()
    assert restored.shape == values.shape
    error = (restored - values).pow(2).sum() / (values - values.mean(dim=0)).pow(2).sum()
    assert error < 0.12  # two bits a value; a Gaussian source allows 0.0625 at best
    assert stored["t.codes"].shape == (2000, 6)


def test_as_many_rows_as_centroids_come_back_almost_whole() -> None:
    values = table(256)
    (restored,) = restore_blocks(quantize_table("t", values, width=4)).values()
    torch.testing.assert_close(restored, values, atol=5e-3, rtol=0)


def test_likely_rows_are_served_better() -> None:
    values = torch.cat([table(600), table(8000).sign() + 0.05 * table(8000)])  # two populations share the centroids
    weights = np.r_[np.full(600, 1.0), np.full(8000, 1e-6)]

    def error(**options: object) -> float:
        (restored,) = restore_blocks(quantize_table("t", values, width=4, **options)).values()  # type: ignore[arg-type]
        return float((restored - values)[:600].pow(2).mean())

    assert error(weights=weights) < 0.8 * error()


def test_the_same_seed_gives_the_same_codes() -> None:
    first, second, other = (quantize_table("t", table(), seed=seed)["t.codes"] for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_width_that_does_not_divide_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="codes of 5 columns"):
        quantize_table("t", table(), width=5)


def coded(folder: Path, save: Callable[..., Path]) -> Path:
    """A tiny model whose word embeddings are stored as codes."""
    directory = save(folder, projection="linear", embedding_size=32, encoder_skip=True, max_tokens=64,
                     templates={"query": "{text}", "document": "{text}"})  # fmt: skip
    weights = load_file(directory / "model.safetensors")
    words = weights.pop(WORDS)
    save_file(weights | quantize_table(WORDS, words, width=4), directory / "model.safetensors")
    return directory


def test_torch_and_onnxruntime_read_them_alike(tmp_path: Path, save_tiny_model: Callable[..., Path]) -> None:
    directory = coded(tmp_path / "model", save_tiny_model)
    model = LusiferModel.from_pretrained(directory)
    expected = restore_blocks(load_file(directory / "model.safetensors"))[WORDS]
    assert torch.equal(model.get_parameter(WORDS), expected)
    export_onnx(directory, directory, graph_only=True)
    texts = ["what is this", "a passage of words", "abc"]
    by_torch = Embedder.load(directory, runtime="torch").encode_documents(texts)
    by_onnx = Embedder.load(directory, runtime="onnx").encode_documents(texts)
    assert (by_torch * by_onnx).sum(axis=1).min() > 0.99
    other = Embedder.load(directory, runtime="torch").encode_documents(["quite another"])
    assert (by_torch @ other.T).max() < 0.99


def test_a_part_that_is_missing_is_named(tmp_path: Path, save_tiny_model: Callable[..., Path]) -> None:
    directory = coded(tmp_path / "model", save_tiny_model)
    weights = load_file(directory / "model.safetensors")
    del weights[f"{WORDS}.gain"]
    save_file(weights, directory / "model.safetensors")
    with pytest.raises(ModelError, match=r"but not .*\.gain; the file is incomplete"):
        LusiferModel.from_pretrained(directory)
