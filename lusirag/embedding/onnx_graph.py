"""The LUSIFER network as an ONNX graph, read top to bottom like `lusirag.model.network`.

The graph takes texts of one length, so there is no padding and no mask in it: what a text's embedding is cannot depend
on other texts. Numbers are rounded to 8 bits a token at a time, for the same reason.

B texts, S tokens of each, N = B * S rows, T = S + A tokens with the added ones, E encoder width, D decoder width,
O embedding. H heads of width W; in the language model each of H keys and values serves G queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from lusirag.embedding.onnx_names import (
    ADDED,
    DECODER,
    ENCODER,
    POOLING,
    POSITIONS,
    ROTATIONS,
    encoder_norm,
    erasure,
    projections,
)
from lusirag.embedding.onnx_nodes import FLOAT, INTEGER, MICROSOFT, Nodes
from lusirag.embedding.onnx_shape import Shape

INPUT, OUTPUT = "input_ids", "embeddings"


class Linear(Protocol):
    """How a matrix between tokens is applied: in float32, or in 8-bit integers."""

    def prepare(self, rows: str, norm: str | None = None) -> Any:
        """What several matrices share that are applied to the same rows (N, in), which `norm` has computed if any."""

    def __call__(self, prepared: Any, name: str) -> str:
        """(N, in) -> (N, out), without bias."""


def build_network(
    g: Nodes, shape: Shape, linear: Linear, words: Sequence[str], *, word_bits: int = 4, word_groups: int | None = None
) -> str:
    """Write the whole network: token ids (B, S) -> embeddings (B, O), not normalised.

    Args:
        g: collects the nodes.
        shape: of the network.
        linear: float32 or 8-bit matrices.
        words: names of the word embeddings: one table; blocks and their scale (and minimum); or codes, gain, centroids
            and mean.
        word_bits: of blocks, 4 or 8. word_groups: codes of a row; None where there are none.
    """
    texts = g("Slice", g("Shape", INPUT), [0], [1])  # [B]
    if word_groups is None:
        embedded = word_embeddings(g, words, shape.encoder.width, bits=word_bits)  # (B, S, E)
    else:
        embedded = coded_embeddings(g, words, shape.encoder.width, groups=word_groups)  # (B, S, E)
    encoded = encoder(g, shape, linear, embedded, texts)  # (N, E)
    if shape.language_model is None:
        by_text = g("Reshape", encoded, sizes(g, texts, -1, shape.encoder.width))  # (B, S, E)
        return erased(g, shape, projection(g, shape, pooler(g, shape, by_text)))
    connected = connector(g, shape, linear, encoded, texts)  # (B, T, D)
    decoded = decoder(g, shape, linear, connected, texts)  # (B, T, D)
    embeddings = projection(g, shape, pooler(g, shape, decoded))  # (B, O)
    if shape.encoder_skip:
        by_text = g("Reshape", encoded, sizes(g, texts, -1, shape.encoder.width))  # (B, S, E)
        embeddings = g("Add", embeddings, g("ReduceMean", by_text, [1], keepdims=0))  # (B, O), O = E
    return erased(g, shape, embeddings)


def sizes(g: Nodes, texts: str, *others: int) -> str:
    """A shape that begins with the number of texts: [B, ...]."""
    return g("Concat", texts, list(others), axis=0)


def word_embeddings(g: Nodes, words: Sequence[str], width: int, *, bits: int) -> str:
    """(B, S) -> (B, S, E); of blocks only the rows that are needed are restored."""
    rows = [g("Gather", table, INPUT, axis=0) for table in words]
    if len(rows) == 1:
        return g("Cast", rows[0], to=FLOAT)  # (B, S, E)
    if bits == 8:
        whole = g("Cast", g("Reshape", rows[0], [0, 0, -1, 32]), to=FLOAT)  # (B, S, E / 32, 32)
        values = g("Mul", whole, g("Cast", g("Unsqueeze", rows[1], [3]), to=FLOAT))
        return g("Reshape", values, [0, 0, width])  # (B, S, E)
    packed = g("Reshape", rows[0], [0, 0, -1, 16])  # (B, S, E / 32, 16)
    low = g("BitwiseAnd", packed, np.array(15, np.uint8))
    high = g("BitShift", packed, np.array(4, np.uint8), direction="RIGHT")
    nibbles = g("Cast", g("Concat", low, high, axis=3), to=FLOAT)  # (B, S, E / 32, 32)
    scale, *minimum = (g("Cast", g("Unsqueeze", row, [3]), to=FLOAT) for row in rows[1:])  # (B, S, E / 32, 1)
    if minimum:
        values = g("Add", g("Mul", nibbles, scale), minimum[0])
    else:
        values = g("Mul", g("Sub", nibbles, np.float32(8)), scale)
    return g("Reshape", values, [0, 0, width])  # (B, S, E)


def coded_embeddings(g: Nodes, words: Sequence[str], width: int, *, groups: int) -> str:
    """(B, S) -> (B, S, E) from a table that is product-quantised, see lusirag.model.storage; G codes a row."""
    codes, gain, centroids, mean = words
    first = np.arange(groups, dtype=np.int64) * 256
    places = g("Add", g("Cast", g("Gather", codes, INPUT, axis=0), to=INTEGER), first)  # (B, S, G)
    flat = g("Reshape", centroids, [-1, width // groups])  # (256 G, W)
    values = g("Reshape", g("Cast", g("Gather", flat, places, axis=0), to=FLOAT), [0, 0, width])  # (B, S, E)
    scaled = g("Mul", values, g("Cast", g("Gather", gain, INPUT, axis=0), to=FLOAT))
    return g("Add", scaled, g("Cast", mean, to=FLOAT))  # (B, S, E)


def encoder(g: Nodes, shape: Shape, linear: Linear, words: str, texts: str) -> str:
    """Word embeddings (B, S, E) -> (N, E)."""
    length = g("Slice", g("Shape", INPUT), [1], [2])  # [S]
    places = g("Slice", POSITIONS, [0], length, [0])  # (S, E)
    hidden = layer_norm(g, shape, g("Add", words, places), encoder_norm(-1))  # (B, S, E)
    hidden = g("Reshape", hidden, [-1, shape.encoder.width])  # (N, E)
    by_head = sizes(g, texts, -1, shape.encoder.heads, shape.encoder.width // shape.encoder.heads)
    for layer in range(shape.encoder.layers):
        hidden = encoder_layer(g, shape, linear, hidden, layer, by_head)
    return hidden


def encoder_layer(g: Nodes, shape: Shape, linear: Linear, hidden: str, layer: int, by_head: str) -> str:
    """(N, E) -> (N, E). The bias of the keys is left out: it adds the same to all scores of a query."""
    width, name = shape.encoder.width, f"{ENCODER}.encoder.layer.{layer}"
    rows = linear.prepare(hidden, encoder_norm(layer - 1))
    queries = g("Add", linear(rows, f"{name}.attention.self.query"), f"{name}.attention.self.query.bias")
    keys = linear(rows, f"{name}.attention.self.key")
    values = g("Add", linear(rows, f"{name}.attention.self.value"), f"{name}.attention.self.value.bias")
    attended = attention(g, queries, keys, values, by_head, head_width=width // shape.encoder.heads)  # (B, S, H, W)
    attended = linear(linear.prepare(g("Reshape", attended, [-1, width])), f"{name}.attention.output.dense")
    attended = g("Add", attended, f"{name}.attention.output.dense.bias")
    hidden = layer_norm(g, shape, g("Add", attended, hidden), f"{name}.attention.output.LayerNorm")
    wide = linear(linear.prepare(hidden, f"{name}.attention.output.LayerNorm"), f"{name}.intermediate.dense")
    wide = activate(g, shape.encoder.activation, wide, f"{name}.intermediate.dense.bias")  # (N, 4 E)
    narrow = g("Add", linear(linear.prepare(wide), f"{name}.output.dense"), f"{name}.output.dense.bias")  # (N, E)
    return layer_norm(g, shape, g("Add", narrow, hidden), encoder_norm(layer))


def layer_norm(g: Nodes, shape: Shape, hidden: str, name: str) -> str:
    """Over the encoder's width."""
    return g("LayerNormalization", hidden, f"{name}.weight", f"{name}.bias", axis=-1, epsilon=shape.encoder.epsilon)


