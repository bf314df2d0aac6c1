"""`lusirag train erase`: a model again, without what tells only the script of a text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lusirag.cli.console import show_pairs, write_json
from lusirag.cli.options import Json
from lusirag_training.commands.sources import LocalOnly, Seed


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("erase")(erase)


def erase(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An embedded name, a model directory, or a hub id.")],
    out: Annotated[Path, typer.Option("--out", "-o", envvar="LUSIRAG_OUT", help="The model directory to write.")],
    softness: Annotated[
        float, typer.Option("--softness", help="0 takes the directions of scripts out wholly, more leaves more.")
    ] = 0.5,
    seed: Seed = 0,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1; a GPU if there is one.")] = None,
    local_files_only: LocalOnly = False,
    as_json: Json = False,
) -> None:
    """Take out of a model's embeddings what tells only the script of a text, for collections in many languages.

    It needs no texts: random pieces of the model's own vocabulary show which directions those are.
    """
    from lusirag_training.erasure import erase_scripts

    erased = erase_scripts(model, out, softness=softness, seed=seed, device=device, local_files_only=local_files_only)
    if as_json:
        write_json({"out": str(out)} | erased._asdict())
        return
    show_pairs(
        [
            ("written", f"{out}, {erased.directions} directions"),
            ("scripts", f"{len(erased.scripts)}, of {sum(erased.scripts.values()):,} pieces"),
            ("variance between scripts", f"{erased.before:.3f} before, {erased.after:.3f} now"),
        ]
    )
