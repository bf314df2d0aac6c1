"""A tiny world to train in: base models, pairs whose query repeats in its positive, a recipe for each stage."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from lusirag_training.config import AlignmentConfig, ContrastiveConfig
from lusirag_training.config.reading import parse
from tests.conftest import DECODERS, tiny_model, tiny_tokenizer


def write_world(folder: Path) -> Path:
    """Base models `encoder` and `decoder`, and pairs.jsonl."""
    torch.manual_seed(0)
    tiny_model("bert").multilingual_encoder.save_pretrained(folder / "encoder")
    tiny_tokenizer().save(str(folder / "encoder" / "tokenizer.json"))
    config = DECODERS["llama"]()
    config.vocab_size = 256
    LlamaForCausalLM(config).save_pretrained(folder / "decoder")
    tiny_tokenizer().save(str(folder / "decoder" / "tokenizer.json"))
    choose = random.Random(1)
    lines = []
    for _ in range(48):
        word = "".join(choose.choice("abcdefghijklmnop") for _ in range(6))
        other = "".join(choose.choice("qrstuvwxyz") for _ in range(6))
        lines.append({"query": word, "positive": [word[:4] + " " + word], "negative": [other, other[::-1]]})
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", "utf-8")
    return folder


def recipe(world: Path, stage: str, **changes: dict[str, Any]) -> dict[str, Any]:
    """Values of a recipe over the tiny world; sections of `changes` are laid over its own."""
    sections: dict[str, Any] = {
        "stage": stage,
        "model": {
            "encoder": str(world / "encoder"),
            "decoder": str(world / "decoder"),
            "settings": {"max_tokens": 40},
        },
        "data": {"sets": [{"name": "pairs", "source": str(world / "pairs.jsonl"), "instruction": "Find"}]},
        "run": {"output": str(world / "run"), "device": "cpu", "log_every": 1, "save_every": 2},
        "optimization": {"batch_size": 8, "precision": "float32", "chunk_tokens": 300, "learning_rate": 3e-3},
    }
    return sections | {name: sections.get(name, {}) | values for name, values in changes.items()}


def contrastive(world: Path, **changes: dict[str, Any]) -> ContrastiveConfig:
    """A checked recipe of stage 2."""
    return parse(recipe(world, "contrastive", **changes), ContrastiveConfig, origin="test")


def alignment(world: Path, **changes: dict[str, Any]) -> AlignmentConfig:
    """A checked recipe of stage 1."""
    return parse(recipe(world, "alignment", **changes), AlignmentConfig, origin="test")