def activate(g: Nodes, activation: str, hidden: str, bias: str) -> str:
    """Bias and activation of the encoder's feed-forward layer."""
    if activation == "gelu":
        return g("BiasGelu", hidden, bias, domain=MICROSOFT)
    biased = g("Add", hidden, bias)
    return g("Relu", biased) if activation == "relu" else g("Gelu", biased, approximate="tanh")


def attention(g: Nodes, queries: str, keys: str, values: str, by_head: str, *, head_width: int) -> str:
    """Every token of a text attends to all of its tokens: (N, G H W), (N, H W), (N, H W) -> (B, G S, H, W).

    Queries that share keys and values count as more queries of a text, so that nothing is repeated for them.
    """
    queries, keys, values = (
        g("Transpose", g("Reshape", rows, by_head), perm=[0, 2, 1, 3])  # (B, H, G S, W), then (B, H, S, W) twice
        for rows in (queries, keys, values)
    )
    scores = g("FusedMatMul", queries, keys, transB=1, alpha=head_width**-0.5, domain=MICROSOFT)  # (B, H, G S, S)
    mixed = g("MatMul", g("Softmax", scores, axis=-1), values)  # (B, H, G S, W)
    return g("Transpose", mixed, perm=[0, 2, 1, 3])


def connector(g: Nodes, shape: Shape, linear: Linear, encoded: str, texts: str) -> str:
    """(N, E) -> (B, T, D): two linear layers, then the added tokens behind each text."""
    first, second = "connector.feed_forward.0", "connector.feed_forward.2"
    rows = linear.prepare(encoded, encoder_norm(shape.encoder.layers - 1))
    wide = g("Relu", g("Add", linear(rows, first), f"{first}.bias"))  # (N, E)
    connected = g("Add", linear(linear.prepare(wide), second), f"{second}.bias")  # (N, D)
    connected = g("Reshape", connected, sizes(g, texts, -1, shape.decoder.width))  # (B, S, D)
    if not shape.added_tokens:
        return connected
    added = g("Expand", ADDED, sizes(g, texts, shape.added_tokens, shape.decoder.width))  # (B, A, D)
    return g("Concat", connected, added, axis=1)


