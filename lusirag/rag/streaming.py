"""What of a model's output is the answer, piece by piece as it comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from lusirag.rag.prompt import NO_ANSWER

_BEGIN, _END = "<think>", "</think>"
_LETTERS = NO_ANSWER.replace(" ", "")


def without_thinking(pieces: Iterable[str]) -> Iterator[str]:
    """Leave out what stands between <think> and </think>, where reasoning models think aloud, wherever pieces break."""
    held, thinking = "", False
    for piece in pieces:
        held += piece
        while True:
            mark = _END if thinking else _BEGIN
            at = held.find(mark)
            if at < 0:
                break
            if not thinking and at:
                yield held[:at]
            held, thinking = held[at + len(mark) :], not thinking
        keep = _beginning_of(mark, held)  # what may turn out to be the mark
        if not thinking and len(held) > keep:
            yield held[: len(held) - keep]
        held = held[len(held) - keep :]
    if held and not thinking:
        yield held


def _beginning_of(mark: str, text: str) -> int:
    """How many characters at the end of a text are the beginning of a mark."""
    return next(
        (length for length in range(min(len(mark) - 1, len(text)), 0, -1) if mark.startswith(text[-length:])), 0
    )


def is_refusal(text: str) -> bool:
    """True when an answer begins by saying that there is none."""
    return _opening(text) == _LETTERS


def may_be_refusal(text: str) -> bool:
    """True while the beginning of an answer could still become the words for none."""
    return len(_opening(text)) < len(_LETTERS) and _LETTERS.startswith(_opening(text))


def _opening(text: str) -> str:
    """The first letters, as many as the words for no answer have, whatever marks are around and between them."""
    return "".join(islice(filter(str.isalnum, text), len(_LETTERS))).upper()
