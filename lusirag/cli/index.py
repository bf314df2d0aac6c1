"""`lusirag index`, `info` and `verify`: build an index from files and look at what it holds."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lusirag.cli.console import note, show_pairs, size, write_json
from lusirag.cli.options import (
    BatchTokens,
    Device,
    Dimension,
    Dtype,
    Field,
    IndexDirectory,
    Json,
    Model,
    OnBadRow,
    OnDuplicate,
    OnError,
    Quiet,
    Runtime,
    SourceFormat,
    Sources,
    on_devices,
)
from lusirag.errors import InvalidArgumentError

if TYPE_CHECKING:
    from lusirag.cli.building import Built


class Storage(StrEnum):
    """What vectors are stored as."""

    FLOAT16 = "float16"
    INT8 = "int8"
    FLOAT32 = "float32"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("index")(index)
    app.command("info")(info)
    app.command("verify")(verify)


def index(
    sources: Sources,
    out: Annotated[Path, typer.Option("--out", "-o", envvar="LUSIRAG_OUT", help="The index directory to write.")],
    model: Model = "lusifer-mini",
    text_field: Field = None,
    id_field: Field = None,
    title_field: Field = None,
    language_field: Field = None,
    source_format: SourceFormat = None,
    ann: Annotated[
        str | None,
        typer.Option(
            "--ann",
            metavar="KIND",
            help="How vectors are searched: auto (if left out), flat (exactly), hnsw, ivf, ivf-pq, binary, or a FAISS "
            "factory string.",
        ),
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="SIZE", help="What search may take of it, such as 2GB, for auto.")
    ] = None,
    latency: Annotated[
        float | None,
        typer.Option("--latency", metavar="MS", help="What exact search may take before auto leaves it; 10."),
    ] = None,
    vectors: Annotated[
        Storage | None,
        typer.Option(
            "--vectors",
            help="Numbers of stored vectors: float16 (if left out), int8 (half the size, less exact), float32.",
        ),
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option("--recall", help="Search as hard as recall@10 of the worst language needs, such as 0.95."),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help='Measure recall with these, one a line, or .jsonl with "query"; else with sentences of the corpus.',
        ),
    ] = None,
    chunk_tokens: Annotated[
        int | None, typer.Option(help="Split longer documents; 0: never. Else as much as the model reads.")
    ] = None,
    overlap: Annotated[int | None, typer.Option(help="Tokens that neighbouring chunks share; 32 if left out.")] = None,
    lexical: Annotated[
        bool, typer.Option("--lexical/--no-lexical", help="Prepare lexical and hybrid search; it takes some space.")
    ] = True,
    on_duplicate: Annotated[
        OnDuplicate | None,
        typer.Option(help="For an id that comes again: stop (error), take the later document, or skip it."),
    ] = None,
    on_error: OnBadRow = OnError.STOP,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the index that is in DIR.")] = False,
    runtime: Runtime = None,
    device: Device = None,
    dtype: Dtype = None,
    dimension: Dimension = None,
    batch_tokens: BatchTokens = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Index SOURCEs: .jsonl .json .csv .tsv .parquet .arrow .txt .md .html (also .gz .zst), folders, data sets on disk.

    Interrupted, the same command goes on where it stopped. Finished, it brings the index up to date: only what
    changed in the sources is embedded again, and what they no longer hold is deleted.
    """
    from lusirag.cli.building import open_for_building, resolved_sources, rows_of, watch
    from lusirag.cli.recall import measure, read_queries
    from lusirag.corpus import FieldNames
    from lusirag.embedding import Embedder

    asked = None if queries is None else read_queries(queries)
    fields = FieldNames(text=text_field, id=id_field, title=title_field, language=language_field)
    rows = rows_of(sources, fields, source_format, on_error)
    recorded = resolved_sources(sources)
    twice = on_duplicate or (OnDuplicate.SKIP if on_error is OnError.SKIP else OnDuplicate.ERROR)
    with (
        Embedder.load(
            model, runtime=runtime, dtype=dtype, dimension=dimension, batch_tokens=batch_tokens, **on_devices(device)
        ) as embedder,
        open_for_building(
            out,
            embedder,
            recorded,
            chunk_tokens=chunk_tokens,
            overlap=overlap,
            lexical=lexical,
            ann=ann,
            memory=memory,
            latency_ms=latency,
            vectors=None if vectors is None else vectors.value,
            expected=rows.expected(),
            overwrite=overwrite,
        ) as opened,
    ):
        try:
            built = watch(
                lambda show: opened.synchronize(
                    rows,
                    sources=recorded,
                    on_duplicate=twice.value,
                    progress=show,
                ),
                rows,
                embedder,
                quiet=quiet,
            )
        except KeyboardInterrupt:
            note(f"interrupted; {opened.info()['documents']:,} documents are safe, the same command goes on from there")
            raise
        measure(opened, asked, recall)
        facts = opened.info()
    summarise(built, facts, out, as_json=as_json)


