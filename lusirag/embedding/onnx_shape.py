"""What an ONNX graph needs to know of a LUSIFER network, read from config.json without transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lusirag.errors import ModelError

# First position of a text, by encoder type: BERT counts from 0, RoBERTa's family from the padding id + 1.
FROM_ZERO, FROM_PADDING = ("bert",), ("xlm-roberta", "roberta", "camembert")
GELUS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "relu")
POOLINGS = ("mean", "weighted_mean", "cls", "last")
PROJECTIONS = ("mlp", "linear", "none")


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """A BERT-type encoder: width E, and the position embedding of a text's first token."""

    layers: int
    width: int
    heads: int
    activation: str
    epsilon: float
    first_position: int


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """A Llama-type language model: width D; each of its `kv_heads` keys and values serves heads / kv_heads queries."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    epsilon: float
    rope_theta: float

    @property
    def group(self) -> int:
        """How many heads share one key and value head."""
        return self.heads // self.kv_heads


@dataclass(frozen=True, slots=True)
class Shape:
    """A whole network.

    Attributes:
        encoder: the multilingual encoder.
        language_model: None where the encoder's output is pooled.
        added_tokens, pooling, projection, encoder_skip, erased_directions: as in `LusiferConfig`.
        dimension: O, the length of an embedding.
        max_tokens: longest text in tokens.
        lora_scaling: alpha / rank of the LoRA matrices in the weight file; 0 when there are none.
    """

    encoder: EncoderShape
    language_model: DecoderShape | None
    added_tokens: int
    pooling: str
    projection: str
    encoder_skip: bool
    erased_directions: int
    dimension: int
    max_tokens: int
    lora_scaling: float

    @property
    def decoder(self) -> DecoderShape:
        """The language model of a network that has one."""
        if self.language_model is None:
            raise ModelError("this network has no language model")
        return self.language_model


def read_shape(config: Mapping[str, Any]) -> Shape:
    """Read the shape of a network from its config.json.

    Raises:
        ModelError: it has a part that the ONNX graph cannot express; all such parts are listed.
    """
    try:
        encoder, decoder = config["encoder_config"], config["decoder_config"]
        if problems := list(_problems(config, encoder, decoder)):
            raise ModelError(
                f"this model cannot run in ONNX: {'; '.join(problems)}; load it with runtime='torch' instead"
            )
        lora = config.get("lora")
        return Shape(
            EncoderShape(
                layers=encoder["num_hidden_layers"],
                width=encoder["hidden_size"],
                heads=encoder["num_attention_heads"],
                activation=encoder["hidden_act"],
                epsilon=encoder["layer_norm_eps"],
                first_position=0 if encoder["model_type"] in FROM_ZERO else encoder["pad_token_id"] + 1,
            ),
            None if decoder is None else _decoder(decoder),
            added_tokens=config["added_tokens"],
            pooling=config["pooling"],
            projection=config["projection"],
            encoder_skip=config["encoder_skip"],
            erased_directions=config.get("erased_directions", 0),  # models of before lack it
            dimension=config["embedding_size"],
            max_tokens=config["max_tokens"],
            lora_scaling=lora["alpha"] / lora["rank"] if lora else 0.0,
        )
    except KeyError as error:
        raise ModelError(
            f"config.json lacks {error}, which the ONNX graph needs; save the model again with save_pretrained"
        ) from error


def _decoder(config: Mapping[str, Any]) -> DecoderShape:
    return DecoderShape(
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        head_width=config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"],
        epsilon=config["rms_norm_eps"],
        rope_theta=config["rope_parameters"]["rope_theta"],
    )


def _problems(config: Mapping[str, Any], encoder: Mapping[str, Any], decoder: Mapping[str, Any] | None) -> list[str]:
    checks: list[tuple[str, Any, tuple[Any, ...]]] = [
        ("the multilingual encoder's type", encoder["model_type"], FROM_ZERO + FROM_PADDING),
        ("the encoder's activation", encoder.get("hidden_act"), GELUS),
        ("the encoder's positions", encoder.get("position_embedding_type", "absolute"), ("absolute",)),
        ("the connector", config["connector"], ("ff", "none")),
        ("the pooling", config["pooling"], POOLINGS),
        ("the projection", config["projection"], PROJECTIONS),
        ("published_positions", config.get("published_positions", False), (False,)),
    ]
    if decoder is not None:
        rope = decoder.get("rope_parameters") or {}
        checks += [
            ("the language model's type", decoder["model_type"], ("llama",)),
            ("the language model's activation", decoder.get("hidden_act"), ("silu",)),
            ("its rotary embedding", rope.get("rope_type", "default"), ("default",)),
            ("its attention bias", decoder.get("attention_bias", False), (False,)),
            ("its feed-forward bias", decoder.get("mlp_bias", False), (False,)),
        ]
    return [f"{name} is {value!r}, not {' or '.join(map(str, ok))}" for name, value, ok in checks if value not in ok]
