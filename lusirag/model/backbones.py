"""The two transformers models inside LUSIFER: a multilingual encoder and a language model without its vocabulary."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig

from lusirag.errors import ModelError

# The first position of a text, by model type: BERT counts from 0, RoBERTa's family from the padding id + 1.
ENCODERS_FROM_ZERO = ("bert",)
ENCODERS_FROM_PADDING = ("xlm-roberta", "roberta", "camembert")
DECODERS = ("llama",)


def build_encoder(config: PreTrainedConfig) -> Any:
    """Build a multilingual encoder without a pooling head; its weights are not trained yet.

    Raises:
        ModelError: the model type is not supported.
    """
    _require(config, "multilingual encoder", ENCODERS_FROM_ZERO + ENCODERS_FROM_PADDING)
    return AutoModel.from_config(config, add_pooling_layer=False)


def positions_of(mask: Tensor) -> Tensor:
    """Position of each token among its text's valid ones, 0 for padding: (B, T) -> (B, T).

    Added tokens stand behind the padding in memory, but right after the text's last token in position.
    """
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0) * (mask != 0)


def encoder_positions(config: PreTrainedConfig, positions: Tensor, mask: Tensor) -> Tensor:
    """Position ids for the encoder, (B, S) -> (B, S), so that padding on either side changes nothing.

    Args:
        positions: 0, 1, 2, ... over each text's valid tokens. mask: 1 for a token, 0 for padding.
    """
    if config.model_type in ENCODERS_FROM_ZERO:
        return positions
    first: int = config.pad_token_id
    return (positions + 1) * (mask != 0) + first


def build_decoder(config: PreTrainedConfig) -> Any:
    """Build a decoder stack with bidirectional attention that takes vectors: no token embedding, no vocabulary head.

    Raises:
        ModelError: the model type is not supported.
    """
    _require(config, "language model", DECODERS)
    decoder = AutoModel.from_config(config)
    decoder.embed_tokens = NoTokens()
    return decoder


class NoTokens(nn.Module):
    """Stands where a language model keeps its token embeddings: LUSIFER feeds it vectors."""

    def forward(self, input_ids: Tensor) -> Tensor:
        """Refuse token ids."""
        raise ModelError("the language model inside LUSIFER takes inputs_embeds from the connector, not token ids")


def _require(config: PreTrainedConfig, part: str, supported: tuple[str, ...]) -> None:
    if config.model_type not in supported:
        raise ModelError(
            f"the {part} is of type {config.model_type!r}; this version supports {', '.join(supported)}; "
            "choose a checkpoint with one of these"
        )