def info(
    directory: IndexDirectory,
    languages: Annotated[
        bool, typer.Option("--languages", help="How many tokens each language takes, with warnings.")
    ] = False,
    every_passage: Annotated[
        bool, typer.Option("--all", help="With --languages: look at all passages, not at 1,000 of each language.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what an index holds."""
    from lusirag.index import Index

    if languages:
        from lusirag.cli.languages import show_languages

        show_languages(directory, sample=None if every_passage else 1000, as_json=as_json)
        return
    if every_passage:
        raise InvalidArgumentError("--all belongs to --languages; give both, or leave it out")
    with Index.open(directory, read_only=True) as opened:
        facts = opened.info()
    if as_json:
        write_json(facts)
        return
    from lusirag.cli.recall import recall_in_words, show_recall

    shown = facts | {"bytes": size(facts["bytes"]), "ann": recall_in_words(facts["ann"])}
    show_pairs((name, _readable(value)) for name, value in shown.items())
    show_recall(facts["ann"])


def verify(directory: IndexDirectory, as_json: Json = False) -> None:
    """Check every file of an index against its checksum, and the rows against each other."""
    from lusirag.index import verify_index

    report = verify_index(Path(directory))
    if as_json:
        write_json({"files": report.files, "bytes": report.bytes, "problems": report.problems})
    else:
        for problem in report.problems:
            note(f"problem: {problem}")
        if report.ok:
            show_pairs([("sound", f"{report.files} files, {size(report.bytes)}")])
    if not report.ok:
        raise typer.Exit(1)


def summarise(built: Built, facts: dict[str, Any], out: Path, *, as_json: bool) -> None:
    """Show what a run did and what the index holds now."""
    report = built.report
    embedded = report.added + report.replaced
    if as_json:
        write_json(
            {
                "index": str(out),
                "documents": facts["documents"],
                "passages": facts["passages"],
                "added": report.added,
                "replaced": report.replaced,
                "unchanged": report.unchanged,
                "deleted": report.deleted,
                "skipped": built.skipped | ({"duplicate id": report.skipped} if report.skipped else {}),
                "truncated": built.truncated,
                "tokens": built.tokens,
                "seconds": round(built.seconds, 2),
                "bytes": facts["bytes"],
                "languages": facts["languages"],
                "ann": facts["ann"],
            }
        )
        return
    from lusirag.cli.recall import recall_in_words, show_recall

    changes = [f"{embedded:,} embedded"] + [
        f"{count:,} {what}"
        for count, what in ((report.unchanged, "known already"), (report.deleted, "gone from the sources"))
        if count
    ]
    rate = f"{embedded / built.seconds:,.1f} documents/s, {built.tokens / built.seconds:,.0f} tokens/s"
    rows = [
        ("index", str(out)),
        ("documents", f"{facts['documents']:,} ({', '.join(changes)}) in {facts['passages']:,} passages"),
        ("languages", _readable(facts["languages"])),
        ("time", f"{built.seconds:,.1f} s ({rate})"),
        ("size", size(facts["bytes"])),
        ("search", recall_in_words(facts["ann"])),
    ]
    skipped = [f"{count:,} {reason}" for reason, count in sorted(built.skipped.items())]
    if report.skipped:
        skipped.append(f"{report.skipped:,} with an id that came before")
    if skipped:
        rows.append(("left out", "; ".join(skipped)))
    if built.truncated:
        rows.append(("cut", f"{built.truncated:,} passages were longer than the model reads"))
    show_pairs(rows)
    show_recall(facts["ann"])


def _readable(value: Any) -> str:
    if isinstance(value, dict):
        items = sorted(value.items(), key=lambda item: -item[1]) if _are_counts(value) else value.items()
        return ", ".join(f"{name or 'unknown'} {count}" for name, count in items) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _are_counts(value: dict[Any, Any]) -> bool:
    return all(isinstance(count, int) for count in value.values())
