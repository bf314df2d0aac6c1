"""Entry point of `lusirag`: puts the commands together and turns every error into one line and an exit code."""

from __future__ import annotations

import atexit
import gc
import importlib
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer

from lusirag import __version__
from lusirag.cli.console import note
from lusirag.errors import InvalidArgumentError, LusiragError

FAILED, WRONG_USAGE = 1, 2
# The module of each command, in the order of --help. A command loads its own alone: all of them take 0.1 s.
MODULES = {
    "index": "index",
    "info": "index",
    "verify": "index",
    "search": "search",
    "ask": "ask",
    "add": "changes",
    "delete": "changes",
    "compact": "changes",
    "repair": "repair",
    "embed": "embed",
    "models": "models",
    "eval": "evaluation",
    "demo": "demo",
}

Register = Callable[[typer.Typer], None]


def program(arguments: Sequence[str] = (), beside: Mapping[str, Register] | None = None) -> typer.Typer:
    """Put the command line together.

    Packages beside lusirag, such as its training, bring their own commands by an entry point; lusirag itself imports
    none of them.

    Args:
        arguments: what the user typed: where they begin with a command, it is the only one that is loaded.
        beside: commands that are not installed, by their names.
    """
    app = typer.Typer(
        name="lusirag",
        help="Index text in any mix of languages and search it in any other.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "LUSIRAG"},
    )
    app.callback()(common)
    command = next((argument for argument in arguments if argument != "--debug"), "")
    if beside and command in beside:
        beside[command](app)
        return app
    for module in [MODULES[command]] if command in MODULES else dict.fromkeys(MODULES.values()):
        importlib.import_module(f"lusirag.cli.{module}").register(app)
    if command not in MODULES:
        from importlib.metadata import entry_points

        for found in entry_points(group="lusirag.commands"):
            found.load().register(app)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"lusirag {__version__}\n")
        raise typer.Exit


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


def main(beside: Mapping[str, Register] | None = None) -> None:
    """Run the command line and exit with 0 done, 1 failed, 2 wrong usage, 130 interrupted (typer's own code).

    Args:
        beside: see `program`.
    """
    atexit.register(gc.freeze)  # or the interpreter looks for garbage once more before it ends, a tenth of a second
    debug = "--debug" in sys.argv[1:] or os.environ.get("LUSIRAG_DEBUG", "") not in ("", "0")
    try:
        program(sys.argv[1:], beside)(prog_name="lusirag")
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
