"""`lusirag models`: which models can be loaded by name; `lusirag models export`: a model in another form."""

from __future__ import annotations

from enum import StrEnum
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


class Form(StrEnum):
    """What an export is for."""

    ONNX = "onnx"
    MODEL = "model"
    SENTENCE_TRANSFORMERS = "sentence-transformers"


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Embedded name, model directory or hub id.")],
    out: Annotated[Path, typer.Option("--out", "-o", envvar="LUSIRAG_OUT", help="The directory to write.")],
    form: Annotated[
        Form,
        typer.Option(
            "--format",
            help="onnx: runs on a CPU without torch; model: a whole directory, LoRA merged, to go on with; "
            "sentence-transformers: opened by that library.",
        ),
    ] = Form.ONNX,
    bits: Annotated[int | None, typer.Option("--bits", help="With --format model: 8 or 4, rounded blocks.")] = None,
    graph_only: Annotated[
        bool,
        typer.Option("--graph-only", help="With --format onnx: leave out the weights for programs other than lusirag."),
    ] = False,
    push: Annotated[str | None, typer.Option("--push", help="Then upload it to the hub as OWNER/NAME.")] = None,
    as_json: Json = False,
) -> None:
    """Write a model in another form.

    With --format onnx, --out may be the model's own directory; it otherwise becomes a copy of it. Other programs that
    run it on an x86 CPU without VNNI must set onnxruntime's session option session.x64quantprecision to 1.
    """
    from lusirag.embedding.exporting import export_model, export_sentence_transformers, push_to_hub
    from lusirag.embedding.loading import find_directory
    from lusirag.errors import InvalidArgumentError

    if (bits is not None and form is not Form.MODEL) or (graph_only and form is not Form.ONNX):
        raise InvalidArgumentError("--bits goes with --format model, --graph-only with --format onnx; leave it out")
    source = find_directory(model, revision=None, local_files_only=False)
    if form is Form.ONNX:
        from lusirag.embedding.onnx_export import export_onnx

        note(f"measuring {model} on text in many languages; this takes a few seconds")
        files = export_onnx(source, out, graph_only=graph_only)
    else:
        if form is Form.MODEL:
            export_model(source, out, bits=bits)
        else:
            export_sentence_transformers(source, out)
        files = sorted(file for file in out.iterdir() if file.is_file())
    address = None if push is None else push_to_hub(out, push)
    if as_json:
        facts = {"directory": str(out), "files": {file.name: file.stat().st_size for file in files}}
        write_json(facts | ({} if address is None else {"uploaded": address}))
    else:
        show_pairs((file.name, size(file.stat().st_size)) for file in files)
        if address is not None:
            output().print(address)
