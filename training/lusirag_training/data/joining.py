"""Several sources as one data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from lusirag.errors import CorpusError
from lusirag_training.data.columns import kind_of
from lusirag_training.data.sources import load_datasets

if TYPE_CHECKING:
    from datasets import Dataset


def join(sets: Sequence[Dataset]) -> Dataset:
    """Put data sets of one kind one after another; what has no `source` gets nulls where others have one.

    Raises:
        CorpusError: some hold pairs and some text.
    """
    if len({kind_of(rows.column_names) for rows in sets}) > 1:
        raise CorpusError("some sources hold pairs and some text; prepare them one by one")
    datasets = load_datasets()
    if any("source" in rows.column_names for rows in sets):
        missing = datasets.Value("string")
        sets = [
            rows
            if "source" in rows.column_names
            else rows.add_column("source", pa.nulls(rows.num_rows, pa.string()), feature=missing)
            for rows in sets
        ]
    return datasets.concatenate_datasets(list(sets)) if len(sets) > 1 else sets[0]
