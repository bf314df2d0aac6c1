"""`lusirag train cluster`: similar rows get the same number."""

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
    read_sources,
)


class By(StrEnum):
    """What is embedded."""

    QUERY = "query"
    DOCUMENT = "document"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("cluster")(cluster)


def cluster(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Pairs: a file, a folder, or a hub name.")],
    out: Annotated[Path, typer.Option("--out", "-o", envvar="LUSIRAG_OUT", help="The .parquet or .jsonl to write.")],
    model: Model = "lusifer-mini",
    clusters: Annotated[int, typer.Option("--clusters", "-k", help="How many; fewer when rows are few.")] = 1024,
    by: Annotated[By, typer.Option("--by", help="Embed the queries, or the first positives.")] = By.QUERY,
    iterations: Annotated[int, typer.Option("--iterations", help="Of k-means.")] = 20,
    balance: Annotated[
        float | None, typer.Option("--balance", help="A cluster holds at most that many times its fair share.")
    ] = None,
    instruction: Annotated[str | None, typer.Option("--instruction", help="For models trained with them.")] = None,
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
    """Cluster rows by k-means on embeddings, so that training can draw a batch from one cluster.

    Embeddings are kept in OUT.embeddings: interrupted, the same command goes on; other settings do not embed again.
    """
    from lusirag.embedding import Embedder
    from lusirag_training.preparation.clustering import ClusteringSettings
    from lusirag_training.preparation.clustering import cluster as cluster_pairs
    from lusirag_training.preparation.writing import check_target

    settings = ClusteringSettings(clusters=clusters, by=by.value, iterations=iterations, balance=balance, seed=seed)
    check_target(out, [source])
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
        report = cluster_pairs(pairs, embedder, out, settings=settings, instruction=instruction, progress=progress)
    if as_json:
        write_json({"out": str(out)} | report)
        return
    sizes = report["sizes"]
    show_pairs(
        [
            ("written", f"{out}, {report['rows']:,} rows in {report['clusters']:,} clusters"),
            ("rows a cluster", f"{sizes['smallest']:,} to {sizes['largest']:,}, median {sizes['median']:,.0f}"),
            ("time", f"{report['seconds']:,.1f} s"),
        ]
    )
