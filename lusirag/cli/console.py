"""What the user sees: results on standard output; progress, notes and errors on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

_UNBOUNDED = 10_000  # characters of a line


def note(message: str) -> None:
    """Write one line to standard error."""
    sys.stderr.write(" ".join(message.split("\n")) + "\n")


def write_json(record: Mapping[str, Any]) -> None:
    """Write one JSON object as one line to standard output."""
    sys.stdout.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")


def output() -> Console:
    """A console on standard output; NO_COLOR and pipes are honoured by it."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, soft_wrap=not sys.stdout.isatty())


def show_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Show names and values in two columns."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, value in pairs:
        table.add_row(Text(name, style="bold"), Text(str(value)))
    output().print(table)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, whole: bool = False) -> None:
    """Show rows under headings; where `whole`, lines that do not go to a terminal are never broken."""
    from rich import box
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(*(Column(Text(column)) for column in columns), box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console = output()
    if whole and not console.is_terminal:
        unbounded = console.options.update_width(_UNBOUNDED)
        console.width = max(console.width, console.measure(table, options=unbounded).maximum)
    console.print(table)


def size(count: float) -> str:
    """A number of bytes as a person reads it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def shorten(text: str, length: int) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


@contextmanager
def progress_bar(*, enabled: bool = True) -> Iterator[Progress]:
    """A progress bar on standard error, with rate and time left; nothing moves when that is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not (enabled and console.is_terminal), transient=True) as progress:
        yield progress
