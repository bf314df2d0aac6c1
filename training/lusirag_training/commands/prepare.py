"""`lusirag train prepare`: pairs or texts that are fit for training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lusirag.cli.console import show_pairs, write_json
from lusirag.cli.options import Json, Quiet
from lusirag_training.commands.showing import steps
from lusirag_training.commands.sources import (
    BadRows,
    CacheDir,
    Cap,
    Columns,
    LocalOnly,
    OnError,
    Revision,
    Seed,
    Split,
    Streaming,
    Subset,
    no_bars,
    parse_bounds,
    read_sources,
)

if TYPE_CHECKING:
    from lusirag_training.preparation.filters import CountTokens

LeastMost = Annotated[str | None, typer.Option(metavar="LEAST:MOST", help="Either may be left out.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("prepare")(prepare)


def prepare(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Files, folders, or names of data sets on the hub.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", envvar="LUSIRAG_OUT", help="The .parquet or .jsonl to write.")],
    query_characters: LeastMost = None,
    document_characters: LeastMost = None,
    query_tokens: LeastMost = None,
    document_tokens: LeastMost = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", help="Model whose tokens are counted: embedded name, folder, hub id.")
    ] = None,
    languages: Annotated[
        list[str] | None, typer.Option("--language", "-l", help="Keep documents in this language; several times.")
    ] = None,
    min_packed: Annotated[
        float, typer.Option("--min-packed", help="Leave out documents that zlib packs to less; 0: no such rule.")
    ] = 0.2,
    keep_equal: Annotated[bool, typer.Option("--keep-equal", help="Keep rows whose query is also a positive.")] = False,
    exact: Annotated[bool, typer.Option("--exact/--no-exact", help="Leave out exact duplicates.")] = True,
    near: Annotated[
        float, typer.Option("--near", help="Leave out near duplicates of this Jaccard similarity; 0: no such step.")
    ] = 0.8,
    near_words: Annotated[int, typer.Option("--near-words", help="Words in an n-gram of that similarity.")] = 5,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", help="Evaluation file or folder whose texts must not stand in it; several times."),
    ] = None,
    against_columns: Annotated[
        list[str] | None, typer.Option("--against-column", help="Its columns with texts; guessed when left out.")
    ] = None,
    against_words: Annotated[int, typer.Option("--against-words", help="So many words in a row are too many.")] = 13,
    against_min_words: Annotated[
        int, typer.Option("--against-min-words", help="Shorter evaluation texts are not looked for.")
    ] = 4,
    split: Split = "train",
    subset: Subset = None,
    revision: Revision = None,
    columns: Columns = None,
    cap: Cap = None,
    seed: Seed = 0,
    streaming: Streaming = False,
    local_files_only: LocalOnly = False,
    cache_dir: CacheDir = None,
    on_error: BadRows = OnError.STOP,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Leave out what harms training: bad rows, duplicates, near duplicates, texts of evaluation sets.

    Beside the result stand <name>.report.json, what was done, and <name>.removed.jsonl, a line for each row left out.
    """
    from lusirag_training.data.sources import Place
    from lusirag_training.preparation.contamination import EvaluationTexts
    from lusirag_training.preparation.filters import Filters
    from lusirag_training.preparation.preparing import Preparation
    from lusirag_training.preparation.preparing import prepare as prepare_rows
    from lusirag_training.preparation.writing import check_target

    filters = Filters(
        query_characters=parse_bounds("--query-characters", query_characters),
        document_characters=parse_bounds("--document-characters", document_characters),
        query_tokens=parse_bounds("--query-tokens", query_tokens),
        document_tokens=parse_bounds("--document-tokens", document_tokens),
        languages=frozenset(languages) if languages else None,
        different=not keep_equal,
        min_packed=min_packed,
    )
    settings = Preparation(filters=filters, exact=exact, near=near or None, near_words=near_words, seed=seed)
    count_tokens = _token_counter(tokenizer, needed=filters.count_tokens, local_files_only=local_files_only)
    evaluation = EvaluationTexts(n=against_words, min_words=against_min_words) if against else None
    check_target(out, sources)
    with steps(quiet=quiet) as progress:
        rows, facts = read_sources(
            sources,
            split=split,
            subset=subset,
            revision=revision,
            columns=columns,
            cap=cap,
            seed=seed,
            streaming=streaming,
            local_files_only=local_files_only,
            cache_dir=cache_dir,
            on_error=on_error,
        )
        if evaluation is not None:
            place = Place(cache_dir=cache_dir, local_files_only=local_files_only)
            with no_bars():
                evaluation.read(against or (), columns=against_columns, place=place, progress=progress)
        report = prepare_rows(
            rows,
            out,
            settings=settings,
            against=evaluation,
            count_tokens=count_tokens,
            facts={"sources": facts, "against_sources": against or [], "tokenizer": tokenizer},
            progress=progress,
        )
    if as_json:
        write_json({"out": str(out)} | report)
        return
    read, written = report["rows"]["read"], report["rows"]["written"]
    shown: list[tuple[str, Any]] = [("written", f"{out}, {written:,} of {read:,} rows")]
    shown += [(reason, f"{count:,}") for reason, count in report["removed"].items()]
    show_pairs([*shown, ("time", f"{report['seconds']:,.1f} s")])


def _token_counter(tokenizer: str | None, *, needed: bool, local_files_only: bool) -> CountTokens | None:
    """Count by the tokenizer of a model directory.

    Raises:
        InvalidArgumentError: bounds without a tokenizer, or the other way round.
        ModelError: no such model.
    """
    from lusirag.errors import InvalidArgumentError, ModelError

    if needed != (tokenizer is not None):
        raise InvalidArgumentError("--tokenizer goes with --query-tokens or --document-tokens; give both or none")
    if tokenizer is None:
        return None
    from tokenizers import Tokenizer

    from lusirag.embedding.loading import find_directory

    file = find_directory(tokenizer, revision=None, local_files_only=local_files_only) / "tokenizer.json"
    if not file.is_file():
        raise ModelError(f"{tokenizer}: there is no tokenizer.json; give a model directory or hub id that has one")
    loaded = Tokenizer.from_file(str(file))
    loaded.no_truncation()
    loaded.no_padding()
    return lambda texts: [len(found.ids) for found in loaded.encode_batch(list(texts), add_special_tokens=False)]
