"""Lexical search by the model's pieces beside words, language by language; and what hybrid search makes of it.

    python -m benchmarks.lexical                               # terms alone: pieces, words, white space
    python -m benchmarks.lexical --dense                       # and dense and hybrid search by lusifer-mini
    python -m benchmarks.lexical --queries 50 --documents 200  # a quick look

nDCG@10 of the real index, one for each task, where query and document are in one language: package synopses, manual
headings, and questions. All sides are the same BM25 in lower case; they differ in the terms: the pieces of
lusifer-mini's tokenizer as `lusirag.index.analysis` makes them, runs of letters and digits (the words of most
analysers), and what stands between white space. With --dense there are tasks across languages too, where lexical search
can hardly help.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from benchmarks.development import QUESTIONS, TITLES, Task, add_sampling, cut, show
from benchmarks.search_start import RandomVectors
from benchmarks.sets import load_tasks, require_sets
from lusirag import Document, Embedder, Index
from lusirag.evaluation import Measure
from lusirag.types import Encoder

ONE_LANGUAGE = ("en", "ar", "de", "es", "fa", "fi", "fr", "id", "ja", "ko", "pt", "ru", "uk", "zh")
ACROSS = ("fi", "ja", "ko", "ru", "zh")
DEPTH = 10
SPLITS = {"words": Regex(r"[^\w]+"), "white space": Regex(r"\s+")}


class Terms(RandomVectors):
    """An embedder for lexical search alone: random vectors and a tokenizer."""

    def __init__(self, embedder: Embedder, tokenizer: Tokenizer) -> None:
        super().__init__(embedder)
        self.tokenizer = tokenizer


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dense", action="store_true", help="dense and hybrid search by lusifer-mini too")
    add_sampling(parser, queries=200, documents=600)
    options = parser.parse_args()
    tasks = list(read_tasks(require_sets(), options.queries or None, options.documents or None, across=options.dense))
    embedder = Embedder.load("lusifer-mini")
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for task in tasks:
        print(f"{task.group}, {task.language}: {len(task.queries)} queries", file=sys.stderr, flush=True)
        for name, figure in measure(task, embedder, dense=options.dense):
            figures.setdefault(name, {}).setdefault(task.group, {})[task.language] = figure
    show(figures, languages_of="one language, docs_title")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def read_tasks(folder: Path, queries: int | None, documents: int | None, *, across: bool) -> Iterator[Task]:
    """Tasks in one language, and to English where asked; those that a language lacks are left out."""
    sets = load_tasks(folder)
    directions = {"x2x": ("one language", ONE_LANGUAGE), "x2en": ("to English", ACROSS if across else ())}
    for name in TITLES:
        for direction, (group, languages) in directions.items():
            for language in languages:
                found = cut(f"{group}, {name}", language, *sets.load(name, language, direction), queries, documents)
                if len(found.queries) >= 50:
                    yield found
    for name in QUESTIONS:
        found = sets.load_questions(name)
        yield cut(f"questions, {name}", sets.QUESTION_SETS[name], *found, queries, None)


def measure(task: Task, embedder: Embedder, *, dense: bool) -> Iterator[tuple[str, float]]:
    """nDCG@10 of a task by each kind of terms, and with `dense` by meaning and by both."""
    pieces = Terms(embedder, embedder.tokenizer)
    for name, encoder in {"pieces": pieces, **dict(by_words(task, embedder))}.items():
        [(_, figure)] = search(task, encoder, {name: ("lexical", "weighted")})
        yield name, figure
    if dense:
        hybrid = {f"hybrid, {fusion}": ("hybrid", fusion) for fusion in ("weighted", "rrf")}
        yield from search(task, embedder, {"dense": ("dense", "weighted"), **hybrid})


def by_words(task: Task, embedder: Embedder) -> Iterator[tuple[str, Encoder]]:
    """Embedders whose tokenizers know all words of the task's documents, cut in two ways."""
    for name, separator in SPLITS.items():
        split = pre_tokenizers.Split(separator, "removed")
        words = {word for text in task.documents for word, _ in split.pre_tokenize_str(text.lower())}
        numbers = {word: number for number, word in enumerate(sorted(words), start=1)}
        tokenizer = Tokenizer(models.WordLevel({"\0": 0} | numbers, unk_token="\0"))
        tokenizer.pre_tokenizer = split
        yield name, Terms(embedder, tokenizer)


def search(task: Task, encoder: Encoder, modes: dict[str, tuple[str, str]]) -> Iterator[tuple[str, float]]:
    """nDCG@10 of a task in each mode and fusion, through an index of its documents."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Index.create(Path(folder) / "index", encoder, chunk_tokens=0, identify_languages=False) as index,
    ):
        index.add(Document(str(number), text) for number, text in enumerate(task.documents))
        for name, (mode, fusion) in modes.items():
            found = index.search_many(task.queries, DEPTH, mode, fusion=fusion)
            ranked: Iterable[list[int]] = ([int(hit.id) for hit in hits] for hits in found)
            yield name, Measure("ndcg", DEPTH).mean(list(ranked), task.relevant)


if __name__ == "__main__":
    main()
