"""The LUSIFER network (arXiv 2501.00874, section 3), read from top to bottom.

B texts, S tokens of the multilingual encoder, A added tokens, T = S + A; E encoder width, D decoder width, V the
language model's vocabulary, O embedding size.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.utils.generic import ModelOutput

from lusirag.errors import InvalidArgumentError
from lusirag.model.backbones import build_decoder, build_encoder, encoder_positions, positions_of, run_decoder
from lusirag.model.configuration import LusiferConfig
from lusirag.model.pooling import LatentAttention, build_pooler, mean_over_tokens


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
        if config.connector != "none":
            self.connector = build_connector(config)
            self.language_model = build_decoder(config.decoder_config)
        self.pooler = build_pooler(config)
        self.projection = build_projection(config.projection, config.decoder_width, config.dimension)
        if config.erased_directions:
            self.erasure = Erasure(config.dimension, config.erased_directions)
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> LusiferOutput:
        """Embed tokenised texts.

        Args:
            input_ids: (B, S) token ids of the multilingual encoder, padded on either side.
            attention_mask: (B, S), 1 for a token and 0 for padding; None when nothing is padded.

        Returns:
            `LusiferOutput`; a text's embedding does not depend on the other texts or on the padding.
        """
        padded = attention_mask is not None
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        encoded = self.encode(input_ids, attention_mask, padded=padded)  # (B, S, E)
        hidden, mask = self.understand(encoded, attention_mask, padded=padded)  # (B, T, D), (B, T)
        pooled = self.pooler(hidden, mask)  # (B, D)
        embeddings = self.projection(pooled)  # (B, O)
        if self.config.encoder_skip:
            embeddings = embeddings + mean_over_tokens(encoded, attention_mask)  # (B, O), O = E
        if self.config.erased_directions:
            embeddings = self.erasure(embeddings)  # (B, O)
        return LusiferOutput(embeddings=embeddings, pooled=pooled)

    def encode(self, input_ids: Tensor, attention_mask: Tensor, *, padded: bool = True) -> Tensor:
        """Run the multilingual encoder alone: (B, S) -> (B, S, E).

        Args:
            padded: False where it is known that the mask is 1 throughout: attention then runs without one, which
                leaves torch its fastest kernel, and nothing waits for the device to look whether it could.
        """
        positions: dict[str, Tensor] = {}
        if not self.config.published_positions:  # else the encoder counts for itself
            positions = encoder_positions(self.config.encoder_config, positions_of(attention_mask), attention_mask)
        mask = attention_mask if padded else None
        encoded = self.multilingual_encoder(input_ids=input_ids, attention_mask=mask, **positions)
        hidden: Tensor = encoded.last_hidden_state
        return hidden

    def understand(self, encoded: Tensor, attention_mask: Tensor, *, padded: bool = True) -> tuple[Tensor, Tensor]:
        """Run connector and language model: (B, S, E), (B, S) -> (B, T, D), (B, T); `padded` as in `encode`."""
        if self.config.connector == "none":
            return encoded, attention_mask
        connected, mask = self.connector(encoded, attention_mask)  # (B, T, D), (B, T)
        hidden = run_decoder(  # (B, T, D), after the final norm
            self.language_model,
            connected,
            mask,
            self.positions(mask),
            past_window=self.config.past_window,
            padded=padded,
        )
        return hidden, mask

    def positions(self, mask: Tensor) -> Tensor:
        """Positions for the language model: (B, T) -> (B, T)."""
        if self.config.published_positions:
            return torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
        return positions_of(mask)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, FeedForwardConnector) and module.added_tokens is not None:
            init.normal_(module.added_tokens, std=self.config.decoder_config.initializer_range)
        if isinstance(module, LatentAttention):
            init.normal_(module.latents)
        if isinstance(module, Erasure):
            init.normal_(module.read)
            init.zeros_(module.write)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        local_files_only: bool = False,
        dtype: torch.dtype = torch.float32,
        attn_implementation: str = "sdpa",
        merge_adapters: bool = False,
        config: LusiferConfig | None = None,
        **options: Any,
    ) -> LusiferModel:
        """Load a model directory or hub id, ours or a published checkpoint, in evaluation mode, on the CPU.

        Blocks of 4 and 8 bits are restored; the files must hold every parameter and nothing else. Of a directory that
        `save_adapters` wrote, the base models come from where its config.json says.

        Args:
            source: a directory, or a hub id such as "owner/name".
            revision: branch, tag or commit on the hub.
            local_files_only: never ask the network.
            dtype: of the weights in memory.
            attn_implementation: "sdpa", "eager" or "flash_attention_2".
            merge_adapters: fold LoRA matrices into the weights, for speed; else they are peft adapters, ready to train.
            config: in the place of config.json. options: what AutoModel.from_pretrained hands on besides; empty ones.

        Raises:
            ModelError: nothing there, files damaged, keys missing or unknown, or the attention is not bidirectional.
            InvalidArgumentError: an option that means nothing here.
        """
        from lusirag.model.files import CONFIG, read_json
        from lusirag.model.loading import load_model
        from lusirag.model.published import CheckpointNames, is_published
        from lusirag.model.source import read_config, resolve_directory

        if unknown := sorted(name for name, value in options.items() if value and name != "adapter_kwargs"):
            raise InvalidArgumentError(f"from_pretrained of LUSIFER does not take {', '.join(unknown)}; leave it out")
        directory = resolve_directory(source, revision=revision, local_files_only=local_files_only)
        config = copy.deepcopy(config) or read_config(directory, local_files_only=local_files_only)
        model = load_model(
            cls,
            config,
            directory,
            rename=CheckpointNames(config) if is_published(read_json(directory / CONFIG)) else None,
            dtype=dtype,
            attn_implementation=attn_implementation,
            merge_adapters=merge_adapters,
            local_files_only=local_files_only,
        )
        return cast(LusiferModel, model)

    @classmethod
    def from_published(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        local_files_only: bool = False,
        dtype: torch.dtype | None = None,
        attn_implementation: str = "sdpa",
        merge_adapters: bool = False,
        published_positions: bool = False,
    ) -> LusiferModel:
        """Load a checkpoint of the published LUSIFER code, such as "Hieuman/LUSIFER".

        Args:
            source: directory or hub id with config.json (the published hyperparameters) and model.safetensors, in one
                file or shards. The base models that its config.json names are looked up beside the checkpoint, then as
                a path, then on the hub: only their config.json when the checkpoint holds their weights.
            dtype: of the weights in memory; as stored when None.
            published_positions: see `LusiferConfig`; for comparisons with the published code.
            revision, local_files_only, attn_implementation, merge_adapters: as in `from_pretrained`.

        Raises:
            ModelError: as in `from_pretrained`, or a hyperparameter that has no meaning here.
        """
        from lusirag.model.loading import load_model
        from lusirag.model.published import CheckpointNames, published_config
        from lusirag.model.source import resolve_directory

        directory = resolve_directory(source, revision=revision, local_files_only=local_files_only)
        config = published_config(directory, published_positions=published_positions, local_files_only=local_files_only)
        model = load_model(
            cls,
            config,
            directory,
            rename=CheckpointNames(config),
            dtype=dtype,
            attn_implementation=attn_implementation,
            merge_adapters=merge_adapters,
            local_files_only=local_files_only,
        )
        return cast(LusiferModel, model)

    @classmethod
    def from_base_models(
        cls,
        encoder: str | Path,
        decoder: str | Path | None,
        *,
        decoder_layers: int | None = None,
        encoder_revision: str | None = None,
        decoder_revision: str | None = None,
        local_files_only: bool = False,
        dtype: torch.dtype = torch.float32,
        attn_implementation: str = "sdpa",
        **settings: Any,
    ) -> LusiferModel:
        """Join a multilingual encoder and a language model by a connector that is not trained yet.

        Args:
            encoder: directory or hub id of a multilingual encoder (`backbones.ENCODERS`).
            decoder: directory or hub id of any transformers decoder; None for the encoder alone.
            decoder_layers: keep this many of the language model's layers, from the first.
            encoder_revision, decoder_revision: branch, tag or commit on the hub.
            local_files_only, dtype, attn_implementation: as in `from_pretrained`.
            settings: fields of `LusiferConfig`.

        Raises:
            ModelError: a base model cannot be had or is of an unsupported type, or a setting is not allowed.
        """
        from lusirag.model.base_models import join

        model = join(
            cls,
            {"source": str(encoder), "revision": encoder_revision},
            None if decoder is None else {"source": str(decoder), "revision": decoder_revision},
            decoder_layers=decoder_layers,
            local_files_only=local_files_only,
            dtype=dtype,
            attn_implementation=attn_implementation,
            settings=settings,
        )
        return cast(LusiferModel, model)

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        bits: int | None = None,
        max_shard_size: int | str = "5GB",
        state_dict: dict[str, Tensor] | None = None,
    ) -> None:
        """Write config.json and model.safetensors (shards when it is larger than one).

        Args:
            save_directory: created if needed; model files of the same names are replaced.
            bits: 8 or 4: store the matrices of encoder and language model in blocks of that many bits (rounded, unlike
                the embedded model's, whose sources are such blocks); None: as they are.
            max_shard_size: of one file, in bytes or as "5GB".
            state_dict: weights to write in the place of the model's own, as trainers gather them.

        Raises:
            InvalidArgumentError: `bits` is not 4 or 8.
            ModelError: the directory cannot be written.
        """
        from lusirag.model.saving import save_model

        save_model(self, Path(save_directory), bits=bits, max_shard_size=max_shard_size, state=state_dict)

    def save_adapters(self, directory: str | Path) -> None:
        """Write what was trained (LoRA, connector, projection) and references to the base models: a few MB.

        Raises:
            ModelError: the model does not know its base models, or its base weights were changed by merging.
        """
        from lusirag.model.saving import save_adapters

        save_adapters(self, Path(directory))

    def add_adapters(
        self, *, rank: int = 16, alpha: float = 32, dropout: float = 0.1, parts: tuple[str, ...] | None = None
    ) -> None:
        """Put new LoRA adapters (peft) on all linear layers of encoder and language model, and freeze their weights.

        Args:
            rank, alpha, dropout: of LoRA; the paper's by default. parts: "multilingual_encoder", "language_model".

        Raises:
            ModelError: there are adapters already.
        """
        from lusirag.model.adapters import add_adapters

        add_adapters(self, rank=rank, alpha=alpha, dropout=dropout, parts=parts)

    def merge_adapters(self) -> None:
        """Fold all LoRA adapters into the weights, in place; nothing happens where there are none."""
        from lusirag.model.adapters import merge_adapters

        merge_adapters(self)


def build_connector(config: LusiferConfig) -> nn.Module:
    """Encoder output into the language model's input space: (B, S, E), (B, S) -> (B, T, D), (B, T)."""
    if config.connector == "embedding_table":
        return EmbeddingTableConnector(config.encoder_width, config.vocabulary, config.decoder_width)
    return FeedForwardConnector(config.encoder_width, config.decoder_width, added_tokens=config.added_tokens)


class FeedForwardConnector(nn.Module):
    """Two linear layers, then A trainable vectors that every text shares."""

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


class EmbeddingTableConnector(nn.Module):
    """Each token becomes a mixture of the language model's words: softmax over V, times an embedding (V, D)."""

    def __init__(self, encoder_width: int, vocabulary: int, decoder_width: int) -> None:
        super().__init__()
        self.to_vocabulary = nn.Linear(encoder_width, vocabulary)
        self.embedding = nn.Embedding(vocabulary, decoder_width)

    def forward(self, encoded: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, E), (B, S) -> (B, S, D), (B, S)."""
        words = self.to_vocabulary(encoded).softmax(dim=-1)  # (B, S, V)
        return words @ self.embedding.weight, attention_mask


def build_projection(kind: str, decoder_width: int, embedding_size: int) -> nn.Module:
    """(B, D) -> (B, O)."""
    if kind == "linear":
        return nn.Linear(decoder_width, embedding_size)
    if kind == "mlp":
        return nn.Sequential(
            nn.Linear(decoder_width, decoder_width), nn.ReLU(), nn.Linear(decoder_width, embedding_size)
        )
    return nn.Identity()


class Erasure(nn.Module):
    """Takes what R directions hold out of an embedding, wholly or in part; training/ finds those of scripts."""

    def __init__(self, embedding_size: int, directions: int) -> None:
        super().__init__()
        self.read = nn.Parameter(torch.empty(embedding_size, directions))
        self.write = nn.Parameter(torch.empty(directions, embedding_size))

    def forward(self, embeddings: Tensor) -> Tensor:
        """(B, O) -> (B, O)."""
        return embeddings - embeddings @ self.read @ self.write


AutoConfig.register(LusiferConfig.model_type, LusiferConfig, exist_ok=True)
AutoModel.register(LusiferConfig, LusiferModel, exist_ok=True)
