"""Blocks of 4 and 8 bits in safetensors: how matrices are stored small, and restored.

A matrix `NAME` of shape (rows, columns) is stored as two or three tensors, columns cut into blocks of 32 (in 8 bits,
a narrower matrix is one block wide):

    NAME.blocks    uint8    (rows, columns / 2)    byte i of a block: low nibble: element i, high nibble: i + 16
                or int8     (rows, columns)        one byte an element
    NAME.scale     float16  (rows, columns / 32)
    NAME.minimum   float16  (rows, columns / 32)   only for 4-bit blocks that do not lie around zero

    value = (nibble - 8) * scale              4 bits without `minimum` (the Q4_0 blocks of llama.cpp)
    value = nibble * scale + minimum          4 bits with it (its Q4_1 blocks)
    value = byte * scale                      8 bits (its Q8_0 blocks)

Large tables, such as word embeddings, can be smaller still, by product quantisation (Jégou et al. 2011): columns are
cut into G groups of W, and of each group a row stores which of 256 centroids is nearest.

    NAME.codes      uint8    (rows, G)
    NAME.centroids  float16  (G, 256, W)
    NAME.gain       float16  (rows, 1)
    NAME.mean       float16  (columns)

    value = centroid * gain + mean

all computed in float32. Tensors stored plainly (any other name) pass through. Base models that are published as 4-bit
blocks are restored bit for bit; `quantize_matrix` rounds any other matrix.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

BLOCK = 32
BLOCKS, SCALE, MINIMUM = ".blocks", ".scale", ".minimum"
CODES, CENTROIDS, GAIN, MEAN = ".codes", ".centroids", ".gain", ".mean"
BLOCK_PARTS, CODE_PARTS = (BLOCKS, SCALE, MINIMUM), (CODES, CENTROIDS, GAIN, MEAN)
BITS = (4, 8)
ROWS_AT_ONCE = 16_384  # of a table of codes; bounds the memory of restoring it


def stored_name(key: str, keys: Mapping[str, object] | set[str]) -> str:
    """The name of the matrix that a stored tensor belongs to; the key itself for a tensor stored plainly.

    Args:
        key: of a stored tensor. keys: all that are stored.
    """
    for parts in (BLOCK_PARTS, CODE_PARTS):
        for suffix in parts:
            if key.endswith(suffix) and key.removesuffix(suffix) + parts[0] in keys:
                return key.removesuffix(suffix)
    return key


def restore_blocks(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict that `stored` stands for: matrices in blocks or codes as float32, all else unchanged."""
    state: dict[str, Tensor] = {}
    for key, tensor in stored.items():
        if key.endswith(BLOCKS):
            name = key.removesuffix(BLOCKS)
            state[name] = restore_matrix(tensor, stored[name + SCALE], stored.get(name + MINIMUM))
        elif key.endswith(CODES):
            name = key.removesuffix(CODES)
            state[name] = restore_codes(tensor, *(stored[name + part] for part in CODE_PARTS[1:]))
        elif stored_name(key, stored) == key:
            state[key] = tensor
    return state


def restore_matrix(blocks: Tensor, scale: Tensor, minimum: Tensor | None = None) -> Tensor:
    """Restore one matrix.

    Args:
        blocks: uint8 (rows, columns / 2) or int8 (rows, columns).
        scale: float16 (rows, columns / 32).
        minimum: the same shape as scale, or None.

    Returns:
        float32 (rows, columns).
    """
    rows = blocks.shape[0]
    if blocks.dtype == torch.int8:
        return (blocks.view(*scale.shape, -1).float() * scale.float().unsqueeze(2)).view(blocks.shape)
    packed = blocks.numpy().reshape(rows, -1, BLOCK // 2)
    nibbles = np.empty((rows, packed.shape[1], BLOCK), dtype=np.int8)
    np.bitwise_and(packed, 15, out=nibbles[:, :, : BLOCK // 2].view(np.uint8))
    np.right_shift(packed, 4, out=nibbles[:, :, BLOCK // 2 :].view(np.uint8))
    if minimum is None:
        nibbles -= 8
    values = torch.from_numpy(nibbles).float().mul_(scale.float().unsqueeze(2))  # (rows, blocks, 32)
    if minimum is not None:
        values.add_(minimum.float().unsqueeze(2))
    return values.view(rows, -1)


def restore_codes(codes: Tensor, centroids: Tensor, gain: Tensor, mean: Tensor) -> Tensor:
    """Restore one table that was product-quantised.

    Args:
        codes: uint8 (rows, G). centroids: (G, 256, W). gain: (rows, 1). mean: (G * W).

    Returns:
        float32 (rows, G * W).
    """
    groups, count, width = centroids.shape
    flat = centroids.float().view(groups * count, width)
    first = torch.arange(groups) * count
    table = torch.empty(len(codes), groups * width)
    for start in range(0, len(codes), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        values = flat[codes[part].long() + first].view(-1, groups * width)
        table[part] = values * gain[part].float() + mean.float()
    return table


def quantize_matrix(name: str, weight: Tensor, *, bits: int) -> dict[str, Tensor]:
    """Round a matrix to blocks around zero.

    Args:
        weight: (rows, columns), columns a multiple of 32, or with 8 bits fewer than 32. bits: 4 or 8.

    Returns:
        The tensors that are stored for it.
    """
    rows, columns = weight.shape
    values = weight.float().reshape(rows, -1, min(BLOCK, columns))  # (rows, blocks, 32)
    if bits == 8:
        scale = (values.abs().amax(2, keepdim=True) / 127).half()
        levels = _divided(values, scale).round().clamp(-127, 127).to(torch.int8).view(weight.shape)
        return {name + BLOCKS: levels, name + SCALE: scale.squeeze(2)}
    farthest = values.gather(2, values.abs().argmax(2, keepdim=True))  # (rows, blocks, 1)
    scale = (farthest / -8).half()
    nibbles = _divided(values, scale).round().add(8).clamp(0, 15).to(torch.uint8)
    return {name + BLOCKS: pack_nibbles(nibbles), name + SCALE: scale.squeeze(2)}


def _divided(values: Tensor, scale: Tensor) -> Tensor:
    return torch.where(scale == 0, 0.0, values / scale.float())


def pack_nibbles(nibbles: Tensor) -> Tensor:
    """Pack uint8 values 0..15 of shape (rows, blocks, 32) into `NAME.blocks`, uint8 (rows, blocks * 16)."""
    low, high = nibbles[:, :, : BLOCK // 2], nibbles[:, :, BLOCK // 2 :]
    return (low | (high << 4)).reshape(nibbles.shape[0], -1).contiguous()
