"""`lusirag embed`: vectors of texts, for other programs."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from lusirag.cli.console import output, write_json
from lusirag.cli.options import BatchTokens, Device, Dimension, Dtype, Json, Model, Runtime, on_devices

LINES_AT_ONCE = 1024


class Role(StrEnum):
    """Queries and documents are embedded in different templates."""

    QUERY = "query"
    DOCUMENT = "document"


class Precision(StrEnum):
    """How the numbers of a vector are written."""

    FLOAT32 = "float32"
    INT8 = "int8"
    BINARY = "binary"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("embed")(embed)


def embed(
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts; none: lines of stdin.")] = None,
    role: Annotated[Role, typer.Option("--role", help="Embed as queries or as documents.")] = Role.QUERY,
    instruction: Annotated[str | None, typer.Option("--instruction", help="For models trained with them.")] = None,
    precision: Annotated[
        Precision, typer.Option("--precision", help="int8: whole numbers; binary: bytes, a bit a value.")
    ] = Precision.FLOAT32,
    model: Model = "lusifer-mini",
    runtime: Runtime = None,
    device: Device = None,
    dtype: Dtype = None,
    dimension: Dimension = None,
    batch_tokens: BatchTokens = None,
    as_json: Json = False,
) -> None:
    """Embed texts, or the lines of standard input: a line a text, or with --json an object with text and vector."""
    from itertools import islice

    from lusirag.embedding import Embedder

    source = iter(texts or (line.rstrip("\r\n") for line in sys.stdin))
    with Embedder.load(
        model, runtime=runtime, dtype=dtype, dimension=dimension, batch_tokens=batch_tokens, **on_devices(device)
    ) as embedder:
        encode = embedder.encode_queries if role is Role.QUERY else embedder.encode_documents
        while some := list(islice(source, LINES_AT_ONCE)):
            vectors = encode(some, instruction=instruction, precision=precision.value)
            for text, vector in zip(some, vectors, strict=True):
                numbers = [round(value, 7) for value in vector.tolist()]
                if as_json:
                    write_json({"text": text, "vector": numbers})
                else:
                    first = ", ".join(
                        f"{value:+.3f}" if isinstance(value, float) else f"{value}" for value in numbers[:6]
                    )
                    output().print(f"[{first}, ... {len(vector)} values]  {text}", markup=False)
