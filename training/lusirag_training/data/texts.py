"""Texts as the network reads them in training: template, instruction, tokens; in chunks of equal lengths.

B texts, S tokens.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lusirag.embedding.batching import pad_batch, plan_batches
from lusirag.embedding.templates import Template
from lusirag.embedding.tokenization import TextTokenizer

Ids = list[list[int]]


class ModelTexts:
    """Writes texts into a model's templates and tokenises them, as `Embedder` does.

    Args:
        tokenizer: of the multilingual encoder, with the longest length. templates: of "query" and "document".
    """

    def __init__(self, tokenizer: TextTokenizer, templates: Mapping[str, Template]) -> None:
        self.tokenizer = tokenizer
        self.templates = templates

    def ids(self, role: str, texts: Sequence[str], *, instruction: str | None = None) -> Ids:
        """Token ids of texts in one role.

        Raises:
            InvalidArgumentError: an instruction for a model that takes none.
        """
        before, after = self.templates[role].surroundings(instruction or None)
        return self.tokenizer([f"{before}{text}{after}" for text in texts]).ids


def chunked(lengths: Sequence[int], *, chunk_tokens: int, at_least: int = 1) -> list[list[int]]:
    """Share texts out over chunks, longest first, so that none is larger than `chunk_tokens` with its padding.

    Args:
        lengths: tokens of each text. at_least: make this many chunks or more, where there are as many texts.
    """
    chunks = list(plan_batches(lengths, batch_tokens=chunk_tokens))
    while len(chunks) < min(at_least, len(lengths)):
        largest = max(range(len(chunks)), key=lambda number: len(chunks[number]))
        whole = chunks[largest]
        chunks[largest : largest + 1] = [whole[: len(whole) // 2], whole[len(whole) // 2 :]]
    return chunks


def padded(rows: Ids, *, padding_id: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Token ids (B, S) and mask (B, S), padded on the right."""
    ids, mask = pad_batch(rows, padding_id=padding_id)
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def text_key(text: str) -> int:
    """A number for a text, 64 bits: equal for texts that differ in case, Unicode form or white space alone."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return int.from_bytes(hashlib.blake2b(plain.encode(), digest_size=8).digest(), "little", signed=True)
