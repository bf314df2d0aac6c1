"""How far a command is: one bar a step on standard error, or a line now and then where that is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lusirag.cli.console import note, progress_bar

SECONDS_BETWEEN_LINES = 30.0


@contextmanager
def steps(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Give what shows progress(step, done, total)."""
    said = time.monotonic()
    with progress_bar(enabled=not quiet) as bar:
        tasks = {}

        def show(step: str, done: int, total: int) -> None:
            nonlocal said
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total, state="")
            bar.update(tasks[step], completed=done, total=total, state=f"{done:,} of {total:,}")
            if bar.disable and not quiet and time.monotonic() - said > SECONDS_BETWEEN_LINES:
                said = time.monotonic()
                note(f"{step}: {done:,} of {total:,}")

        yield show
