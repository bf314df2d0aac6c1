"""The weights of an ONNX graph, made from a model directory's safetensors when it is loaded; nothing is stored twice.

Matrices become int8 with one scale an output: at that width the integer units of a CPU do four times the work of its
float ones. Everything else becomes float32. The word embeddings are not touched: the graph looks its rows up in the
safetensors file itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lusirag.embedding.onnx_names import (
    DECODER,
    ENCODER,
    POOLING,
    POSITIONS,
    ROTATIONS,
    SCALES,
    SMOOTHING,
    matrices,
    norms,
    projections,
    vectors,
)
from lusirag.embedding.onnx_shape import DecoderShape, Shape
from lusirag.embedding.stored import Floats, StoredTensor, StoredTensors

Arrays = dict[str, npt.NDArray[Any]]
Precision = Literal["int8", "float32"]

BLOCK = 32  # columns that share a scale in the 4-bit form, see lusirag.model.storage
ONE_THREAD = 400_000  # multiplications of a matrix product that OpenBLAS does in the calling thread
LARGEST = 127  # int8 is used symmetrically, from -127 to 127


def graph_weights(
    shape: Shape,
    stored: StoredTensors,
    *,
    precision: Precision = "int8",
    smoothing: Mapping[str, Floats] | None = None,
) -> Arrays:
    """Every weight of the graph by its name in it, except the word embeddings.

    Args:
        shape: of the network.
        stored: the tensors of the model directory.
        precision: "int8" for the matrices between tokens, or "float32" for all.
        smoothing: for "int8", a factor for each channel that a norm computes: the channel is divided by it before it
            is rounded and the matrices' columns are multiplied, see `lusirag.embedding.onnx_smoothing`.

    Returns:
        NAME.weight (in, out), with NAME.scales (out,) beside it where it is int8; vectors as float32 (width,).

    Raises:
        ModelError: the directory lacks a weight.
    """
    factors = {matrix: (smoothing or {}).get(norm) for norm, readers in norms(shape).items() for matrix in readers}
    arrays: Arrays = {name: stored[name].floats() for name in vectors(shape)}
    arrays[POSITIONS] = position_embeddings(shape, stored)  # (longest text, E)
    if shape.language_model is not None:
        arrays |= zip(ROTATIONS, rotations(shape), strict=True)  # (longest text + A, W / 2)
    if shape.pooling == "weighted_mean":
        arrays[POOLING] = np.arange(1, shape.max_tokens + shape.added_tokens + 1, dtype=np.float32)[:, None]
    for name in projections(shape):  # run once a text: no time to gain from int8
        arrays[f"{name}.weight"] = matrix(name, stored, shape)
    if precision == "int8":
        for norm in norms(shape):
            factor = (smoothing or {}).get(norm, np.float32(1))
            if norm.startswith(ENCODER):  # what it computes is also added to what follows: divided in a step of its own
                arrays[norm + SMOOTHING] = 1 / np.broadcast_to(factor, arrays[f"{norm}.weight"].shape)
            else:
                arrays[f"{norm}.weight"] /= factor

    # NOTE: one after another: several threads only wait for each other here, numpy's steps are too short.
    for name in matrices(shape):
        if precision == "float32":
            arrays[f"{name}.weight"] = matrix(name, stored, shape)
        else:
            values = matrix(name, stored, shape, factors=factors.get(name))
            arrays[f"{name}.weight"], arrays[name + SCALES] = quantise(values)
    return arrays


def matrix(name: str, stored: StoredTensors, shape: Shape, *, factors: Floats | None = None) -> Floats:
    """One matrix of the network as float32 (in, out): 4-bit blocks restored, LoRA merged.

    NOTE: where several query heads share a key and value head, the queries are put in the order (place in the group,
    group), so that the heads of one place lie beside each other and attention needs no copies of keys and values.

    Args:
        name: without its ".weight".
        stored: the tensors of the model directory. shape: of the network.
        factors: (in,), what each input's weights are multiplied by.
    """
    weight = f"{name}.weight"
    if f"{weight}.blocks" in stored:
        values = restored(stored[f"{weight}.blocks"], stored[f"{weight}.scale"], stored.get(f"{weight}.minimum"))
    else:
        values = np.ascontiguousarray(stored[weight].floats().T)
    down_name, up_name = (f"{name}.lora_{part}.weight" for part in "AB")
    if shape.lora_scaling and (down_name in stored or f"{down_name}.blocks" in stored):
        down, up = table(down_name, stored), table(up_name, stored)  # (r, in), (out, r)
        add_product(values, down.T, (up * np.float32(shape.lora_scaling)).T)
    if factors is not None:
        values *= factors[:, None]
    if name.startswith(DECODER) and name.endswith(".q_proj"):
        values = np.ascontiguousarray(values[:, head_order(shape.decoder)])
    if name.startswith(DECODER) and name.endswith(".o_proj"):
        values = values[head_order(shape.decoder)]
    return values


def add_product(values: Floats, left: Floats, right: Floats) -> None:
    """Add left @ right, (in, r) @ (r, out), to `values` (in, out), a few rows at a time.

    NOTE: OpenBLAS wakes its other threads for a larger product, and they spin long after it, which takes cores from
    what else is read while a model is loaded.
    """
    rows = max(1, ONE_THREAD // right.size)
    for start in range(0, len(values), rows):
        values[start : start + rows] += left[start : start + rows] @ right


def table(name: str, stored: Mapping[str, StoredTensor]) -> Floats:
    """An embedding as float32 (rows, width), stored plainly or in blocks."""
    if f"{name}.blocks" not in stored:
        return stored[name].floats()
    transposed = restored(stored[f"{name}.blocks"], stored[f"{name}.scale"], stored.get(f"{name}.minimum"))
    return np.ascontiguousarray(transposed.T)


def restored(blocks: StoredTensor, scale: StoredTensor, minimum: StoredTensor | None) -> Floats:
    """Blocks of 4 or 8 bits as float32 (in, out), see lusirag.model.storage.

    NOTE: the bytes are turned first, so that all that follows runs along the long axis: three times as fast.
    """
    rows, half = blocks.shape
    steps = np.ascontiguousarray(scale.floats().T)[:, None]  # (in / 32, 1, out)
    if blocks.dtype == "I8":
        bytes_each = np.ascontiguousarray(blocks.raw().T).reshape(len(steps), -1, rows)  # (in / 32, 32, out)
        return (bytes_each * steps).reshape(-1, rows)
    packed = np.ascontiguousarray(blocks.raw().T).reshape(-1, BLOCK // 2, rows)  # (in / 32, 16, out)
    nibbles = np.empty((len(packed), BLOCK, rows), dtype=np.int8)
    np.bitwise_and(packed, 15, out=nibbles[:, : BLOCK // 2].view(np.uint8))
    np.right_shift(packed, 4, out=nibbles[:, BLOCK // 2 :].view(np.uint8))
    if minimum is None:
        nibbles -= 8
    values = nibbles.astype(np.float32)
    values *= steps
    if minimum is not None:
        values += np.ascontiguousarray(minimum.floats().T)[:, None]
    return values.reshape(2 * half, rows)


def quantise(values: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Round a matrix (in, out), which is overwritten, to int8 with a scale (out,): int8 * scale is the matrix."""
    scales = np.maximum(values.max(axis=0), -values.min(axis=0)) / np.float32(LARGEST)
    scales = np.maximum(scales, np.finfo(np.float32).tiny)  # of an output that is always 0
    values *= 1 / scales
    return np.rint(values, out=values).astype(np.int8), scales


