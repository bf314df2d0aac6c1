"""A prompt never takes more than the model's context leaves it, and uses what it leaves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lusirag.errors import InvalidArgumentError
from lusirag.rag import Message, Passage, build_prompt
from lusirag.rag.context import pack
from lusirag.rag.passages import as_passages
from tests.unit.rag.toy import Scripted, hit, passage, shown_numbers


def bare(question: str, passages: Sequence[Passage], language: str | None) -> list[Message]:
    """Passages and question alone, so that lengths can be counted by hand."""
    return [{"role": "user", "content": "".join(passage.text for passage in passages) + question}]


def packed(passages: list[Passage], room: int) -> tuple[list[Message], list[Passage]]:
    return pack("?", passages, None, prompt=bare, generator=Scripted(context_tokens=room + 10), max_tokens=10)


def test_all_that_fits_is_counted_once() -> None:
    generator = Scripted(context_tokens=2000)
    passages = [passage(number, "x" * 50) for number in range(1, 6)]
    messages, shown = pack("Why?", passages, "en", prompt=build_prompt, generator=generator, max_tokens=20)
    assert shown == passages
    assert messages == build_prompt("Why?", passages, "en")
    assert generator.counted == 1


def test_what_does_not_fit_is_left_out_and_numbers_are_kept() -> None:
    passages = [passage(1, "a" * 40), passage(2, "b" * 80), passage(3, "c" * 30), passage(4, "d" * 40)]
    messages, shown = packed(passages, 75)
    assert [found.number for found in shown] == [1, 3]
    assert messages[0]["content"] == "a" * 40 + "c" * 30 + "?"
    assert shown == [passages[0], passages[2]]
    assert [found.number for found in packed(passages, 70)[1]] == [1]
    assert [found.number for found in packed(passages, 71)[1]] == [1, 3]


def test_of_joined_chunks_the_best_is_shown_where_not_all_fit() -> None:
    chunks = [
        hit("d", "c" * 40, 100, chunk=3),
        hit("e", "e" * 20),
        hit("d", "b" * 50, 50, chunk=2),
        hit("d", "a" * 50, 0, chunk=1),
    ]
    passages = as_passages(chunks)
    assert [len(found.text) for found in passages] == [140, 20]
    shown = packed(passages, 100)[1]
    assert [(found.number, found.text, found.start, found.end) for found in shown] == [
        (1, "c" * 40, 100, 140),
        (2, "e" * 20, 0, 20),
    ]
    assert packed(passages, 161)[1] == passages


def test_where_nothing_fits_the_beginning_of_the_best_is_shown() -> None:
    long = as_passages([hit("d", "b" * 500, 100, chunk=2), hit("d", "a" * 100, 0, chunk=1)])
    messages, (shown,) = packed([*long, passage(2, "c" * 900)], 31)
    assert (shown.number, shown.text, shown.start, shown.end) == (1, "b" * 30, 100, 130)
    assert messages[0]["content"] == "b" * 30 + "?"
    (trimmed,) = packed([passage(1, "word   " * 100)], 12)[1]
    assert (trimmed.text, trimmed.start, trimmed.end) == ("word   word", 0, 11)


@pytest.mark.parametrize("room", [1, 0, -5])
def test_no_room_at_all_is_said_in_words(room: int) -> None:
    with pytest.raises(InvalidArgumentError, match="no room for passages") as raised:
        packed([passage(1, "a" * 40)], room)
    message = str(raised.value)
    assert f"scripted takes {room + 10} tokens" in message
    assert "an answer of 10" in message
    assert "\n" not in message


def test_blanks_are_no_passage() -> None:
    with pytest.raises(InvalidArgumentError, match="no room"):
        packed([passage(1, " " * 30 + "a")], 20)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=12), room=st.integers(2, 300))
def test_packing_never_exceeds_the_room(lengths: list[int], room: int) -> None:
    passages = [passage(number, chr(96 + number) * length) for number, length in enumerate(lengths, start=1)]
    generator = Scripted(context_tokens=room + 7)
    messages, shown = pack("?", passages, None, prompt=bare, generator=generator, max_tokens=7)
    used = generator.count_tokens(messages)
    assert used <= room
    assert shown
    assert [found.number for found in shown] == sorted(found.number for found in shown)
    for found in shown:
        assert passages[found.number - 1].text.startswith(found.text)
    left_out = [found for found in passages if found.number not in {other.number for other in shown}]
    assert all(used + len(found.text) > room for found in left_out)
    if shown[0].number == 1 and len(shown[0].text) < lengths[0]:
        assert used == room


def test_the_real_prompt_shows_what_was_chosen() -> None:
    passages = [passage(number, str(number) * 300) for number in range(1, 9)]
    messages, shown = pack(
        "Why?", passages, "sw", prompt=build_prompt, generator=Scripted(context_tokens=2400), max_tokens=200
    )
    prompt = "\n".join(message["content"] for message in messages)
    assert shown_numbers(prompt) == [found.number for found in shown]
    assert 1 < len(shown) < 8
