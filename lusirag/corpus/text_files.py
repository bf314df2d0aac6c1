"""Reader of files that are one document each: .txt, .md, .html."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser

import pyarrow as pa

from lusirag.corpus import streams
from lusirag.corpus.json_rows import MAX_BATCH_BYTES
from lusirag.corpus.reading import Reading, SourceFile
from lusirag.corpus.rows import EMPTY_TEXT, INVALID_UTF8, drop_rows, find_bad_rows
from lusirag.corpus.schema import CORPUS_FIELDS
from lusirag.errors import CorpusError

_SCHEMA = pa.schema(CORPUS_FIELDS)
_HTML_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*$")
_FENCE = re.compile(r" {0,3}(```|~~~)")


def read_documents(files: Sequence[SourceFile], reading: Reading) -> Iterator[pa.RecordBatch]:
    """Yield text files as rows of the corpus schema, `reading.batch_rows` or about 16 MiB at a time.

    Raises:
        CorpusError: a file named by the user is empty, or any is one that cannot be used under on_error="stop".
    """
    rows: list[dict[str, str | None]] = []
    size = 0
    for file in files:
        row = _read(file, reading)
        if row is not None:
            rows.append(row)
            size += len(row["text"] or "")
        if len(rows) >= reading.batch_rows or size >= MAX_BATCH_BYTES:
            yield _batch(rows, reading)
            rows, size = [], 0
    if rows:
        yield _batch(rows, reading)


def _batch(rows: list[dict[str, str | None]], reading: Reading) -> pa.RecordBatch:
    batch = pa.RecordBatch.from_pylist(rows, schema=_SCHEMA)
    bad = find_bad_rows(batch)
    for index in sorted(bad):
        reading.bad_rows.report(str(rows[index]["source"]), bad[index])
    return drop_rows(batch, bad)


def _read(file: SourceFile, reading: Reading) -> dict[str, str | None] | None:
    if file.size == 0 and file.in_folder:  # common in folders: no reason to refuse the others under "skip"
        reading.bad_rows.report(str(file.path), EMPTY_TEXT, "the file has 0 bytes")
        return None
    with streams.name_faults(file), streams.open_text(file, reading.meter) as stream:
        content = stream.read(streams.MAX_LINE_BYTES + 1)
    if len(content) > streams.MAX_LINE_BYTES:
        limit = f"{streams.MAX_LINE_BYTES // 2**20} MiB"
        raise CorpusError(f"{file.path}: more than {limit} is too much for one document; split it, or give a .jsonl")
    try:
        text = content.decode(_charset(content) if file.format == "html" else "utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        reading.bad_rows.report(f"{file.path}, line {line}", INVALID_UTF8, "convert the file to UTF-8")
        return None
    title = None
    if file.format == "md":
        title = markdown_title(text)
    elif file.format == "html":
        title, text = html_text(text)
    return {"id": file.name, "text": text, "title": title, "language": None, "source": str(file.path)}


def markdown_title(text: str) -> str | None:
    """Return the first heading (`# ...`) outside code blocks, None if there is none."""
    fence = None
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if mark and fence in (None, mark[1]):
            fence = None if fence else mark[1]
        elif fence is None and (heading := _HEADING.match(line)):
            return heading[1]
    return None


def html_text(markup: str) -> tuple[str | None, str]:
    """Return the title (None without one) and the visible text of an HTML page, one line a block."""
    page = _Page()
    page.feed(markup)
    page.close()
    lines = (" ".join(line.split()) for line in "".join(page.text).split("\n"))
    return " ".join("".join(page.title).split()) or None, "\n".join(line for line in lines if line)


def _charset(content: bytes) -> str:
    """The encoding a page declares for itself: UTF-8 when it declares none that is known."""
    declared = _HTML_CHARSET.search(content[:2048])
    try:
        return codecs.lookup(declared[1].decode()).name if declared else "utf-8"
    except LookupError:
        return "utf-8"


class _Page(HTMLParser):
    """Gathers the title and the visible text."""

    _HIDDEN = frozenset(("script", "style", "template", "svg"))
    _INLINE = frozenset((
        "a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins", "kbd",
        "label", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var",
        "wbr",
    ))  # fmt: skip

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: list[str] = []
        self.text: list[str] = []
        self._hidden = 0
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._HIDDEN:
            self._hidden += 1
        elif tag == "title" and not self._hidden:
            self._in_title = True
        elif tag not in self._INLINE:
            self.text.append("\n")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self._INLINE:
            self.text.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag == "title":
            self._in_title = False
        elif tag not in self._INLINE:
            self.text.append("\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title.append(data)
        elif not self._hidden:
            # Line breaks of the source mean no more than a space; the ones that count come from the tags.
            self.text.append(data.replace("\n", " "))
