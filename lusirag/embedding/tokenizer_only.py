"""A model of which only the tokenizer is read, for what needs tokens and no vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from tokenizers import Tokenizer

from lusirag.embedding.description import read_description
from lusirag.embedding.fingerprint import cut_fingerprint, fingerprint_of
from lusirag.embedding.loading import find_directory, model_files
from lusirag.errors import ModelError


@dataclass(frozen=True, slots=True)
class TokenizerOnly:
    """Stands for an `Embedder` in an index that is looked at; its attributes are the same, and it cannot encode.

    The weights are hashed for the fingerprint, piece by piece, and not loaded: a model of any size fits.
    """

    name: str
    dimension: int
    max_tokens: int
    fingerprint: str
    tokenizer: Tokenizer
    max_passage_tokens: int

    @classmethod
    def load(cls, model: str, *, dimension: int | None = None) -> TokenizerOnly:
        """Read a model's description and tokenizer; arguments and errors as for `Embedder.load`."""
        directory = find_directory(model, revision=None, local_files_only=False)
        description = read_description(directory)
        tokenizer = description.tokenizer()
        kept = dimension or description.dimension
        return cls(
            name=model,
            dimension=kept,
            max_tokens=description.max_tokens,
            fingerprint=cut_fingerprint(
                fingerprint_of(description.config, model_files(description)), kept, description.dimension
            ),
            tokenizer=tokenizer.tokenizer,
            max_passage_tokens=tokenizer.room_for_text(*description.templates["document"].surroundings(None)),
        )

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> NoReturn:
        """Raise ModelError."""
        raise ModelError(f"of the model {self.name!r} only the tokenizer was read; load it with Embedder.load")

    def encode_documents(self, texts: Sequence[str]) -> NoReturn:
        """Raise ModelError."""
        self.encode_queries(texts)
