"""`lusirag embed`: vectors of texts, for other programs."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from lusirag.cli.console import output, write_json
from lusirag.cli.options import BatchTokens, Device, Dtype, Json, Model, Runtime

LINES_AT_ONCE = 1024


class Role(StrEnum):
    """Queries and documents are embedded in different templates."""

    QUERY = "query"
    DOCUMENT = "document"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("embed")(embed)


def embed(
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts; none: lines of stdin.")] = None,
    role: Annotated[Role, typer.Option("--role", help="Embed as queries or as documents.")] = Role.QUERY,
    instruction: Annotated[str | None, typer.Option("--instruction", help="For models trained with them.")] = None,
    model: Model = "lusifer-mini",
    runtime: Runtime = None,
    device: Device = None,
    dtype: Dtype = None,
    batch_tokens: BatchTokens = None,
    as_json: Json = False,
) -> None:
    """Embed texts, or the lines of standard input: a line a text, or with --json an object with text and vector."""
    from itertools import islice

    from lusirag.embedding import Embedder

    embedder = Embedder.load(model, runtime=runtime, device=device, dtype=dtype, batch_tokens=batch_tokens)
    encode = embedder.encode_queries if role is Role.QUERY else embedder.encode_documents
    source = iter(texts or (line.rstrip("\r\n") for line in sys.stdin))
    while some := list(islice(source, LINES_AT_ONCE)):
        for text, vector in zip(some, encode(some, instruction=instruction), strict=True):
            if as_json:
                write_json({"text": text, "vector": [round(float(value), 7) for value in vector]})
            else:
                first = ", ".join(f"{value:+.3f}" for value in vector[:6])
                output().print(f"[{first}, ... {len(vector)} values]  {text}", markup=False)
