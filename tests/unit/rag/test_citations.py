"""Numbers in brackets, as language models write them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lusirag.rag.citations import marks, without_marks


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("So it is [1].", [[1]]),
        ("So [1, 3] it is [2;1].", [[1, 3], [2, 1]]),
        ("So it is [1][2] [3].", [[1], [2], [3]]),
        ("So it is [1-3].", [[1, 2, 3]]),
        ("So it is [1–2, 5], [2‑4].", [[1, 2, 5], [2, 3, 4]]),
        ("So it is [3-1].", [[1, 2, 3]]),
        ("So it is [ 2 ] and [[3]].", [[2], [3]]),
        ("如此【1】、［２，3］。〔4〕", [[1], [2, 3], [4]]),
        ("هكذا [١، ٣] و [۲].", [[1, 3], [2]]),
        ("ऐसा है [४].", [[4]]),
        ("Twice [2, 2, 1-2].", [[2, 1]]),
        ("Out of range [0] [6] [-1].", []),
        ("Some out of range [0, 5, 6].", [[5]]),
        ("Years [1948] [1948-1966] [1948, 2].", [[2]]),
        ("Huge [2-999999999999].", [[2, 3, 4, 5]]),
        ("Huger [4-" + "9" * 5000 + "], [" + "9" * 5000 + "] [" + "0" * 5000 + ", 1].", [[4, 5], [1]]),
        ("None [], [a], [1a], [1, a], 1, (1), [1.5], [²], [^1], [1", []),
        ("", []),
    ],
)
def test_forms_of_marks(text: str, expected: list[list[int]]) -> None:
    assert [numbers for _, numbers in marks(text, 5)] == expected


def test_places_are_those_of_the_brackets() -> None:
    text = "a [9] b [1] c【2】"
    assert [(text[place], numbers) for place, numbers in marks(text, 3)] == [("[", [1]), ("【", [2])]
    assert list(marks("[1]", 0)) == []


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text("[]【 0123456789,-–٣²a", max_size=40), st.integers(0, 12))
def test_all_numbers_are_of_passages_and_come_once(text: str, passages: int) -> None:
    last = -1
    for place, numbers in marks(text, passages):
        assert last < place < len(text)
        assert numbers
        assert len(set(numbers)) == len(numbers)
        assert all(1 <= number <= passages for number in numbers)
        last = place


def test_the_text_alone() -> None:
    assert without_marks("A right [1],  [2-3] of 【4】 all [x].\n") == "A right , of all [x]."
    assert without_marks("[1]") == ""
