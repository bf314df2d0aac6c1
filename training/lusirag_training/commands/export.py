"""`lusirag train export`: a run becomes a model directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lusirag.cli.console import show_pairs, size, write_json
from lusirag.cli.options import Json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    out: Annotated[Path, typer.Option("--out", "-o", envvar="LUSIRAG_OUT", help="The model directory to write.")],
    checkpoint: Annotated[str, typer.Option("--checkpoint", help="best, last, or a step.")] = "best",
    bits: Annotated[int | None, typer.Option("--bits", help="8 or 4: weights in blocks of that many bits.")] = None,
    adapters: Annotated[
        bool, typer.Option("--adapters", help="Write only what was trained, beside references to the base models.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write what a run has trained as a model that every lusirag command takes, with a model card of its figures."""
    from lusirag_training.trainer.exporting import export_run

    export_run(run, out, checkpoint=checkpoint, bits=bits, adapters_only=adapters)
    files = {file.name: file.stat().st_size for file in sorted(out.iterdir()) if file.is_file()}
    if as_json:
        write_json({"directory": str(out), "files": files})
    else:
        show_pairs((name, size(count)) for name, count in files.items())
