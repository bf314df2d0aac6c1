"""An encoder that is told one instruction for everything it encodes, as benchmarks do it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from lusirag.errors import InvalidArgumentError
from lusirag.types import Encoder, Vectors

_LEAST_PASSAGE_TOKENS = 16


class _EncodesInstructedDocuments(Protocol):
    def encode_documents(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors: ...


class InstructedEncoder:
    """An `Encoder` whose queries and documents carry an instruction, in each role in which the model takes one.

    Which roles those are is what the model says in `instruction_roles`, as `Embedder` does; a model that says nothing
    is not given any, in either role.

    Args:
        encoder: the model.
        instruction: None for the model's own default.
    """

    def __init__(self, encoder: Encoder, instruction: str | None) -> None:
        self._encoder = encoder
        roles = instruction_roles(encoder)
        self._for_queries = instruction if "query" in roles else None
        self._for_documents = instruction if "document" in roles else None

    @property
    def name(self) -> str:
        """The model's."""
        return self._encoder.name

    @property
    def dimension(self) -> int:
        """The model's."""
        return self._encoder.dimension

    @property
    def max_tokens(self) -> int:
        """The model's."""
        return self._encoder.max_tokens

    @property
    def fingerprint(self) -> str:
        """The model's; another one where documents carry an instruction, because their vectors are others."""
        if not self._for_documents:
            return self._encoder.fingerprint
        return f"{self._encoder.fingerprint}-{digest(self._for_documents)}"

    @property
    def tokenizer(self) -> Any:
        """The model's, or None."""
        return getattr(self._encoder, "tokenizer", None)

    @property
    def max_passage_tokens(self) -> int | None:
        """How many tokens of a document fit beside the instruction; None where the model does not say."""
        longest = getattr(self._encoder, "max_passage_tokens", None)
        if longest is None or not self._for_documents or self.tokenizer is None:
            return longest
        # The model has counted its default instruction already; that this one comes on top of it is on the safe side.
        words = len(self.tokenizer.encode(self._for_documents, add_special_tokens=False).ids)
        return max(int(longest) - words, _LEAST_PASSAGE_TOKENS)

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """float32 unit vectors (n, dimension); another `instruction` takes the place of this encoder's."""
        return self._encoder.encode_queries(texts, instruction=instruction or self._for_queries)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """float32 unit vectors (n, dimension)."""
        if self._for_documents is None:
            return self._encoder.encode_documents(texts)
        instructed = cast(_EncodesInstructedDocuments, self._encoder)
        return instructed.encode_documents(texts, instruction=self._for_documents)


def instruction_roles(encoder: Encoder) -> frozenset[str]:
    """In which of the roles "query" and "document" a model takes an instruction; none where it does not say."""
    return frozenset(getattr(encoder, "instruction_roles", ()))


def checked_instructions(instructions: Mapping[str, str | None] | None) -> dict[str, str]:
    """{task name: instruction} without the tasks that have none.

    Raises:
        InvalidArgumentError: something else.
    """
    given = {} if instructions is None else instructions
    if not isinstance(given, Mapping) or not all(
        isinstance(task, str) and (words is None or isinstance(words, str)) for task, words in given.items()
    ):
        raise InvalidArgumentError(f"instructions is {instructions!r}; it must be a mapping of task names to texts")
    return {task: words for task, words in given.items() if words is not None}


def digest(value: Any) -> str:
    """12 hexadecimal digits that tell values of JSON apart."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=6).hexdigest()
