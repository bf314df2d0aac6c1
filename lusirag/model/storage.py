"""4-bit blocks in safetensors: how frozen base weights are stored, and restored bit for bit.

A matrix `NAME` of shape (rows, columns) is stored as two or three tensors, columns cut into blocks of 32:

    NAME.blocks    uint8    (rows, columns / 2)    byte i of a block: low nibble: element i, high nibble: i + 16
    NAME.scale     float16  (rows, columns / 32)
    NAME.minimum   float16  (rows, columns / 32)   only for blocks that do not lie around zero

    value = (nibble - 8) * scale              without `minimum` (the Q4_0 blocks of llama.cpp)
    value = nibble * scale + minimum          with it (its Q4_1 blocks)

both computed in float32. Tensors stored plainly (any other name) pass through.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

BLOCK = 32
BLOCKS, SCALE, MINIMUM = ".blocks", ".scale", ".minimum"


def restore_blocks(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict that `stored` stands for: every block-quantised matrix as float32, all else unchanged."""
    state: dict[str, Tensor] = {}
    for key, tensor in stored.items():
        if key.endswith(BLOCKS):
            name = key.removesuffix(BLOCKS)
            state[name] = restore_matrix(tensor, stored[name + SCALE], stored.get(name + MINIMUM))
        elif not _belongs_to_blocks(key, stored):
            state[key] = tensor
    return state


def _belongs_to_blocks(key: str, stored: Mapping[str, Tensor]) -> bool:
    return any(key.endswith(suffix) and key.removesuffix(suffix) + BLOCKS in stored for suffix in (SCALE, MINIMUM))


def restore_matrix(blocks: Tensor, scale: Tensor, minimum: Tensor | None = None) -> Tensor:
    """Restore one matrix.

    Args:
        blocks: uint8 (rows, columns / 2).
        scale: float16 (rows, columns / 32).
        minimum: the same shape as scale, or None.

    Returns:
        float32 (rows, columns).
    """
    rows, half = blocks.shape
    packed = blocks.numpy().reshape(rows, half * 2 // BLOCK, BLOCK // 2)
    nibbles = np.empty((rows, packed.shape[1], BLOCK), dtype=np.int8)
    np.bitwise_and(packed, 15, out=nibbles[:, :, : BLOCK // 2].view(np.uint8))
    np.right_shift(packed, 4, out=nibbles[:, :, BLOCK // 2 :].view(np.uint8))
    if minimum is None:
        nibbles -= 8
    values = torch.from_numpy(nibbles).float().mul_(scale.float().unsqueeze(2))  # (rows, blocks, 32)
    if minimum is not None:
        values.add_(minimum.float().unsqueeze(2))
    return values.view(rows, half * 2)


def pack_nibbles(nibbles: Tensor) -> Tensor:
    """Pack uint8 values 0..15 of shape (rows, blocks, 32) into `NAME.blocks`, uint8 (rows, blocks * 16)."""
    low, high = nibbles[:, :, : BLOCK // 2], nibbles[:, :, BLOCK // 2 :]
    return (low | (high << 4)).reshape(nibbles.shape[0], -1).contiguous()
