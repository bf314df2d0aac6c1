"""`lusirag add`, `delete` and `compact`: changing an index that is there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from lusirag.cli.console import note, show_pairs, size, write_json
from lusirag.cli.index import summarise
from lusirag.cli.options import (
    BatchTokens,
    Device,
    Dtype,
    Field,
    IndexDirectory,
    Json,
    OnBadRow,
    OnDuplicate,
    OnError,
    Quiet,
    Runtime,
    SourceFormat,
    Sources,
    Where,
    as_filter,
    model_loader,
)
from lusirag.errors import InvalidArgumentError

if TYPE_CHECKING:
    from lusirag.embedding import Embedder


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("add")(add)
    app.command("delete")(delete)
    app.command("compact")(compact)


def add(
    directory: IndexDirectory,
    sources: Sources,
    text_field: Field = None,
    id_field: Field = None,
    title_field: Field = None,
    language_field: Field = None,
    source_format: SourceFormat = None,
    on_duplicate: Annotated[
        OnDuplicate, typer.Option(help="For an id that is there: replace the document, stop, or skip the new one.")
    ] = OnDuplicate.REPLACE,
    on_error: OnBadRow = OnError.STOP,
    runtime: Runtime = None,
    device: Device = None,
    dtype: Dtype = None,
    batch_tokens: BatchTokens = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Add the documents of SOURCEs to an index, with the model it was made with; an id that is there is replaced.

    What has not changed is not embedded again. An index that `lusirag index` made remembers these SOURCEs beside its
    own, and `lusirag index` then asks for all of them, as it deletes what its SOURCEs do not hold.
    """
    from lusirag.cli.building import resolved_sources, rows_of, watch
    from lusirag.corpus import FieldNames
    from lusirag.index import Index

    load = model_loader(runtime=runtime, device=device, dtype=dtype, batch_tokens=batch_tokens)
    with Index.open(directory, load) as index:
        fields = FieldNames(text=text_field, id=id_field, title=title_field, language=language_field)
        rows = rows_of(sources, fields, source_format, on_error)
        before = index.info()["sources"]
        with cast("Embedder", index.embedder) as embedder:
            try:
                recorded = resolved_sources(sources)
                built = watch(
                    lambda show: index.add(rows, sources=recorded, on_duplicate=on_duplicate.value, progress=show),
                    rows,
                    embedder,
                    quiet=quiet,
                )
            except KeyboardInterrupt:
                documents = f"{index.info()['documents']:,} documents"
                note(f"interrupted; the index holds {documents}, the same command goes on from there")
                raise
        facts = index.info()
    summarise(built, facts, Path(directory), as_json=as_json)
    if len(facts["sources"]) > len(before):
        note(f"from now on `lusirag index` updates this index from all of {' '.join(facts['sources'])} together")


def delete(
    directory: IndexDirectory,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of documents; - reads them, a line each.")
    ] = None,
    where: Where = None,
    as_json: Json = False,
) -> None:
    """Delete documents by ID or by --where; with both, those of the IDs of which it holds.

    A document goes with all its passages, also when --where holds of one of them only. If `lusirag index` made the
    index, running it again brings back what its SOURCEs hold.
    """
    from lusirag.index import Index

    wanted = _wanted_ids(ids)
    if wanted is None and where is None:
        raise InvalidArgumentError("nothing to delete: give ids, - to read them from standard input, or --where")
    with Index.open(directory) as index:
        before = len(index)
        try:
            count = index.delete(wanted, where=as_filter(where))
        except KeyboardInterrupt:
            _say_where_it_stands(directory, before)
            raise
        left = len(index)
    if as_json:
        write_json({"deleted": count, "documents": left})
    else:
        show_pairs([("documents deleted", f"{count:,}"), ("documents left", f"{left:,}")])
    if wanted is not None and where is None and count < len(set(wanted)):
        note(f"{len(set(wanted)) - count:,} of the ids are not in the index")


def compact(directory: IndexDirectory, as_json: Json = False) -> None:
    """Rewrite an index without what is deleted, in as few segments as is sensible; searches find the same."""
    from lusirag.index import Index

    with Index.open(directory) as index:
        before = index.info()
        try:
            index.compact()
        except KeyboardInterrupt:
            note("interrupted; nothing is lost, and the same command goes on")
            raise
        after = index.info()
    if as_json:
        write_json({"before": _room(before), "after": _room(after)})
        return
    show_pairs(
        (name.replace("_", " "), f"{_shown(name, old)} before, {_shown(name, _room(after)[name])} after")
        for name, old in _room(before).items()
    )


def _wanted_ids(ids: list[str] | None) -> list[str] | None:
    if not ids:
        return None
    named = [name for name in ids if name != "-"]
    read = [line.rstrip("\r\n") for line in sys.stdin] if "-" in ids else []
    return [*named, *(name for name in read if name)]


def _say_where_it_stands(directory: str, before: int) -> None:
    from lusirag.index import Index

    with Index.open(directory, read_only=True) as index:
        gone = before - len(index)
    note(f"interrupted; {f'{gone:,} documents were deleted' if gone else 'nothing was deleted'}")


def _room(facts: dict[str, Any]) -> dict[str, int]:
    return {name: facts[name] for name in ("segments", "deleted_passages", "bytes")}


def _shown(name: str, count: int) -> str:
    return size(count) if name == "bytes" else f"{count:,}"
