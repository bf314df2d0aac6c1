"""In which numbers a run computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, TypeVar

import torch

from lusirag_training.config import StageConfig

BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # of x86, and of ARM

Config = TypeVar("Config", bound=StageConfig)


def with_precision(config: Config) -> Config:
    """The recipe with "auto" replaced by what it means here: bfloat16 where the device has instructions for it.

    A CPU without them computes a product of bfloat16 matrices hundreds of times slower than one of float32.
    """
    if config.optimization.precision != "auto":
        return config
    precision: Literal["bfloat16", "float32"] = "bfloat16" if has_bfloat16(config.run.device) else "float32"
    return replace(config, optimization=replace(config.optimization, precision=precision))


def has_bfloat16(device: str) -> bool:
    """Whether the device of a run ("auto" or "cpu") has instructions for bfloat16."""
    if device == "auto" and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: Mapping[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch does not tell
    return any(capabilities.get(name, False) for name in BFLOAT16_INSTRUCTIONS)
