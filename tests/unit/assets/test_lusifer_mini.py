"""The embedded model's directory: small, complete, without pickle, restoring to float32 weights of the right shapes."""

from __future__ import annotations

import json

import torch
from safetensors import safe_open

from lusirag.embedding.catalog import EMBEDDED_MODELS
from lusirag_training.vocabulary import DEFAULT_SIZE

DIRECTORY = EMBEDDED_MODELS["lusifer-mini"]


def test_files_and_size() -> None:
    files = {file.name: file.stat().st_size for file in DIRECTORY.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= files.keys()
    assert {name for name in files if name.startswith("LICENSE-")} == {
        "LICENSE-SmolLM2",
        "LICENSE-multilingual-e5-small",
    }
    assert sum(files.values()) <= 48_000_000
    assert files["tokenizer.json"] <= 4_000_000
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl", ".pth"))]


def test_every_frozen_matrix_is_4_bit_and_nothing_is_float32() -> None:
    with safe_open(DIRECTORY / "model.safetensors", "pt") as weights:
        names = set(weights.keys())
        assert weights.metadata() == {"format": "pt"}
        types = {name: weights.get_slice(name).get_dtype() for name in names}
    assert set(types.values()) == {"U8", "F16"}
    assert sum(name.endswith(".blocks") for name in names) == 1 + 12 * 6 + 4 * 7
    assert sum(".lora_" in name for name in names) == 2 * 4 * 7
    assert not [name for name in names if "embed_tokens" in name or "lm_head" in name or "pooler" in name]


def test_tokenizer_and_config_agree_on_the_vocabulary() -> None:
    config = json.loads((DIRECTORY / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((DIRECTORY / "tokenizer.json").read_text(encoding="utf-8"))
    pieces = [piece for piece, _ in tokenizer["model"]["vocab"]]
    assert len(pieces) == len(set(pieces)) == config["encoder_config"]["vocab_size"] == DEFAULT_SIZE
    assert pieces[:4] == ["<s>", "<pad>", "</s>", "<unk>"]
    assert {token["content"]: token["id"] for token in tokenizer["added_tokens"]}["<mask>"] == pieces.index("<mask>")


def test_the_embedder_finds_an_answer_in_another_language() -> None:
    from lusirag import Embedder

    embedder = Embedder.load("lusifer-mini")
    assert (embedder.dimension, embedder.max_tokens) == (384, 512)
    queries = embedder.encode_queries(["Nani ana haki ya kupata elimu?", "Как пожарить картошку?"])
    documents = embedder.encode_documents(["Everyone has the right to education.", "Fry the potatoes in hot oil."])
    assert torch.from_numpy(queries @ documents.T).argmax(dim=1).tolist() == [0, 1]
