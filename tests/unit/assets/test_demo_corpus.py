"""The bundled corpus is what the README says it is."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any

import pyarrow.parquet as pq
import pytest

from lusirag.embedding.catalog import ASSETS

FILE = ASSETS / "udhr.parquet"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return pq.read_table(FILE).to_pylist()


def test_size_and_licence() -> None:
    assert FILE.stat().st_size <= 2_000_000
    assert "Permission is hereby granted" in (ASSETS / "LICENSE-udhr").read_text(encoding="utf-8")


def test_columns() -> None:
    schema = pq.read_schema(FILE)
    assert schema.names == ["id", "text", "title", "language", "article", "language_name"]
    assert str(schema.field("text").type) == "large_string"


def test_sixty_languages_with_thirty_articles_each(rows: list[dict[str, Any]]) -> None:
    articles = defaultdict(list)
    for row in rows:
        articles[row["language"]].append(row["article"])
    assert len(articles) >= 60
    for language, numbers in articles.items():
        assert [number for number in numbers if number] == list(range(1, 31)), language


def test_ids_are_unique_and_texts_differ_within_a_language(rows: list[dict[str, Any]]) -> None:
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({(row["language"], row["text"]) for row in rows}) == len(rows)
    assert next(row for row in rows if row["id"] == "sw/article-3")["text"].startswith("Kila mtu ana haki ya kuishi")


def test_no_markup_and_no_broken_characters(rows: list[dict[str, Any]]) -> None:
    broken = re.compile(r"[<>\ufffd\ue000-\uf8ff]|&\w+;|  |^\s|\s$")
    assert not [row["id"] for row in rows if broken.search(row["text"]) or broken.search(row["title"] or "")]


def test_questions_are_answered_by_articles_of_the_corpus(rows: list[dict[str, Any]]) -> None:
    questions = json.loads((ASSETS / "demo_questions.json").read_text(encoding="utf-8"))
    languages = {row["language"] for row in rows}
    assert len(questions) >= 10
    assert len({question["language"] for question in questions}) == len(questions)
    for question in questions:
        assert question.keys() == {"language", "language_name", "text", "english", "article"}
        assert question["language"] in languages
        assert 1 <= question["article"] <= 30
