"""As many passages as a model's context holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lusirag.errors import InvalidArgumentError
from lusirag.rag.answer import Passage
from lusirag.rag.generator import Generator, Message
from lusirag.rag.prompt import Prompt


def pack(
    question: str,
    passages: Sequence[Passage],
    language: str | None,
    *,
    prompt: Prompt,
    generator: Generator,
    max_tokens: int,
) -> tuple[list[Message], list[Passage]]:
    """The prompt with the best passages that fit beside an answer of `max_tokens`, and these passages.

    A passage that does not fit is left out, and the next is tried; of the best one, where not even that fits, as much
    is shown as does. Passages keep their numbers.

    Raises:
        InvalidArgumentError: the model's context has no room for question and answer alone.
    """
    room = generator.context_tokens - max_tokens

    def fits(chosen: Sequence[Passage]) -> bool:
        return generator.count_tokens(prompt(question, chosen, language)) <= room

    chosen: list[Passage] = []
    for passage in passages:
        if fits([*chosen, passage]):
            chosen.append(passage)
    if passages and not chosen:
        chosen = [_shortened(passages[0], fits, generator, max_tokens)]
    return prompt(question, chosen, language), chosen


def _shortened(
    passage: Passage, fits: Callable[[Sequence[Passage]], bool], generator: Generator, max_tokens: int
) -> Passage:
    """The longest beginning of a passage that fits, found by halving."""
    fitting, too_long = 0, len(passage.text)
    while too_long - fitting > 1:
        middle = (fitting + too_long) // 2
        if fits([_beginning(passage, middle)]):
            fitting = middle
        else:
            too_long = middle
    if not fitting:
        raise InvalidArgumentError(
            f"{generator.name} takes {generator.context_tokens} tokens, which leaves no room for passages beside the "
            f"question and an answer of {max_tokens}; ask for a shorter answer, or give a model with a longer context"
        )
    return _beginning(passage, fitting)


def _beginning(passage: Passage, characters: int) -> Passage:
    text = passage.text[:characters].rstrip()
    return replace(passage, text=text, end=passage.start + len(text))
