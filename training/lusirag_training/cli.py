"""`lusirag train ...`: hung under `lusirag` by the entry point "lusirag.commands"."""

from __future__ import annotations

import os

import typer

from lusirag_training.commands import cluster, erase, export, mine, plot, prepare, stages


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    group = typer.Typer(no_args_is_help=True, help="Train a LUSIFER model, stage by stage, or adapt one to your pairs.")
    group.callback()(quiet_libraries)
    for module in (prepare, mine, cluster, stages, export, erase, plot):
        module.register(group)
    app.add_typer(group, name="train")


def quiet_libraries() -> None:
    """Let the library datasets draw no bars of its own into ours; it reads this when it is imported."""
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
