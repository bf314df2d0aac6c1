"""`lusirag search`: a question in, passages in any language out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lusirag.cli.console import note, output, shorten, write_json
from lusirag.cli.options import (
    Device,
    Dtype,
    Fusion,
    FusionMethod,
    IndexDirectory,
    Instruction,
    Json,
    Languages,
    Mode,
    Rerank,
    Runtime,
    Where,
    as_filter,
    model_loader,
    tokenizer_loader,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lusirag.index import Index
    from lusirag.retrieval import Retriever
    from lusirag.types import Hit

SHOWN_CHARACTERS = 240


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("search")(search)


def search(
    directory: IndexDirectory,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for, in any language.")],
    k: Annotated[int, typer.Option("-k", envvar="LUSIRAG_K", help="How many hits.")] = 10,
    mode: Annotated[
        Mode, typer.Option("--mode", help="dense: by meaning; lexical: by words in common; hybrid: both.")
    ] = Mode.DENSE,
    fusion: Fusion = FusionMethod.WEIGHTED,
    languages: Languages = None,
    where: Where = None,
    instruction: Instruction = None,
    rerank: Rerank = None,
    diversity: Annotated[
        float, typer.Option("--diversity", envvar="LUSIRAG_DIVERSITY", help="0 (off) to 1: hits unlike each other.")
    ] = 0.0,
    group: Annotated[bool, typer.Option("--group", envvar="LUSIRAG_GROUP", help="One hit a document.")] = False,
    candidates: Annotated[
        int | None,
        typer.Option("--candidates", envvar="LUSIRAG_CANDIDATES", help="How many hits these three choose from."),
    ] = None,
    runtime: Runtime = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: Json = False,
) -> None:
    """Search an index."""
    from lusirag.index import Index

    # Words in common are found by the tokenizer alone, however large the model is.
    load = tokenizer_loader if mode is Mode.LEXICAL else model_loader(runtime=runtime, device=device, dtype=dtype)
    with Index.open(directory, load, read_only=True) as index:
        if not index.complete:
            note("this index is not complete: `lusirag index` was interrupted; run it again to continue")
        searched: Index | Retriever = index
        if rerank is not None or diversity or group or candidates is not None:
            searched = as_retriever(index, rerank, device, candidates=candidates, diversity=diversity, group=group)
        hits = searched.search(
            query,
            k,
            mode=mode.value,
            where=as_filter(where),
            languages=languages or None,
            instruction=instruction,
            fusion=fusion.value,
        )
        empty = len(index) == 0
    if as_json:
        for hit in hits:
            write_json(as_record(hit))
    else:
        show_hits(hits)
        if not hits:
            note(f"nothing found: {_why_nothing(mode, empty=empty, filtered=where is not None)}")


def _why_nothing(mode: Mode, *, empty: bool, filtered: bool) -> str:
    if empty:
        return "the index is empty"
    meets = " that meets the conditions" if filtered else ""
    if mode is Mode.LEXICAL:
        return f"no passage{meets} has a piece of the query; --mode dense searches by meaning"
    return "no passage meets the conditions"


def as_retriever(
    index: Index, model: str | None, device: str | None, *, group: bool = False, **options: Any
) -> Retriever:
    """A retriever with the stages that are asked for; `model` is a cross-encoder's name."""
    from lusirag.retrieval import CrossEncoderReranker, Retriever

    # Several devices are for embedding many texts; the few candidates of a query are scored on the first.
    first = None if device is None else device.partition(",")[0].strip()
    reranker = None if model is None else CrossEncoderReranker(model, device=first)
    return Retriever(index, reranker=reranker, group_documents=group, **options)


def as_record(hit: Hit) -> dict[str, Any]:
    """A hit as it is written with --json."""
    return {
        "id": hit.id,
        "score": round(hit.score, 6),
        "text": hit.text,
        "title": hit.title,
        "language": hit.language,
        "source": hit.source,
        "metadata": dict(hit.metadata),
        "document_id": hit.document_id,
        "start": hit.start,
        "end": hit.end,
    }


def show_hits(hits: Sequence[Hit], *, characters: int = SHOWN_CHARACTERS) -> None:
    """Show hits as a person reads them: rank, score, language, where from, and the text."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table("", "score", "language", "passage", box=box.SIMPLE_HEAD)
    for rank, hit in enumerate(hits, start=1):
        text = shorten(hit.text, characters)
        passage = Text.assemble(f"{shorten(hit.title, 80)}\n" if hit.title else "", (f"{text}\n"), (hit.id, "dim"))
        table.add_row(str(rank), f"{hit.score:.3f}", hit.language or "?", passage)
    if hits:
        output().print(table)
