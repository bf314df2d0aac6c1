"""Making a new index, and making sure that an index meets the model it was made with."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lusirag.errors import IndexStateError, InvalidArgumentError
from lusirag.index import gpu
from lusirag.index.analysis import ANALYSER
from lusirag.index.ann.kinds import check_memory, checked_kind
from lusirag.index.ann.memory import parse_size
from lusirag.index.ann.records import AnnRecord
from lusirag.index.lock import LOCK_FILE, OWNER_FILE
from lusirag.index.manifest import MANIFEST_FILE, Chunking, EmbedderRecord, LexicalRecord, Manifest, read_manifest
from lusirag.index.segment import layout_of
from lusirag.index.snapshot import Snapshot
from lusirag.index.staging import STAGING_FOLDER, STAGING_LOCK_FILE
from lusirag.index.vectors import checked_storage
from lusirag.index.writer import create_directory, now
from lusirag.types import Encoder

Loader = Callable[[str, int | None], Encoder]  # from a recorded name, and the length that vectors are cut to

_OUR_FILES = {
    *(MANIFEST_FILE, MANIFEST_FILE + ".tmp", "segments"),
    *(LOCK_FILE, OWNER_FILE, STAGING_FOLDER, STAGING_LOCK_FILE),
}
_MIN_CHUNK_TOKENS = 8


def new_index(
    directory: Path,
    embedder: Encoder,
    *,
    chunk_tokens: int | None,
    overlap: int,
    identify_languages: bool,
    lexical: bool | None,
    ann: str,
    memory: str | int | None,
    latency_ms: float,
    vectors: str,
    expected_passages: int | None,
    overwrite: bool,
) -> Snapshot:
    """Make an empty index; see `Index.create`."""
    gpu.checked_device()
    chunking = _chunking(embedder, chunk_tokens, overlap)
    terms = _lexical(embedder, lexical)
    storage = checked_storage(vectors)
    search = _search(embedder, ann, memory, latency_ms, storage, expected_passages)
    _check_place(directory, overwrite=overwrite)
    record = EmbedderRecord(str(embedder.name), embedder.fingerprint, int(embedder.dimension))
    time = now()
    manifest = Manifest(
        record, chunking, identify_languages, created=time, updated=time, lexical=terms, ann=search, vectors=storage
    )
    return create_directory(directory, manifest)


def kept_dimension(record: EmbedderRecord) -> int | None:
    """The length that vectors were cut to, None where they were not: a fingerprint then ends with it."""
    return record.dimension if record.fingerprint.endswith(f"-{record.dimension}") else None


def embedder_for(snapshot: Snapshot, embedder: Encoder | Loader | None) -> Encoder:
    """Check that `embedder` is the model an index was made with; load that model when it is None or loads one.

    Raises:
        IndexStateError: it is another model; names both.
    """
    record = snapshot.manifest.embedder
    if embedder is None:
        from lusirag.embedding import Embedder

        embedder = Embedder.load(record.name, dimension=kept_dimension(record))
    elif not isinstance(embedder, Encoder):
        embedder = embedder(record.name, kept_dimension(record))
    if embedder.dimension != record.dimension:
        raise IndexStateError(
            f"index {snapshot.directory} was made with the model {record.name!r} ({record.dimension} dimensions), but "
            f"{embedder.name!r} has {embedder.dimension}. Use that model, or build a new index with this one."
        )
    if embedder.fingerprint != record.fingerprint:
        raise IndexStateError(
            f"index {snapshot.directory} was made with the model {record.name!r} (fingerprint {record.fingerprint}), "
            f"not with {embedder.name!r} (fingerprint {embedder.fingerprint}); their vectors cannot be compared. "
            "Use that model, or build a new index with this one."
        )
    return embedder


def _chunking(embedder: Any, chunk_tokens: int | None, overlap: int) -> Chunking | None:
    can_split = getattr(embedder, "tokenizer", None) is not None
    longest = getattr(embedder, "max_passage_tokens", None)
    if chunk_tokens is None:
        if not can_split or longest is None:
            return None
        chunk_tokens, overlap = int(longest), min(overlap, int(longest) // 2)
    tokens = _whole_number("chunk_tokens", chunk_tokens)
    if tokens == 0:
        return None
    if tokens < _MIN_CHUNK_TOKENS:
        raise InvalidArgumentError(
            f"chunk_tokens is {tokens}; it must be 0 (never split) or at least {_MIN_CHUNK_TOKENS}"
        )
    if not can_split:
        raise InvalidArgumentError(
            f"chunk_tokens is {tokens}, but {embedder.name!r} has no tokenizer to split with; use 0"
        )
    if longest is not None and tokens > longest:
        raise InvalidArgumentError(
            f"chunk_tokens is {tokens}, but {embedder.name!r} reads {longest} tokens of a passage; choose at most that"
        )
    if (shared := _whole_number("overlap", overlap)) >= tokens:
        raise InvalidArgumentError(f"overlap is {shared}; it must be smaller than chunk_tokens, which is {tokens}")
    return Chunking(tokens, shared)


def _lexical(embedder: Any, wanted: bool | None) -> LexicalRecord | None:
    possible = getattr(embedder, "tokenizer", None) is not None
    if wanted and not possible:
        raise InvalidArgumentError(
            f"lexical is True, but {embedder.name!r} has no tokenizer whose pieces could be counted; leave it out"
        )
    return LexicalRecord(ANALYSER) if possible and wanted is not False else None


def _search(
    embedder: Any,
    ann: str,
    memory: str | int | None,
    latency_ms: float,
    storage: str,
    expected_passages: int | None,
) -> AnnRecord:
    dimension = int(embedder.dimension)
    if isinstance(latency_ms, bool) or not isinstance(latency_ms, (int, float)) or not 0 <= latency_ms < math.inf:
        raise InvalidArgumentError(f"latency_ms is {latency_ms!r}; it must be a number of milliseconds, 0 or more")
    record = AnnRecord(checked_kind(ann, dimension), parse_size(memory), latency_ms=float(latency_ms))
    if expected_passages is not None:
        total = _whole_number("expected_passages", expected_passages)
        check_memory(record, total, layout_of(dimension, storage))
    return record


def _whole_number(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number < 0 or isinstance(value, bool):
        raise InvalidArgumentError(f"{name} is {value!r}; it must be a whole number of at least 0")
    return number


def _check_place(directory: Path, *, overwrite: bool) -> None:
    if directory.exists() and not directory.is_dir():
        raise IndexStateError(f"{directory} is a file; an index needs a directory")
    try:
        names = {entry.name for entry in directory.iterdir()} if directory.exists() else set()
    except OSError as error:
        raise IndexStateError(f"{directory} cannot be read: {error.strerror or error}") from error
    if MANIFEST_FILE not in names:
        if foreign := sorted(names - _OUR_FILES):
            raise IndexStateError(
                f"{directory} exists and is not a lusirag index (it holds {foreign[0]!r}); choose another directory"
            )
        return
    # A damaged index may be overwritten, but only where nothing but an index can be.
    if not overwrite or LOCK_FILE not in names or names - _OUR_FILES:
        read_manifest(directory)
    if not overwrite:
        raise IndexStateError(f"{directory} holds an index already; open it to add to it, or choose to overwrite it")
