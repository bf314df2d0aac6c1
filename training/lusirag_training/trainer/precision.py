"""In which numbers a run computes."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeVar

from lusirag.embedding.torch_runtime import choose_device, has_bfloat16
from lusirag_training.config import StageConfig

Config = TypeVar("Config", bound=StageConfig)


def with_precision(config: Config) -> Config:
    """The recipe with "auto" replaced by what it means here: bfloat16 where the device has instructions for it."""
    if config.optimization.precision != "auto":
        return config
    device = choose_device(None if config.run.device == "auto" else config.run.device)
    precision: Literal["bfloat16", "float32"] = "bfloat16" if has_bfloat16(device) else "float32"
    return replace(config, optimization=replace(config.optimization, precision=precision))