def decoder(g: Nodes, shape: Shape, linear: Linear, hidden: str, texts: str) -> str:
    """(B, T, D) -> (B, T, D); rows are those of all texts, B T."""
    hidden = g("Reshape", hidden, [-1, shape.decoder.width])  # (B T, D)
    by_head = sizes(g, texts, -1, shape.decoder.kv_heads, shape.decoder.head_width)
    for layer in range(shape.decoder.layers):
        hidden = decoder_layer(g, shape, linear, hidden, f"{DECODER}.layers.{layer}", texts, by_head)
    normed = rms_norm(g, shape, hidden, f"{DECODER}.norm")
    return g("Reshape", normed, sizes(g, texts, -1, shape.decoder.width))


def decoder_layer(g: Nodes, shape: Shape, linear: Linear, hidden: str, name: str, texts: str, by_head: str) -> str:
    """(B T, D) -> (B T, D)."""
    rows = linear.prepare(rms_norm(g, shape, hidden, f"{name}.input_layernorm"), f"{name}.input_layernorm")
    queries, keys, values = (linear(rows, f"{name}.self_attn.{part}_proj") for part in "qkv")
    queries = rotate(g, shape, queries, shape.decoder.heads, texts)
    keys = rotate(g, shape, keys, shape.decoder.kv_heads, texts)
    attended = attention(g, queries, keys, values, by_head, head_width=shape.decoder.head_width)
    attended = g("Reshape", attended, [-1, shape.decoder.heads * shape.decoder.head_width])  # (B T, G H W)
    hidden = g("Add", linear(linear.prepare(attended), f"{name}.self_attn.o_proj"), hidden)
    norm = f"{name}.post_attention_layernorm"
    rows = linear.prepare(rms_norm(g, shape, hidden, norm), norm)
    gate = g("QuickGelu", linear(rows, f"{name}.mlp.gate_proj"), alpha=1.0, domain=MICROSOFT)  # x * sigmoid(x)
    wide = g("Mul", gate, linear(rows, f"{name}.mlp.up_proj"))
    return g("Add", linear(linear.prepare(wide), f"{name}.mlp.down_proj"), hidden)


def rms_norm(g: Nodes, shape: Shape, hidden: str, name: str) -> str:
    """Over the language model's width."""
    return g("SimplifiedLayerNormalization", hidden, f"{name}.weight", axis=-1, epsilon=shape.decoder.epsilon)


def rotate(g: Nodes, shape: Shape, rows: str, heads: int, texts: str) -> str:
    """Rotary position embedding of all heads: (B T, heads W) -> (B, T, heads W); positions count from 0."""
    by_text = g("Reshape", rows, sizes(g, texts, -1, heads * shape.decoder.head_width))
    return g("RotaryEmbedding", by_text, [0], *ROTATIONS, num_heads=heads, domain=MICROSOFT)


def pooler(g: Nodes, shape: Shape, decoded: str) -> str:
    """(B, T, D) -> (B, D)."""
    if shape.pooling == "mean":
        return g("ReduceMean", decoded, [1], keepdims=0)
    if shape.pooling == "weighted_mean":
        length = g("Slice", g("Shape", decoded), [1], [2])  # [T]
        weights = g("Slice", POOLING, [0], length, [0])  # (T, 1)
        total = g("ReduceSum", g("Mul", decoded, weights), [1], keepdims=0)  # (B, D)
        return g("Div", total, g("ReduceSum", weights, keepdims=0))
    return g("Gather", decoded, np.array(0 if shape.pooling == "cls" else -1), axis=1)


def projection(g: Nodes, shape: Shape, pooled: str) -> str:
    """(B, D) -> (B, O), in float32."""
    hidden = pooled
    for at, name in enumerate(projections(shape)):
        hidden = g("Relu", hidden) if at else hidden
        hidden = g("Add", g("MatMul", hidden, f"{name}.weight"), f"{name}.bias")
    return hidden


def erased(g: Nodes, shape: Shape, embeddings: str) -> str:
    """(B, O) -> (B, O), in float32: without what the erased directions hold."""
    held = embeddings
    for name in erasure(shape):
        held = g("MatMul", held, name)
    return g("Sub", embeddings, held) if shape.erased_directions else embeddings
