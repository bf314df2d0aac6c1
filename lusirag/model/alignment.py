"""LUSIFER with the language model's words: what stage 1, alignment, trains (LUSIFER paper, section 3.2).

The network of `network.py` reads a text, its language model then writes another one: the same text (reconstruction) or
a question on it (completion). B texts, T = S + A vectors of the text, W words of the target, D decoder width, V words,
L labelled words of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.utils.generic import ModelOutput

from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.model.backbones import run_decoder
from lusirag.model.network import LusiferModel

NO_LABEL = -100
ATTENTIONS = ("prefix", "bidirectional")
RECOMPUTED: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}

# Most logits that are held at once. Few suit a CPU's caches; elsewhere the head's weights are read for more words.
CPU_BLOCK_LOGITS, BLOCK_LOGITS = 1 << 23, 1 << 27


@dataclass
class AlignmentOutput(ModelOutput):
    """What `LusiferForAlignment.forward` returns.

    Attributes:
        loss: mean cross-entropy of the labelled words; their sum where that was asked for.
        logits: (B, T + W, V), of the whole sequence; None unless asked for.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None


class LusiferForAlignment(nn.Module):
    """A `LusiferModel` between its language model's token embedding and vocabulary head.

    Args:
        network: the embedding model.
        token_embedding: (V, D), of the language model.
        vocabulary_head: D -> V, of the language model; it may share its weight with the embedding.
        attention: "bidirectional", as published: every position sees all, so that masks alone keep a target word from
            seeing itself; or "prefix": the text's vectors see each other, a target word sees them and the words before.

    Raises:
        InvalidArgumentError: no such attention, or one that the model's kernel cannot compute.
    """

    def __init__(
        self,
        network: LusiferModel,
        token_embedding: nn.Embedding,
        vocabulary_head: nn.Linear,
        *,
        attention: str = "bidirectional",
    ) -> None:
        super().__init__()
        if attention not in ATTENTIONS:
            raise InvalidArgumentError(f"attention is {attention!r}, allowed: {', '.join(ATTENTIONS)}")
        kernel = network.config.decoder_config._attn_implementation
        if attention == "prefix" and kernel not in ("sdpa", "eager"):
            raise InvalidArgumentError(f"attention 'prefix' needs the kernel sdpa or eager, not {kernel!r}")
        self.network = network
        self.attention = attention
        self.token_embedding = token_embedding
        self.vocabulary_head = vocabulary_head

    @classmethod
    def from_base_models(
        cls, network: LusiferModel, *, attention: str = "prefix", local_files_only: bool = False
    ) -> LusiferForAlignment:
        """Give a network the words of the language model that it was made from.

        Args:
            network: as `LusiferModel.from_base_models` joins it; its config.json tells the language model.
            attention: see the class. local_files_only: never ask the network.

        Raises:
            ModelError: the network does not know its language model, or that holds no token embedding.
        """
        from lusirag.model.source import resolve_directory
        from lusirag.model.vocabulary import base_vocabulary

        base = (network.config.base_models or {}).get("decoder")
        if base is None:
            raise ModelError("this network does not know its language model, whose words alignment needs; start anew")
        directory = resolve_directory(base["source"], revision=base.get("revision"), local_files_only=local_files_only)
        return cls._from_weights(network, *base_vocabulary(directory), attention=attention, source=directory)

    @classmethod
    def from_published(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        local_files_only: bool = False,
        dtype: torch.dtype | None = None,
        attn_implementation: str = "sdpa",
        published_positions: bool = False,
    ) -> LusiferForAlignment:
        """Load a published checkpoint, the language model's words included; see `LusiferModel.from_published`.

        Raises:
            ModelError: the checkpoint cannot be loaded, or holds no token embedding.
        """
        from lusirag.model.published import vocabulary_weights
        from lusirag.model.source import resolve_directory

        directory = resolve_directory(source, revision=revision, local_files_only=local_files_only)
        network = LusiferModel.from_published(
            directory,
            local_files_only=local_files_only,
            dtype=dtype,
            attn_implementation=attn_implementation,
            published_positions=published_positions,
        )
        return cls._from_weights(
            network, *vocabulary_weights(directory), attention="bidirectional", source=directory
        ).eval()

    @classmethod
    def _from_weights(
        cls,
        network: LusiferModel,
        embedding: Tensor | None,
        head: Tensor | None,
        bias: Tensor | None,
        *,
        attention: str,
        source: Path,
    ) -> LusiferForAlignment:
        """Join a network and vocabulary weights: (V, D), (V, D), (V); an embedding that is the head stays shared."""
        if embedding is None or head is None:
            raise ModelError(f"the weights in {source} hold no token embedding of the language model")
        tied = head is embedding
        rows, width = embedding.shape
        words = nn.Embedding(rows, width, _weight=embedding.to(network.dtype))
        linear = nn.Linear(head.shape[1], head.shape[0], bias=bias is not None, device="meta")
        linear.weight = words.weight if tied else nn.Parameter(head.to(network.dtype))
        if bias is not None:
            linear.bias = nn.Parameter(bias.to(network.dtype))
        return cls(network, words, linear, attention=attention)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        target_ids: Tensor,
        target_mask: Tensor,
        labels: Tensor | None = None,
        *,
        reduction: str = "mean",
        with_logits: bool = True,
    ) -> AlignmentOutput:
        """Let the language model write the target.

        When every target begins with the beginning-of-sequence token, that one stands before the text: <bos>, text,
        words; else: text, words. The word after a position is what that position must predict.

        Args:
            input_ids, attention_mask: (B, S), for the multilingual encoder.
            target_ids, target_mask: (B, W), for the language model; masked words are replaced or hidden here.
            labels: (B, W), the words to write, -100 where none is asked for; `target_ids` when None.
            reduction: "mean" or "sum" over the labelled words.
            with_logits: return them; without, the vocabulary head runs on the L positions that predict alone.
        """
        network = self.network
        labels = target_ids if labels is None else labels
        connected, mask = network.connector(network.encode(input_ids, attention_mask), attention_mask)  # (B, T, D)
        words = self.token_embedding(target_ids).to(connected.dtype)  # (B, W, D)
        unlabelled = labels.new_full(mask.shape, NO_LABEL)  # (B, T)
        before = 1 if self._begins(labels) else 0
        sequence = torch.cat([words[:, :before], connected, words[:, before:]], dim=1)  # (B, T + W, D)
        seen = torch.cat([target_mask[:, :before], mask, target_mask[:, before:]], dim=1)  # (B, T + W)
        wanted = torch.cat([labels[:, :before], unlabelled, labels[:, before:]], dim=1)  # (B, T + W)
        hidden = run_decoder(  # (B, T + W, D)
            network.language_model,
            sequence,
            seen,
            network.positions(self._present(seen, wanted)),
            past_window=network.config.past_window,
            visible=self._visible(seen, before + mask.shape[1]),
        )
        following = self._following(wanted, seen, before + mask.shape[1])  # (B, T + W)
        if with_logits:
            logits = self._logits(hidden)  # (B, T + W, V)
            loss = F.cross_entropy(logits.flatten(0, 1), following.flatten(), reduction=reduction)
            return AlignmentOutput(loss=loss, logits=logits)
        predicts = following != NO_LABEL
        return AlignmentOutput(loss=self._cross_entropy(hidden[predicts], following[predicts], reduction=reduction))

    def _present(self, seen: Tensor, wanted: Tensor) -> Tensor:
        """What counts in positions: (B, T + W). A hidden word keeps its place, unless as in the published code."""
        return seen if self.attention == "bidirectional" else ((seen != 0) | (wanted != NO_LABEL)).long()

    def _visible(self, seen: Tensor, prefix: int) -> Tensor | None:
        """(B, T + W, T + W): the prefix sees itself, a target word sees the prefix and what stands before it."""
        if self.attention == "bidirectional":
            return None
        length = seen.shape[1]
        earlier = torch.ones(length, length, dtype=torch.bool, device=seen.device).tril()
        earlier[:, :prefix] = True
        itself = torch.eye(length, dtype=torch.bool, device=seen.device)
        return (earlier & (seen != 0)[:, None, :]) | itself

    def _following(self, wanted: Tensor, seen: Tensor, prefix: int) -> Tensor:
        """The word that each position must predict: (B, T + W).

        A target's first word is predicted by the text's last vector; the published code takes the one that stands last
        in memory, which is padding where a text is padded and there are no added tokens.
        """
        following = F.pad(wanted[:, 1:], (0, 1), value=NO_LABEL)
        if self.attention == "bidirectional":
            return following
        places = torch.arange(prefix, device=seen.device)
        last = (places * (seen[:, :prefix] != 0)).argmax(dim=1, keepdim=True)  # (B, 1)
        first = following[:, prefix - 1 : prefix].clone()
        following[:, prefix - 1] = NO_LABEL
        return following.scatter(1, last, first)

    def _cross_entropy(self, hidden: Tensor, words: Tensor, *, reduction: str) -> Tensor:
        """Of vectors (L, D) that predict words (L,), in blocks whose logits the backward pass computes again."""

        def of_block(hidden: Tensor, words: Tensor) -> Tensor:
            return F.cross_entropy(self._logits(hidden), words, reduction="sum")

        most = CPU_BLOCK_LOGITS if hidden.device.type == "cpu" else BLOCK_LOGITS
        rows = max(1, most // self.vocabulary_head.out_features)
        blocks = zip(hidden.split(rows), words.split(rows), strict=True)
        loss = torch.stack([checkpoint(of_block, *block, **RECOMPUTED) for block in blocks]).sum()
        return loss / len(words) if reduction == "mean" else loss

    def _logits(self, hidden: Tensor) -> Tensor:
        return self._capped(self.vocabulary_head(hidden).float())

    def _begins(self, labels: Tensor) -> bool:
        decoder: Any = self.network.config.decoder_config
        start = decoder.bos_token_id
        return start is not None and bool((labels[:, 0] == start).all())

    def _capped(self, logits: Tensor) -> Tensor:
        cap = getattr(self.network.config.decoder_config, "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap
