"""Long documents -> passages that the embedding model can read whole, cut at sentence ends.

Boundaries are those of Unicode Standard Annex 29 (line breaks, then sentences, words, graphemes, the largest that fit),
found by semantic-text-splitter; they hold for scripts without spaces.
"""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING

import pyarrow as pa

from lusirag.corpus.schema import CHUNK_COLUMN, CHUNK_TYPE, passage_text
from lusirag.errors import InvalidArgumentError

if TYPE_CHECKING:
    from semantic_text_splitter import TextSplitter
    from tokenizers import Tokenizer

MIN_TOKENS = 8
# The splitter looks at all text that is left for each chunk: in a text without any boundary that takes quadratic time.
# So it sees a window, of this many characters for each token of a chunk.
_WINDOW_CHARACTERS = 32
_MARKS = 2  # bytes, at most, that a tokenizer writes before a text

Span = tuple[int, int]


class Chunker:
    """Splits the documents that are longer than `max_tokens`.

    Args:
        tokenizer: the embedding model's own; its truncation and padding play no part, and it is not changed.
        max_tokens: most tokens of an embedded text (title, line break, text; special tokens not counted), at least 8.
        overlap: most tokens that a chunk shares with the one before it, in whole sentences where these are short.

    Raises:
        InvalidArgumentError: `max_tokens` or `overlap` is out of range.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_tokens: int, overlap: int = 0) -> None:
        if max_tokens < MIN_TOKENS:
            raise InvalidArgumentError(f"max_tokens is {max_tokens}; it must be at least {MIN_TOKENS}")
        if not 0 <= overlap < max_tokens:
            raise InvalidArgumentError(f"overlap is {overlap}; it must be from 0 to max_tokens - 1 ({max_tokens - 1})")
        self._tokenizer = untruncated(tokenizer)
        self._max_tokens = max_tokens
        self._overlap = overlap
        self._splitters: dict[int, TextSplitter] = {}

    def chunk(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the batch with each long document replaced by its chunks, and the column `_chunk` added.

        A document that fits keeps its id and text. Chunk n of another has the id "<id>#<n>", n from 1, and the other
        columns of its document. `_chunk` holds the document's id and the chunk's place in the document's text, in
        characters, end exclusive: `text[start:end]` is the chunk's text. Only white space lies outside all chunks.

        A title that would take more than half of `max_tokens` counts for half: the text is not starved by it.

        Args:
            batch: in the corpus schema, not chunked before.
        """
        texts, titles = batch.column("text").to_pylist(), batch.column("title").to_pylist()
        places: list[tuple[int, int, Span]] = []  # row, chunk number (0: whole), place
        for row, (text, title, fits) in enumerate(zip(texts, titles, self._fit(texts, titles), strict=True)):
            spans = [(0, len(text))] if fits else self._spans(text, title)
            if len(spans) == 1:  # all of the text, or all but white space at its ends
                places.append((row, 0, spans[0]))
            else:
                places += [(row, number, span) for number, span in enumerate(spans, start=1)]
        ids = batch.column("id").to_pylist()
        # NOTE: the texts are taken out before rows are repeated: 10 MB times its thousands of chunks is too much.
        columns = batch.drop_columns(["id", "text"]).take(pa.array([row for row, _, _ in places], pa.int64()))
        chunks = [
            {"document_id": ids[row], "start": start, "end": end} for row, _, (start, end) in places
        ]  # fmt: skip
        arrays = {
            "id": pa.array([f"{ids[row]}#{number}" if number else ids[row] for row, number, _ in places], pa.string()),
            "text": pa.array([texts[row][start:end] for row, _, (start, end) in places], pa.large_string()),
            CHUNK_COLUMN: pa.array(chunks, CHUNK_TYPE),
        }
        schema = batch.schema.append(pa.field(CHUNK_COLUMN, CHUNK_TYPE, nullable=False))
        return pa.RecordBatch.from_arrays(
            [arrays[name] if name in arrays else columns.column(name) for name in schema.names], schema=schema
        )

    def _fit(self, texts: list[str], titles: list[str | None]) -> list[bool]:
        """Tell which documents need no splitting; very long ones are taken to need it, without counting them."""
        long = _WINDOW_CHARACTERS * self._max_tokens
        fits = [False] * len(texts)
        uncertain: dict[int, str] = {}
        for number, (text, title) in enumerate(zip(texts, titles, strict=True)):
            if len(text) <= long:
                embedded = passage_text(title, text)
                fits[number] = most_tokens(embedded) <= self._max_tokens
                if not fits[number]:
                    uncertain[number] = embedded
        for number, count in zip(uncertain, self._counts(list(uncertain.values())), strict=True):
            fits[number] = count <= self._max_tokens
        return fits

    def _counts(self, texts: list[str]) -> list[int]:
        return [len(found) for found in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def _spans(self, text: str, title: str | None) -> list[Span]:
        """Cut one document; return where its chunks begin and end, in characters."""
        half = self._max_tokens // 2
        title_tokens = self._count(f"{title}\n") if title is not None else 0
        budget = self._max_tokens - min(title_tokens, half)
        limit = self._max_tokens
        if title_tokens > half:
            title, limit = None, budget
        while True:
            spans = self._split(text, budget)
            # NOTE: counted again, because a tokenizer may join title and text otherwise than it takes them apart, and
            # because the splitter believes that a text never has more tokens than characters.
            excess = (
                max(self._counts([passage_text(title, text[start:end]) for start, end in spans]), default=0) - limit
            )
            if excess <= 0 or budget == 1:
                return spans
            budget = max(1, budget - excess)

    def _split(self, text: str, budget: int) -> list[Span]:
        splitter = self._splitter(budget)
        spans: list[Span] = []
        start, width = 0, _WINDOW_CHARACTERS * self._max_tokens
        while True:
            found = splitter.chunk_indices(text[start : start + width])
            is_last = start + width >= len(text)
            # The last chunk of a window ends where the window does: it is cut again, as the next window's first.
            spans += [(start + at, start + at + len(chunk)) for at, chunk in (found if is_last else found[:-1])]
            if is_last:
                return spans
            if len(found) > 1:
                start += found[-1][0]
            else:
                width *= 2

    def _splitter(self, budget: int) -> TextSplitter:
        if budget not in self._splitters:
            from semantic_text_splitter import TextSplitter

            # NOTE: a callback, because a splitter made from the tokenizer copies it, and there is one for each budget.
            self._splitters[budget] = TextSplitter.from_callback(
                self._count, budget, overlap=min(self._overlap, budget - 1)
            )
        return self._splitters[budget]


def most_tokens(text: str) -> float:
    """A number of tokens that a text does not exceed, told without its tokenizer.

    A token stands for at least one byte of what a tokenizer makes of a text. That is no longer than the text, but for a
    mark before it, unless characters are in it that Unicode has compatible forms of ("㎏" is "kg"): then infinity.
    """
    if not text.isascii() and not unicodedata.is_normalized("NFKC", text):
        return math.inf
    return len(text.encode()) + _MARKS


def untruncated(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer, or where it cuts or pads a copy that does not."""
    if tokenizer.truncation is None and tokenizer.padding is None:
        return tokenizer
    whole: Tokenizer = type(tokenizer).from_str(tokenizer.to_str())
    whole.no_truncation()
    whole.no_padding()
    return whole
