"""`lusirag info --languages`: how well the model's tokenizer serves each language of an index."""

from __future__ import annotations

import dataclasses

from lusirag.cli.console import note, output, show_table, write_json
from lusirag.cli.options import tokenizer_loader
from lusirag.index import Index, LanguageStatistics


def show_languages(directory: str, *, sample: int | None, as_json: bool) -> None:
    """Show the report; the model's weights are not loaded for it."""
    with Index.open(directory, tokenizer_loader, read_only=True) as index:
        report = index.language_report(sample=sample)
    if as_json:
        write_json(dataclasses.asdict(report) | {"warnings": report.warnings})
        return
    columns = ["language", "documents", "passages", "tokens\n/char", "x\nEnglish", "same\ntext", "unknown", "cut"]
    show_table(columns, map(_row, report.languages))
    looked_at = "all passages" if sample is None else f"at most {sample:,} passages of each language"
    output().print(
        f"From {looked_at}. x English: tokens a character, beside {report.english}. same text: tokens for the "
        "same text, beside English, as far as known. cut: passages of more than "
        f"{report.max_passage_tokens} tokens.",
        markup=False,
    )
    for warning in report.warnings:
        note(f"warning: {warning}")
    if not report.languages:
        note("the index is empty")


def _row(each: LanguageStatistics) -> list[str]:
    return [
        each.language or "unknown",
        f"{each.documents:,}",
        f"{each.passages:,}",
        f"{each.tokens_per_character:.3f}",
        f"{each.ratio:.2f}",
        "?" if each.content_ratio is None else f"{each.content_ratio:.2f}",
        f"{each.unknown_share:.1%}",
        f"{each.truncated_share:.1%}",
    ]
