"""The embedded model's directory: small, complete, without pickle, restoring to float32 weights of the right shapes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from lusirag import Embedder
from lusirag.embedding.catalog import ASSETS, EMBEDDED_MODELS
from lusirag.embedding.onnx_export import export_onnx

DIRECTORY = EMBEDDED_MODELS["lusifer-mini"]
GRAPHS = ("model.onnx", "model_uint8.onnx")
WORDS = "multilingual_encoder.embeddings.word_embeddings.weight"


def test_files_and_size() -> None:
    files = {file.name: file.stat().st_size for file in DIRECTORY.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md", *GRAPHS} <= files.keys()
    assert all(files[name] <= 200_000 for name in GRAPHS)
    assert {name for name in files if name.startswith("LICENSE-")} == {
        "LICENSE-SmolLM2",
        "LICENSE-multilingual-e5-small",
    }
    assert sum(files.values()) <= 48_000_000
    assert files["tokenizer.json"] <= 7_000_000
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl", ".pth"))]


def test_frozen_matrices_are_4_bit_trained_ones_8_words_are_codes_and_nothing_is_float32() -> None:
    with safe_open(DIRECTORY / "model.safetensors", "pt") as weights:
        names = set(weights.keys())
        assert weights.metadata() == {"format": "pt"}
        types = {name: weights.get_slice(name).get_dtype() for name in names}
    assert set(types.values()) == {"U8", "I8", "F16"}
    matrices, on_top = 12 * 6 + 7, 3  # of encoder and language model; connector and projection
    blocks = [types[name] for name in names if name.endswith(".blocks")]
    assert (blocks.count("U8"), blocks.count("I8")) == (matrices, 2 * matrices + on_top)
    assert [name for name in names if name.endswith(".codes")] == [f"{WORDS}.codes"]
    assert sum(".lora_" in name for name in names) == 2 * 2 * matrices
    assert not [name for name in names if "embed_tokens" in name or "lm_head" in name or "pooler" in name]


def test_tokenizer_and_config_agree_on_the_vocabulary() -> None:
    config = json.loads((DIRECTORY / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((DIRECTORY / "tokenizer.json").read_text(encoding="utf-8"))
    pieces = [piece for piece, _ in tokenizer["model"]["vocab"]]
    assert len(pieces) == len(set(pieces)) == config["encoder_config"]["vocab_size"]
    assert pieces[:4] == ["<s>", "<pad>", "</s>", "<unk>"]
    assert {token["content"]: token["id"] for token in tokenizer["added_tokens"]}["<mask>"] == pieces.index("<mask>")


def test_the_embedder_finds_an_answer_in_another_language() -> None:
    embedder = Embedder.load("lusifer-mini")
    assert (embedder.dimension, embedder.max_tokens) == (384, 512)
    queries = embedder.encode_queries(["Nani ana haki ya kupata elimu?", "Как пожарить картошку?"])
    documents = embedder.encode_documents(["Everyone has the right to education.", "Fry the potatoes in hot oil."])
    assert torch.from_numpy(queries @ documents.T).argmax(dim=1).tolist() == [0, 1]


def test_the_onnx_form_is_what_export_writes_now(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(DIRECTORY, copy)
    for name in (*GRAPHS, "smoothing.safetensors"):
        (copy / name).unlink()
    export_onnx(copy, copy, graph_only=True)
    for name in GRAPHS:
        assert (copy / name).read_bytes() == (DIRECTORY / name).read_bytes()
    written, committed = (load_file(folder / "smoothing.safetensors") for folder in (copy, DIRECTORY))
    assert written.keys() == committed.keys()
    for norm, factors in committed.items():  # measured in float32, whose last bits depend on the machine
        np.testing.assert_allclose(written[norm], factors, rtol=0.01, err_msg=norm)


def test_in_8_bits_vectors_stay_what_they_are_in_float32() -> None:
    rows = pq.read_table(ASSETS / "udhr.parquet", columns=["text", "article"]).to_pylist()
    texts = [row["text"] for row in rows if row["article"] == 25][::2]
    by_onnx, by_torch = (Embedder.load("lusifer-mini", runtime=runtime) for runtime in ("onnx", "torch"))
    assert by_onnx.fingerprint == by_torch.fingerprint
    assert len(texts) > 40
    cosines = (by_onnx.encode_documents(texts) * by_torch.encode_documents(texts)).sum(axis=1)
    assert cosines.mean() >= 0.999
    assert cosines.min() >= 0.998
