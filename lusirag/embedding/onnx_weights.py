"""The weights of an ONNX graph, made from a model directory's safetensors when it is loaded; nothing is stored twice.

Matrices become int8 with one scale an output: at that width the integer units of a CPU do four times the work of its
float ones. Everything else becomes float32. The word embeddings are not touched: the graph looks its rows up in the
safetensors file itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lusirag.embedding.onnx_shape import DecoderShape, Shape
from lusirag.embedding.stored import Floats, StoredTensor

Arrays = dict[str, npt.NDArray[Any]]
Precision = Literal["int8", "float32"]

BLOCK = 32  # columns that share a scale in the 4-bit form, see lusirag.model.storage
LARGEST = 127  # int8 is used symmetrically, from -127 to 127
ROWS_AT_ONCE = 64  # so that what is computed stays in a core's cache

ENCODER, DECODER = "multilingual_encoder", "language_model"
WORDS = f"{ENCODER}.embeddings.word_embeddings.weight"
ADDED = "connector.added_tokens"
# Not in the weight file, but computed from it or from config.json:
POSITIONS, ROTATIONS, POOLING = "positions", ("rotations.cos", "rotations.sin"), "pooling.weights"
SCALES = ".scales"


def graph_weights(shape: Shape, stored: Mapping[str, StoredTensor], *, precision: Precision) -> Arrays:
    """Every weight of the graph by its name in it, except the word embeddings.

    Args:
        shape: of the network.
        stored: the tensors of the model directory.
        precision: "int8" for the matrices between tokens, or "float32" for all.

    Returns:
        NAME.weight (in, out), with NAME.scales (out,) beside it where it is int8; vectors as float32 (width,).

    Raises:
        KeyError: the directory lacks a weight.
    """
    arrays: Arrays = {name: stored[name].floats() for name in vectors(shape)}
    arrays[POSITIONS] = position_embeddings(shape, stored)  # (longest text, E)
    arrays |= zip(ROTATIONS, rotations(shape), strict=True)  # (longest text + A, W / 2)
    if shape.pooling == "weighted_mean":
        arrays[POOLING] = np.arange(1, shape.max_tokens + shape.added_tokens + 1, dtype=np.float32)[:, None]
    for name in projections(shape):  # run once a text: no time to gain from int8
        arrays[f"{name}.weight"] = np.ascontiguousarray(Matrix(f"{name}.weight", stored, shape).rows(slice(None)).T)

    def prepare(name: str) -> Arrays:
        matrix = Matrix(f"{name}.weight", stored, shape)
        if precision == "float32":
            return {f"{name}.weight": np.ascontiguousarray(matrix.rows(slice(None)).T)}
        values, scales = quantise(matrix)
        return {f"{name}.weight": values, name + SCALES: scales}

    with ThreadPoolExecutor() as threads:
        for prepared in threads.map(prepare, matrices(shape)):
            arrays |= prepared
    return arrays


class Matrix:
    """One matrix (out, in) of the network as float32, in pieces of rows: 4-bit blocks restored, LoRA merged.

    NOTE: where several query heads share a key and value head, the queries are put in the order (place in the group,
    group), so that the heads of one place lie beside each other and attention needs no copies of keys and values.
    """

    def __init__(self, name: str, stored: Mapping[str, StoredTensor], shape: Shape) -> None:
        base = name.removesuffix(".weight")
        self._blocks = stored.get(name + ".blocks")
        if self._blocks is None:
            self._plain = stored[name].floats()
            self.shape = self._plain.shape
        else:
            self._nibbles = self._blocks.raw()
            self.shape = (self._nibbles.shape[0], self._nibbles.shape[1] * 2)
            self._scale = stored[name + ".scale"].floats()[:, :, None]  # (out, in / 32, 1)
            minimum = stored.get(name + ".minimum")
            self._offset = minimum.floats()[:, :, None] if minimum else -8 * self._scale  # (out, in / 32, 1)
        self._update: tuple[Floats, Floats] | None = None
        if shape.lora_scaling and f"{base}.lora_A.weight" in stored:
            down, up = (stored[f"{base}.lora_{part}.weight"].floats() for part in "AB")
            self._update = (up * np.float32(shape.lora_scaling), down)  # (out, r), (r, in)
        self._row_order = head_order(shape.decoder) if is_queries(name) else None
        self._column_order = head_order(shape.decoder) if is_attention_output(name) else None

    def rows(self, part: slice) -> Floats:
        """Some rows: (rows, in)."""
        at: Any = part if self._row_order is None else self._row_order[part]
        values = self._plain[at] if self._blocks is None else self._restored(at)
        if self._update is not None:
            values = values + self._update[0][at] @ self._update[1]
        return values if self._column_order is None else values[:, self._column_order]

    def _restored(self, at: Any) -> Floats:
        packed = self._nibbles[at].reshape(-1, self.shape[1] // BLOCK, BLOCK // 2)
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
        weights /= scale[:, None]
        values[:, part] = np.rint(weights, out=weights).astype(np.int8).T
        scales[part] = scale
    return values, scales


def head_order(decoder: DecoderShape) -> npt.NDArray[np.int64]:
    """Rows of the query projection in the order (place in the group, group, head width)."""
    rows = np.arange(decoder.heads * decoder.head_width)
    return rows.reshape(decoder.kv_heads, decoder.group, decoder.head_width).swapaxes(0, 1).reshape(-1)


def is_queries(name: str) -> bool:
    """Whether this is the language model's query projection."""
    return name.startswith(DECODER) and ".q_proj." in name


