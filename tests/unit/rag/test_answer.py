"""What an answer says of itself."""

from __future__ import annotations

from lusirag.rag import Answer, Refusal


def test_an_answer_without_a_refusal_is_one() -> None:
    assert Answer("Why?", "So.", "en", (), (), 0.5).answered
    for refusal in Refusal:
        assert not Answer("Why?", "", None, (), (), 0.0, refusal=refusal).answered
    assert [str(refusal) for refusal in Refusal] == [
        "no passage was found",
        "no passage is about the question",
        "the passages do not hold the answer",
    ]
