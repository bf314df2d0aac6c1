"""Stand-ins for what base models are published as: 4-bit weights read to float32, and a Unigram tokenizer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LETTERS = "abcdeабвгдকখগ中文"
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def tokenizer_json() -> dict[str, Any]:
    """A Unigram tokenizer like XLM-R's: special tokens first, <mask> last; "q" occurs in one longer piece only."""
    pieces = [(piece, 0.0) for piece in SPECIAL] + [("▁", -3.0), ("dq", -9.5)]
    pieces += [(letter, -12.0 - at / 8) for at, letter in enumerate(LETTERS)] + [("▁a", -6.0)]
    for at, script in enumerate(("abcde", "абвгд", "কখগ")):
        pairs = [left + right for left in script for right in script]
        pieces += [(piece, -7.0 - at - rank / 16) for rank, piece in enumerate(pairs)]
        pieces += [("▁" + piece, -7.5 - at - rank / 16) for rank, piece in enumerate(pairs)]
    pieces.append(("<mask>", 0.0))
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
    added = [{"id": at, "content": piece, **flags} for at, piece in enumerate(SPECIAL)]
    added.append({"id": len(pieces) - 1, "content": "<mask>", **flags})
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    around = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    around.append({"SpecialToken": {"id": "<mask>", "type_id": 0}})
    tokens = {
        name: {"id": name, "ids": [at], "tokens": [name]} for name, at in (("<s>", 0), ("<mask>", len(pieces) - 1))
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": space,
        "post_processor": {"type": "TemplateProcessing", "single": around, "pair": around, "special_tokens": tokens},
        "decoder": space,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": [list(piece) for piece in pieces], "byte_fallback": False},
    }


def around_zero(seed: int, rows: int = 40, blocks: int = 3) -> Tensor:
    """What a Q4_0 reader returns: (nibble - 8) * scale, each block with the nibble 0; scales of both signs."""
    draw = torch.Generator().manual_seed(seed)
    nibbles = torch.randint(0, 16, (rows, blocks, 32), generator=draw).float()
    nibbles[:, :, 7] = 0
    scale = (torch.randn(rows, blocks, 1, generator=draw) * 0.02).half().float()
    return ((nibbles - 8) * scale).view(rows, -1)


def with_minimum(seed: int, rows: int = 40, blocks: int = 3) -> Tensor:
    """What a Q4_1 reader returns: nibble * scale + minimum, each block with the nibbles 0 and 15."""
    draw = torch.Generator().manual_seed(seed)
    nibbles = torch.randint(0, 16, (rows, blocks, 32), generator=draw).float()
    nibbles[:, :, 3], nibbles[:, :, 20] = 0, 15
    scale = (torch.rand(rows, blocks, 1, generator=draw) * 0.02).half().float()
    minimum = (torch.randn(rows, blocks, 1, generator=draw) * 0.3).half().float()
    return (nibbles * scale + minimum).view(rows, -1)
