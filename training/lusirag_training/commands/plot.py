"""`lusirag train plot`: the curves of one run or several as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lusirag.cli.console import show_pairs


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plot")(plot)


def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    out: Annotated[Path, typer.Option("--out", "-o", envvar="LUSIRAG_OUT", help="The picture: .png, .svg or .pdf.")],
) -> None:
    """Draw loss, learning rate and the development sets' figures over the steps."""
    from lusirag_training.trainer.curves import draw_curves

    draw_curves(runs, out)
    show_pairs([("wrote", out)])
