"""Names of a LUSIFER network's weights, as its safetensors and its ONNX graph have them."""

from __future__ import annotations

from lusirag.embedding.onnx_shape import Shape

ENCODER, DECODER = "multilingual_encoder", "language_model"
WORDS = f"{ENCODER}.embeddings.word_embeddings.weight"
ADDED = "connector.added_tokens"
# Not in the weight file, but computed from it or from config.json:
POSITIONS, ROTATIONS, POOLING = "positions", ("rotations.cos", "rotations.sin"), "pooling.weights"
SCALES, SMOOTHING = ".scales", ".smoothing"


def encoder_norm(layer: int) -> str:
    """The norm that ends a layer of the encoder; -1 is the one after the embeddings."""
    return f"{ENCODER}.embeddings.LayerNorm" if layer < 0 else f"{ENCODER}.encoder.layer.{layer}.output.LayerNorm"


def matrices(shape: Shape) -> list[str]:
    """Names of the linear layers that see every token."""
    encoder = [f"attention.self.{part}" for part in ("query", "key", "value")]
    encoder += ["attention.output.dense", "intermediate.dense", "output.dense"]
    decoder = [f"self_attn.{part}_proj" for part in "qkvo"] + [f"mlp.{part}_proj" for part in ("gate", "up", "down")]
    names = [f"{ENCODER}.encoder.layer.{layer}.{part}" for layer in range(shape.encoder.layers) for part in encoder]
    if shape.language_model is None:
        return names
    names += ["connector.feed_forward.0", "connector.feed_forward.2"]
    return names + [f"{DECODER}.layers.{layer}.{part}" for layer in range(shape.decoder.layers) for part in decoder]


def projections(shape: Shape) -> list[str]:
    """Names of the linear layers after pooling."""
    return {"linear": ["projection"], "mlp": ["projection.0", "projection.2"], "none": []}[shape.projection]


def erasure(shape: Shape) -> list[str]:
    """Names of the two matrices, (O, R) and (R, O), that take directions out of an embedding."""
    return ["erasure.read", "erasure.write"] if shape.erased_directions else []


def norms(shape: Shape) -> dict[str, list[str]]:
    """Each norm, and the matrices that are applied to what it computes."""
    readers = {}
    for layer in range(shape.encoder.layers):
        name = f"{ENCODER}.encoder.layer.{layer}"
        readers[encoder_norm(layer - 1)] = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        readers[f"{name}.attention.output.LayerNorm"] = [f"{name}.intermediate.dense"]
    if shape.language_model is None:
        return readers
    readers[encoder_norm(shape.encoder.layers - 1)] = ["connector.feed_forward.0"]
    for layer in range(shape.decoder.layers):
        name = f"{DECODER}.layers.{layer}"
        readers[f"{name}.input_layernorm"] = [f"{name}.self_attn.{part}_proj" for part in "qkv"]
        readers[f"{name}.post_attention_layernorm"] = [f"{name}.mlp.{part}_proj" for part in ("gate", "up")]
    return readers


def vectors(shape: Shape) -> list[str]:
    """Names of biases, norms' weights, added tokens and the erasure: what the graph takes as it is stored."""
    last = encoder_norm(shape.encoder.layers - 1)  # read by no matrix where there is no connector
    of_encoder = list(dict.fromkeys([*(norm for norm in norms(shape) if norm.startswith(ENCODER)), last]))
    of_decoder = [norm for norm in norms(shape) if norm.startswith(DECODER)]
    if shape.language_model is not None:
        of_decoder.append(f"{DECODER}.norm")
    names = [f"{norm}.weight" for norm in of_encoder + of_decoder] + [f"{norm}.bias" for norm in of_encoder]
    layers = matrices(shape) + projections(shape)
    # The keys' bias is left out: it adds the same to all scores of a query, which softmax does not see.
    names += [f"{name}.bias" for name in layers if not name.startswith(DECODER) and not name.endswith(".key")]
    return names + ([ADDED] if shape.added_tokens else []) + erasure(shape)
