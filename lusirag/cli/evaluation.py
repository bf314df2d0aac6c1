"""`lusirag eval`: how good a model is, on published benchmarks through mteb and on suites that need no network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lusirag.cli.options import Device, Dtype, Json, Quiet, Runtime
from lusirag.cli.reporting import Form

Named = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]",
        help="udhr (in the package), or a benchmark of mteb: lusifer-paper, lusifer-current, lusifer-crosslingual, "
        "miracl, belebele.",
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        envvar="LUSIRAG_MODEL",
        help="Embedded name, directory or hub id; sentence-transformers:MODEL, openai:MODEL, python:MODULE:FUNCTION; "
        "NAME=MODEL calls it NAME; may be repeated.",
    ),
]


MEASURES = "ndcg@10,mrr@10,recall@1"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval")(evaluate)


def evaluate(
    name: Named = None,
    suite: Annotated[
        Path | None, typer.Option("--suite", help="Folder of Parquet files, one such file, or a suite.toml.")
    ] = None,
    models: Models = None,
    languages: Annotated[str | None, typer.Option("--languages", "-l", help="Tags with commas between: sw,te.")] = None,
    types: Annotated[
        str | None,
        typer.Option("--types", help="Of a benchmark: classification, clustering, reranking, retrieval, sts."),
    ] = None,
    tasks: Annotated[str | None, typer.Option("--tasks", help="Of a benchmark: names with commas between.")] = None,
    max_items: Annotated[
        int | None,
        typer.Option("--max-items", min=0, help="Of a suite: most of a search; 0 for all."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", help="Of a suite: the model that others are tested against, or bm25."),
    ] = None,
    measures: Annotated[
        str | None,
        typer.Option(
            "--measures", help=f"Of a suite, {MEASURES} when left out; the first is the one that is tested and plotted."
        ),
    ] = None,
    masked: Annotated[
        bool, typer.Option("--masked", help="Of a suite: also without the Latin words and numbers both sides share.")
    ] = False,
    by_language: Annotated[bool, typer.Option("--by-language", help="Of a suite: tables of languages too.")] = False,
    ann: Annotated[
        str | None,
        typer.Option("--ann", help="Of a benchmark: search through an index of this kind, as hnsw."),
    ] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", help="Of a benchmark, through an index: dense, lexical or hybrid.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Only list the searches or data sets.")] = False,
    form: Annotated[Form, typer.Option("--format", help="How the result is written.")] = Form.TABLE,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the first table: FILE.png, .svg or .pdf.")] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache", envvar="LUSIRAG_EVAL_CACHE", help="Where results are kept; the user's cache when left out."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Compute again what the cache has.")] = False,
    base_url: Annotated[str | None, typer.Option("--base-url", help="Of the endpoint of an openai: model.")] = None,
    runtime: Runtime = None,
    device: Device = None,
    dtype: Dtype = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure how good models are.

    A suite is retrieval across languages on parallel texts or questions: X to English, English to X, one pool of all
    languages, with BM25 as the floor and intervals. A benchmark is data sets of five types, run by mteb and summed as
    the LUSIFER paper does. What is computed is kept: an interrupted run goes on, a repeated one costs nothing.
    """
    from lusirag.cli import benchmarks, suites
    from lusirag.cli.measuring import Loading, Running
    from lusirag.errors import InvalidArgumentError
    from lusirag.evaluation.benchmark.catalog import benchmark_names
    from lusirag.evaluation.benchmark.choosing import hint
    from lusirag.evaluation.suite.catalog import BUNDLED

    if as_json and form not in (Form.TABLE, Form.JSON):
        raise InvalidArgumentError(f"both --json and --format {form.value} are given; leave one out")
    written = Form.JSON if as_json else form
    if listing and written not in (Form.TABLE, Form.JSON):
        raise InvalidArgumentError(f"a list is written as table or json, not as {written.value}")
    of_suite = {
        "--max-items": max_items,
        "--baseline": baseline,
        "--measures": measures,
        "--masked": masked or None,
        "--by-language": by_language or None,
    }
    of_benchmark = {"--types": types, "--tasks": tasks, "--ann": ann, "--mode": mode}
    if (name is None) == (suite is None):
        if name is None and listing:
            benchmarks.show_names(written)
            return
        names = ", ".join([*BUNDLED, *benchmark_names()])
        given = "both NAME and --suite" if name is not None else "neither NAME nor --suite"
        raise InvalidArgumentError(f"{given}; give one: {names}, or --suite FOLDER")
    if name is not None and name not in (*BUNDLED, *benchmark_names()):
        known = (*BUNDLED, *benchmark_names())
        raise InvalidArgumentError(f"there is no suite or benchmark {name!r}{hint(name, known)}")
    is_suite = suite is not None or name in BUNDLED
    if useless := [key for key, value in (of_benchmark if is_suite else of_suite).items() if value is not None]:
        kind = "a suite" if is_suite else "a benchmark"
        raise InvalidArgumentError(f"{kind} has no {' and no '.join(useless)}; leave it out")
    loading = Loading(runtime=runtime, device=device, dtype=dtype, base_url=base_url)
    running = Running(listing, written, plot, cache, overwrite, quiet)
    if is_suite:
        wanted = tuple(_split(MEASURES if measures is None else measures) or ())
        chosen = suites.Choice(_split(languages), max_items, masked, wanted, baseline, by_language)
        suites.run(suites.describe(name, suite), chosen, tuple(models or ()), loading, running)
    else:
        part = benchmarks.Choice(_split(languages), _split(types), _split(tasks), ann, mode)
        benchmarks.run(str(name), part, tuple(models or ()), loading, running)


def _split(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
