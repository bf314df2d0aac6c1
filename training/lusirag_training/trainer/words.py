"""A connector that begins by saying, as well as a linear map can, the language model's own words.

The language model can read its word embeddings and nothing else, and a random connector gives it noise until some
thousand steps of stage 1 have found the way. The way is nearly linear: ridge regression finds, from texts in the
training language, what map of the encoder's states comes nearest to the embeddings of the words that stand at the same
characters. E encoder width, D decoder width, V words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Encoding, Tokenizer
from torch import Tensor, nn

from lusirag.errors import InvalidArgumentError
from lusirag.model import LusiferModel
from lusirag.model.network import FeedForwardConnector
from lusirag_training.data.texts import ModelTexts, chunked, padded

PASSAGES = 1600
CHARACTERS = 300
CHUNK_TOKENS = 2048
RIDGE = 1e-3  # of the states' mean variance
MARGIN = 1.5
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
    """Let a new connector begin as that map.

    Its first layer passes the states on, raised so that the ReLU behind it cuts off next to nothing: each channel by
    more than its largest value on the passages. Its second is the map, and takes what was added off again.

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
    states, said = _pairs(network, words, texts, writer, [passage[:CHARACTERS] for passage in passages])
    if len(states) < LEAST * states.shape[1]:
        raise InvalidArgumentError(
            f"alignment.word_gain needs {LEAST * states.shape[1]:,} words of text to begin with, and the data sets "
            f"have {len(states):,}; give more, or leave it out"
        )
    middle, mean = states.mean(0), said.mean(0)  # (E,), (D,)
    centred = states - middle
    scatter = centred.T @ centred  # (E, E)
    ridge = RIDGE * scatter.diagonal().mean() * torch.eye(len(scatter), dtype=scatter.dtype)
    slope = gain * torch.linalg.solve(scatter + ridge, centred.T @ (said - mean)).T  # (D, E)
    first, second = (part for part in connector.feed_forward if isinstance(part, nn.Linear))
    nn.init.eye_(first.weight)
    first.bias.copy_(MARGIN * states.abs().amax(dim=0))
    second.weight.copy_(slope)
    second.bias.copy_(mean - slope @ middle - second.weight.double() @ first.bias.double())


def _pairs(
    network: LusiferModel, words: nn.Embedding, texts: ModelTexts, writer: Tokenizer, passages: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Of each encoder token: its state, and the mean embedding of the words that share characters with it.

    Returns:
        (N, E) and (N, D), in 64 bits.
    """
    before, after = texts.templates["query"].surroundings(None)
    read = texts.tokenizer.tokenizer.encode_batch([f"{before}{passage}{after}" for passage in passages])
    written = writer.encode_batch(list(passages), add_special_tokens=False)
    table = words.weight.double()
    states, said = [], []
    for chunk in chunked([len(encoding) for encoding in read], chunk_tokens=CHUNK_TOKENS):
        ids, mask = padded([read[row].ids for row in chunk], padding_id=network.config.padding_id)
        encoded = network.encode(ids, mask).double()  # (b, S, E)
        for place, row in enumerate(chunk):
            for token, shared in _shared(read[row], written[row], before=len(before)):
                states.append(encoded[place, token])
                said.append(table[shared].mean(0))
    width = network.config.encoder_width
    empty = torch.empty(0, width, dtype=torch.float64), torch.empty(0, table.shape[1], dtype=torch.float64)
    return (torch.stack(states), torch.stack(said)) if states else empty


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
