"""In which numbers a run computes, and what is computed in another way for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch
from torch import nn

from lusirag.embedding.torch_runtime import choose_device, has_bfloat16
from lusirag.errors import InvalidArgumentError
from lusirag_training.config import StageConfig
from lusirag_training.trainer.adapters import join_adapters
from lusirag_training.trainer.attention import attend_in_float32

Config = TypeVar("Config", bound=StageConfig)


def with_precision(config: Config) -> Config:
    """The recipe with "auto" replaced by what it means here: bfloat16 where the device has instructions for it.

    Raises:
        InvalidArgumentError: frozen weights in bfloat16 under a computation in float32.
    """
    precision, chosen = config.optimization.precision, ""
    if precision == "auto":
        device = choose_device(None if config.run.device == "auto" else config.run.device)
        precision, chosen = ("bfloat16", "") if has_bfloat16(device) else ("float32", f", chosen for {device.type},")
    if precision == "float32" and config.model.dtype != "float32":
        raise InvalidArgumentError(
            f"model.dtype is {config.model.dtype}, which optimization.precision float32{chosen} cannot compute with: "
            "--set model.dtype=float32, or optimization.precision=bfloat16"
        )
    return replace(config, optimization=replace(config.optimization, precision=precision))


def suit_cpu(network: nn.Module, config: StageConfig, device: torch.device) -> None:
    """On a CPU in bfloat16, let what is trained attend in float32 and join its LoRA layers; else change nothing."""
    if config.optimization.precision == "bfloat16" and device.type == "cpu":
        attend_in_float32(network)
        join_adapters(network)
