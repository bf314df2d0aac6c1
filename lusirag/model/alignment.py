"""LUSIFER with the language model's words: what stage 1, alignment, trains (LUSIFER paper, section 3.2).

The network of `network.py` reads a text, its language model then writes another one: the same text (reconstruction) or
a question on it (completion). B texts, T = S + A vectors of the text, W words of the target, D decoder width, V words.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.utils.generic import ModelOutput

from lusirag.errors import ModelError
from lusirag.model.backbones import run_decoder
from lusirag.model.network import LusiferModel

NO_LABEL = -100


@dataclass
class AlignmentOutput(ModelOutput):
    """What `LusiferForAlignment.forward` returns.

    Attributes:
        loss: mean cross-entropy of the labelled words.
        logits: (B, T + W, V), of the whole sequence.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None


class LusiferForAlignment(nn.Module):
    """A `LusiferModel` between its language model's token embedding and vocabulary head.

    Args:
        network: the embedding model.
        token_embedding: (V, D), of the language model.
        vocabulary_head: D -> V, of the language model; it may share its weight with the embedding.
    """

    def __init__(self, network: LusiferModel, token_embedding: nn.Embedding, vocabulary_head: nn.Linear) -> None:
        super().__init__()
        self.network = network
        self.token_embedding = token_embedding
        self.vocabulary_head = vocabulary_head

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
        embedding, head, bias = (
            None if weight is None else weight.to(network.dtype) for weight in vocabulary_weights(directory)
        )
        if embedding is None or head is None:
            raise ModelError(f"the weights in {directory} hold no token embedding of the language model")
        linear = nn.Linear(head.shape[1], head.shape[0], bias=bias is not None, device="meta")
        linear.weight = nn.Parameter(head)
        if bias is not None:
            linear.bias = nn.Parameter(bias)
        rows, width = embedding.shape
        words = nn.Embedding(rows, width, _weight=embedding)
        return cls(network, words, linear).eval()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        target_ids: Tensor,
        target_mask: Tensor,
        labels: Tensor | None = None,
    ) -> AlignmentOutput:
        """Let the language model write the target, as the published code does.

        Attention is bidirectional over everything, so a target word is kept from seeing itself by the masks alone that
        the caller puts into `target_ids` and `target_mask`. When every target begins with the beginning-of-sequence
        token, that one stands before the text: <bos>, text, words; else: text, words.

        Args:
            input_ids, attention_mask: (B, S), for the multilingual encoder.
            target_ids, target_mask: (B, W), for the language model; masked words are replaced or hidden here.
            labels: (B, W), the words to write, -100 where none is asked for; `target_ids` when None.
        """
        network = self.network
        labels = target_ids if labels is None else labels
        connected, mask = network.connector(network.encode(input_ids, attention_mask), attention_mask)  # (B, T, D)
        words = self.token_embedding(target_ids)  # (B, W, D)
        unlabelled = labels.new_full(mask.shape, NO_LABEL)  # (B, T)
        before = 1 if self._begins(labels) else 0
        sequence = torch.cat([words[:, :before], connected, words[:, before:]], dim=1)  # (B, T + W, D)
        seen = torch.cat([target_mask[:, :before], mask, target_mask[:, before:]], dim=1)  # (B, T + W)
        wanted = torch.cat([labels[:, :before], unlabelled, labels[:, before:]], dim=1)  # (B, T + W)
        hidden = run_decoder(
            network.language_model, sequence, seen, network.positions(seen), past_window=network.config.past_window
        )
        logits = self._capped(self.vocabulary_head(hidden).float())  # (B, T + W, V)
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), wanted[:, 1:].flatten(), ignore_index=NO_LABEL)
        return AlignmentOutput(loss=loss, logits=logits)

    def _begins(self, labels: Tensor) -> bool:
        decoder: Any = self.network.config.decoder_config
        start = decoder.bos_token_id
        return start is not None and bool((labels[:, 0] == start).all())

    def _capped(self, logits: Tensor) -> Tensor:
        cap = getattr(self.network.config.decoder_config, "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap
