"""`lusirag ask`: an answer from an index, with the places where it stands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lusirag.cli.console import note, output, shorten, write_json
from lusirag.cli.options import (
    Device,
    Dtype,
    Fusion,
    FusionMethod,
    IndexDirectory,
    Instruction,
    Json,
    Languages,
    Mode,
    Rerank,
    Runtime,
    Where,
    as_filter,
    model_loader,
)
from lusirag.cli.search import as_retriever

if TYPE_CHECKING:
    from lusirag.rag import Answer, Citation

QUOTED_CHARACTERS = 200


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ask")(ask)


def ask(
    directory: IndexDirectory,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to answer, in any language.")],
    generator: Annotated[
        str | None,
        typer.Option(
            "--generator",
            "-g",
            envvar="LUSIRAG_GENERATOR",
            metavar="KIND:MODEL",
            help="What writes the answer: openai:MODEL (any compatible endpoint), transformers:MODEL, "
            "langchain:PROVIDER:MODEL, llamaindex:CLASS:MODEL. Without one the best sentence is quoted.",
        ),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="Of the endpoint, such as http://localhost:11434/v1.")
    ] = None,
    answer_language: Annotated[
        str | None,
        typer.Option("--answer-language", help="Tag such as sw; the question's language when left out."),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many passages the answer may rest on.")] = 8,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="Longest answer of a generator; 512 when left out.")
    ] = None,
    context_tokens: Annotated[
        int | None, typer.Option("--context-tokens", help="Longest prompt and answer of a generator together.")
    ] = None,
    min_relevance: Annotated[
        float | None,
        typer.Option("--min-relevance", help="0 (answer always) to 1: how near a passage must be to the question."),
    ] = None,
    mode: Annotated[Mode, typer.Option("--mode", help="How passages are found; as for search.")] = Mode.DENSE,
    fusion: Fusion = FusionMethod.WEIGHTED,
    languages: Languages = None,
    where: Where = None,
    instruction: Instruction = None,
    rerank: Rerank = None,
    runtime: Runtime = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: Json = False,
) -> None:
    """Answer a question from an index, with citations.

    Without a generator the best sentence is quoted. Where no passage is about the question, nothing is answered.
    """
    from lusirag.errors import LusiragError
    from lusirag.index import Index
    from lusirag.rag import Answerer

    given: dict[str, Any] = {"max_tokens": max_tokens, "min_relevance": min_relevance}
    load = model_loader(runtime=runtime, device=device, dtype=dtype)
    with Index.open(directory, load, read_only=True) as index:
        if not index.complete:
            note("this index is not complete: `lusirag index` was interrupted; run it again to continue")
        writer = _generator(generator, base_url, context_tokens, max_tokens, device, dtype)
        answerer = Answerer(
            as_retriever(index, rerank, device) if rerank else index,
            writer,
            k=k,
            **{name: value for name, value in given.items() if value is not None},
        )
        live = sys.stdout.isatty() and not as_json and writer is not None
        try:
            answer = answerer.ask(
                question,
                language=answer_language,
                on_text=_show_piece if live else None,
                mode=mode.value,
                where=as_filter(where),
                languages=languages or None,
                instruction=instruction,
                fusion=fusion.value,
            )
        except LusiragError:
            if live:  # the message begins a line of its own
                sys.stdout.write("\n")
            raise
    if as_json:
        write_json(as_record(answer))
        return
    if answer.answered:
        sys.stdout.write("\n\n" if live else f"{answer.text}\n\n")
        _show_citations(answer)
    else:
        note(f"no answer: {_why(answer)}")


def _generator(
    spec: str | None,
    base_url: str | None,
    context_tokens: int | None,
    max_tokens: int | None,
    device: str | None,
    dtype: str | None,
) -> Any:
    if spec is None:
        given = {"--base-url": base_url, "--context-tokens": context_tokens, "--max-tokens": max_tokens}
        if useless := [name for name, value in given.items() if value is not None]:
            from lusirag.errors import InvalidArgumentError

            raise InvalidArgumentError(
                f"without a generator {' and '.join(useless)} would change nothing; add --generator openai:MODEL, or "
                "another one"
            )
        return None
    from lusirag.rag.loading import load_generator

    # --device and --dtype are the embedding model's too; of the kinds that run elsewhere it alone takes them.
    local = spec.startswith("transformers:")
    first = None if device is None else device.partition(",")[0].strip()
    return load_generator(
        spec,
        base_url=base_url,
        context_tokens=context_tokens,
        device=first if local else None,
        dtype=dtype if local else None,
    )


def _show_piece(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _why(answer: Answer) -> str:
    from lusirag.rag import Refusal

    if answer.refusal is Refusal.NOT_RELEVANT:
        return f"{answer.refusal} (relevance {answer.relevance:.2f}; --min-relevance 0 answers all the same)"
    return str(answer.refusal)


def _show_citations(answer: Answer) -> None:
    from rich.table import Table
    from rich.text import Text

    if not answer.citations:
        note("the answer names no passage, and no sentence of the passages is near it: check it before you trust it")
    elif not answer.citations[0].marked:
        note("the answer names no passage; these sentences are nearest to it:")
    table = Table.grid(padding=(0, 2))
    for column in range(3):
        table.add_column(overflow="fold", no_wrap=column < 2)
    for citation in answer.citations:
        hit = citation.passage.hit
        place = f"{hit.document_id}, characters {citation.start}-{citation.end}"
        where = " · ".join(part for part in (hit.title and shorten(hit.title, 60), place, hit.source) if part)
        number, language = f"[{citation.passage.number}]", hit.language or "?"
        # An extractive answer is its own quotation.
        quote = "" if answer.generator is None else shorten(citation.quote, QUOTED_CHARACTERS)
        if sys.stdout.isatty():
            shown = Text.assemble(f"{quote}\n" if quote else "", (where, "dim"))
            table.add_row(Text(number), Text(language), shown)
        else:  # a line each, never broken
            sys.stdout.write("  ".join(part for part in (number, language, where, quote) if part) + "\n")
    if table.row_count:
        output().print(table)


def as_record(answer: Answer) -> dict[str, Any]:
    """An answer as it is written with --json."""
    return {
        "question": answer.question,
        "answered": answer.answered,
        "refusal": None if answer.refusal is None else str(answer.refusal),
        "answer": answer.text,
        "language": answer.language,
        "generator": answer.generator,
        "relevance": round(answer.relevance, 4),
        "citations": [_citation(citation) for citation in answer.citations],
        "passages": [
            {
                "number": passage.number,
                "document_id": passage.hit.document_id,
                "language": passage.hit.language,
                "score": round(passage.hit.score, 6),
                "start": passage.start,
                "end": passage.end,
            }
            for passage in answer.passages
        ],
    }


def _citation(citation: Citation) -> dict[str, Any]:
    hit = citation.passage.hit
    return {
        "number": citation.passage.number,
        "document_id": hit.document_id,
        "title": hit.title,
        "language": hit.language,
        "source": hit.source,
        "quote": citation.quote,
        "start": citation.start,
        "end": citation.end,
        "marked": citation.marked,
    }
