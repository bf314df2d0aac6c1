"""`lusirag search`: a question in, passages in any language out."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lusirag.cli.console import note, output, shorten, write_json
from lusirag.cli.options import Device, Dtype, IndexDirectory, Json, Runtime, Where, as_filter, on_devices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lusirag.types import Hit

SHOWN_CHARACTERS = 240


class Mode(StrEnum):
    """How the query is matched; this version has one way."""

    DENSE = "dense"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("search")(search)


def search(
    directory: IndexDirectory,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for, in any language.")],
    k: Annotated[int, typer.Option("-k", envvar="LUSIRAG_K", help="How many hits.")] = 10,
    mode: Annotated[Mode, typer.Option("--mode", help="Kind of search.")] = Mode.DENSE,
    languages: Annotated[
        list[str] | None, typer.Option("--language", "-l", help="Only passages in this language; may be repeated.")
    ] = None,
    where: Where = None,
    instruction: Annotated[str | None, typer.Option("--instruction", help="For models trained with them.")] = None,
    runtime: Runtime = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: Json = False,
) -> None:
    """Search an index."""
    from lusirag.embedding import Embedder
    from lusirag.index import Index

    def load(name: str, dimension: int | None) -> Embedder:
        return Embedder.load(name, dimension=dimension, runtime=runtime, dtype=dtype, **on_devices(device))

    with Index.open(directory, load, read_only=True) as index:
        if not index.complete:
            note("this index is not complete: `lusirag index` was interrupted; run it again to continue")
        hits = index.search(
            query,
            k=k,
            mode=mode.value,
            where=as_filter(where),
            languages=languages or None,
            instruction=instruction,
        )
        empty = len(index) == 0
    if as_json:
        for hit in hits:
            write_json(as_record(hit))
    else:
        show_hits(hits)
        if not hits:
            note("nothing found: the index is empty" if empty else "nothing found: no passage meets the conditions")


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
