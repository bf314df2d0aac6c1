"""Retrieval quality of lusifer-mini beside multilingual-e5-small: recall@1 and MRR@10, X to English.

    python -m benchmarks.quality --baseline DIR --json quality.json
    python -m benchmarks.quality --baseline DIR --limit 50 --languages fi ru --tasks ddtp_synopsis  # a quick look

DIR is multilingual-e5-small as a transformers directory, with its full vocabulary; without --baseline lusifer-mini is
measured alone. Sets: news passages (ntrex_passage) and Debian package synopses to their descriptions (ddtp_synopsis),
in each of the 14 languages of the LUSIFER paper that a set has. English to English is left out where query and document
are the same text.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.peers import BertEncoder, Remembered
from benchmarks.sets import PAPER_LANGUAGES, Score, environment, load_tasks, require_sets, score_task
from lusirag import Embedder

TASKS = ("ntrex_passage", "ddtp_synopsis")


class Result(NamedTuple):
    """One row of the table."""

    task: str
    language: str
    model: str
    score: Score


def main() -> None:
    """Measure, print Markdown tables, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="lusifer-mini", help="name or directory (default: %(default)s)")
    parser.add_argument("--runtime", choices=("onnx", "torch"), help="of lusifer-mini; chosen when left out")
    parser.add_argument("--baseline", type=Path, help="multilingual-e5-small as a transformers directory")
    parser.add_argument("--languages", nargs="+", default=list(PAPER_LANGUAGES))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--limit", type=int, help="queries (and documents) a task and language")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()

    folder = require_sets()
    sets = load_tasks(folder)
    encoders = [Remembered(Embedder.load(options.model, runtime=options.runtime))]
    if options.baseline:
        encoders.append(Remembered(BertEncoder.load(options.baseline)))

    results, skipped = [], []
    for task in options.tasks:
        for language in options.languages:
            queries, documents, relevant = sets.load(task, language, "x2en")
            if not queries or [text for _, text in queries] == [text for _, text in documents]:
                skipped.append(f"{task} {language}")
                continue
            for encoder in encoders:
                started = time.perf_counter()
                score = score_task(encoder, queries[: options.limit], documents[: options.limit], relevant)
                results.append(Result(task, language, encoder.name, score))
                seconds = time.perf_counter() - started
                print(f"{task} {language} {encoder.name}: {score} in {seconds:.0f} s", file=sys.stderr, flush=True)

    print(environment())
    if options.baseline is None:
        print("no --baseline given: no peer measured")
    print(f"skipped, not in the set or the same text on both sides: {', '.join(skipped) or 'nothing'}")
    for task in options.tasks:
        print_table(task, [result for result in results if result.task == task], [encoder.name for encoder in encoders])
    if options.json:
        rows = [{**result._asdict(), "score": result.score._asdict()} for result in results]
        content = {"environment": environment(), "skipped": skipped, "limit": options.limit, "results": rows}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


def print_table(task: str, results: list[Result], models: list[str]) -> None:
    """Print one task as Markdown: a row a language, two columns a model, the mean over languages last."""
    by_language: dict[str, dict[str, Score]] = {}
    for result in results:
        by_language.setdefault(result.language, {})[result.model] = result.score
    if not by_language:
        return
    print(f"\n### {task}, x2en\n")
    print("| language | queries | " + " | ".join(f"{model} recall@1 | {model} MRR@10" for model in models) + " |")
    print("|---" * (2 + 2 * len(models)) + "|")
    for language, scores in by_language.items():
        cells = [f"{scores[model].recall_at_1:.3f} | {scores[model].mrr_at_10:.3f}" for model in models]
        print(f"| {language} | {scores[models[0]].queries} | {' | '.join(cells)} |")
    means = [np.mean([scores[model][:2] for scores in by_language.values()], axis=0) for model in models]
    print("| mean | | " + " | ".join(f"{recall:.3f} | {mrr:.3f}" for recall, mrr in means) + " |")


if __name__ == "__main__":
    main()
