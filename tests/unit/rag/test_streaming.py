"""Thinking is left out and refusals are known, wherever the pieces of an answer break."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lusirag.rag.streaming import is_refusal, may_be_refusal, without_thinking

PARTS = st.sampled_from(["<think>", "</think>", "<", "</", "think>", "<thi", "a", " b\n", "<<", "é", ">"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("An answer.", "An answer."),
        ("<think>Hm, [1]?</think>An answer.", "An answer."),
        ("<think></think>\n\nAn <think>wait</think>answer.", "\n\nAn answer."),
        ("<think>never ends", ""),
        ("a<think", "a<think"),
        ("a < b </ c <thinking> d", "a < b </ c <thinking> d"),
        ("<<think>x</think>>", "<>"),
        ("<think>a <think> b</think> c", " c"),
        ("", ""),
    ],
)
def test_what_is_left_of_a_text(text: str, expected: str) -> None:
    assert "".join(without_thinking([text])) == expected
    assert "".join(without_thinking(list(text))) == expected


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(PARTS, max_size=12).map("".join), st.data())
def test_where_pieces_break_makes_no_difference(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    # The one regular expression says the same of the whole text.
    expected = re.sub(r"<think>.*?(</think>|\Z)", "", text, flags=re.DOTALL)
    assert "".join(without_thinking(pieces)) == expected
    assert all(without_thinking(pieces))


def test_nothing_is_held_back_that_cannot_be_a_mark() -> None:
    pieces = iter(["One ", "two <", "b> ", "<think>x</think>", "three"])
    found = without_thinking(pieces)
    assert next(found) == "One "
    assert next(found) == "two "
    assert next(found) == "<b> "
    assert list(pieces) == ["<think>x</think>", "three"]


@pytest.mark.parametrize("text", ["NO ANSWER", "no answer.", " **No Answer** [1]", "NO_ANSWER", "NOANSWER because ..."])
def test_words_for_no_answer(text: str) -> None:
    assert is_refusal(text)
    assert not may_be_refusal(text)
    letters = [at for at, letter in enumerate(text) if letter.isalnum()][:8]
    for length in range(letters[-1]):
        assert may_be_refusal(text[:length])
        assert not is_refusal(text[:length])


@pytest.mark.parametrize("text", ["Nobody", "No [1]", "Not so.", "The passages have NO ANSWER", "Everyone"])
def test_words_for_an_answer(text: str) -> None:
    assert not is_refusal(text)
    assert not may_be_refusal(text)
