"""Entry point of `lusirag`: puts the commands together and turns every error into one line and an exit code."""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import entry_points
from typing import Annotated

import typer

from lusirag import __version__
from lusirag.cli import ask, changes, demo, embed, evaluation, index, models, repair, search
from lusirag.cli.console import note
from lusirag.errors import InvalidArgumentError, LusiragError

FAILED, WRONG_USAGE = 1, 2

app = typer.Typer(
    name="lusirag",
    help="Index text in any mix of languages and search it in any other.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "LUSIRAG"},
)
for group in (index, search, ask, changes, repair, embed, models, evaluation, demo):
    group.register(app)
# Packages beside lusirag, such as its training, bring their own commands; lusirag itself imports none of them.
for found in entry_points(group="lusirag.commands"):
    found.load().register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"lusirag {__version__}\n")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options that stand before the command."""
    logging.basicConfig(level=logging.INFO if debug else logging.WARNING, format="%(message)s", stream=sys.stderr)
    for talkative in ("httpx", "huggingface_hub", "filelock"):
        logging.getLogger(talkative).setLevel(logging.WARNING)


def main() -> None:
    """Run the command line and exit with 0 done, 1 failed, 2 wrong usage, 130 interrupted (typer's own code)."""
    debug = "--debug" in sys.argv[1:] or os.environ.get("LUSIRAG_DEBUG", "") not in ("", "0")
    try:
        app(prog_name="lusirag")
    except (LusiragError, OSError, MemoryError) as error:
        if debug:
            raise
        note(f"error: {_in_words(error)}")
        sys.exit(WRONG_USAGE if isinstance(error, InvalidArgumentError) else FAILED)


def _in_words(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory; choose a smaller model or batch, or index in smaller pieces"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__
