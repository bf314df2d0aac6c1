"""`lusirag train ...`: hung under `lusirag` by the entry point "lusirag.commands"."""

from __future__ import annotations

import typer

from lusirag_training.commands import cluster, export, mine, plot, prepare, stages


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(no_args_is_help=True, help="Train a LUSIFER model, stage by stage, or adapt one to your pairs.")
    for module in (prepare, mine, cluster, stages, export, plot):
        module.register(group)
    app.add_typer(group, name="train")
