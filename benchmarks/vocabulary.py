"""What trimming the vocabulary costs: tokens per word, and retrieval quality, in the 14 languages of the LUSIFER paper.

    python -m benchmarks.vocabulary --encoder DIR             # tokens per word, seconds
    python -m benchmarks.vocabulary --encoder DIR --quality   # and recall@1, MRR@10 of the encoder alone, 30 minutes

DIR is multilingual-e5-small as a transformers directory. Texts: the news passages of ntrex_passage, x2en (the English
ones are the documents). Words are what stands between blanks.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tokenizers import Tokenizer

from benchmarks.peers import BertEncoder, Remembered
from benchmarks.sets import PAPER_LANGUAGES, environment, load_tasks, require_sets, score_task
from lusirag_training.vocabulary import trim_tokenizer

SET = "ntrex_passage"


def main() -> None:
    """Measure, print a Markdown table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encoder", type=Path, required=True, help="multilingual-e5-small as a transformers directory")
    parser.add_argument("--vocabulary-size", type=int, default=92_000)
    parser.add_argument("--languages", nargs="+", default=list(PAPER_LANGUAGES))
    parser.add_argument("--quality", action="store_true", help="also encode and rank the passages")
    parser.add_argument("--limit", type=int, help="passages per language")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()

    folder = require_sets()
    tasks = load_tasks(folder)
    texts = {language: [text for _, text in tasks.load(SET, language, "x2en")[0]] for language in options.languages}
    full = json.loads((options.encoder / "tokenizer.json").read_text(encoding="utf-8"))
    trimmed = trim_tokenizer(full, size=options.vocabulary_size)
    before, after = (Tokenizer.from_str(json.dumps(content)) for content in (full, trimmed.tokenizer))
    figures: dict[str, dict[str, float]] = {
        language: tokens_per_word(passages[: options.limit], before, after)
        for language, passages in texts.items()
        if passages
    }
    if options.quality:
        full_encoder = BertEncoder.load(options.encoder)
        encoders = {
            "before": Remembered(full_encoder),
            "after": Remembered(full_encoder.with_vocabulary("trimmed", trimmed.tokenizer, trimmed.rows)),
        }
        for language in figures:
            if language == "en":
                continue  # x2en from English to English would find each passage by itself
            queries, documents, relevant = tasks.load(SET, language, "x2en")
            for label, encoder in encoders.items():
                score = score_task(encoder, queries[: options.limit], documents[: options.limit], relevant)
                figures[language] |= {f"mrr_at_10_{label}": score.mrr_at_10, f"recall_at_1_{label}": score.recall_at_1}
            print(language, figures[language], file=sys.stderr, flush=True)

    pieces = f"{len(full['model']['vocab']):,} -> {len(trimmed.rows):,} pieces"
    print(f"{SET}, {options.limit or 'all'} passages a language, {pieces}")
    print(environment(), end="\n\n")
    columns = list(next(iter(value for language, value in figures.items() if language != "en"), {}))
    print("| language | " + " | ".join(column.replace("_", " ") for column in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for language, values in figures.items():
        print(
            f"| {language} | " + " | ".join(f"{values[name]:.3f}" if name in values else "" for name in columns) + " |"
        )
    if skipped := [language for language, passages in texts.items() if not passages]:
        print(f"\nskipped, not in the set: {', '.join(skipped)}")
    if options.json:
        options.json.write_text(
            json.dumps({"environment": environment(), "figures": figures}, indent=1), encoding="utf-8"
        )


def tokens_per_word(texts: list[str], before: Tokenizer, after: Tokenizer) -> dict[str, float]:
    """Tokens per word of two tokenizers, and the ratio of both; special tokens are not counted."""
    words = sum(len(text.split()) for text in texts)
    old, new = (sum(map(len, tokenizer.encode_batch(texts, add_special_tokens=False))) for tokenizer in (before, after))
    return {"tokens_per_word_before": old / words, "tokens_per_word_after": new / words, "ratio": new / old}


if __name__ == "__main__":
    main()
