"""What a generator must have, and how tokens are estimated for one that cannot count."""

from __future__ import annotations

import pytest

from lusirag.rag import Generator, Message
from lusirag.rag.generator import approximate_tokens
from tests.unit.rag.toy import Scripted


def test_any_object_with_the_members_is_a_generator() -> None:
    assert isinstance(Scripted(), Generator)
    for member in ("name", "context_tokens"):
        lacking = Scripted()
        delattr(lacking, member)
        assert not isinstance(lacking, Generator)


@pytest.mark.parametrize("text", ["Everyone has the right to education.", "Каждый", "人人都有受教育的权利", "เ" * 50])
def test_the_estimate_is_rather_too_large(text: str) -> None:
    message: Message = {"role": "user", "content": text}
    assert approximate_tokens([message]) == len(text.encode()) // 2 + 8
    assert approximate_tokens([message, message]) == 2 * approximate_tokens([message])


def test_half_a_character_is_counted_too() -> None:
    assert approximate_tokens([{"role": "user", "content": "\ud83d"}]) > 0
    assert approximate_tokens([]) == 0
