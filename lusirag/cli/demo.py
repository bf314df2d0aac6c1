"""`lusirag demo`: index the bundled corpus and ask it questions in languages that its answers are not in."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lusirag.cli.console import output, shorten
from lusirag.cli.options import Device, Dtype, Quiet, Runtime
from lusirag.cli.search import show_hits

if TYPE_CHECKING:
    from lusirag.index import Index

HITS = 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to keep the demo's index; the user's cache when left out.")
    ] = None,
    runtime: Runtime = None,
    device: Device = None,
    dtype: Dtype = None,
    quiet: Quiet = False,
) -> None:
    """Index the Universal Declaration of Human Rights in many languages, and ask it questions in others."""
    from lusirag.cli.building import Rows, open_for_building, watch
    from lusirag.corpus import Corpus
    from lusirag.embedding import DEFAULT_MODEL, Embedder
    from lusirag.embedding.catalog import ASSETS

    corpus_file, questions = ASSETS / "udhr.parquet", json.loads((ASSETS / "demo_questions.json").read_text("utf-8"))
    embedder = Embedder.load(DEFAULT_MODEL, runtime=runtime, device=device, dtype=dtype)
    directory = out or _cache(embedder.fingerprint)
    console = output()
    console.print(f"Indexing the Universal Declaration of Human Rights with {embedder.name} into {directory}")
    started = time.monotonic()
    sources = [corpus_file.name]
    with open_for_building(directory, embedder, sources) as index:
        rows = Rows(Corpus([corpus_file]))
        watch(lambda show: index.synchronize(rows, sources=sources, progress=show), rows, embedder, quiet=quiet)
        facts = index.info()
        console.print(
            f"{facts['documents']} articles in {len(facts['languages'])} languages, "
            f"ready after {time.monotonic() - started:.0f} s\n"
        )
        found = sum(_ask(index, question, facts["languages"]) for question in questions)
    console.print(
        f"{found} of {len(questions)} questions found the article that answers them "
        f"among the first {HITS} hits in other languages."
    )
    console.print("\nThe same on your own files (.jsonl .csv .parquet .txt .md .html, folders of them):\n")
    console.print("    lusirag index my-files/ --out my-index")
    console.print('    lusirag search my-index "a question in any language"\n')


def _ask(index: Index, question: dict[str, str], languages: dict[str, int]) -> bool:
    """Ask one question of all languages but its own; True when a hit is the article that answers it."""
    console = output()
    others = [language for language in languages if language != question["language"]]
    hits = index.search(question["text"], k=HITS, languages=others)
    console.print(f"[bold]{question['text']}[/bold]  ({question['language_name']}: {question['english']})")
    show_hits(hits, characters=160)
    ranks = [rank for rank, hit in enumerate(hits, start=1) if hit.metadata["article"] == question["article"]]
    answer = index.get([f"en/article-{question['article']}"])[0]
    where = f"found at rank {ranks[0]}" if ranks else f"not among the first {HITS}"
    console.print(f"   Answer, {where}: {answer.title}, {shorten(answer.text, 150)}\n", markup=False)
    return bool(ranks)


def _cache(fingerprint: str) -> Path:
    """Where the demo's index is kept; another one for another model, as after an upgrade."""
    from platformdirs import user_cache_path

    return user_cache_path("lusirag") / f"demo-index-{fingerprint[:8]}"
