"""Chunks become passages: joined where they meet, each text once, each in its place."""

from __future__ import annotations

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from lusirag.rag.passages import as_passages
from lusirag.types import Hit
from tests.unit.rag.toy import hit


def test_numbers_follow_the_order_of_hits() -> None:
    passages = as_passages([hit("b", "Text b."), hit("a", "Text a."), hit("c", "Text c.")])
    assert [(passage.number, passage.text) for passage in passages] == [(1, "Text b."), (2, "Text a."), (3, "Text c.")]
    assert [(passage.start, passage.end) for passage in passages] == [(0, 7)] * 3
    assert as_passages([]) == []


def test_a_text_is_shown_once() -> None:
    passages = as_passages([hit("b", "Same."), hit("a", "Same."), hit("c", "Other.")])
    assert [(passage.number, passage.hit.id) for passage in passages] == [(1, "b"), (2, "c")]


def test_neighbours_become_one_with_the_best_hit() -> None:
    text = "One two. Three four.\n\nFive six. Seven."
    chunks = [
        hit("d", text[22:31], 22, chunk=3),
        hit("e", "Other."),
        hit("d", text[0:8], 0, chunk=1),
        hit("d", text[9:20], 9, chunk=2),
    ]
    joined, other = as_passages(chunks)
    assert (joined.number, joined.hit, joined.start, joined.end) == (1, chunks[0], 0, 31)
    assert joined.text.split() == text[:31].split()
    assert len(joined.text) == 31
    assert (other.number, other.hit.id) == (2, "e")


def test_others_stay_apart() -> None:
    text = "One two. Three four. Five six."
    apart = [hit("d", text[0:8], 0, chunk=1), hit("d", text[21:30], 21, chunk=3)]
    assert [passage.text for passage in as_passages(apart)] == ["One two.", "Five six."]
    # Ids that look like chunks are whole documents.
    whole = [hit("d#1", "One two."), hit("d#2", "Three four."), hit("d", "Five.")]
    assert len(as_passages(whole)) == 3


def test_overlaps_are_shown_once_and_a_chunk_inside_another_adds_nothing() -> None:
    text = "abcdefghij"
    chunks = [hit("d", text[3:8], 3, chunk=2), hit("d", text[0:5], 0, chunk=1), hit("d", text[4:6], 4, chunk=3)]
    (passage,) = as_passages(chunks)
    assert (passage.text, passage.start, passage.end) == ("abcdefgh", 0, 8)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    words=st.lists(st.text("abé漢😀.", min_size=1, max_size=6), min_size=1, max_size=30),
    spaces=st.lists(st.sampled_from([" ", "\n\n", " \t "]), min_size=30, max_size=30),
    size=st.integers(1, 6),
    overlap=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_a_passage_is_what_the_document_has_at_its_place(
    words: list[str], spaces: list[str], size: int, overlap: int, seed: int
) -> None:
    text, places = "", []
    for word, space in zip(words, spaces, strict=False):
        places.append((len(text), len(text) + len(word)))
        text += word + space
    chunks: list[Hit] = []
    for at in range(0, len(words), size):
        first, last = max(0, at - overlap), min(at + size, len(words)) - 1
        start, end = places[first][0], places[last][1]
        chunks.append(hit("d", text[start:end], start, chunk=len(chunks) + 1))
    random.Random(seed).shuffle(chunks)
    shown = chunks[: 1 + seed % len(chunks)]
    passages = as_passages(shown)
    for passage in passages:
        there = text[passage.start : passage.end]
        assert len(passage.text) == len(there)
        assert all(one == other or other.isspace() for one, other in zip(passage.text, there, strict=True))
        assert passage.start <= passage.hit.start < passage.hit.end <= passage.end
    assert passages[0].hit == shown[0]
    # What was found is shown, and no two passages of a document meet.
    shown_texts = [passage.text for passage in passages]
    for chunk in shown:
        assert any("".join(chunk.text.split()) in "".join(found.split()) for found in shown_texts)
    ordered = sorted(passages, key=lambda passage: passage.start)
    assert all(one.end < other.start for one, other in itertools.pairwise(ordered))
