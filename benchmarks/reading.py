"""What a language model reads through a multilingual encoder after stage 1: how well it foretells an English text.

    python -m benchmarks.reading runs/align --texts 60     # folder of a run of stage 1
    python -m benchmarks.reading runs/align --language sw --json figures.json

The language model writes English passages of the news sets, each behind the instruction to reconstruct and a text: the
passage itself, its translation, or another passage of the same language. The figures are nats a word, means over the
passages' first words, all of which it sees before the next: the less, the better foretold. What a translation
takes off the figure of another passage has been read; training saw English alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.sets import PAPER_LANGUAGES, environment, load_tasks, require_sets
from lusirag.model import LusiferForAlignment
from lusirag_training.config import AlignmentConfig
from lusirag_training.config.stages import RECONSTRUCT
from lusirag_training.data.alignment import TargetTokens, padded_targets
from lusirag_training.data.texts import ModelTexts, padded
from lusirag_training.trainer.assembly import target_tokens
from lusirag_training.trainer.runs import load_run, read_recipe

SET = "ntrex_passage"
BATCH = 20
BEHIND = ("the passage", "its translation", "another passage")
Figures = dict[str, dict[str, float]]  # by language, by what the passage is written behind


def main() -> None:
    """Measure a run's last checkpoint, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run of stage 1")
    parser.add_argument("--texts", type=int, default=60, help="passages a language (default: %(default)s)")
    parser.add_argument("--checkpoint", default="last", help="a step, best or last (default: %(default)s)")
    parser.add_argument("--language", action="append", choices=PAPER_LANGUAGES, help="these alone; several times")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    config = read_recipe(options.run)
    if not isinstance(config, AlignmentConfig):
        parser.error(f"{options.run} is a run of stage 2, which leaves nothing that writes; give one of stage 1")
    figures = measure(options.run, config, options.checkpoint, options.language or PAPER_LANGUAGES, options.texts)
    show(figures)
    if options.json:
        options.json.write_text(json.dumps({"environment": environment(), "figures": figures}, indent=1), "utf-8")


def measure(run: Path, config: AlignmentConfig, checkpoint: str, languages: Sequence[str], most: int) -> Figures:
    """Nats a word of English passages behind themselves, their translations and other passages, by language."""
    tasks = load_tasks(require_sets())
    # Not merged: a merged network is no longer made of the language model whose words are read here.
    start = load_run(run, checkpoint=checkpoint, dtype=torch.float32, merge_adapters=False)
    writer = LusiferForAlignment.from_base_models(start.network, attention=config.alignment.attention).eval()
    texts = start.texts(max_tokens=config.data.max_tokens)
    targets = target_tokens(start.network, most=config.data.max_target_tokens, local_files_only=True)
    figures: Figures = {}
    for language in languages:
        english, translated = passages(tasks, language, most)
        shown = (english, translated, translated[1:] + translated[:1])
        values = [nats(writer, texts, targets, each, english) for each in shown]
        figures[language] = dict(zip(BEHIND, values, strict=True))
    return figures


def show(figures: Figures) -> None:
    """Markdown: a row a language; what is read is what a translation takes off the figure of another passage."""
    print(environment())
    print(f"\n| language | {' | '.join(BEHIND)} | read |\n|---|---|---|---|---|")
    for language, values in figures.items():
        read = values["another passage"] - values["its translation"]
        print(f"| {language} | {' | '.join(f'{value:.3f}' for value in values.values())} | {read:.3f} |")


def passages(tasks: object, language: str, most: int) -> tuple[list[str], list[str]]:
    """English passages and their translations; for English the passages twice."""
    if language == "en":
        english, same = passages(tasks, "es", most)
        return english, english if same else []
    queries, documents, relevant = tasks.load(SET, language, "x2en")  # type: ignore[attr-defined]
    found = dict(documents)
    rows = [(text, found[answer]) for identifier, text in queries for answer in sorted(relevant[identifier])[:1]][:most]
    return [answer for _, answer in rows], [text for text, _ in rows]


@torch.inference_mode()
def nats(
    writer: LusiferForAlignment, texts: ModelTexts, targets: TargetTokens, shown: list[str], written: list[str]
) -> float:
    """Mean cross-entropy of the written texts' words, each text behind the one that is shown."""
    total, words = 0.0, 0
    sources, labels = texts.ids("query", shown, instruction=RECONSTRUCT), targets(written)
    for begin in range(0, len(sources), BATCH):
        part = slice(begin, begin + BATCH)
        ids, mask = padded(sources[part], padding_id=writer.network.config.padding_id)
        seen = [[1] * len(row) for row in labels[part]]
        target_ids, target_mask, wanted = padded_targets(labels[part], seen, labels[part], padding_id=targets.padding)
        output = writer(ids, mask, target_ids, target_mask, wanted, reduction="sum", with_logits=False)
        total += float(output.loss)
        words += sum(len(row) - (targets.begin is not None) for row in labels[part])
    return total / words


if __name__ == "__main__":
    main()
