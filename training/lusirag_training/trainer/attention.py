"""Attention of a run on a CPU in bfloat16, computed in float32.

torch 2.13's backward pass through `scaled_dot_product_attention` on a CPU is slower in bfloat16 than in float32, though
the matrix products around it are faster. 32 texts of 128 tokens, 12 heads of 32 numbers, both passes, on two cores with
AMX: 90 ms in bfloat16, 29 ms in float32; 16 texts of 256 tokens 65 and 46.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

KERNEL = "sdpa_in_float32"

# A part that attends, and the parts whose gradients come through it.
NEEDED_BY = {
    "multilingual_encoder": ("multilingual_encoder",),
    "language_model": ("multilingual_encoder", "connector", "language_model"),
}


def attend_in_float32(network: nn.Module) -> list[str]:
    """Let a network's encoder and language model attend in float32, where they attend by sdpa and gradients reach them.

    They reach a frozen language model too, on their way to a trained encoder or connector.

    Returns:
        The parts that do so now.
    """
    AttentionInterface.register(KERNEL, _attention)
    AttentionMaskInterface.register(KERNEL, sdpa_mask)
    trained = {name.split(".")[0] for name, parameter in network.named_parameters() if parameter.requires_grad}
    changed = []
    for name, needed_by in NEEDED_BY.items():
        part: Any = getattr(network, name, None)
        if part is None or trained.isdisjoint(needed_by):
            continue
        if part.config._attn_implementation == "sdpa" and part._can_set_attn_implementation():
            part.set_attn_implementation(KERNEL)
            changed.append(name)
    return changed


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """What transformers' sdpa attention gives, in the query's numbers; see `sdpa_attention_forward`."""
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    if options.get("position_bias") is not None:
        options["position_bias"] = options["position_bias"].float()
    with torch.autocast(query.device.type, enabled=False):
        attended, _ = sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), attention_mask, **options
        )
    return attended.to(query.dtype), None
