"""A capped draw from a stream: no more is fetched than a moving window and the rows that are kept."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from lusirag.errors import CorpusError, LusiragError
from lusirag_training.data.columns import find_roles, fix_columns, schema_of
from lusirag_training.data.rows import OnError, class_names, judge, nothing_left
from lusirag_training.data.sources import Place, load_datasets, open_stream
from lusirag_training.data.stored import ReadingReport, open_stored, target_of, write_once

if TYPE_CHECKING:
    from datasets import Dataset

_BATCH_ROWS = 1000
_SHUFFLED_ROWS = 10_000  # the window of rows that a stream is shuffled in


def read_stream(
    source: str | Path, place: Place, columns: Mapping[str, str] | None, cap: int, seed: int, on_error: OnError
) -> tuple[Dataset, ReadingReport]:
    """Read `cap` usable rows of a source, shuffled by `seed` in a window of 10,000.

    Raises:
        CorpusError: as `read_set`.
    """
    # NOTE: written anew each time: what a stream holds is known only by reading it.
    datasets = load_datasets()
    stream = open_stream(source, place).shuffle(seed=seed, buffer_size=_SHUFFLED_ROWS)
    tables, skipped, read, used = [], Counter[str](), 0, 0
    roles = None
    try:
        for batch in stream.iter(batch_size=min(cap, _BATCH_ROWS)):
            rows = datasets.Dataset.from_dict(batch, on_mixed_types="use_json")
            roles = roles or find_roles(rows.column_names, columns, str(source))
            table = rows.with_format("arrow")[:]
            fixed = fix_columns(table, roles, class_names(stream), str(source))
            fine, reasons = judge(fixed.bad, table.num_rows, f"{source} (shuffled, seed {seed})", read, on_error)
            good = fixed.table.filter(pa.array(fine)).slice(0, cap - used)
            read, used = read + table.num_rows, used + good.num_rows
            skipped.update(reasons)
            tables.append(good)
            if used == cap:
                break
    except LusiragError:
        raise
    except Exception as error:  # NOTE: what the readers and the network raise while a stream is read has no one kind
        said = " ".join(str(error).split())
        raise CorpusError(f"{source}: cannot be read ({type(error).__name__}: {said[:300]})") from error
    if roles is None:
        raise nothing_left(source, {})
    digest = hashlib.blake2b(digest_size=8)
    for table in tables:
        digest.update(json.dumps(table.to_pydict()).encode())
    target = target_of(place, [str(source), digest.hexdigest(), on_error])
    if not target.exists():
        schema = schema_of(roles.kind, with_source="source" in roles.columns)
        write_once(target, tables, schema, ReadingReport(read, used, dict(skipped)), source)
    return open_stored(target, source)