def is_attention_output(name: str) -> bool:
    """Whether this is the language model's projection after attention."""
    return name.startswith(DECODER) and ".o_proj." in name


def position_embeddings(shape: Shape, stored: Mapping[str, StoredTensor]) -> Floats:
    """What is added to the word embedding of each place: position and token type 0, (longest text, E)."""
    embeddings = f"{ENCODER}.embeddings"
    first = shape.encoder.first_position
    positions = stored[f"{embeddings}.position_embeddings.weight"].floats()[first : first + shape.max_tokens]
    return positions + stored[f"{embeddings}.token_type_embeddings.weight"].floats()[0]


def rotations(shape: Shape) -> tuple[Floats, Floats]:
    """Cosine and sine of the rotary embedding, each (longest text + added tokens, head width / 2)."""
    width = shape.decoder.head_width
    frequencies = shape.decoder.rope_theta ** -(np.arange(0, width, 2, dtype=np.float64) / width)
    angles = np.arange(shape.max_tokens + shape.added_tokens)[:, None] * frequencies
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def matrices(shape: Shape) -> list[str]:
    """Names of the linear layers that see every token."""
    encoder = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
    encoder += ("intermediate.dense", "output.dense")
    decoder = tuple(f"self_attn.{part}_proj" for part in "qkvo") + ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
    return [
        *(f"{ENCODER}.encoder.layer.{layer}.{part}" for layer in range(shape.encoder.layers) for part in encoder),
        "connector.feed_forward.0",
        "connector.feed_forward.2",
        *(f"{DECODER}.layers.{layer}.{part}" for layer in range(shape.decoder.layers) for part in decoder),
    ]


def projections(shape: Shape) -> list[str]:
    """Names of the linear layers after pooling."""
    return {"linear": ["projection"], "mlp": ["projection.0", "projection.2"], "none": []}[shape.projection]


def vectors(shape: Shape) -> list[str]:
    """Names of biases, norms and added tokens."""
    norms = ["embeddings.LayerNorm"]
    for layer in range(shape.encoder.layers):
        norms += [f"encoder.layer.{layer}.attention.output.LayerNorm", f"encoder.layer.{layer}.output.LayerNorm"]
    names = [f"{ENCODER}.{norm}.{part}" for norm in norms for part in ("weight", "bias")]
    layers = matrices(shape) + projections(shape)
    # The keys' bias is left out: it adds the same to all scores of a query, which softmax does not see.
    names += [f"{name}.bias" for name in layers if not name.startswith(DECODER) and not name.endswith(".key")]
    for layer in range(shape.decoder.layers):
        names += [f"{DECODER}.layers.{layer}.{norm}.weight" for norm in ("input_layernorm", "post_attention_layernorm")]
    names.append(f"{DECODER}.norm.weight")
    return names + ([ADDED] if shape.added_tokens else [])
