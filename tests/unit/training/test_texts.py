"""Texts are read where they lie, whatever the chunks; equal texts have equal keys."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lusirag_training.preparation.texts import Texts, column_of, first_of_each, flatten, key_of, normalise
from tests.unit.training.planted import pairs_of

CHUNKS = st.lists(st.lists(st.text(max_size=3), max_size=4), max_size=4)


@given(CHUNKS, st.data())
@settings(max_examples=60, deadline=None)
def test_any_chunks_give_the_same_texts(chunks: list[list[str]], data: st.DataObject) -> None:
    column = pa.chunked_array([["", *chunk] for chunk in chunks], pa.string()).slice(1)
    plain = column.to_pylist()
    texts = Texts(column)
    assert len(texts) == len(plain)
    places = data.draw(st.lists(st.integers(0, len(plain) - 1), max_size=9)) if plain else []
    assert texts.take(places) == [plain[place] for place in places]
    some = Texts(column, np.array(sorted(set(places)), dtype=np.int64))
    start = data.draw(st.integers(0, len(some)))
    assert [text for batch in some.batches(start, size=2) for text in batch] == [plain[p] for p in sorted(set(places))][
        start:
    ]
    assert some.keys().tolist() == [key_of(plain[place]) for place in sorted(set(places))]


def test_lists_of_a_slice_are_flattened_with_their_own_rows() -> None:
    lists = pa.chunked_array([[["x"], ["a", "b"]], [[], ["c"]]]).slice(1)
    flat, starts = flatten(lists)
    assert flat.to_pylist() == ["a", "b", "c"]
    assert starts.tolist() == [0, 2, 2, 3]


def test_selected_rows_are_those_that_were_selected() -> None:
    pairs = pairs_of([(f"q{n}", [f"p{n}"]) for n in range(5)])
    assert column_of(pairs, "query").to_pylist() == ["q0", "q1", "q2", "q3", "q4"]
    assert column_of(pairs.select([4, 0, 4]), "query").to_pylist() == ["q4", "q0", "q4"]


@pytest.mark.parametrize(
    ("left", "right"), [("Straße", "STRASSE"), (" a \n b ", "A B"), ("ﬁle ①", "file 1"), ("e\u0301", "é")]
)
def test_texts_that_differ_in_writing_alone_have_one_key(left: str, right: str) -> None:
    assert normalise(left) == normalise(right)
    assert key_of(left) == key_of(right) != key_of(left + "x")


@given(st.lists(st.integers(0, 5), max_size=20))
@settings(max_examples=60, deadline=None)
def test_the_first_of_each_key(values: list[int]) -> None:
    keys = np.array(values, dtype=np.uint64)
    firsts, number = first_of_each(keys)
    assert [values[at] for at in firsts] == list(dict.fromkeys(values))
    assert (keys[firsts[number]] == keys).all()
