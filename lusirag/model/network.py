"""The LUSIFER network (arXiv 2501.00874, section 3), read from top to bottom.

B texts, S tokens of the multilingual encoder, A added tokens, T = S + A; E encoder width, D decoder width, O embedding
size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils.generic import ModelOutput

from lusirag.model.backbones import build_decoder, build_encoder, encoder_positions, positions_of
from lusirag.model.configuration import LusiferConfig
from lusirag.model.loading import quiet_progress_bar, read_state, require_complete
from lusirag.model.self_check import check_bidirectional
from lusirag.model.source import read_config, resolve_directory


@dataclass
class LusiferOutput(ModelOutput):
    """What `LusiferModel.forward` returns.

    Attributes:
        embeddings: (B, O), not normalised.
        pooled: (B, D), the pooled output of the language model, before the projection.
    """

    embeddings: Tensor | None = None
    pooled: Tensor | None = None


class LusiferModel(PreTrainedModel):
    """Multilingual encoder -> connector -> bidirectional language model -> pooling -> projection (+ encoder skip)."""

    config_class = LusiferConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    input_modalities = ("text",)
    _supports_sdpa = True
    _supports_flash_attn = True
    supports_gradient_checkpointing = True

    def __init__(self, config: LusiferConfig) -> None:
        super().__init__(config)
        self.multilingual_encoder = build_encoder(config.encoder_config)
        self.connector = Connector(config.encoder_width, config.decoder_width, added_tokens=config.added_tokens)
        self.language_model = build_decoder(config.decoder_config)
        self.pooler = Pooler(config.pooling)
        self.projection = build_projection(config.projection, config.decoder_width, config.dimension)
        self.post_init()

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        local_files_only: bool = False,
        dtype: torch.dtype = torch.float32,
        attn_implementation: str = "sdpa",
    ) -> LusiferModel:
        """Load a model directory or hub id, in evaluation mode, on the CPU.

        4-bit blocks are restored and LoRA matrices merged; the files must hold every parameter and nothing else.

        Raises:
            ModelError: nothing there, files damaged, keys missing or unknown, or the attention is not bidirectional.
        """
        directory = resolve_directory(source, revision=revision, local_files_only=local_files_only)
        config = read_config(directory)
        state = read_state(directory, config.lora)
        config.lora = None  # merged from here on
        with quiet_progress_bar():
            model, report = super().from_pretrained(
                None,
                config=config,
                state_dict=state,
                dtype=dtype,
                attn_implementation=attn_implementation,
                output_loading_info=True,
            )
        require_complete(report, source=directory)
        model.eval()
        check_bidirectional(model)
        return cast(LusiferModel, model)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> LusiferOutput:
        """Embed tokenised texts.

        Args:
            input_ids: (B, S) token ids of the multilingual encoder, padded on either side.
            attention_mask: (B, S), 1 for a token and 0 for padding; None when nothing is padded.

        Returns:
            `LusiferOutput`; a text's embedding does not depend on the other texts or on the padding.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        encoded = self.encode(input_ids, attention_mask)  # (B, S, E)
        connected, mask = self.connector(encoded, attention_mask)  # (B, T, D), (B, T)
        positions = positions_of(mask)  # (B, T)
        decoded = self.language_model(  # (B, T, D)
            inputs_embeds=connected, attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state
        pooled = self.pooler(decoded, mask, positions)  # (B, D)
        embeddings = self.projection(pooled)  # (B, O)
        if self.config.encoder_skip:
            embeddings = embeddings + mean_over_tokens(encoded, attention_mask)  # (B, O), O = E
        return LusiferOutput(embeddings=embeddings, pooled=pooled)

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Run the multilingual encoder alone: (B, S) -> (B, S, E)."""
        encoded = self.multilingual_encoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=encoder_positions(self.config.encoder_config, positions_of(attention_mask), attention_mask),
        )
        hidden: Tensor = encoded.last_hidden_state
        return hidden

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Connector) and module.added_tokens is not None:
            init.normal_(module.added_tokens, std=self.config.decoder_config.initializer_range)


class Connector(nn.Module):
    """Encoder output into the language model's input space, then A trainable vectors that every text shares."""

    def __init__(self, encoder_width: int, decoder_width: int, *, added_tokens: int) -> None:
        super().__init__()
        self.feed_forward = nn.Sequential(
            nn.Linear(encoder_width, encoder_width), nn.ReLU(), nn.Linear(encoder_width, decoder_width)
        )
        self.added_tokens = nn.Parameter(torch.empty(added_tokens, decoder_width)) if added_tokens else None

    def forward(self, encoded: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, E), (B, S) -> (B, T, D), (B, T)."""
        connected = self.feed_forward(encoded)  # (B, S, D)
        if self.added_tokens is None:
            return connected, attention_mask
        texts, count = len(connected), len(self.added_tokens)
        added = self.added_tokens.expand(texts, -1, -1).to(connected.dtype)  # (B, A, D)
        return (
            torch.cat([connected, added], dim=1),
            torch.cat([attention_mask, attention_mask.new_ones(texts, count)], dim=1),
        )


class Pooler(nn.Module):
    """One vector a text from the language model's output, over all valid tokens, added ones included."""

    def __init__(self, pooling: str) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, decoded: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """(B, T, D), (B, T), (B, T) -> (B, D)."""
        if self.pooling == "mean":
            return mean_over_tokens(decoded, mask)
        if self.pooling == "weighted_mean":
            return mean_over_tokens(decoded, mask * (positions + 1))
        at = positions.masked_fill(mask == 0, -1).argmax(dim=1) if self.pooling == "last" else mask.argmax(dim=1)
        return decoded[torch.arange(len(decoded), device=decoded.device), at]


def build_projection(kind: str, decoder_width: int, embedding_size: int) -> nn.Module:
    """(B, D) -> (B, O)."""
    if kind == "linear":
        return nn.Linear(decoder_width, embedding_size)
    if kind == "mlp":
        return nn.Sequential(
            nn.Linear(decoder_width, decoder_width), nn.ReLU(), nn.Linear(decoder_width, embedding_size)
        )
    return nn.Identity()


def mean_over_tokens(hidden: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over tokens, summed in float32: (B, T, D), (B, T) -> (B, D)."""
    weight = weights.float().unsqueeze(2)  # (B, T, 1)
    return ((hidden.float() * weight).sum(dim=1) / weight.sum(dim=1)).to(hidden.dtype)
