"""Options that several commands share, so that they are spelt and explained once."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lusirag.errors import InvalidArgumentError

if TYPE_CHECKING:
    from lusirag.embedding import Embedder
    from lusirag.embedding.tokenizer_only import TokenizerOnly


class OnError(StrEnum):
    """What a row that cannot be used does."""

    STOP = "stop"
    SKIP = "skip"


class OnDuplicate(StrEnum):
    """What a document does whose id is there already."""

    REPLACE = "replace"
    ERROR = "error"
    SKIP = "skip"


class Mode(StrEnum):
    """How the query is matched."""

    DENSE = "dense"
    LEXICAL = "lexical"
    HYBRID = "hybrid"


class FusionMethod(StrEnum):
    """How hybrid search puts its two rankings together."""

    WEIGHTED = "weighted"
    RRF = "rrf"


Sources = Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Files, folders, or - for standard input.")]
Field = Annotated[str | None, typer.Option(help="Column of that name; guessed when left out.")]
SourceFormat = Annotated[
    str | None, typer.Option("--format", help="jsonl, json, csv, tsv, parquet, arrow, txt, md or html.")
]
OnBadRow = Annotated[OnError, typer.Option(help="Stop at a bad row, or skip and count it.")]
Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", envvar="LUSIRAG_MODEL", help="Embedded name, model directory or hub id; see `lusirag models`."
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        envvar="LUSIRAG_DEVICE",
        help="cpu, cuda, cuda:1, or several with commas between: cuda:0,cuda:1; chosen when left out.",
    ),
]
Dimension = Annotated[
    int | None,
    typer.Option("--dimension", envvar="LUSIRAG_DIMENSION", help="Cut vectors to this length, for models made for it."),
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", envvar="LUSIRAG_DTYPE", help="float32, bfloat16 or float16 for the weights.")
]
Runtime = Annotated[
    str | None,
    typer.Option(
        "--runtime", envvar="LUSIRAG_RUNTIME", help="onnx (8-bit, CPU, no torch) or torch; chosen when left out."
    ),
]
BatchTokens = Annotated[
    int | None,
    typer.Option("--batch-tokens", envvar="LUSIRAG_BATCH_TOKENS", help="Most tokens that are embedded at once."),
]
Json = Annotated[bool, typer.Option("--json", envvar="LUSIRAG_JSON", help="Write one JSON object a line.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", envvar="LUSIRAG_QUIET", help="Show no progress.")]
IndexDirectory = Annotated[str, typer.Argument(metavar="DIR", help="An index directory made by `lusirag index`.")]

Languages = Annotated[
    list[str] | None, typer.Option("--language", "-l", help="Only passages in this language; may be repeated.")
]
Fusion = Annotated[FusionMethod, typer.Option("--fusion", help="How hybrid joins both: by scores, or by ranks (rrf).")]
Instruction = Annotated[str | None, typer.Option("--instruction", help="For models trained with them.")]
Rerank = Annotated[
    str | None,
    typer.Option(
        "--rerank", envvar="LUSIRAG_RERANK", metavar="MODEL", help="Cross-encoder (directory or hub id) for the order."
    ),
]

Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="SQL",
        help="Only where this holds of the columns: \"year > 1990 AND title LIKE 'A%'\"; "
        'or as JSON: {"year": {"$gt": 1990}}.',
    ),
]


def as_filter(where: str | None) -> str | dict[str, Any] | None:
    """What --where means to an index: a filter as a dict when it is a JSON object, else SQL.

    Raises:
        InvalidArgumentError: it begins like a JSON object, but is none.
    """
    if where is None or not where.lstrip().startswith("{"):
        return where
    try:
        found: dict[str, Any] = json.loads(where)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"--where begins like a JSON object, but is none: {error}") from None
    return found


def on_devices(device: str | None) -> dict[str, Any]:
    """What --device means to `Embedder.load`: one device, or several with a worker process each."""
    if device is None or "," not in device:
        return {"device": device}
    return {"devices": [name.strip() for name in device.split(",") if name.strip()]}


def tokenizer_loader(name: str, dimension: int | None) -> TokenizerOnly:
    """Read the tokenizer of an index's model, from the recorded name, for what needs no vectors."""
    from lusirag.embedding.tokenizer_only import TokenizerOnly

    return TokenizerOnly.load(name, dimension=dimension)


def model_loader(
    *, runtime: str | None, device: str | None, dtype: str | None, batch_tokens: int | None = None
) -> Callable[[str, int | None], Embedder]:
    """What loads the model of an index when it is first needed, from the recorded name and length of vectors."""

    def load(name: str, dimension: int | None) -> Embedder:
        from lusirag.embedding import Embedder

        return Embedder.load(
            name, runtime=runtime, dtype=dtype, dimension=dimension, batch_tokens=batch_tokens, **on_devices(device)
        )

    return load
