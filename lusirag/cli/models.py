"""`lusirag models`: which models can be loaded by name; `lusirag models export`: a model's ONNX form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lusirag.cli.console import note, output, show_pairs, show_table, size, write_json
from lusirag.cli.options import Json


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(invoke_without_command=True)
    group.callback()(models)
    group.command("export")(export)
    app.add_typer(group, name="models")


def models(context: typer.Context, as_json: Json = False) -> None:
    """List the models that lie in the package; any model directory or hub id is loaded by --model as well."""
    if context.invoked_subcommand is not None:
        return
    import json

    from lusirag.embedding.catalog import EMBEDDED_MODELS

    rows = []
    for name, directory in EMBEDDED_MODELS.items():
        config = json.loads((directory / "config.json").read_text("utf-8"))
        rows.append(
            {
                "name": name,
                "dimension": config["embedding_size"],
                "max_tokens": config["max_tokens"],
                "encoder": config["encoder_config"]["model_type"],
                "language_model": config["decoder_config"]["model_type"],
                "bytes": sum(file.stat().st_size for file in directory.iterdir()),
                "directory": str(directory),
            }
        )
    if as_json:
        for row in rows:
            write_json(row)
        return
    show_table(
        ["name", "dimension", "longest text", "encoder", "language model", "on disk"],
        [
            [
                row["name"],
                row["dimension"],
                f"{row['max_tokens']} tokens",
                row["encoder"],
                row["language_model"],
                size(row["bytes"]),
            ]
            for row in rows
        ],
    )
    output().print("Any LUSIFER model directory or hub id works too: --model ./my-model, --model owner/name")


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Embedded name, model directory or hub id.")],
    out: Annotated[Path, typer.Option("--out", "-o", envvar="LUSIRAG_OUT", help="The directory to write.")],
    graph_only: Annotated[
        bool, typer.Option("--graph-only", help="Leave out the weights for programs other than lusirag.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a model's ONNX form: lusirag then runs it on a CPU without torch, several times as fast.

    --out may be the model's own directory; otherwise it becomes a copy of it.
    """
    from lusirag.embedding.loading import find_directory
    from lusirag.embedding.onnx_export import export_onnx

    source = find_directory(model, revision=None, local_files_only=False)
    note(f"measuring {model} on text in many languages; this takes a few seconds")
    files = export_onnx(source, out, graph_only=graph_only)
    if as_json:
        write_json({"directory": str(out), "files": {file.name: file.stat().st_size for file in files}})
    else:
        show_pairs((file.name, size(file.stat().st_size)) for file in files)
