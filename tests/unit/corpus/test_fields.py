from __future__ import annotations

import pytest

from lusirag.corpus import FieldNames
from lusirag.errors import CorpusError


def test_usual_names_are_guessed_whatever_their_case() -> None:
    found = FieldNames().resolve({"DocID": "integer", "Lang": "text", "Headline": "text", "Body": "text"}, "f")
    assert found == FieldNames(text="Body", id="DocID", title="Headline", language="Lang")


def test_earlier_guess_wins_over_earlier_column() -> None:
    assert FieldNames().resolve({"description": "text", "text": "text"}, "f").text == "text"


def test_only_string_column_is_the_text() -> None:
    kinds = {"id": "text", "title": "text", "wording": "text", "year": "integer"}
    assert FieldNames().resolve(kinds, "f").text == "wording"


def test_two_string_columns_are_not_guessed_between() -> None:
    with pytest.raises(CorpusError, match=r"^f: cannot tell .*--text-field: one, two$"):
        FieldNames().resolve({"one": "text", "two": "text"}, "f")


def test_named_field_wins_and_must_exist() -> None:
    kinds = {"text": "text", "note": "text"}
    assert FieldNames(text="note").resolve(kinds, "f").text == "note"
    with pytest.raises(CorpusError, match=r"no field 'zz' \(--id-field\); its fields are: text, note"):
        FieldNames(id="zz").resolve(kinds, "f")


def test_a_field_has_one_role_only() -> None:
    found = FieldNames(text="title").resolve({"title": "text", "id": "text"}, "f")
    assert found.title is None


def test_float_column_is_no_id() -> None:
    assert FieldNames().resolve({"id": "other", "text": "text"}, "f").id is None
