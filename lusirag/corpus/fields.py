"""Which column of a source is the text, the id, the title, the language: as the user said, or guessed by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa

from lusirag.errors import CorpusError

Kind = Literal["text", "integer", "mixed", "empty", "other"]
Role = Literal["text", "id", "title", "language"]

_GUESSES: dict[Role, tuple[str, ...]] = {
    "text": (
        "text", "contents", "content", "body", "passage", "passage_text", "document", "article", "paragraph",
        "description", "abstract", "summary",
    ),
    "id": ("id", "_id", "docid", "doc_id", "document_id", "docno", "pid", "passage_id", "uid", "uuid", "guid"),
    "title": ("title", "headline", "heading", "document_title"),
    "language": ("language", "lang", "locale", "lang_code", "language_code"),
}  # fmt: skip
# What a column must hold to be guessed for a role. The text is guessed by its name alone: if it holds something else,
# the user should hear of it instead of finding another column indexed.
_GUESSABLE: dict[Role, tuple[Kind, ...]] = {
    "text": ("text", "integer", "mixed", "empty", "other"),
    "id": ("text", "integer", "mixed"),
    "title": ("text", "integer", "mixed"),
    "language": ("text", "mixed"),
}


def kind_of(data_type: pa.DataType) -> Kind:
    """Say what sort of values an Arrow column holds, as far as choosing fields is concerned."""
    types = pa.types
    if types.is_dictionary(data_type):
        return kind_of(data_type.value_type)
    if types.is_string(data_type) or types.is_large_string(data_type) or types.is_string_view(data_type):
        return "text"
    if types.is_integer(data_type):
        return "integer"
    return "empty" if types.is_null(data_type) else "other"


@dataclass(frozen=True)
class FieldNames:
    """The columns (or JSON fields) that the user chose; None means: guess from the usual names.

    Args:
        text: the passage itself.
        id: unique name of the document; without one, rows are named "<file>:<row number>".
        title: searched together with the text.
        language: BCP 47 tag.
    """

    text: str | None = None
    id: str | None = None
    title: str | None = None
    language: str | None = None

    def resolve(self, kinds: Mapping[str, Kind], place: str) -> FieldNames:
        """Return the names that hold for one source: those given, else those guessed, else None.

        Args:
            kinds: the source's columns in their order, and what each holds.
            place: the source's name, for messages.

        Raises:
            CorpusError: a named column does not exist, or no column can be taken for the text.
        """
        listed = ", ".join(kinds) or "none"
        found = self
        for role in _GUESSES:
            given = getattr(self, role)
            if given is not None and given not in kinds:
                raise CorpusError(f"{place}: there is no field {given!r} (--{role}-field); its fields are: {listed}")
        for role in _GUESSES:
            if getattr(found, role) is None:
                found = replace(found, **{role: _guess(role, kinds, taken=found)})
        if found.text is None:
            raise CorpusError(f"{place}: cannot tell which field holds the text; name it by --text-field: {listed}")
        return found


def _guess(role: Role, kinds: Mapping[str, Kind], taken: FieldNames) -> str | None:
    free = [name for name in kinds if name not in (taken.text, taken.id, taken.title, taken.language)]
    for usual in _GUESSES[role]:
        for name in free:
            if name.lower() == usual and kinds[name] in _GUESSABLE[role]:
                return name
    if role == "text":
        usual_elsewhere = {usual for other in _GUESSES if other != "text" for usual in _GUESSES[other]}
        strings = [name for name in free if kinds[name] == "text" and name.lower() not in usual_elsewhere]
        if len(strings) == 1:
            return strings[0]
    return None
