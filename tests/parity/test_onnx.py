"""The ONNX graph computes what the torch network computes, for every kind of network and every form of weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lusirag.embedding.batching import pad_batch
from lusirag.embedding.description import read_description
from lusirag.embedding.onnx_export import DATA, export_onnx
from lusirag.embedding.onnx_model import build_model
from lusirag.embedding.onnx_nodes import FloatLinear
from lusirag.embedding.onnx_runtime import EXACT_SUMS, OnnxRuntime, open_session, sums_may_overflow
from lusirag.embedding.onnx_shape import read_shape
from lusirag.embedding.onnx_weights import graph_weights
from lusirag.embedding.stored import stored_tensors
from lusirag.errors import ModelError
from lusirag.model import LusiferModel
from lusirag.model.storage import pack_nibbles, quantize_matrix
from lusirag.types import Vectors

NETWORKS: dict[str, dict[str, Any]] = {
    "skip": {"projection": "linear", "embedding_size": 32, "encoder_skip": True},
    "erased": {"projection": "linear", "embedding_size": 32, "encoder_skip": True, "erased_directions": 3},
    "published": {"encoder": "xlm-roberta", "added_tokens": 3},
    "weighted mean": {"pooling": "weighted_mean", "added_tokens": 0, "projection": "none"},
    "cls": {"encoder": "xlm-roberta", "pooling": "cls", "projection": "linear", "embedding_size": 20},
    "last": {"pooling": "last", "added_tokens": 2},
    "encoder alone": {"decoder": None, "connector": "none", "projection": "none"},
    "encoder alone, erased": {"decoder": None, "connector": "none", "projection": "none", "erased_directions": 5},
    "encoder alone, projected": {"encoder": "xlm-roberta", "decoder": None, "connector": "none", "projection": "mlp"},
}
LENGTHS = [1, 2, 9, 9, 40, 3]


def texts_of(lengths: list[int], seed: int = 5) -> list[list[int]]:
    draw = np.random.default_rng(seed)
    return [draw.integers(4, 256, length).tolist() for length in lengths]


def by_torch(directory: Path, texts: list[list[int]]) -> Vectors:
    model = LusiferModel.from_pretrained(directory)
    with torch.inference_mode():
        return np.concatenate([model(torch.tensor([ids])).embeddings.numpy() for ids in texts])


def by_float_graph(directory: Path, texts: list[list[int]]) -> Vectors:
    shape, stored = read_shape(read_description(directory).config), stored_tensors(directory)
    weights = graph_weights(shape, stored, precision="float32")
    graph = build_model(shape, stored, weights, FloatLinear, data=DATA)
    session = open_session(graph.SerializeToString(), weights, directory=directory, threads=1)
    return np.concatenate([session.run(None, {"input_ids": np.array([ids])})[0] for ids in texts])


def by_runtime(directory: Path, texts: list[list[int]]) -> Vectors:
    return OnnxRuntime(read_description(directory), threads=2)(*pad_batch(texts, padding_id=1))


def cosines(left: Vectors, right: Vectors) -> Vectors:
    return (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


@pytest.fixture(scope="module", params=NETWORKS)
def directory(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, save_tiny_model: Callable[..., Path]
) -> Path:
    folder = save_tiny_model(tmp_path_factory.mktemp("network"), **NETWORKS[request.param])
    export_onnx(folder, folder, graph_only=True)
    return folder


def test_in_float32_the_graph_is_the_network(directory: Path) -> None:
    texts = texts_of(LENGTHS)
    np.testing.assert_allclose(by_float_graph(directory, texts), by_torch(directory, texts), atol=1e-5, rtol=0)


def test_in_8_bits_it_is_nearly_the_network(directory: Path) -> None:
    texts = texts_of(LENGTHS)
    assert cosines(by_runtime(directory, texts), by_torch(directory, texts)).min() > 0.998


def test_an_embedding_depends_on_its_own_text_alone(directory: Path) -> None:
    texts = texts_of([5, 17, 5, 64, 1, 17, 5])
    alone = np.concatenate([by_runtime(directory, [text]) for text in texts])
    np.testing.assert_allclose(by_runtime(directory, texts), alone, atol=1e-5, rtol=0)
    np.testing.assert_allclose(by_runtime(directory, texts[::-1])[::-1], alone, atol=1e-5, rtol=0)
    ids, mask = pad_batch(texts, padding_id=1)
    left = np.stack([np.roll(row, len(row) - len(text)) for row, text in zip(ids, texts, strict=True)])
    left_mask = np.stack([np.roll(row, len(row) - len(text)) for row, text in zip(mask, texts, strict=True)])
    runtime = OnnxRuntime(read_description(directory), threads=1)
    np.testing.assert_allclose(runtime(left, left_mask), alone, atol=1e-5, rtol=0)


@pytest.fixture
def stored_model(tmp_path: Path, save_tiny_model: Callable[..., Path]) -> tuple[Path, dict[str, torch.Tensor]]:
    folder = save_tiny_model(tmp_path / "stored", added_tokens=1)
    return folder, load_file(folder / "model.safetensors")


def save_and_compare(folder: Path, state: dict[str, torch.Tensor]) -> None:
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    texts = texts_of(LENGTHS)
    np.testing.assert_allclose(by_float_graph(folder, texts), by_torch(folder, texts), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_16_bits(stored_model: tuple[Path, dict[str, torch.Tensor]], dtype: torch.dtype) -> None:
    folder, state = stored_model
    save_and_compare(folder, {name: weight.to(dtype) for name, weight in state.items()})


@pytest.mark.parametrize("with_minimum", [False, True])
def test_weights_in_4_bit_blocks(stored_model: tuple[Path, dict[str, torch.Tensor]], with_minimum: bool) -> None:
    folder, state = stored_model
    draw = torch.Generator().manual_seed(2)
    for name in [name for name in state if name.endswith(("query.weight", "word_embeddings.weight"))]:
        rows, blocks = len(state.pop(name)), 1
        nibbles = torch.randint(0, 16, (rows, blocks, 32), generator=draw, dtype=torch.uint8)
        state |= {f"{name}.blocks": pack_nibbles(nibbles), f"{name}.scale": torch.rand(rows, blocks).half() / 20}
        if with_minimum:
            state[f"{name}.minimum"] = torch.rand(rows, blocks).half() - 0.5
    save_and_compare(folder, state)


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_that_were_rounded_to_blocks(stored_model: tuple[Path, dict[str, torch.Tensor]], bits: int) -> None:
    folder, _ = stored_model
    LusiferModel.from_pretrained(folder).save_pretrained(folder, bits=bits)
    save_and_compare(folder, load_file(folder / "model.safetensors"))


@pytest.mark.parametrize("bits", [None, 8])
def test_lora_matrices_are_merged(stored_model: tuple[Path, dict[str, torch.Tensor]], bits: int | None) -> None:
    folder, state = stored_model
    draw = torch.Generator().manual_seed(4)
    for part, rows, columns in (("self_attn.q_proj", 48, 48), ("self_attn.o_proj", 48, 48), ("mlp.down_proj", 48, 96)):
        name = f"language_model.layers.1.{part}"
        lora = {
            f"{name}.lora_A.weight": torch.randn(4, columns, generator=draw) / 4,
            f"{name}.lora_B.weight": torch.randn(rows, 4, generator=draw) / 4,
        }
        for matrix, values in lora.items():
            fits = bits and (values.shape[1] % 32 == 0 or values.shape[1] < 32)
            state |= quantize_matrix(matrix, values, bits=8) if fits else {matrix: values}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"lora": {"rank": 4, "alpha": 8}}))
    save_and_compare(folder, state)


def test_shards(stored_model: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path) -> None:
    folder, _ = stored_model
    LusiferModel.from_pretrained(folder).save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    texts = texts_of(LENGTHS)
    np.testing.assert_allclose(by_float_graph(tmp_path / "shards", texts), by_torch(folder, texts), atol=1e-5, rtol=0)


def test_an_exported_directory_runs_in_onnxruntime_alone(directory: Path, tmp_path: Path) -> None:
    import onnxruntime

    export_onnx(directory, tmp_path / "exported")
    options = onnxruntime.SessionOptions()
    if sums_may_overflow():
        options.add_session_config_entry(*EXACT_SUMS)
    session = onnxruntime.InferenceSession(str(tmp_path / "exported" / "model.onnx"), options)
    for text in texts_of(LENGTHS):
        [found] = session.run(None, {"input_ids": np.array([text])})
        np.testing.assert_allclose(found, by_runtime(tmp_path / "exported", [text]), atol=1e-5, rtol=0)


def test_what_the_graph_cannot_express_is_listed(stored_model: tuple[Path, dict[str, torch.Tensor]]) -> None:
    folder, _ = stored_model
    config = json.loads((folder / "config.json").read_text())
    config["decoder_config"]["model_type"] = "gemma2"
    config["decoder_config"]["rope_parameters"]["rope_type"] = "yarn"
    config["encoder_config"]["hidden_act"] = "swish"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError) as caught:
        export_onnx(folder, folder)
    for part in ("gemma2", "yarn", "swish", "runtime='torch'"):
        assert part in str(caught.value)
    assert not (folder / "model.onnx").exists()
