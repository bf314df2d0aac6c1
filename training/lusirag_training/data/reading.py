"""`read_set`: any training data -> one `datasets.Dataset` in fixed columns, memory-mapped.

    pairs = read_set("Hieuman/squad", cap=100_000, seed=0)
    pairs = read_set("support.csv", columns={"query": "question", "positive": "answer"})

The library `datasets` reads and caches the source as it is; the rows that are wanted are then written once, in fixed
columns, to an Arrow file beside its cache, whose name tells all that went into it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lusirag.errors import CorpusError, InvalidArgumentError
from lusirag_training.data.columns import Kind, Roles, find_roles, fix_columns, schema_of
from lusirag_training.data.rows import OnError, class_names, judge
from lusirag_training.data.sources import Part, Place, open_parts
from lusirag_training.data.stored import ReadingReport, open_stored, target_of, write_once
from lusirag_training.data.streaming import read_stream

if TYPE_CHECKING:
    from datasets import Dataset

_BATCH_ROWS = 1000


def read_set(
    source: str | Path,
    *,
    split: str = "train",
    subset: str | None = None,
    revision: str | None = None,
    columns: Mapping[str, str] | None = None,
    cap: int | None = None,
    seed: int = 0,
    streaming: bool = False,
    local_files_only: bool = False,
    cache_dir: str | Path | None = None,
    on_error: OnError = "stop",
) -> Dataset:
    """Read training data.

    Args:
        source: a file (.jsonl .json .csv .tsv .parquet .arrow, also .gz or .zst), a folder or pattern of them, a folder
            that `Dataset.save_to_disk` wrote, or a name on the hub ("owner/name").
        split: of a hub data set ("train", "train[:10%]") or of a saved one with several.
        subset: the configuration of a hub data set.
        revision: branch, tag or commit of a hub data set.
        columns: role -> the source's column, such as {"query": "question"}; roles are query, positive, negative,
            cluster, text, label, source. What is not named is told by the usual names (`columns.USUAL_NAMES`).
        cap: keep that many rows, drawn without replacement; their order stays. None keeps all.
        seed: of the draw.
        streaming: fetch only the rows that are kept, drawn from a moving window of the source. Needs `cap`.
        local_files_only: of the hub, use only what was downloaded before.
        cache_dir: where files are kept; the one of `datasets` when None.
        on_error: "stop" at a row without a query, positive or text, or "skip" and count it.

    Returns:
        pairs: query, positive, negative, cluster[, source]; or text: text, label[, source]. See `data.columns`.

    Raises:
        CorpusError: the source cannot be read, its columns are not told, a row cannot be used, or none is left.
        InvalidArgumentError: options that are not allowed or do not go together.
        MissingDependencyError: the library `datasets` is not installed.
    """
    return read_with_report(
        source,
        Place(split, subset, revision, local_files_only, None if cache_dir is None else str(cache_dir)),
        columns=columns,
        cap=cap,
        seed=seed,
        streaming=streaming,
        on_error=on_error,
    )[0]


def read_with_report(
    source: str | Path,
    place: Place,
    *,
    columns: Mapping[str, str] | None = None,
    cap: int | None = None,
    seed: int = 0,
    streaming: bool = False,
    on_error: OnError = "stop",
) -> tuple[Dataset, ReadingReport]:
    """As `read_set`, with an account of what was read."""
    _check_options(cap, seed, streaming, on_error)
    if streaming and cap is not None:
        return read_stream(source, place, columns, cap, seed, on_error)
    parts = open_parts(source, place)
    roles = _roles_of(parts, columns, str(source))
    marks = [part.rows._fingerprint for part in parts]
    target = target_of(place, [marks, [role.columns for role in roles], cap, seed, on_error])
    if not target.exists():
        rows = sum(part.rows.num_rows for part in parts)
        usable, skipped = _usable_rows(parts, roles, on_error)
        kept = _draw(usable, cap, seed)
        report = ReadingReport(rows, sum(map(len, kept)), skipped)
        schema = schema_of(roles[0].kind, with_source=any("source" in role.columns for role in roles))
        write_once(target, _fixed(parts, roles, kept), schema, report, source)
    return open_stored(target, source)


def _check_options(cap: int | None, seed: int, streaming: bool, on_error: str) -> None:
    if cap is not None and cap < 1:
        raise InvalidArgumentError(f"cap is {cap}; give 1 or more, or leave it out to keep all rows")
    if seed < 0:
        raise InvalidArgumentError(f"seed is {seed}; give 0 or more")
    if streaming and cap is None:
        raise InvalidArgumentError("streaming needs a cap: how many rows are to be fetched")
    if on_error not in ("stop", "skip"):
        raise InvalidArgumentError(f"on_error is {on_error!r}; allowed: stop, skip")


def _roles_of(parts: list[Part], columns: Mapping[str, str] | None, source: str) -> list[Roles]:
    roles = [find_roles(part.rows.column_names, columns, part.name) for part in parts]
    if len({role.kind for role in roles}) > 1:
        told = ", ".join(f"{part.name}: {role.kind}" for part, role in zip(parts, roles, strict=True))
        raise CorpusError(f"{source}: some files hold pairs and some text ({told[:300]}); read them one by one")
    return roles


def _usable_rows(
    parts: list[Part], roles: list[Roles], on_error: OnError
) -> tuple[list[npt.NDArray[np.int64]], dict[str, int]]:
    """The rows of each part that can be used, and how many cannot, by reason."""
    usable, skipped = [], Counter[str]()
    for part, role in zip(parts, roles, strict=True):
        good = np.ones(part.rows.num_rows, dtype=np.bool_)
        start = 0
        for table in part.rows.with_format("arrow").iter(batch_size=_BATCH_ROWS):
            bad = fix_columns(table, role, class_names(part.rows), part.name).bad
            fine, reasons = judge(bad, table.num_rows, part.name, start, on_error)
            good[start : start + table.num_rows] = fine
            skipped.update(reasons)
            start += table.num_rows
        usable.append(np.flatnonzero(good).astype(np.int64))
    return usable, dict(skipped)


def _draw(usable: list[npt.NDArray[np.int64]], cap: int | None, seed: int) -> list[npt.NDArray[np.int64]]:
    """Draw at most `cap` of all usable rows; their order stays."""
    total = sum(map(len, usable))
    if cap is None or total <= cap:
        return usable
    drawn = np.zeros(total, dtype=np.bool_)
    drawn[np.random.default_rng(seed).choice(total, size=cap, replace=False)] = True
    ends = np.cumsum([len(rows) for rows in usable])[:-1]
    return [rows[chosen] for rows, chosen in zip(usable, np.split(drawn, ends), strict=True)]


def _fixed(parts: list[Part], roles: list[Roles], kept: list[npt.NDArray[np.int64]]) -> Iterator[pa.Table]:
    """The rows that were chosen, in fixed columns."""
    for part, role, rows in zip(parts, roles, kept, strict=True):
        if not len(rows):
            continue
        whole = len(rows) == part.rows.num_rows
        # A fingerprint is given so that none is computed from the list of rows; nobody reads it.
        chosen = part.rows if whole else part.rows.select(rows, new_fingerprint="chosen")
        for table in chosen.with_format("arrow").iter(batch_size=_BATCH_ROWS):
            yield fix_columns(table, role, class_names(part.rows), part.name).table


__all__ = ["Kind", "OnError", "Place", "ReadingReport", "read_set", "read_with_report"]
