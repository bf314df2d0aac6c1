"""`lusirag repair`: rebuild what of a damaged index follows from the rest."""

from __future__ import annotations

from typing import Annotated

import typer

from lusirag.cli.console import note, show_pairs, write_json
from lusirag.cli.options import Device, Dtype, IndexDirectory, Json, Runtime, model_loader


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("repair")(repair)


def repair(
    directory: IndexDirectory,
    accept_loss: Annotated[
        bool,
        typer.Option("--accept-loss", help="Leave out documents whose file is damaged; deleted ones may come back."),
    ] = False,
    runtime: Runtime = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: Json = False,
) -> None:
    """Rebuild damaged files of an index: keys, lexical part and vectors, from its documents."""
    from lusirag.index import repair_index

    report = repair_index(directory, model_loader(runtime=runtime, device=device, dtype=dtype), accept_loss=accept_loss)
    if as_json:
        write_json({"rebuilt": report.rebuilt, "lost": report.lost, "returned": report.returned})
        return
    show_pairs(("rebuilt", name) for name in report.rebuilt)
    if report.lost or report.returned:
        note(f"lost: {report.lost:,} documents; back though deleted: up to {report.returned:,}")
    elif not report.rebuilt:
        note("nothing to repair: every file is as it was written")
