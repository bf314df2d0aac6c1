"""What an index knows of a model that LlamaIndex runs: nothing but the length of its vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NoReturn

from tokenizers import Tokenizer

from lusirag.embedding import DEFAULT_MODEL, EMBEDDED_MODELS
from lusirag.embedding.description import Description, read_description
from lusirag.errors import ModelError
from lusirag.types import Encoder

NAME = "any model of LlamaIndex (open this index with LusiragVectorStore)"


@dataclass(frozen=True, slots=True)
class OutsideModel:
    """Stands for the model in an index whose vectors LlamaIndex computes.

    Lexical search counts the pieces of the embedded model's tokenizer, which serves every language.

    Args:
        dimension: length of a vector.
    """

    dimension: int

    @property
    def name(self) -> str:
        """Tells who opens the index without LlamaIndex what to do."""
        return NAME

    @property
    def fingerprint(self) -> str:
        """Changes with the tokenizer."""
        return f"outside/{_tokenizer_hash()}"

    @property
    def max_tokens(self) -> int:
        """Whatever the model reads."""
        return _description().max_tokens

    @property
    def tokenizer(self) -> Tokenizer:
        """That of the embedded model."""
        return _tokenizer()

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> NoReturn:
        """Raise ModelError."""
        raise ModelError("the vectors of this index come from LlamaIndex's embedding model; give vectors, not texts")

    def encode_documents(self, texts: Sequence[str]) -> NoReturn:
        """Raise ModelError."""
        self.encode_queries(texts)


def load_model(name: str, dimension: int | None, stored: int) -> Encoder:
    """The model that an index was made with: one of lusirag's by its name, else what stands for it.

    Args:
        name: as recorded.
        dimension: the length that vectors are cut to, if they are.
        stored: length of the vectors.
    """
    if name == NAME:
        return OutsideModel(stored)
    from lusirag import Embedder

    return Embedder.load(name, dimension=dimension)


@cache
def _description() -> Description:
    return read_description(EMBEDDED_MODELS[DEFAULT_MODEL])


@cache
def _tokenizer() -> Tokenizer:
    return _description().tokenizer().tokenizer


@cache
def _tokenizer_hash() -> str:
    return hashlib.blake2b(_description().tokenizer_file.read_bytes(), digest_size=8).hexdigest()
