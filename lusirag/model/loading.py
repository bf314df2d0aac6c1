"""From a model directory to a state dict: safetensors only, 4-bit blocks restored, LoRA merged, no key left over."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers.utils import logging as progress

from lusirag.errors import ModelError
from lusirag.model.storage import restore_blocks

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
LORA_A, LORA_B = ".lora_A.weight", ".lora_B.weight"


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files of a model directory, one or several shards.

    Raises:
        ModelError: there are none, or one that the index names is missing.
    """
    if (directory / INDEX).is_file():
        shards = sorted(set(json.loads((directory / INDEX).read_text("utf-8"))["weight_map"].values()))
        files = [directory / shard for shard in shards]
    else:
        files = [directory / WEIGHTS]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelError(
            f"{directory} lacks {', '.join(missing)}; a model directory holds config.json, tokenizer.json and "
            "model.safetensors (other weight formats are not read)"
        )
    return files


def read_state(directory: Path, lora: Mapping[str, float] | None) -> dict[str, Tensor]:
    """Read all weights of a directory, restored from 4-bit blocks and with LoRA matrices merged.

    Args:
        lora: {"rank", "alpha"} when the files hold LoRA matrices.

    Raises:
        ModelError: a file is missing, cut short or not safetensors.
    """
    stored: dict[str, Tensor] = {}
    for file in weight_files(directory):
        try:
            with safe_open(file, framework="pt") as tensors:
                stored.update({key: tensors.get_tensor(key) for key in tensors.keys()})  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file} cannot be read ({error}); copy or download it again") from error
    state = restore_blocks(stored)
    return state if lora is None else merge_lora(state, scaling=lora["alpha"] / lora["rank"])


def merge_lora(state: Mapping[str, Tensor], *, scaling: float) -> dict[str, Tensor]:
    """Fold each pair NAME.lora_A.weight (r, in), NAME.lora_B.weight (out, r) into NAME.weight (out, in), in float32.

    Raises:
        ModelError: a pair is incomplete or its NAME.weight is missing.
    """
    merged = {key: tensor for key, tensor in state.items() if not key.endswith((LORA_A, LORA_B))}
    for key in state:
        if not key.endswith((LORA_A, LORA_B)):
            continue
        name = key.removesuffix(LORA_A).removesuffix(LORA_B)
        needed = (name + LORA_A, name + LORA_B, name + ".weight")
        absent = [part for part in needed if part not in state]
        if absent:
            raise ModelError(f"the weights hold {key} but not {', '.join(absent)}; the file is incomplete")
        if key.endswith(LORA_B):
            update = state[key].float() @ state[name + LORA_A].float()
            merged[name + ".weight"] = torch.add(state[name + ".weight"].float(), update, alpha=scaling)
    return merged


def require_complete(report: Mapping[str, Any], *, source: Path) -> None:
    """Strict loading: every parameter is in the files with its shape, and nothing else is.

    Args:
        report: the loading information of transformers' `from_pretrained`.

    Raises:
        ModelError: lists what differs.
    """
    differences = (
        ("missing", sorted(report["missing_keys"])),
        ("unknown", sorted(report["unexpected_keys"])),
        ("of another shape", sorted(str(key) for key in report["mismatched_keys"])),
    )
    problems = [
        f"{len(keys)} {what}: {', '.join(keys[:8])}{', ...' if len(keys) > 8 else ''}"
        for what, keys in differences
        if keys
    ]
    if problems:
        raise ModelError(f"the weights in {source} do not fit its config.json: {'; '.join(problems)}")


@contextmanager
def quiet_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing its own progress bar over ours while weights load."""
    was_enabled = progress.is_progress_bar_enabled()
    progress.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            progress.enable_progress_bar()
