"""The weights of an ONNX graph, made from a model directory's safetensors when it is loaded; nothing is stored twice.

Matrices become int8 with one scale an output: at that width the integer units of a CPU do four times the work of its
float ones. Everything else becomes float32. The word embeddings are not touched: the graph looks its rows up in the
safetensors file itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
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
from lusirag.embedding.stored import Floats, StoredTensor

Arrays = dict[str, npt.NDArray[Any]]
Precision = Literal["int8", "float32"]

BLOCK = 32  # columns that share a scale in the 4-bit form, see lusirag.model.storage
LARGEST = 127  # int8 is used symmetrically, from -127 to 127
ROWS_AT_ONCE = 64  # so that what is computed stays in a core's cache


def graph_weights(
    shape: Shape,
    stored: Mapping[str, StoredTensor],
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
        KeyError: the directory lacks a weight.
    """
    factors = {matrix: (smoothing or {}).get(norm) for norm, readers in norms(shape).items() for matrix in readers}
    arrays: Arrays = {name: stored[name].floats() for name in vectors(shape)}
    arrays[POSITIONS] = position_embeddings(shape, stored)  # (longest text, E)
    arrays |= zip(ROTATIONS, rotations(shape), strict=True)  # (longest text + A, W / 2)
    if shape.pooling == "weighted_mean":
        arrays[POOLING] = np.arange(1, shape.max_tokens + shape.added_tokens + 1, dtype=np.float32)[:, None]
    for name in projections(shape):  # run once a text: no time to gain from int8
        arrays[f"{name}.weight"] = Matrix(name, stored, shape).transposed()
    if precision == "int8":
        for norm in norms(shape):
            factor = (smoothing or {}).get(norm, np.float32(1))
            if norm.startswith(ENCODER):  # what it computes is also added to what follows: divided in a step of its own
                arrays[norm + SMOOTHING] = 1 / np.broadcast_to(factor, arrays[f"{norm}.weight"].shape)
            else:
                arrays[f"{norm}.weight"] /= factor

    def prepare(name: str) -> Arrays:
        if precision == "float32":
            return {f"{name}.weight": Matrix(name, stored, shape).transposed()}
        values, scales = quantise(Matrix(name, stored, shape, factors=factors.get(name)))
        return {f"{name}.weight": values, name + SCALES: scales}

    with ThreadPoolExecutor() as threads:
        for prepared in threads.map(prepare, matrices(shape)):
            arrays |= prepared
    return arrays


class Matrix:
    """One matrix (out, in) of the network as float32, in pieces of rows: 4-bit blocks restored, LoRA merged.

    Args:
        name: without its ".weight".
        factors: (in,), what the columns are multiplied by.

    NOTE: where several query heads share a key and value head, the queries are put in the order (place in the group,
    group), so that the heads of one place lie beside each other and attention needs no copies of keys and values.
    """

    def __init__(
        self, name: str, stored: Mapping[str, StoredTensor], shape: Shape, *, factors: Floats | None = None
    ) -> None:
        weight, self._factors = f"{name}.weight", factors
        self._packed = stored[f"{weight}.blocks"].raw() if f"{weight}.blocks" in stored else None
        if self._packed is None:
            self._plain = stored[weight].floats()
            self.shape = self._plain.shape
        else:
            self.shape = (self._packed.shape[0], self._packed.shape[1] * 2)
            self._scale = stored[f"{weight}.scale"].floats()[:, :, None]  # (out, in / 32, 1)
            minimum = stored.get(f"{weight}.minimum")
            self._offset = minimum.floats()[:, :, None] if minimum else -8 * self._scale  # (out, in / 32, 1)
        self._update: tuple[Floats, Floats] | None = None
        if shape.lora_scaling and f"{name}.lora_A.weight" in stored:
            down, up = (stored[f"{name}.lora_{part}.weight"].floats() for part in "AB")
            self._update = (up * np.float32(shape.lora_scaling), down)  # (out, r), (r, in)
        self._row_order = head_order(shape.decoder) if is_queries(name) else None
        self._column_order = head_order(shape.decoder) if is_attention_output(name) else None

    def rows(self, part: slice) -> Floats:
        """Some rows: (rows, in)."""
        at: Any = part if self._row_order is None else self._row_order[part]
        values = self._plain[at] if self._packed is None else self._restored(self._packed[at], at)
        if self._update is not None:
            values = values + self._update[0][at] @ self._update[1]
        if self._factors is not None:
            values = values * self._factors
        return values if self._column_order is None else values[:, self._column_order]

    def transposed(self) -> Floats:
        """The whole matrix as the graph wants it: (in, out)."""
        return np.ascontiguousarray(self.rows(slice(None)).T)

    def _restored(self, packed: npt.NDArray[np.uint8], at: Any) -> Floats:
        packed = packed.reshape(-1, self.shape[1] // BLOCK, BLOCK // 2)
        nibbles = np.empty((*packed.shape[:2], BLOCK), dtype=np.uint8)
        np.bitwise_and(packed, 15, out=nibbles[:, :, : BLOCK // 2])
        np.right_shift(packed, 4, out=nibbles[:, :, BLOCK // 2 :])
        values = nibbles.astype(np.float32)
        values *= self._scale[at]
        values += self._offset[at]
        return values.reshape(len(packed), -1)


def quantise(matrix: Matrix) -> tuple[npt.NDArray[np.int8], Floats]:
    """Round a matrix (out, in) to int8: values (in, out) and scales (out,), value * scale being the matrix."""
    rows, columns = matrix.shape
    values, scales = np.empty((columns, rows), dtype=np.int8), np.empty(rows, dtype=np.float32)
    for start in range(0, rows, ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        weights = matrix.rows(part)
        scale = np.maximum(np.maximum(weights.max(axis=1), -weights.min(axis=1)) / LARGEST, np.finfo(np.float32).tiny)
        values[:, part] = np.rint(weights / scale[:, None]).astype(np.int8).T
        scales[part] = scale
    return values, scales


def head_order(decoder: DecoderShape) -> npt.NDArray[np.int64]:
    """Rows of the query projection in the order (place in the group, group, head width)."""
    rows = np.arange(decoder.heads * decoder.head_width)
    return rows.reshape(decoder.kv_heads, decoder.group, decoder.head_width).swapaxes(0, 1).reshape(-1)


def is_queries(name: str) -> bool:
    """Whether this is the language model's query projection."""
    return name.startswith(DECODER) and name.endswith(".q_proj")


def is_attention_output(name: str) -> bool:
    """Whether this is the language model's projection after attention."""
    return name.startswith(DECODER) and name.endswith(".o_proj")


def position_embeddings(shape: Shape, stored: Mapping[str, StoredTensor]) -> Floats:
    """What is added to the word embedding of each place: position and token type 0, (longest text, E)."""
    embeddings = f"{ENCODER}.embeddings"
    first = shape.encoder.first_position
    positions = stored[f"{embeddings}.position_embeddings.weight"].floats()[first : first + shape.max_tokens]
    kind: Floats = stored[f"{embeddings}.token_type_embeddings.weight"].floats()[0]
    return positions + kind


def rotations(shape: Shape) -> tuple[Floats, Floats]:
    """Cosine and sine of the rotary embedding, each (longest text + added tokens, head width / 2)."""
    width = shape.decoder.head_width
    frequencies = shape.decoder.rope_theta ** -(np.arange(0, width, 2, dtype=np.float64) / width)
    angles = np.arange(shape.max_tokens + shape.added_tokens)[:, None] * frequencies
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
