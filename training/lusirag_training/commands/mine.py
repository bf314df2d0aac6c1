"""`lusirag train mine`: hard negatives."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lusirag.cli.console import show_pairs, write_json
from lusirag.cli.options import BatchTokens, Device, Dimension, Dtype, Json, Model, Quiet, Runtime, on_devices
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


class Sampling(StrEnum):
    """Which of the documents that are left become negatives."""

    RANDOM = "random"
    HARDEST = "hardest"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mine")(mine)


def mine(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Pairs: a file, a folder, or a hub name.")],
    out: Annotated[Path, typer.Option("--out", "-o", envvar="LUSIRAG_OUT", help="The .parquet or .jsonl to write.")],
    model: Model = "lusifer-mini",
    corpus: Annotated[
        str | None, typer.Option("--corpus", help="Texts to mine from; all positives when left out.")
    ] = None,
    negatives: Annotated[int, typer.Option("--negatives", "-n", help="At most that many for each query.")] = 7,
    ranks: Annotated[str, typer.Option("--range", metavar="FIRST:END", help="Ranks to draw from, from 0.")] = "30:128",
    max_ratio: Annotated[float, typer.Option("--max-ratio", help="Of the positive's score; 0: no such rule.")] = 0.95,
    margin: Annotated[float | None, typer.Option("--margin", help="Below the positive's score by as much.")] = None,
    min_score: Annotated[float | None, typer.Option("--min-score", help="A negative scores at least that.")] = None,
    max_score: Annotated[float | None, typer.Option("--max-score", help="A negative scores at most that.")] = None,
    sampling: Annotated[Sampling, typer.Option("--sampling", help="Which of those that are left.")] = Sampling.RANDOM,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the negatives that rows have, and add to them.")] = False,
    reranker: Annotated[
        str | None, typer.Option("--reranker", help="Cross-encoder (directory or hub id) whose scores then count.")
    ] = None,
    instruction: Annotated[str | None, typer.Option("--instruction", help="For models trained with them.")] = None,
    index: Annotated[str, typer.Option("--index", help="Flat (exact), or a FAISS factory string.")] = "Flat",
    nprobe: Annotated[int | None, typer.Option("--nprobe", help="Lists that an IVF index looks through.")] = None,
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
    runtime: Runtime = None,
    device: Device = None,
    dtype: Dtype = None,
    dimension: Dimension = None,
    batch_tokens: BatchTokens = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Add hard negatives: documents that the model ranks high and that do not answer the query.

    Embeddings are kept in OUT.embeddings: interrupted, the same command goes on; other settings do not embed again.
    """
    from lusirag.embedding import Embedder
    from lusirag.errors import CorpusError, InvalidArgumentError
    from lusirag_training.data.reading import Place, read_with_report
    from lusirag_training.preparation.mining import mine as mine_negatives
    from lusirag_training.preparation.mining_settings import MiningSettings
    from lusirag_training.preparation.reranking import CrossEncoder
    from lusirag_training.preparation.texts import column_of
    from lusirag_training.preparation.writing import check_target

    first, end = parse_bounds("--range", ranks)
    if first is None or end is None:
        raise InvalidArgumentError(f"--range {ranks}: give FIRST:END, such as 30:128")
    settings = MiningSettings(
        negatives=negatives,
        ranks=(first, end),
        max_ratio=max_ratio or None,
        margin=margin,
        min_score=min_score,
        max_score=max_score,
        sampling=sampling.value,
        keep=keep,
        index=index,
        nprobe=nprobe,
        seed=seed,
    )
    check_target(out, [source, *([corpus] if corpus else [])])
    pairs, _ = read_sources(
        [source],
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
    texts = None
    if corpus is not None:
        place = Place(cache_dir=cache_dir, local_files_only=local_files_only)
        with no_bars():
            rows, _ = read_with_report(corpus, place, on_error="skip" if on_error is OnError.SKIP else "stop")
        if "text" not in rows.column_names:
            raise CorpusError(
                f"--corpus {corpus}: needed is a column text; its columns: {', '.join(rows.column_names)}"
            )
        texts = column_of(rows, "text")
    scorer = None if reranker is None else CrossEncoder(reranker, device=device, local_files_only=local_files_only)
    with (
        Embedder.load(
            model,
            runtime=runtime,
            dtype=dtype,
            dimension=dimension,
            batch_tokens=batch_tokens,
            local_files_only=local_files_only,
            **on_devices(device),
        ) as embedder,
        steps(quiet=quiet) as progress,
    ):
        report = mine_negatives(
            pairs,
            embedder,
            out,
            settings=settings,
            corpus=texts,
            instruction=instruction,
            reranker=scorer,
            progress=progress,
        )
    if as_json:
        write_json({"out": str(out)} | report)
        return
    none = report["rows_by_negatives_found"].get("0", 0)
    shown = [
        ("written", f"{out}, {report['rows']:,} rows, {report['negatives']:,} negatives"),
        ("documents", f"{report['documents']['searched']:,}"),
        ("without any", f"{none:,} rows"),
    ]
    shown += [(reason, f"{count:,}") for reason, count in report["left_out"].items()]
    show_pairs([*shown, ("time", f"{report['seconds']:,.1f} s")])
