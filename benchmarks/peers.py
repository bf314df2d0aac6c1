"""Encoders of the quality benchmarks: the peer, a plain BERT-type encoder, and a memory around any encoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import BertModel

from lusirag.types import Encoder, Vectors

TOKENS_PER_BATCH = 4096
PADDING = 1


class BertEncoder:
    """`transformers.BertModel`, mean pooling, "query: "/"passage: ", unit length; satisfies lusirag.types.Encoder.

    Nothing of lusirag's own model code runs in here.
    """

    def __init__(self, name: str, model: BertModel, tokenizer: Tokenizer, *, max_tokens: int = 512) -> None:
        self.name = name
        self.fingerprint = name
        self.max_tokens = max_tokens
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)

    @classmethod
    def load(cls, directory: Path) -> BertEncoder:
        """Load a transformers directory with a tokenizer.json."""
        model = BertModel.from_pretrained(directory, add_pooling_layer=False, local_files_only=True)
        return cls(directory.name, model, Tokenizer.from_file(str(directory / "tokenizer.json")))

    def with_vocabulary(self, name: str, tokenizer: dict[str, object], rows: Sequence[int]) -> BertEncoder:
        """Return the same network with another tokenizer, whose id i has the embedding of the old id rows[i]."""
        config = type(self._model.config).from_dict({**self._model.config.to_dict(), "vocab_size": len(rows)})
        model = BertModel(config, add_pooling_layer=False)
        state = self._model.state_dict()
        key = "embeddings.word_embeddings.weight"
        model.load_state_dict({**state, key: state[key][torch.tensor(rows)]}, strict=True)
        return BertEncoder(name, model, Tokenizer.from_str(json.dumps(tokenizer)), max_tokens=self.max_tokens)

    @property
    def dimension(self) -> int:
        """Width of the encoder."""
        return int(self._model.config.hidden_size)

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
        if instruction is not None:
            raise ValueError("this encoder takes no instruction")
        return self._encode([f"query: {text}" for text in texts])

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
        return self._encode([f"passage: {text}" for text in texts])

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