def as_unsigned(weights: Arrays) -> Arrays:
    """The same numbers with 128 for zero where they are int8: what CPUs without VNNI add up exactly."""
    return {name: array.view(np.uint8) ^ 128 if array.dtype == np.int8 else array for name, array in weights.items()}


def head_order(decoder: DecoderShape) -> npt.NDArray[np.int64]:
    """Rows of the query projection in the order (place in the group, group, head width)."""
    rows = np.arange(decoder.heads * decoder.head_width)
    return rows.reshape(decoder.kv_heads, decoder.group, decoder.head_width).swapaxes(0, 1).reshape(-1)


def position_embeddings(shape: Shape, stored: StoredTensors) -> Floats:
    """What is added to the word embedding of each place: position and token type 0, (longest text, E)."""
    embeddings = f"{ENCODER}.embeddings"
    first = shape.encoder.first_position
    positions = table(f"{embeddings}.position_embeddings.weight", stored)[first : first + shape.max_tokens]
    kind: Floats = table(f"{embeddings}.token_type_embeddings.weight", stored)[0]
    return positions + kind


def rotations(shape: Shape) -> tuple[Floats, Floats]:
    """Cosine and sine of the rotary embedding, each (longest text + added tokens, head width / 2)."""
    width = shape.decoder.head_width
    frequencies = shape.decoder.rope_theta ** -(np.arange(0, width, 2, dtype=np.float64) / width)
    angles = np.arange(shape.max_tokens + shape.added_tokens)[:, None] * frequencies
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
