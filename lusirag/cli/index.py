"""`lusirag index`, `info` and `verify`: build an index from files and look at what it holds."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lusirag.cli.console import note, progress_bar, show_pairs, size, write_json
from lusirag.cli.options import BatchTokens, Device, Dtype, IndexDirectory, Json, Model, Quiet

if TYPE_CHECKING:
    from lusirag.corpus import Corpus
    from lusirag.embedding import Embedder
    from lusirag.index import Index
    from lusirag.index.build import AddReport


class OnError(StrEnum):
    """What a row that cannot be used does."""

    STOP = "stop"
    SKIP = "skip"


class Ann(StrEnum):
    """How vectors are searched; this version searches exactly."""

    AUTO = "auto"
    FLAT = "flat"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("index")(index)
    app.command("info")(info)
    app.command("verify")(verify)


Field = Annotated[str | None, typer.Option(help="Column of that name; guessed when left out.")]


def index(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Files, folders, or - for standard input.")],
    out: Annotated[Path, typer.Option("--out", "-o", envvar="LUSIRAG_OUT", help="The index directory to write.")],
    model: Model = "lusifer-mini",
    text_field: Field = None,
    id_field: Field = None,
    title_field: Field = None,
    language_field: Field = None,
    source_format: Annotated[
        str | None, typer.Option("--format", help="jsonl, json, csv, tsv, parquet, arrow, txt, md or html.")
    ] = None,
    ann: Annotated[Ann, typer.Option("--ann", help="Kind of vector index.")] = Ann.AUTO,
    chunk_tokens: Annotated[
        int | None, typer.Option("--chunk-tokens", help="Split longer documents; 0 never. By default where they'd be cut.")
    ] = None,
    overlap: Annotated[int, typer.Option("--overlap", help="Tokens that neighbouring chunks share.")] = 32,
    on_error: Annotated[OnError, typer.Option("--on-error", help="Stop at a bad row, or count and skip it.")] = OnError.STOP,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an index of other sources.")] = False,
    device: Device = None,
    dtype: Dtype = None,
    batch_tokens: BatchTokens = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Index SOURCEs (.jsonl .json .csv .tsv .parquet .arrow .txt .md .html, also .gz .zst; folders; data sets on disk).

    Interrupted, the same command goes on where it stopped. Finished, it brings the index up to date: only what
    changed in the sources is embedded again.
    """
    from lusirag.corpus import Corpus, FieldNames
    from lusirag.embedding import Embedder

    del ann  # auto and flat are the same exact search
    corpus = Corpus(
        sources,
        fields=FieldNames(text=text_field, id=id_field, title=title_field, language=language_field),
        format=source_format,
        on_error=on_error.value,
    )
    target = _check_target(out, overwrite=overwrite)
    embedder = Embedder.load(model, device=device, dtype=dtype, batch_tokens=batch_tokens)
    started = time.monotonic()
    with _open_target(out, embedder, exists=target, overwrite=overwrite, chunk_tokens=chunk_tokens, overlap=overlap) as built:
        report = _fill(built, corpus, embedder, sources, on_error=on_error, quiet=quiet)
        _summarise(built, corpus, embedder, report, seconds=time.monotonic() - started, as_json=as_json)


def info(directory: IndexDirectory, as_json: Json = False) -> None:
    """Show what an index holds."""
    from lusirag.index import Index

    with Index.open(directory, read_only=True) as opened:
        facts = opened.info()
    if as_json:
        write_json(facts)
        return
    shown = dict(facts)
    shown["bytes"] = size(facts["bytes"])
    show_pairs((name, _readable(value)) for name, value in shown.items())


def verify(directory: IndexDirectory, as_json: Json = False) -> None:
    """Check every file of an index against its checksum, and the rows against each other."""
    from lusirag.index import Index

    with Index.open(directory, read_only=True) as opened:
        report = opened.verify()
    if as_json:
        write_json({"files": report.files, "bytes": report.bytes, "problems": report.problems})
    else:
        for problem in report.problems:
            note(f"problem: {problem}")
        if not report.problems:
            show_pairs([("sound", f"{report.files} files, {size(report.bytes)}")])
    if report.problems:
        raise typer.Exit(1)
