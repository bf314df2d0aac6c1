"""The two transformers models inside LUSIFER: a multilingual encoder and a language model without its vocabulary."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import MODEL_MAPPING, AutoModel, MT5EncoderModel, PreTrainedConfig, T5EncoderModel, UMT5EncoderModel

from lusirag.errors import ModelError

# Encoders by what they take as a token's position: BERT counts from 0, RoBERTa's family from the padding id + 1; T5's
# family and ModernBERT look at distances alone and need none.
FROM_ZERO = ("bert",)
FROM_PADDING = ("xlm-roberta", "xlm-roberta-xl", "roberta", "camembert")
T5_ENCODERS = {"mt5": MT5EncoderModel, "t5": T5EncoderModel, "umt5": UMT5EncoderModel}
BY_DISTANCE = (*T5_ENCODERS, "modernbert")
ENCODERS = (*FROM_ZERO, *FROM_PADDING, *BY_DISTANCE)


def encoder_class(config: PreTrainedConfig) -> tuple[Any, dict[str, bool]]:
    """The transformers class of a multilingual encoder, with `from_config` and `from_pretrained`, and its arguments.

    Raises:
        ModelError: the model type is not supported.
    """
    if config.model_type not in ENCODERS:
        raise ModelError(
            f"the multilingual encoder is of type {config.model_type!r}; supported: {', '.join(ENCODERS)}; "
            "choose a checkpoint of one of these types"
        )
    if config.model_type in T5_ENCODERS:
        return T5_ENCODERS[config.model_type], {}
    return AutoModel, {} if config.model_type == "modernbert" else {"add_pooling_layer": False}


def build_encoder(config: PreTrainedConfig) -> Any:
    """Build a multilingual encoder without a pooling head; its weights are not trained yet.

    Raises:
        ModelError: the model type is not supported.
    """
    kind, arguments = encoder_class(config)
    return kind.from_config(config, **arguments) if kind is AutoModel else kind(config)


def encoder_positions(config: PreTrainedConfig, positions: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """The encoder's `position_ids` argument, (B, S), so that padding on either side changes nothing.

    Args:
        positions: 0, 1, 2, ... over each text's valid tokens. mask: 1 for a token, 0 for padding.
    """
    if config.model_type in BY_DISTANCE:
        return {}
    if config.model_type in FROM_ZERO:
        return {"position_ids": positions}
    first: int = config.pad_token_id
    return {"position_ids": (positions + 1) * (mask != 0) + first}


def positions_of(mask: Tensor) -> Tensor:
    """Position of each token among its text's valid ones, 0 for padding: (B, T) -> (B, T).

    Added tokens stand behind the padding in memory, but right after the text's last token in position.
    """
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0) * (mask != 0)


def build_decoder(config: PreTrainedConfig) -> Any:
    """Build a decoder stack with bidirectional attention that takes vectors: no token embedding, no vocabulary head.

    Args:
        config: as `configuration.bidirectional` prepares it.

    Raises:
        ModelError: transformers has no such decoder.
    """
    if type(config) not in MODEL_MAPPING:
        raise ModelError(f"the language model is of type {config.model_type!r}, which transformers cannot build")
    prepare_attention(config)
    return without_tokens(AutoModel.from_config(config))


def prepare_attention(config: Any) -> None:
    """Set the attention kernel of a configuration: logits that are soft-capped (Gemma2) need the eager one."""
    if getattr(config, "attn_logit_softcapping", None) is not None:
        config._attn_implementation = "eager"


def without_tokens(decoder: Any) -> Any:
    """Take the token embedding out of a decoder; its factor, where a family has one (Gemma), is kept for vectors."""
    scale = getattr(decoder.get_input_embeddings(), "scalar_embed_scale", 1.0)
    decoder.set_input_embeddings(NoTokens(scale))
    return decoder


def run_decoder(
    decoder: Any,
    vectors: Tensor,
    mask: Tensor,
    positions: Tensor,
    *,
    past_window: int | None,
    visible: Tensor | None = None,
    padded: bool = True,
) -> Tensor:
    """Run the language model on vectors in the place of token embeddings: (B, T, D), (B, T), (B, T) -> (B, T, D).

    Args:
        past_window: see `LusiferConfig`.
        visible: (B, T, T), whether the first sees the second, in the place of `mask`; all see all valid ones when None.
        padded: False where `mask` is known to be 1 throughout; attention then runs without one.
    """
    scale = decoder.get_input_embeddings().scale
    if scale != 1.0:
        vectors = vectors * torch.tensor(scale, dtype=vectors.dtype, device=vectors.device)
    attention: Any = mask if padded else None
    if visible is not None or (past_window is not None and mask.shape[1] > past_window):
        seen = (mask != 0)[:, None, :].expand(-1, mask.shape[1], -1) if visible is None else visible
        masks = _masks(seen, positions, past_window, vectors.dtype)
        layered = getattr(decoder.config, "layer_types", None) is not None
        attention = masks if layered else masks["full_attention"]
    hidden: Tensor = decoder(
        inputs_embeds=vectors, attention_mask=attention, position_ids=positions, use_cache=False
    ).last_hidden_state
    return hidden


def _masks(visible: Tensor, positions: Tensor, window: int | None, dtype: torch.dtype) -> dict[str, Tensor]:
    """Additive masks (B, 1, T, T) a layer type: sliding layers do not see tokens `window` or more before them."""
    near = visible
    if window is not None:
        near = visible & (positions[:, None, :] > positions[:, :, None] - window)  # (B, T, T): query, key
    hidden = torch.finfo(dtype).min
    return {
        kind: torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, hidden)[:, None]
        for kind, seen in (("full_attention", visible), ("sliding_attention", near))
    }


class NoTokens(nn.Module):
    """Stands where a language model keeps its token embeddings: LUSIFER feeds it vectors.

    Args:
        scale: by what the language model multiplies its token embeddings.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, input_ids: Tensor) -> Tensor:
        """Refuse token ids."""
        raise ModelError("the language model inside LUSIFER takes inputs_embeds from the connector, not token ids")
