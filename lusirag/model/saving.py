"""From a model in memory to a model directory: safetensors in shards, whole or in blocks, or what was trained alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.model.adapters import PARTS, name_in_files
from lusirag.model.files import INDEX, WEIGHTS
from lusirag.model.loading import distinct
from lusirag.model.storage import BITS, BLOCK, quantize_matrix

SHARD = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")


def save_model(
    model: Any,
    directory: Path,
    *,
    bits: int | None,
    max_shard_size: int | str,
    state: dict[str, Tensor] | None = None,
) -> None:
    """Write config.json and the weights; see `LusiferModel.save_pretrained`.

    Args:
        state: weights to write in the place of the model's own, as trainers gather them.
    """
    if bits is not None and bits not in BITS:
        raise InvalidArgumentError(f"bits is {bits}; allowed: 4, 8, or None for weights as they are")
    weights = {name_in_files(name): tensor for name, tensor in distinct(state or model.state_dict()).items()}
    stored: dict[str, Tensor] = {}
    for name, weight in weights.items():
        stored |= quantize_matrix(name, weight, bits=bits) if bits and _fits_blocks(name, weight) else {name: weight}
    write(model.config, stored, directory, max_shard_size=max_shard_size)


def save_adapters(model: Any, directory: Path) -> None:
    """Write what was trained and references to the base models; see `LusiferModel.save_adapters`."""
    if model.config.base_models is None:
        raise ModelError(
            "this model does not know its base models, or merging changed their weights; "
            "save_pretrained() writes it whole"
        )
    weights = {name_in_files(name): tensor for name, tensor in distinct(model.state_dict()).items()}
    trained = {name: tensor for name, tensor in weights.items() if not name.startswith(PARTS) or ".lora_" in name}
    write(model.config, trained, directory, max_shard_size="5GB")


def write(config: Any, stored: dict[str, Tensor], directory: Path, *, max_shard_size: int | str) -> None:
    """Write a model directory's weights, then its config.json; each file appears whole or not at all.

    Raises:
        ModelError: the directory cannot be written.
    """
    plan = split_torch_state_dict_into_shards(stored, max_shard_size=max_shard_size)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file, names in plan.filename_to_tensors.items():
            tensors = {name: stored[name].detach().cpu().contiguous() for name in names}
            temporary = directory / f"{file}.writing"
            save_file(tensors, temporary, metadata={"format": "pt"})
            temporary.chmod(0o644)
            temporary.replace(directory / file)
        if plan.is_sharded:
            content = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
            _write_text(directory / INDEX, json.dumps(content, indent=2) + "\n")
        config.architectures = ["LusiferModel"]
        config.save_pretrained(directory)
        _remove_others(directory, plan.filename_to_tensors)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"the model cannot be written to {directory} ({error}); free space or choose another"
        ) from error


def _fits_blocks(name: str, weight: Tensor) -> bool:
    """Matrices of encoder and language model; what was trained on top stays as precise as it is."""
    return (
        name.startswith(PARTS)
        and ".lora_" not in name
        and weight.dim() == 2
        and weight.shape[1] % BLOCK == 0
        and weight.is_floating_point()
    )


def _remove_others(directory: Path, written: Iterable[str]) -> None:
    """Remove the weight files of an earlier model of this directory, so that no reader takes them for this one's."""
    kept = set(written)
    if WEIGHTS in kept:
        (directory / INDEX).unlink(missing_ok=True)
    for file in directory.iterdir():
        if SHARD.fullmatch(file.name) and file.name not in kept:
            file.unlink()


def _write_text(file: Path, text: str) -> None:
    temporary = file.with_name(f"{file.name}.writing")
    temporary.write_text(text, "utf-8")
    temporary.replace(file)
