"""Recover the 4-bit blocks behind float32 weights, exactly.

The base models of lusifer-mini are published as 4-bit blocks and unpacked to float32 by their readers. Quantising that
float32 again by a rule of thumb would lose a little each time; here the blocks are solved for instead, and a result
only counts when it restores every bit, the sign of a zero included. See lusirag.model.storage for the two layouts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lusirag.model.storage import BLOCK, BLOCKS, MINIMUM, SCALE, pack_nibbles, restore_blocks

LEVELS = 15  # steps between the smallest and the largest of the 16 values of a block


def stored_exactly(name: str, weight: Tensor) -> dict[str, Tensor]:
    """Return the smallest tensors that restore `weight` bit for bit under `name`.

    4-bit blocks around zero, else 4-bit blocks with a minimum, else float16, else float32 as it is.

    Args:
        name: key in the state dict.
        weight: float32, any shape; only (rows, columns) with columns a multiple of 32 can become blocks.

    Raises:
        ValueError: `weight` is not float32.
    """
    forms: list[Callable[[str, Tensor], dict[str, Tensor]]] = [_as_half, _as_it_is]
    if weight.dim() == 2 and weight.shape[1] % BLOCK == 0:
        forms = [_around_zero, _with_minimum, *forms]
    for form in forms:
        stored = form(name, weight)
        if same_bits(restore_blocks(stored)[name].float(), weight):
            return {key: tensor.contiguous() for key, tensor in stored.items()}
    raise ValueError(f"{name} cannot be stored exactly: it is {weight.dtype}, and float32 was expected")


def same_bits(left: Tensor, right: Tensor) -> bool:
    """Tell whether two float32 tensors agree in shape and in every bit (torch.equal takes -0.0 for 0.0)."""
    if left.shape != right.shape or left.dtype != torch.float32 or right.dtype != torch.float32:
        return False
    return torch.equal(left.contiguous().view(torch.int32), right.contiguous().view(torch.int32))


def _as_half(name: str, weight: Tensor) -> dict[str, Tensor]:
    return {name: weight.half()}


def _as_it_is(name: str, weight: Tensor) -> dict[str, Tensor]:
    return {name: weight}


def _around_zero(name: str, weight: Tensor) -> dict[str, Tensor]:
    """Solve value = (nibble - 8) * scale: the value farthest from zero has the nibble 0, so scale = value / -8."""
    values = weight.view(weight.shape[0], -1, BLOCK)  # (rows, blocks, 32)
    farthest = values.gather(2, values.abs().argmax(2, keepdim=True))  # (rows, blocks, 1)
    scale = (farthest / -8).half() + 0.0  # NOTE: adding 0.0 turns -0.0 into 0.0, which the line on signs relies on
    nibbles = (values / scale.float()).round().add(8)
    # In a block of zeros the scale is 0.0 and the nibble carries the sign: 0 * 0.0 = 0.0, but -1 * 0.0 = -0.0.
    nibbles = torch.where(scale == 0, 8 - torch.signbit(values).float(), nibbles)
    return {name + BLOCKS: pack_nibbles(_as_nibbles(nibbles)), name + SCALE: scale.squeeze(2)}


def _with_minimum(name: str, weight: Tensor) -> dict[str, Tensor]:
    """Solve value = nibble * scale + minimum: the smallest value has the nibble 0, the largest the nibble 15.

    Product and sum were rounded to float32, so (largest - smallest) / 15 may miss the scale by one step of float16:
    its neighbours are tried too.
    """
    values = weight.view(weight.shape[0], -1, BLOCK)  # (rows, blocks, 32)
    minimum = values.amin(2, keepdim=True).half()  # (rows, blocks, 1)
    spread = values.amax(2, keepdim=True) - minimum.float()
    estimate = (spread / LEVELS).half()
    best_scale, best_nibbles = estimate, torch.zeros_like(values)
    found = torch.zeros_like(estimate, dtype=torch.bool)
    for scale in (estimate, _next_half(estimate, -1), _next_half(estimate, +1)):
        nibbles = torch.where(scale == 0, 0.0, ((values - minimum.float()) / scale.float()).round())
        restored = nibbles * scale.float() + minimum.float()
        exact = (restored.view(torch.int32) == values.reshape(restored.shape).view(torch.int32)).all(2, keepdim=True)
        best_scale = torch.where(exact & ~found, scale, best_scale)
        best_nibbles = torch.where(exact & ~found, nibbles, best_nibbles)
        found |= exact
    return {
        name + BLOCKS: pack_nibbles(_as_nibbles(best_nibbles)),
        name + SCALE: best_scale.squeeze(2),
        name + MINIMUM: minimum.squeeze(2),
    }


def _next_half(values: Tensor, step: int) -> Tensor:
    """The float16 neighbour of positive float16 values; below zero there is none, so zero stays."""
    return (values.view(torch.int16) + step).clamp_min(0).view(torch.float16)


def _as_nibbles(values: Tensor) -> Tensor:
    return values.nan_to_num(0).clamp(0, LEVELS).to(torch.uint8)
