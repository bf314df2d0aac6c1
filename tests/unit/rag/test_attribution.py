"""Which sentence an answer rests on: named by the generator, or found by likeness."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lusirag.rag import Citation, Passage
from lusirag.rag.attribution import attribute
from lusirag.rag.context import pack
from lusirag.rag.passages import as_passages
from lusirag.rag.relevance import Relevance
from lusirag.rag.sentences import Sentences
from tests.unit.rag.test_context import bare
from tests.unit.rag.toy import Scripted, ToyEmbedder, hit, passage

EMBEDDER = ToyEmbedder()
PASSAGES = [
    passage(1, "All may marry. All have a right to education. All may rest.", start=40),
    passage(2, "Kila mtu ana haki ya kazi. Kila mtu ana haki ya kupumzika.", language="sw"),
    passage(3, "Nothing about it."),
]


def cited(
    answer: str, passages: Sequence[Passage] = PASSAGES, *, of: Sequence[Passage] | None = None
) -> tuple[Citation, ...]:
    sentences = Sentences(of or passages, EMBEDDER, Relevance(EMBEDDER))
    return attribute(answer, passages, sentences, embedder=EMBEDDER, language="en", min_relevance=0.35)


def quotes(answer: str) -> list[tuple[int, str, bool]]:
    return [(citation.passage.number, citation.quote, citation.marked) for citation in cited(answer)]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Education is a right [1].", [(1, "All have a right to education.")]),
        ("They may rest.[1] They may work.[2]", [(1, "All may rest."), (2, "Kila mtu ana haki ya kazi.")]),
        ("They may rest [1][2].", [(1, "All may rest."), (2, "Kila mtu ana haki ya kupumzika.")]),
        ("They may rest [2, 1].", [(2, "Kila mtu ana haki ya kupumzika."), (1, "All may rest.")]),
        ("They may marry. They may rest. [1]", [(1, "All may rest.")]),
        ("They may marry [1], and rest [1].", [(1, "All may marry."), (1, "All may rest.")]),
        ("They may rest [1]. Yes, rest [1].", [(1, "All may rest.")]),
        ("[2] They may rest.", [(2, "Kila mtu ana haki ya kupumzika.")]),
        ("可以休息【1】。", [(1, "All may rest.")]),
        ("They may rest [1], since [1948].", [(1, "All may rest.")]),
        ("They may rest [9] [1].", [(1, "All may rest.")]),
    ],
)
def test_passages_that_are_named_are_quoted(answer: str, expected: list[tuple[int, str]]) -> None:
    assert quotes(answer) == [(number, quote, True) for number, quote in expected]


def test_a_named_passage_is_quoted_however_unlike_it_is() -> None:
    assert quotes("They may work [3].") == [(3, "Nothing about it.", True)]
    assert [(number, marked) for number, _, marked in quotes("[1]")] == [(1, True)]


def test_an_answer_that_names_none_is_compared() -> None:
    assert quotes("They may rest. The sky is blue. They may all rest.") == [(1, "All may rest.", False)]
    assert quotes("Education. Work.") == [
        (1, "All have a right to education.", False),
        (2, "Kila mtu ana haki ya kazi.", False),
    ]
    assert quotes("The sky is blue.") == []
    assert quotes("Rest [9].") == [(1, "All may rest.", False)]
    assert quotes("[1948]") == []


def test_places_are_in_the_document() -> None:
    (citation,) = cited("Education [1].")
    assert (citation.start, citation.end) == (55, 85)
    text = PASSAGES[0].text
    assert text[citation.start - 40 : citation.end - 40] == citation.quote


def shown_of(passages: list[Passage], room: int) -> list[Passage]:
    return pack("?", passages, None, prompt=bare, generator=Scripted(context_tokens=room + 2), max_tokens=1)[1]


def test_only_what_was_shown_is_quoted() -> None:
    shown = shown_of(PASSAGES[:1], 40)
    assert shown[0].text == "All may marry. All have a right to educa"
    (citation,) = cited("They may rest [1].", shown, of=PASSAGES)
    assert citation.quote == "All may marry."
    assert citation.passage == shown[0]
    assert cited("They may rest.", shown, of=PASSAGES) == ()


def test_a_passage_without_a_whole_sentence_is_quoted_as_it_was_shown() -> None:
    shown = shown_of(PASSAGES[:1], 9)
    assert shown[0].text == "All may m"
    assert cited("They may rest [1].", shown, of=PASSAGES) == (Citation(shown[0], "All may m", 40, 49),)


def test_chunks_that_were_shown_alone() -> None:
    joined = as_passages([hit("d", "All may work.", 20, chunk=2), hit("d", "All may rest. So.", 0, chunk=1)])
    shown = shown_of(joined, 15)
    assert shown[0].text == "All may work."
    (citation,) = cited("They may rest [1].", shown, of=joined)
    assert (citation.quote, citation.start, citation.end) == ("All may work.", 20, 33)
    assert citation.passage == shown[0]
