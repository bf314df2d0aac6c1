"""The prompt says what to do, in which language, and shows each passage under its number."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lusirag.rag import Passage, build_prompt
from lusirag.rag.prompt import NO_ANSWER, language_name
from tests.unit.rag.toy import hit, passage, shown_numbers


def test_messages() -> None:
    titled = Passage(3, replace(hit("d", "Text {here}."), title="A title"), "Text {here}.", 0, 12)
    system, user = build_prompt("Nani {x}?", [passage(1, "Moja.", language="sw"), titled], "sw")
    assert (system["role"], user["role"]) == ("system", "user")
    assert "Answer in Swahili" in system["content"]
    assert NO_ANSWER in system["content"]
    assert "[1] (Swahili)\nMoja.\n\n[3] (English) A title\nText {here}.\n\nQuestion: Nani {x}?" in user["content"]
    assert user["content"].endswith("Answer in Swahili, with the numbers of the passages.")
    assert shown_numbers(user["content"]) == [1, 3]


def test_a_language_that_is_not_known() -> None:
    system, user = build_prompt("?", [passage(1, "x", language=None)], None)
    for message in (system, user):
        assert "Answer in the language of the question" in message["content"]
    assert "[1]\nx" in user["content"]


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("sw", "Swahili"),
        ("EN", "English"),
        ("zh-Hant", "Chinese (Traditional)"),
        ("sr-Latn", "Serbian (Latin)"),
        ("pt-BR", "Portuguese (Brazil)"),
        ("gsw", "Swiss German"),
        ("xx", "xx"),
        ("klingon!", "klingon!"),
        ("en-a-b-c-d", "English"),
        ("", ""),
    ],
)
def test_names_of_languages(tag: str, name: str) -> None:
    assert language_name(tag) == name
