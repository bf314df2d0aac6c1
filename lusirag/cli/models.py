"""`lusirag models`: which models can be loaded by name."""

from __future__ import annotations

import typer

from lusirag.cli.console import output, show_table, size, write_json
from lusirag.cli.options import Json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("models")(models)


def models(as_json: Json = False) -> None:
    """List the models that lie in the package; any model directory or hub id is loaded by --model as well."""
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
