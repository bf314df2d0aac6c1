"""In which numbers a run computes."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from lusirag_training.config import StageConfig

BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")  # of x86, and of ARM


def computes_in_bfloat16(config: StageConfig) -> bool:
    """Whether a run computes in bfloat16; "auto" means: where its device has instructions for it.

    A CPU without them computes a product of bfloat16 matrices hundreds of times slower than one of float32.
    """
    wanted = config.optimization.precision
    return has_bfloat16(config.run.device) if wanted == "auto" else wanted == "bfloat16"


def has_bfloat16(device: str) -> bool:
    """Whether the device of a run ("auto" or "cpu") has instructions for bfloat16."""
    if device == "auto" and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: Mapping[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch does not tell
    return any(capabilities.get(name, False) for name in BFLOAT16_INSTRUCTIONS)
