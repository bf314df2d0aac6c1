"""Pooling: one vector a text from its tokens' vectors.

B texts, T tokens, D width, L latents.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lusirag.model.configuration import LusiferConfig


def build_pooler(config: LusiferConfig) -> nn.Module:
    """One vector a text from the language model's output: (B, T, D), (B, T) -> (B, D)."""
    if config.pooling == "latent_attention":
        sizes: Mapping[str, int] = config.latent_attention or {}
        return LatentAttention(config.decoder_width, **sizes)
    return Pooler(config.pooling)


class Pooler(nn.Module):
    """Pooling over all valid tokens, added ones included: "mean", "weighted_mean", "cls" or "last"."""

    def __init__(self, pooling: str) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, decoded: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T) -> (B, D)."""
        if self.pooling == "mean":
            return mean_over_tokens(decoded, mask)
        place = mask.long().cumsum(dim=1) * (mask != 0)  # (B, T): 1, 2, 3, ... over the valid tokens
        if self.pooling == "weighted_mean":
            return mean_over_tokens(decoded, place)
        at = place.argmax(dim=1) if self.pooling == "last" else mask.argmax(dim=1)  # (B,)
        return decoded[torch.arange(len(decoded), device=decoded.device), at]


class LatentAttention(nn.Module):
    """NV-Embed's head (arXiv 2405.17428, section 3.1): tokens attend to trained latents; then mean and unit length."""

    def __init__(self, width: int, *, latents: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * head_width
        self.latents = nn.Parameter(torch.empty(latents, width))
        self.token_norm, self.latent_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query = nn.Linear(width, inner, bias=False)
        self.key_value = nn.Linear(width, 2 * inner, bias=False)
        self.output = nn.Linear(inner, width, bias=False)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.gate_up, self.down = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)

    def forward(self, decoded: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T) -> (B, D)."""
        latents = self.latent_norm(self.latents).expand(len(decoded), -1, -1)  # (B, L, D)
        queries = self._by_head(self.query(self.token_norm(decoded)))  # (B, heads, T, head width)
        keys, values = (self._by_head(part) for part in self.key_value(latents).chunk(2, dim=-1))
        attended = F.scaled_dot_product_attention(queries, keys, values)  # (B, heads, T, head width)
        hidden = self.output(attended.transpose(1, 2).flatten(2)) + decoded  # (B, T, D)
        up, gate = self.gate_up(self.feed_forward_norm(hidden)).chunk(2, dim=-1)  # (B, T, 4 D) each
        hidden = self.down(up * F.gelu(gate)) + hidden  # (B, T, D)
        return F.normalize(mean_over_tokens(hidden, mask), dim=-1)

    def _by_head(self, hidden: Tensor) -> Tensor:
        return hidden.view(*hidden.shape[:-1], self.heads, -1).transpose(1, 2)


def mean_over_tokens(hidden: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over tokens, summed in float32: (B, T, D), (B, T) -> (B, D)."""
    weight = weights.float().unsqueeze(2)  # (B, T, 1)
    return ((hidden.float() * weight).sum(dim=1) / weight.sum(dim=1)).to(hidden.dtype)
