"""A connector that begins by saying, as well as a linear map can, the language model's own words.

What a language model can read from the first step on is its own word embeddings. Ridge regression finds, from texts in
the training language, what linear map of the encoder's states comes nearest to the embeddings of the words that stand
at the same characters; training/README.md has what is read through it. E encoder width, D decoder width, V words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from tokenizers import Encoding, Tokenizer
from torch import Tensor, nn

from lusirag.errors import InvalidArgumentError
from lusirag.model import LusiferModel
from lusirag.model.network import FeedForwardConnector
from lusirag_training.data.texts import ModelTexts, chunked, padded
from lusirag_training.trainer.start import start_as_map

PASSAGES = 1600
CHARACTERS = 300
CHUNK_TOKENS = 2048
RIDGE = 1e-3  # of the states' mean variance
LEAST = 10  # words a number of the map


@torch.no_grad()
def start_with_words(
    network: LusiferModel,
    words: nn.Embedding,
    *,
    texts: ModelTexts,
    writer: Tokenizer,
    passages: Sequence[str],
    gain: float,
) -> None:
    """Let a new connector begin as that map; see `start_as_map`.

    Args:
        words: (V, D), of the language model. texts: of the encoder. writer: the language model's tokenizer.
        passages: in the training language; their first 300 characters are taken.
        gain: regression shrinks what it foretells; what differs from the mean word is made this many times as long.

    Raises:
        InvalidArgumentError: a connector of another kind, or too few passages.
    """
    connector = getattr(network, "connector", None)
    if not isinstance(connector, FeedForwardConnector):
        raise InvalidArgumentError(
            f"alignment.word_gain goes with connector ff, not {network.config.connector}; leave it out"
        )
    width, out = network.config.encoder_width, words.embedding_dim
    count, largest = 0, torch.zeros(width, dtype=torch.float64)
    sums = [torch.zeros(shape, dtype=torch.float64) for shape in (width, out, (width, width), (width, out))]
    for states, said in _pairs(network, words, texts, writer, [passage[:CHARACTERS] for passage in passages]):
        count += len(states)
        largest = torch.maximum(largest, states.abs().amax(dim=0))
        for total, part in zip(sums, (states.sum(0), said.sum(0), states.T @ states, states.T @ said), strict=True):
            total += part
    if count < LEAST * width:
        raise InvalidArgumentError(
            f"alignment.word_gain needs {LEAST * width:,} words of text to begin with, and the data sets have "
            f"{count:,}; give more, or leave it out"
        )
    middle, mean = sums[0] / count, sums[1] / count  # (E,), (D,)
    scatter, shared = sums[2] - count * torch.outer(middle, middle), sums[3] - count * torch.outer(middle, mean)
    ridge = RIDGE * scatter.diagonal().mean() * torch.eye(width, dtype=torch.float64)
    slope = gain * torch.linalg.solve(scatter + ridge, shared).T  # (D, E)
    start_as_map(connector, slope, mean - slope @ middle, largest=largest)


def _pairs(
    network: LusiferModel, words: nn.Embedding, texts: ModelTexts, writer: Tokenizer, passages: Sequence[str]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each encoder token: its state, and the mean embedding of the words that share characters with it.

    Yields:
        (n, E) and (n, D) of some passages, in 64 bits.
    """
    before, after = texts.templates["query"].surroundings(None)
    read = texts.tokenizer.tokenizer.encode_batch([f"{before}{passage}{after}" for passage in passages])
    written = writer.encode_batch(list(passages), add_special_tokens=False)
    for chunk in chunked([len(encoding) for encoding in read], chunk_tokens=CHUNK_TOKENS):
        ids, mask = padded([read[row].ids for row in chunk], padding_id=network.config.padding_id)
        encoded = network.encode(ids, mask).double()  # (b, S, E)
        pairs = [
            (encoded[place, token], words.weight[shared].double().mean(0))
            for place, row in enumerate(chunk)
            for token, shared in _shared(read[row], written[row], before=len(before))
        ]
        if pairs:
            states, said = zip(*pairs, strict=True)
            yield torch.stack(states), torch.stack(said)


def _shared(read: Encoding, written: Encoding, *, before: int) -> list[tuple[int, list[int]]]:
    """Tokens of the encoder, by place, and the ids of the words that share a character with each."""
    spans: Any = [(begin, end, word) for (begin, end), word in zip(written.offsets, written.ids, strict=True)]
    found, first = [], 0
    for token, (begin, end) in enumerate(read.offsets):
        begin, end = max(begin - before, 0), end - before
        while first < len(spans) and spans[first][1] <= begin:
            first += 1
        shared, at = [], first
        while at < len(spans) and spans[at][0] < end:
            if spans[at][1] > begin:
                shared.append(spans[at][2])
            at += 1
        if shared and end > begin:
            found.append((token, shared))
    return found
