"""Options about sources that `prepare`, `mine` and `cluster` share, and reading by them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from datasets import Dataset


class OnError(StrEnum):
    """What a row that cannot be used does."""

    STOP = "stop"
    SKIP = "skip"


Split = Annotated[str, typer.Option("--split", help="Of a hub data set, or a saved one with several.")]
Subset = Annotated[str | None, typer.Option("--subset", help="Configuration of a hub data set.")]
Revision = Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit of a hub data set.")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="ROLE=COLUMN", help="Which column is which: query=question positive=answer."),
]
Cap = Annotated[int | None, typer.Option("--cap", help="Keep that many rows of each source, drawn by --seed.")]
Streaming = Annotated[bool, typer.Option("--streaming", help="Fetch only the rows that --cap keeps.")]
LocalOnly = Annotated[bool, typer.Option("--local-files-only", help="Of the hub, only what was downloaded before.")]
CacheDir = Annotated[str | None, typer.Option("--cache-dir", help="Where data sets are kept once they are read.")]
BadRows = Annotated[OnError, typer.Option("--on-error", help="Stop at a row without query or positive, or skip it.")]
Seed = Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")]


def read_sources(
    sources: list[str],
    *,
    split: str,
    subset: str | None,
    revision: str | None,
    columns: list[str] | None,
    cap: int | None,
    seed: int,
    streaming: bool,
    local_files_only: bool,
    cache_dir: str | None,
    on_error: OnError,
) -> tuple[Dataset, list[dict[str, Any]]]:
    """Read and join sources; the second value is for the report.

    Raises:
        CorpusError, InvalidArgumentError: as `read_set`.
    """
    from lusirag_training.data.joining import join
    from lusirag_training.data.reading import Place, read_with_report

    place = Place(split, subset, revision, local_files_only, cache_dir)
    roles = parse_columns(columns)
    sets, facts = [], []
    with no_bars():
        for source in sources:
            rows, report = read_with_report(
                source,
                place,
                columns=roles,
                cap=cap,
                seed=seed,
                streaming=streaming,
                on_error="skip" if on_error is OnError.SKIP else "stop",
            )
            sets.append(rows)
            facts.append({"source": source, "rows": report.rows, "used": report.used, "skipped": report.skipped})
        return join(sets), facts


@contextmanager
def no_bars() -> Iterator[None]:
    """Keep the library `datasets` from showing bars of its own."""
    from datasets.utils import disable_progress_bars, enable_progress_bars, is_progress_bar_enabled

    if not is_progress_bar_enabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def parse_columns(columns: list[str] | None) -> dict[str, str] | None:
    """ROLE=COLUMN, several times -> role -> column.

    Raises:
        InvalidArgumentError: without "=", or a role twice.
    """
    from lusirag.errors import InvalidArgumentError

    found: dict[str, str] = {}
    for given in columns or ():
        role, equals, column = given.partition("=")
        if not (role and equals and column) or role in found:
            raise InvalidArgumentError(f"--column {given}: give ROLE=COLUMN, each role once, such as query=question")
        found[role] = column
    return found or None


def parse_bounds(option: str, text: str | None) -> tuple[int | None, int | None]:
    """LEAST:MOST, either of which may be left out.

    Raises:
        InvalidArgumentError: anything else.
    """
    from lusirag.errors import InvalidArgumentError

    least, colon, most = (text or ":").partition(":")
    if not colon or any(part and not part.isdigit() for part in (least, most)):
        raise InvalidArgumentError(f"{option} {text}: give LEAST:MOST in whole numbers, such as 3:500, or 3: or :500")
    return (int(least) if least else None, int(most) if most else None)
