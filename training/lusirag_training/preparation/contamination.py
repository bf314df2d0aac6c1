"""Texts of evaluation sets that stand in the training data: the same text, or thirteen words in a row.

Thirteen-word overlap is the usual test (Brown et al., 2020, appendix C). Shorter texts are compared as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from lusirag.errors import CorpusError, InvalidArgumentError
from lusirag_training.data.sources import Place, open_parts
from lusirag_training.preparation.progress import Progress
from lusirag_training.preparation.texts import Keys, Rows
from lusirag_training.preparation.words import ngrams, word_keys, words_of

# Columns of evaluation sets that hold texts; ids, languages and sources are none.
TEXT_COLUMNS = (
    "text", "title", "query", "question", "positive", "positives", "pos", "passage", "document", "sentence",
    "sentence1", "sentence2", "premise", "hypothesis", "contents", "content", "body",
)  # fmt: skip


class Match(NamedTuple):
    """Where an evaluation text was found.

    Attributes:
        how: "the same text" or "<n> words in a row".
        where: the evaluation file and the row in it, from 1.
    """

    how: str
    where: str


class EvaluationTexts:
    """Evaluation texts, as numbers.

    Args:
        n: words in a row that count as contamination.
        min_words: shorter texts are not looked for: "Introduction" is no leak.
    """

    def __init__(self, *, n: int = 13, min_words: int = 4) -> None:
        if not 1 <= min_words <= n:
            raise InvalidArgumentError(
                f"contamination: {n} words in a row, texts of {min_words} or more; give 1 <= min_words <= n"
            )
        self.n, self.min_words = n, min_words
        self.texts = 0
        self._files: list[str] = []
        self._starts: list[int] = []
        self._rows = 0
        self._grams: list[Keys] = []
        self._owners: list[Rows] = []
        self._sorted: Keys = np.zeros(0, np.uint64)
        self._sorted_owners: Rows = np.zeros(0, np.int64)

    def read(
        self,
        sources: Sequence[str | Path],
        *,
        columns: Sequence[str] | None = None,
        place: Place | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Read evaluation files, all their texts.

        Args:
            sources: files, folders, patterns or hub names, as `read_set` takes them.
            columns: that hold texts; those of the usual names (`TEXT_COLUMNS`) when None.
            place: split and cache, as for training data.
            progress: called as progress("reading evaluation texts", done, total) with rows.

        Raises:
            CorpusError: a source cannot be read, or has none of the columns.
        """
        parts = [part for source in sources for part in open_parts(source, place or Place())]
        total, done = sum(part.rows.num_rows for part in parts), 0
        for part in parts:
            found = [name for name in part.rows.column_names if name in (columns or TEXT_COLUMNS)]
            if not found:
                raise CorpusError(
                    f"{part.name}: none of its columns is known to hold texts: {', '.join(part.rows.column_names)}; "
                    "name them by --against-column"
                )
            self._files.append(part.name)
            self._starts.append(self._rows)
            for table in part.rows.with_format("arrow").iter(batch_size=1000):
                for name in found:
                    self._add(_strings(table.column(name)), self._rows)
                self._rows += table.num_rows
                done += table.num_rows
                if progress is not None:
                    progress("reading evaluation texts", done, total)
        grams, owners = (
            np.concatenate([self._sorted, *self._grams]),
            np.concatenate([self._sorted_owners, *self._owners]),
        )
        self._sorted, firsts = np.unique(grams, return_index=True)
        self._sorted_owners = owners[firsts]
        self._grams, self._owners = [], []

    def find(self, texts: Sequence[Keys]) -> Match | None:
        """Look for evaluation texts in the texts of a row.

        Args:
            texts: the keys of each one's words, as from `words.word_keys`.
        """
        for keys in texts:
            if len(keys) < self.min_words or not len(self._sorted):
                continue
            grams = ngrams(keys, self.n)
            places = np.searchsorted(self._sorted, grams).clip(max=len(self._sorted) - 1)
            hits = np.flatnonzero(self._sorted[places] == grams)
            if len(hits):
                how = "the same text" if len(keys) < self.n else f"{self.n} words in a row"
                return Match(how, self._where(int(self._sorted_owners[places[hits[0]]])))
        return None

    def _add(self, texts: Iterator[tuple[int, str]], start: int) -> None:
        for row, text in texts:
            keys = word_keys(words_of(text))
            if len(keys) >= self.min_words:
                grams = ngrams(keys, self.n)
                self._grams.append(grams)
                self._owners.append(np.full(len(grams), start + row))
                self.texts += 1

    def _where(self, row: int) -> str:
        file = int(np.searchsorted(self._starts, row, side="right")) - 1
        return f"{self._files[file]}, row {row - self._starts[file] + 1}"


def _strings(column: pa.ChunkedArray) -> Iterator[tuple[int, str]]:
    """The texts of a column of strings or lists of them, with their rows."""
    for row, value in enumerate(column.to_pylist()):
        values: list[Any] = value if isinstance(value, list) else [value]
        yield from ((row, text) for text in values if isinstance(text, str))
