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

    Of a passage that does not fit, the chunk that was found is shown alone; where that does not fit either, the next
    passage is tried. Where nothing fits, as much is shown of the best chunk as does. Passages keep their numbers.

    Raises:
        InvalidArgumentError: the model's context has no room for a passage beside question and answer.
    """
    room = generator.context_tokens - max_tokens

    def fits(chosen: Sequence[Passage]) -> bool:
        return generator.count_tokens(prompt(question, chosen, language)) <= room

    chosen = list(passages)
    if not fits(chosen):  # seldom; else one count is enough
        chosen = []
        for passage in passages:
            for shown in (passage, _found(passage)):
                if fits([*chosen, shown]):
                    chosen.append(shown)
                    break
    if passages and not chosen:
        chosen = [_shortened(_found(passages[0]), fits, generator, max_tokens)]
    return prompt(question, chosen, language), chosen


def _found(passage: Passage) -> Passage:
    """The best one of the chunks that were joined."""
    hit = passage.hit
    return replace(passage, text=hit.text, start=hit.start, end=hit.end)


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
    shortened = _beginning(passage, fitting)
    if not shortened.text:
        raise InvalidArgumentError(
            f"{generator.name} takes {generator.context_tokens} tokens, which leaves no room for passages beside the "
            f"question and an answer of {max_tokens}; ask for a shorter answer, or give a model with a longer context"
        )
    return shortened


def _beginning(passage: Passage, characters: int) -> Passage:
    text = passage.text[:characters].rstrip()
    return replace(passage, text=text, end=passage.start + len(text))
