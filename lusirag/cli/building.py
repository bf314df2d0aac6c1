"""From sources to an index directory, with progress: what `lusirag index`, `lusirag add` and `lusirag demo` share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from lusirag.cli.console import note, progress_bar
from lusirag.errors import CorpusError, IndexStateError, InvalidArgumentError

if TYPE_CHECKING:
    from pyarrow import RecordBatch

    from lusirag.cli.options import OnError
    from lusirag.corpus import Corpus, FieldNames
    from lusirag.embedding import Embedder
    from lusirag.index import AddReport, Index, Progress
    from lusirag.index.vectors import Storage

SECONDS_BETWEEN_LINES = 30.0


@dataclass(frozen=True, slots=True)
class Built:
    """What a run did.

    Attributes:
        report: the index's own account.
        skipped: rows left out by the reader, by reason.
        seconds: from the first row read to the last commit.
        tokens: embedded in this run.
        truncated: passages that were longer than the model reads.
    """

    report: AddReport
    skipped: dict[str, int]
    seconds: float
    tokens: int
    truncated: int


def open_for_building(
    directory: Path,
    embedder: Embedder,
    sources: Sequence[str],
    *,
    chunk_tokens: int | None = None,
    overlap: int | None = None,
    lexical: bool = True,
    ann: str | None = None,
    memory: str | None = None,
    latency_ms: float | None = None,
    vectors: Storage | None = None,
    expected: int | None = None,
    overwrite: bool = False,
) -> Index:
    """Open the index that an earlier run of the same command began, or make a new one.

    Raises:
        IndexStateError: the directory holds an index of other sources or another model, or something else.
        InvalidArgumentError: the index was begun with other chunks or another kind of search, or will not fit.
    """
    from lusirag.index import Index
    from lusirag.index.ann.memory import parse_size
    from lusirag.index.ann.records import DEFAULT_LATENCY_MS

    if overwrite or not (directory / "manifest.json").exists():
        shared = 32 if overlap is None else overlap
        return Index.create(
            directory,
            embedder,
            chunk_tokens=chunk_tokens,
            overlap=shared,
            lexical=None if lexical else False,
            ann=ann or "auto",
            memory=memory,
            latency_ms=DEFAULT_LATENCY_MS if latency_ms is None else latency_ms,
            vectors=vectors or "float16",
            expected_passages=expected,
            overwrite=overwrite,
        )
    index = Index.open(directory, embedder)
    facts = index.info()
    if facts["sources"] != list(sources) and (facts["sources"] or facts["documents"]):
        raise IndexStateError(
            f"{directory} holds an index of {', '.join(facts['sources']) or 'documents added one by one'}; "
            "name all of these, choose another --out, or replace it with --overwrite"
        )
    chunking = facts["chunking"] or {"tokens": 0, "overlap": 0}
    for option, given, recorded in (
        ("--chunk-tokens", chunk_tokens, chunking["tokens"]),
        ("--overlap", overlap, chunking["overlap"]),
        ("--ann", ann, facts["ann"]["kind"]),
        ("--memory", parse_size(memory), facts["ann"]["memory_allowed"]),
        ("--latency", latency_ms, facts["ann"]["latency_ms"]),
        ("--vectors", vectors, facts["vectors"]),
    ):
        if given is not None and given != recorded:
            raise InvalidArgumentError(
                f"{directory} was begun with {option} {recorded}, not {given}; leave the option out, "
                "or start again with --overwrite"
            )
    return index


def rows_of(sources: Sequence[str], fields: FieldNames, source_format: str | None, on_error: OnError) -> Rows:
    """The rows of the sources that a command names."""
    from lusirag.corpus import Corpus

    return Rows(Corpus(sources, fields=fields, format=source_format, on_error=on_error.value))


class Rows:
    """The batches of a corpus, counted as they are taken.

    The first one is read at once, so that sources of no use are refused before a model is loaded or a file written.

    Raises:
        CorpusError: the sources cannot be read, or hold no row that can be used.
    """

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.taken = 0
        self.ended = False
        batches = iter(corpus)
        first = next(batches, None)
        if first is None:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in corpus.skipped.items()) or "no rows at all"
            raise CorpusError(f"nothing to index: the sources hold no row that can be used ({reasons})")
        self._read = int(first.num_rows)
        self._batches = chain([first], batches)

    def __iter__(self) -> Iterator[RecordBatch]:
        for batch in self._batches:
            self.taken += batch.num_rows
            self._read = max(self._read, self.taken)
            yield batch
        self.ended = True

    def expected(self) -> int | None:
        """How many rows there will be in all, as far as the share of bytes read tells; None for standard input."""
        total = self.corpus.bytes_total
        if not total or not self.corpus.bytes_read:
            return None
        return max(self._read, round(self._read * total / self.corpus.bytes_read))


def watch(run: Callable[[Progress], AddReport], rows: Rows, embedder: Embedder, *, quiet: bool = False) -> Built:
    """Let an index take in rows, and show how far it is.

    Args:
        run: takes them in, `Index.synchronize` or `Index.add`, and reports to what it is given.
        rows: what it takes.
        embedder: of the index.
        quiet: show nothing.
    """
    before, started = embedder.statistics, time.monotonic()
    with progress_bar(enabled=not quiet) as bar:
        task = bar.add_task("indexing", total=None, state="reading")
        said = started

        def show(report: AddReport) -> None:
            nonlocal said
            now, expected = time.monotonic(), rows.expected()
            state = _state(report, embedder.statistics.tokens - before.tokens, now - started)
            if rows.ended and report.committed == report.documents:
                state += "; preparing search"
            # The last commit is still to come when all rows are done, so the bar never quite ends by itself.
            total = None if expected is None else max(expected, report.documents) + 1
            bar.update(task, completed=report.documents, total=total, state=state)
            if bar.disable and not quiet and now - said > SECONDS_BETWEEN_LINES:
                said = now
                note(f"{report.documents / total:.0%}: {state}" if total else state)

        report = run(show)
    after = embedder.statistics
    return Built(
        report,
        dict(rows.corpus.skipped),
        time.monotonic() - started,
        after.tokens - before.tokens,
        after.truncated - before.truncated,
    )


def resolved_sources(sources: Sequence[str]) -> list[str]:
    """The sources as the manifest records them: absolute paths, "-" for standard input."""
    return [source if source == "-" else str(Path(source).resolve()) for source in sources]


def _state(report: AddReport, tokens: int, seconds: float) -> str:
    embedded = report.added + report.replaced
    rate = embedded / seconds if seconds else 0.0
    known = f", {report.unchanged:,} known" if report.unchanged else ""
    return f"{report.documents:,} documents{known}, {rate:,.1f}/s, {tokens / max(seconds, 1e-9):,.0f} tokens/s"
