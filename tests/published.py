"""Writes tiny checkpoints in the form of the published LUSIFER code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from torch import Tensor

from lusirag.model import LusiferModel
from lusirag.model.adapters import name_in_files
from tests.conftest import tiny_model, tiny_tokenizer

HYPERPARAMETERS = {
    "universal_learner_name_or_path": "encoder",
    "encoder_name_or_path": "decoder",
    "universal_learner_backbone_type": "xlm-r",
    "encoder_backbone_type": "mistral",
    "is_freeze_universal_learner": True,
    "is_freeze_encoder": True,
    "connection_type": "ff",
    "num_added_tokens": 2,
    "pooling_method": "weightedmean",
    "encoder_lora_name": "encoder_lora",
    "universal_learner_lora_name": "universal_learner_lora",
    "loar_r": 4,
    "lora_alpha": 8,
    "dropout": 0.1,
}
STEMS = {
    "multilingual_encoder.": ("universal_learner.base_model.model.", "universal_learner_lora"),
    "language_model.": ("encoder.base_model.model.model.", "encoder_lora"),
    "connector.feed_forward.": ("connection_module.ff.", ""),
    "connector.": ("connection_module.", ""),
    "projection.": ("output_projection.", ""),
}


def published_name(name: str, adapted: set[str]) -> str:
    """Our name in files -> the published one, written down here a second time on purpose."""
    ours, (theirs, adapter) = next((stem, new) for stem, new in STEMS.items() if name.startswith(stem))
    rest = name.removeprefix(ours)
    layer, _, kind = name.rpartition(".")
    if ".lora_" in rest:
        rest = rest.replace(".weight", f".{adapter}.weight")
    elif layer in adapted:
        rest = f"{rest.rpartition('.')[0]}.base_layer.{kind}"
    return theirs + rest


def adapted_model() -> LusiferModel:
    """A tiny model whose parts a published checkpoint can hold."""
    made = tiny_model("xlm-roberta", "mistral", added_tokens=2, pooling="weighted_mean")
    made.add_adapters(rank=4, alpha=8, dropout=0.1)
    for name, parameter in made.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return made.eval()


def write_published(
    directory: Path,
    model: LusiferModel,
    change: Callable[[dict[str, Tensor]], Any] | None = None,
    *,
    shards: bool = False,
    **changes: Any,
) -> Path:
    """Write a model under the published names.

    Args:
        model: as `adapted_model` makes it.
        change: what to do to the state dict. changes: to the hyperparameters.
    """
    ours = {name_in_files(name): tensor.contiguous() for name, tensor in model.state_dict().items()}
    adapted = {name.removesuffix(".lora_A.weight") for name in ours if ".lora_A." in name}
    state = {published_name(name, adapted): tensor for name, tensor in ours.items()}
    words = torch.randn(64, 48, generator=torch.Generator().manual_seed(1))
    state["encoder.base_model.model.model.embed_tokens.weight"] = words
    state["encoder.base_model.model.lm_head.weight"] = words + 1
    state["universal_learner.base_model.model.pooler.dense.bias"] = torch.zeros(32)
    if change is not None:
        change(state)
    for part, config in (("encoder", model.config.encoder_config), ("decoder", model.config.decoder_config)):
        config.save_pretrained(directory / part)
    tiny_tokenizer().save(str(directory / "encoder" / "tokenizer.json"))
    (directory / "config.json").write_text(json.dumps(HYPERPARAMETERS | changes))
    if not shards:
        save_file(state, directory / "model.safetensors")
        return directory
    plan = split_torch_state_dict_into_shards(state, max_shard_size="40KB")
    for file, names in plan.filename_to_tensors.items():
        save_file({name: state[name] for name in names}, directory / file)
    assert plan.is_sharded
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": plan.tensor_to_filename}))
    return directory
