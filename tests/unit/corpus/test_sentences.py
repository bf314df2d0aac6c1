"""Sentences cover a text, in any language, and are no longer than a sentence can be."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from semantic_text_splitter import TextSplitter

from lusirag.corpus import sentence_spans

LANGUAGES = st.sampled_from([None, "en", "zh-Hant", "th", "ar", "hi", "ja", "sw", "xx", "EN-us", ""])


def sentences(text: str, language: str | None = None) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text, language)]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "Ask Dr. Smith. How are you?\n\nWell!", ["Ask Dr. Smith.", "How are you?", "Well!"]),
        ("de", "Am 3. Mai kam z. B. Anna. Sie ging.", ["Am 3. Mai kam z. B. Anna.", "Sie ging."]),
        ("zh-Hant", "你好。你好嗎？我很好！", ["你好。", "你好嗎？", "我很好！"]),
        (None, "你好。你好嗎？", ["你好。", "你好嗎？"]),
        ("hi", "यह पहला है। यह दूसरा है।", ["यह पहला है।", "यह दूसरा है।"]),
        ("ar", "أنا بخير. كيف حالك؟ شكرا.", ["أنا بخير.", "كيف حالك؟", "شكرا."]),
        ("xx", "One here. Two here.", ["One here.", "Two here."]),
        ("en", "😀 Hi there. 👩🏽‍🚀 Bye!", ["😀 Hi there.", "👩🏽‍🚀 Bye!"]),
        ("en", "...!!!", ["...!!!"]),
        ("en", " \n\t ", []),
        ("en", "", []),
    ],
)
def test_sentences_of_a_text(language: str | None, text: str, expected: list[str]) -> None:
    assert sentences(text, language) == expected


def covers(text: str, language: str | None) -> None:
    """Spans are in order, do not overlap, are trimmed, and leave out white space alone."""
    last = 0
    for start, end in sentence_spans(text, language):
        assert last <= start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
        assert not text[last:start].strip()
        last = end
    assert not text[last:].strip()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    text=st.text(max_size=80) | st.text("ab .!?。\n\r\x1c\0😀é́\u200d\u3000\"'()[1]", max_size=80), language=LANGUAGES
)
@example(text="a.\x1c\x1d b", language="en")
def test_nothing_visible_is_left_out(text: str, language: str | None) -> None:
    covers(text, language)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    pieces=st.lists(st.sampled_from(["word ", "x" * 700, " " * 900, "\n", "สวัสดี", "\x1c" * 300, "é́"]), max_size=40),
    repeats=st.integers(1, 12),
    language=st.sampled_from(["en", "th"]),
)
def test_nor_where_it_has_no_sentences(pieces: list[str], repeats: int, language: str) -> None:
    text = "".join(pieces) * repeats
    covers(text, language)
    longest = {"en": 1000, "th": 200}[language]
    assert all(end - start <= longest for start, end in sentence_spans(text, language))


def test_long_text_is_cut_between_words() -> None:
    text = "wort " * 20_000
    found = sentences(text, "en")
    assert set(" ".join(found).split()) == {"wort"}
    assert all(len(sentence) > 900 for sentence in found[:-1])
    assert all(150 < len(sentence) <= 200 for sentence in sentences("สวัสดีครับ " * 400, "th")[:-1])


def test_the_splitter_does_not_look_at_all_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a text without boundaries would take time with the square of its length."""
    seen: list[int] = []

    class Spy:
        def __init__(self, characters: int) -> None:
            self.splitter = TextSplitter(characters)

        def chunk_indices(self, text: str) -> list[tuple[int, str]]:
            seen.append(len(text))
            return self.splitter.chunk_indices(text)

    monkeypatch.setattr("lusirag.corpus.sentences._splitter", Spy)
    assert len(sentence_spans("x" * 400_000, "en")) == 400
    assert max(seen) <= 40_000
    assert sum(seen) <= 500_000
