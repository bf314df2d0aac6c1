"""The script of the demo corpus reads the package's HTML and refuses what is not complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from lusirag_training.udhr import make_corpus, read_declaration
from lusirag_training.udhr_languages import Translation


def declaration(articles: int = 30, word: str = "Everyone") -> str:
    body = "".join(
        f'<article data-number="{at}"><h2>Article {at}</h2><ol><li>\n<p>{word}\n  has &amp; keeps {at}</p></li>'
        f"<li><p>{word}, too.</p></li></ol></article>"
        for at in range(1, articles + 1)
    )
    head = "<html><head><title>English</title></head><body><h1>Declaration</h1>"
    return f"{head}<header><h2>Preamble</h2><p>Whereas</p></header>{body}</body></html>"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "declaration").mkdir()
    (tmp_path / "declaration" / "eng.html").write_text(declaration(), encoding="utf-8")
    return tmp_path


def test_articles_are_read_without_markup(package: Path) -> None:
    articles = read_declaration(package / "declaration" / "eng.html", script="LATIN")
    assert articles[0] == (0, "Preamble", "Whereas")
    assert articles[3] == (3, "Article 3", "Everyone has & keeps 3\nEveryone, too.")
    assert len(articles) == 31


def test_the_table_has_an_id_an_article(package: Path) -> None:
    table = make_corpus(package, {"en": Translation("eng", "English")})
    assert table["id"].to_pylist()[:2] == ["en/preamble", "en/article-1"]
    assert set(table["language_name"].to_pylist()) == {"English"}


def test_a_missing_article_is_refused(package: Path) -> None:
    file = package / "declaration" / "eng.html"
    file.write_text(declaration(articles=29), encoding="utf-8")
    with pytest.raises(ValueError, match="articles 1 to 30"):
        read_declaration(file, script="LATIN")


def test_another_script_is_refused(package: Path) -> None:
    file = package / "declaration" / "eng.html"
    file.write_text(declaration(word="Каждый человек имеет право"), encoding="utf-8")
    with pytest.raises(ValueError, match="written in LATIN"):
        read_declaration(file, script="LATIN")
