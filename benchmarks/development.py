"""nDCG@10 on the development sets: X to English, English to X, mixed pools, English alone, questions in their language.

Mixed pools hold each document in one language; "mixed" asks them in English, "x2mixed" in each of the others.

    python -m benchmarks.development --encoder DIR              # lusifer-mini beside its encoder
    python -m benchmarks.development --model runs/model --encoder DIR --queries 0 --documents 0  # nothing sampled
    python -m benchmarks.development --encoder DIR --search en2en --search qa  # some searches

DIR is multilingual-e5-small as a transformers directory: the encoder alone, with its whole vocabulary. All are run by
the same runtime, onnxruntime in 8 bits where a model has that form. By default at most 300 queries and 600 documents a
task are taken, the first of the sets' own (hashed) order, the same for every model.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.encoder_alone import encoder_alone
from benchmarks.peers import PACKAGES, load_peer
from benchmarks.sets import PAPER_LANGUAGES, environment, load_tasks, require_sets
from lusirag import Embedder
from lusirag.evaluation import Measure, ranking
from lusirag.types import Encoder, Vectors

SETS = ("ntrex_passage", "ddtp_synopsis", "docs_title")
TITLES = ("ddtp_synopsis", "docs_title")
MORE_LANGUAGES = ("de", "ja", "uk", "zh")
QUESTIONS = ("arcd", "persianqa", "facqa")
DEPTH = 10
Pairs = list[tuple[str, str]]


class Task(NamedTuple):
    """One search: what it is called, its language, texts, and the numbers of the right documents of each query."""

    group: str
    language: str
    queries: list[str]
    documents: list[str]
    relevant: list[set[int]]


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", action="append", help="name or directory; several times (default: lusifer-mini)")
    parser.add_argument("--dtype", help="of the models given by --model, by torch (default: the runtime's own)")
    parser.add_argument("--encoder", type=Path, help="multilingual-e5-small as a transformers directory")
    parser.add_argument("--peer", action="append", choices=PACKAGES, help="another model, from its package")
    parser.add_argument("--search", action="append", help="only those whose name begins so, as en2en; several times")
    add_sampling(parser, queries=300, documents=600)
    options = parser.parse_args()
    every = read_tasks(require_sets(), queries=options.queries or None, documents=options.documents or None)
    tasks = [task for task in every if task.group.startswith(tuple(options.search or [""]))]
    if not tasks:
        sys.exit(f"no search begins with {' or '.join(options.search)}; try x2en, en2x, mixed, x2mixed, en2en or qa")
    print(f"{len(tasks)} tasks, {sum(len(task.queries) for task in tasks):,} queries", file=sys.stderr)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        loaders: dict[str, Callable[[], Encoder]] = {
            name: partial(Embedder.load, name, dtype=options.dtype) for name in options.model or ["lusifer-mini"]
        }
        if options.encoder:
            alone = encoder_alone(options.encoder, Path(temporary) / "encoder")
            loaders[options.encoder.name] = partial(Embedder.load, alone)
        loaders |= {name: partial(load_peer, name) for name in options.peer or []}
        for name, load in loaders.items():
            started = time.perf_counter()
            figures[name] = measure(load(), tasks)
            print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    show(figures)
    if options.json:
        options.json.write_text(json.dumps({"environment": environment(), "figures": figures}, indent=1), "utf-8")


def add_sampling(parser: argparse.ArgumentParser, *, queries: int, documents: int) -> None:
    """Options of every benchmark over these tasks: how much of them is taken, and where the figures go."""
    parser.add_argument("--queries", type=int, default=queries, help="a task, 0 for all (default: %(default)s)")
    parser.add_argument("--documents", type=int, default=documents, help="a task, 0 for all (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")


def read_tasks(folder: Path, *, queries: int | None, documents: int | None) -> Iterator[Task]:
    """All tasks of the table; those that a language lacks are left out."""
    sets = load_tasks(folder)
    for name in SETS:
        more = MORE_LANGUAGES if name in TITLES else ()
        for language in (*PAPER_LANGUAGES[1:], *more):
            for direction in ("x2en", "en2x"):
                found = cut(f"{direction} {name}", language, *sets.load(name, language, direction), queries, documents)
                if len(found.queries) >= 50:
                    yield found
        yield cut(f"mixed {name}", "all", *sets.mixed_pool(name)[:3], queries, documents)
    for name in SETS:
        for language in PAPER_LANGUAGES[1:]:
            pool = sets.mixed_pool(name, query_language=language)[:3]
            found = cut(f"x2mixed {name}", language, *pool, queries, documents)
            if len(found.queries) >= 50:
                yield found
    for name in TITLES:
        yield cut(f"en2en {name}", "en", *sets.load(name, "en", "x2x"), queries, documents)
    for name in QUESTIONS:
        yield cut(f"qa {name}", sets.QUESTION_SETS[name], *sets.load_questions(name), queries, None)


def cut(
    group: str,
    language: str,
    queries: Pairs,
    documents: Pairs,
    relevant: dict[str, set[str]],
    most_queries: int | None,
    most_documents: int | None,
) -> Task:
    """The first documents, and the first queries whose answers are among them."""
    kept = documents[:most_documents]
    numbers = {identifier: number for number, (identifier, _) in enumerate(kept)}
    asked = [
        (text, {numbers[answer] for answer in relevant[identifier]})
        for identifier, text in queries
        if all(answer in numbers for answer in relevant[identifier])
    ][:most_queries]
    return Task(group, language, [text for text, _ in asked], [text for _, text in kept], [right for _, right in asked])


def measure(embedder: Encoder, tasks: list[Task]) -> dict[str, dict[str, float]]:
    """nDCG@10 of each task: {group: {language: figure}}; each text is embedded once."""
    rows = text_rows(tasks)
    vectors = np.empty((len(rows), embedder.dimension), np.float32)
    for role, encode in (("query", embedder.encode_queries), ("document", embedder.encode_documents)):
        chosen = [(text, number) for (kind, text), number in rows.items() if kind == role]
        vectors[[number for _, number in chosen]] = encode([text for text, _ in chosen])
    return score(tasks, rows, vectors)


def text_rows(tasks: list[Task]) -> dict[tuple[str, str], int]:
    """The different texts of tasks: {(role, text): row}."""
    rows: dict[tuple[str, str], int] = {}
    for task in tasks:
        for role, texts in (("query", task.queries), ("document", task.documents)):
            for text in texts:
                rows.setdefault((role, text), len(rows))
    return rows


def score(tasks: list[Task], rows: dict[tuple[str, str], int], vectors: Vectors) -> dict[str, dict[str, float]]:
    """nDCG@10 of each task, {group: {language: figure}}, from the vectors (rows, D) of its texts."""
    figures: dict[str, dict[str, float]] = {}
    for task in tasks:
        queries, documents = (
            vectors[[rows[role, text] for text in texts]]
            for role, texts in (("query", task.queries), ("document", task.documents))
        )
        figure = Measure("ndcg", DEPTH).mean(ranked(queries, documents), task.relevant)
        figures.setdefault(task.group, {})[task.language] = figure
    return figures


def ranked(queries: Vectors, documents: Vectors) -> list[list[int]]:
    """The nearest documents of each query."""
    return ranking(queries, documents, depth=DEPTH)


def show(figures: dict[str, dict[str, dict[str, float]]], *, languages_of: str = "x2en ntrex_passage") -> None:
    """Markdown: a row a group, the mean over its languages; then the languages of one group."""
    names = list(figures)
    groups = list(next(iter(figures.values())))
    print(environment())
    print("\n| nDCG@10, mean over languages | " + " | ".join(names) + " |")
    print("|---" * (1 + len(names)) + "|")
    for group in groups:
        means = (float(np.mean(list(figures[name][group].values()))) for name in names)
        print(f"| {group} | " + " | ".join(f"{mean:.4f}" for mean in means) + " |")
    if languages_of not in groups:
        return
    print(f"\n| {languages_of} | " + " | ".join(names) + " |")
    print("|---" * (1 + len(names)) + "|")
    for language in figures[names[0]][languages_of]:
        values = (figures[name][languages_of][language] for name in names)
        print(f"| {language} | " + " | ".join(f"{value:.4f}" for value in values) + " |")


if __name__ == "__main__":
    main()
