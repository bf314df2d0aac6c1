"""The rows that preparation goes through: each has documents, and a query unless it is plain text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from lusirag_training.data.columns import kind_of
from lusirag_training.preparation.texts import Rows

if TYPE_CHECKING:
    from datasets import Dataset

_AT_ONCE = 1000


class Row(NamedTuple):
    """A row of training data.

    Attributes:
        number: its place in the data set, from 0.
        query: None for plain text.
        documents: its positives, or the text.
    """

    number: int
    query: str | None
    documents: list[str]

    @property
    def texts(self) -> list[str]:
        """All of them."""
        return self.documents if self.query is None else [self.query, *self.documents]


def batches_of(dataset: Dataset, kept: npt.NDArray[np.bool_] | None = None) -> Iterator[list[Row]]:
    """Go through a data set, some rows at a time.

    Args:
        dataset: pairs or text, as `read_set` gives them.
        kept: (rows,), the rows to go through; all when None.
    """
    pairs = kind_of(dataset.column_names) == "pairs"
    start = 0
    for table in dataset.with_format("arrow").iter(batch_size=_AT_ONCE):
        numbers: Rows = np.arange(start, start + table.num_rows)
        start += table.num_rows
        if kept is not None:
            chosen = kept[numbers]
            if not chosen.any():
                continue
            if not chosen.all():
                table, numbers = table.filter(chosen), numbers[chosen]
        if pairs:
            columns = (table.column("query").to_pylist(), table.column("positive").to_pylist())
            yield [Row(int(n), query, documents) for n, query, documents in zip(numbers, *columns, strict=True)]
        else:
            texts = table.column("text").to_pylist()
            yield [Row(int(n), None, [text]) for n, text in zip(numbers, texts, strict=True)]
