"""What writes an answer from a prompt: the seam to language models of every kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, TypedDict, runtime_checkable

# A token of a model made for English has four bytes of English, and down to one or two of a script it hardly knows.
_BYTES_A_TOKEN = 2
_TOKENS_A_MESSAGE = 8


class Message(TypedDict):
    """One turn of a chat, in the form that OpenAI introduced."""

    role: Literal["system", "user", "assistant"]
    content: str


@runtime_checkable
class Generator(Protocol):
    """A language model that answers a chat. Any object with these members is one.

    Attributes:
        name: what the user calls it.
        context_tokens: how many tokens prompt and answer may have together.
    """

    name: str
    context_tokens: int

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """How many tokens these messages take as a prompt; rather too many than too few."""

    def generate(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
        """Yield the next message of the assistant, of at most `max_tokens` tokens, piece by piece.

        Raises:
            ModelError: the model failed, or cannot be reached.
        """


def approximate_tokens(messages: Sequence[Message]) -> int:
    """An upper estimate of the tokens of messages, for a model whose tokenizer is not at hand."""
    return sum(
        len(message["content"].encode("utf-8", "replace")) // _BYTES_A_TOKEN + _TOKENS_A_MESSAGE for message in messages
    )
