"""LoRA layers of a run under autocast, in fewer passes over the activations.

peft turns a layer's input into the float32 of its own matrices, which autocast turns back, and scales and adds what
they give as two more tensors of the layer's output; both again in the backward pass. Here the input is rounded once,
for the layer and its matrices, and the second matrix adds to the layer's output as it multiplies
(`python -m benchmarks.training_step --lora 16` measures both).
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn


def join_adapters(network: nn.Module) -> int:
    """Let the LoRA layers of a network compute so, where autocast is on; elsewhere they stay as peft has them.

    Returns:
        How many there are.
    """
    layers = [module for module in network.modules() if type(module) is Linear]
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    return len(layers)


def _forward(layer: Any, states: Tensor) -> Tensor:
    """(..., in) to (..., out)."""
    (name,) = layer.active_adapters
    kind = states.device.type
    if not torch.is_autocast_enabled(kind) or layer.merged or layer.disable_adapters or name in layer.lora_variant:
        plain: Tensor = type(layer).forward(layer, states)
        return plain
    states = states.to(torch.get_autocast_dtype(kind))
    given = layer.base_layer(states)
    low = layer.lora_A[name](layer.lora_dropout[name](states))  # (..., r)
    second = layer.lora_B[name].weight.T  # (r, out)
    joined = torch.addmm(given.flatten(0, -2), low.flatten(0, -2), second, alpha=layer.scaling[name])
    return joined.view(given.shape)
