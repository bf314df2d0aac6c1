"""The manifest: one JSON file that says which files make up the index, and so which state a reader sees."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lusirag import __version__
from lusirag.errors import IndexStateError
from lusirag.index.ann.records import FLAT, AnnRecord, parse_ann
from lusirag.index.files import FileRecord, damaged, replace_file
from lusirag.index.vectors import STORAGES

MANIFEST_FILE = "manifest.json"
FORMAT_VERSION = 3
OLDEST_FORMAT = 1  # that is read too; what is written is of the newest
_FLOAT32 = "float32"  # what vectors were stored as up to format 2
KIND = "lusirag index"


@dataclass(frozen=True, slots=True)
class EmbedderRecord:
    """The model whose vectors the index holds: what loads it again, and what proves that it is the same."""

    name: str
    fingerprint: str
    dimension: int


@dataclass(frozen=True, slots=True)
class Chunking:
    """How long texts were split: at most `tokens` tokens a chunk, `overlap` of them shared with the one before."""

    tokens: int
    overlap: int


@dataclass(frozen=True, slots=True)
class LexicalRecord:
    """How the terms of lexical search were made."""

    analyser: str


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """One immutable segment.

    Attributes:
        name: its folder under segments/.
        rows: passages in it, deleted ones included.
        documents: documents in it, deleted ones included.
        deleted_rows, deleted_documents: how many of those the tombstones cover.
        files: everything written once, with the segment.
        tombstones: the file with its deleted rows, None when there are none.
        structure: FAISS factory string of the structure it is searched through, None for exact search (since format 2).
    """

    name: str
    rows: int
    documents: int
    files: tuple[FileRecord, ...]
    deleted_rows: int = 0
    deleted_documents: int = 0
    tombstones: FileRecord | None = None
    structure: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """One state of the index.

    Attributes:
        embedder: the model the vectors come from.
        chunking: None when texts are never split.
        identify_languages: whether documents without a language get one from their text.
        generation: grows by one with every commit.
        created, updated: UTC, ISO 8601.
        next_segment: number for the next segment's folder; never used twice.
        segments: in row order.
        columns: the user's columns and their Arrow types, as text, for display.
        sources: where `Index.synchronize` took the documents from.
        complete: False while a synchronisation has begun and not ended.
        ann: how vectors are searched, and the recall that was measured (since format 2; before, exactly).
        lexical: None where the segments have no lexical part (since format 2).
        vectors: what new segments store vectors as, see `vectors.STORAGES` (since format 3).
        lusirag_version: the version that wrote this state.
    """

    embedder: EmbedderRecord
    chunking: Chunking | None
    identify_languages: bool
    created: str
    updated: str
    generation: int = 0
    next_segment: int = 1
    segments: tuple[SegmentRecord, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    sources: tuple[str, ...] = ()
    complete: bool = True
    metric: str = "inner_product"
    ann: AnnRecord = FLAT
    lexical: LexicalRecord | None = None
    vectors: str = _FLOAT32
    lusirag_version: str = __version__

    def files(self) -> list[FileRecord]:
        """Every file of this state except the manifest itself."""
        records = []
        for segment in self.segments:
            records += [*segment.files, *([segment.tombstones] if segment.tombstones else [])]
        return records


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Make `manifest` the index's state, in one step that survives a power cut."""
    replace_file(directory / MANIFEST_FILE, _render(manifest, FORMAT_VERSION))


def read_manifest(directory: Path) -> Manifest:
    """Read and check the manifest.

    Raises:
        IndexStateError: no such directory, not an index, a newer format, or a damaged manifest.
    """
    if not directory.exists():
        raise IndexStateError(f"there is no index at {directory}: no such directory. Build one with `lusirag index`.")
    try:
        content = (directory / MANIFEST_FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise IndexStateError(f"{directory} is not a lusirag index: it has no {MANIFEST_FILE}.") from None
    except OSError as error:
        raise IndexStateError(
            f"index {directory} cannot be read: {MANIFEST_FILE}: {error.strerror or error}."
        ) from error
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise damaged(directory, f"{MANIFEST_FILE} is not valid JSON (truncated or altered)") from None
    if not isinstance(body, dict) or body.get("kind") != KIND:
        raise IndexStateError(f"{directory} is not a lusirag index: its {MANIFEST_FILE} is of another kind.")
    # A newer format is told from a damaged file by its checksum, which covers the version and never changes its place.
    if _self_checksum(body) != body.get("checksum"):
        raise damaged(directory, f"{MANIFEST_FILE} was altered: it does not match its own checksum")
    version = body.get("format_version")
    if not isinstance(version, int) or not OLDEST_FORMAT <= version <= FORMAT_VERSION:
        raise IndexStateError(
            f"index {directory} has format {version}; lusirag {__version__} reads formats {OLDEST_FORMAT} to "
            f"{FORMAT_VERSION}. Update lusirag, or build the index again with this version."
        )
    try:
        manifest = _parse(body)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(directory, f"{MANIFEST_FILE} lacks or misuses a field ({error})") from error
    if _render(manifest, version) != content:
        raise damaged(directory, f"{MANIFEST_FILE} was altered: it is not as lusirag writes it")
    return manifest


def content_state(manifest: Manifest) -> str:
    """A name for which passages are live and how they are searched; the same as long as no segment changes."""
    parts = [(segment.name, segment.tombstones and segment.tombstones.checksum) for segment in manifest.segments]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()


_EXACT_ONLY = {"kind": "flat", "recall": 1.0}  # what format 1 says of its search


def _render(manifest: Manifest, version: int) -> bytes:
    fields = dataclasses.asdict(manifest)
    if version < 3:
        del fields["vectors"], fields["ann"]["latency_ms"]
        if fields["ann"]["recall"]:
            del fields["ann"]["recall"]["milliseconds"]
        for segment in fields["segments"]:
            for file in (*segment["files"], *([segment["tombstones"]] if segment["tombstones"] else [])):
                del file["crc32"]
    if version == 1:
        del fields["lexical"]
        fields["ann"] = _EXACT_ONLY
        for segment in fields["segments"]:
            del segment["structure"]
    fields["columns"] = [{"name": name, "type": kind} for name, kind in manifest.columns]
    body: dict[str, Any] = {"kind": KIND, "format_version": version, **fields}
    body["checksum"] = _self_checksum(body)
    return (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")


def _parse(body: dict[str, Any]) -> Manifest:
    fields = {name: value for name, value in body.items() if name not in ("kind", "format_version", "checksum")}
    fields["embedder"] = EmbedderRecord(**fields["embedder"])
    fields["chunking"] = Chunking(**fields["chunking"]) if fields["chunking"] is not None else None
    fields["segments"] = tuple(_parse_segment(segment) for segment in fields["segments"])
    fields["columns"] = tuple((column["name"], column["type"]) for column in fields["columns"])
    fields["ann"] = FLAT if body["format_version"] == 1 else parse_ann(fields["ann"])
    fields["sources"] = tuple(fields["sources"])
    if fields.get("lexical") is not None:
        fields["lexical"] = LexicalRecord(**fields["lexical"])
    if fields.get("vectors", _FLOAT32) not in STORAGES:
        raise ValueError(f"vectors is {fields['vectors']!r}")
    return Manifest(**fields)


def _parse_segment(fields: dict[str, Any]) -> SegmentRecord:
    files = tuple(FileRecord(**record) for record in fields["files"])
    tombstones = FileRecord(**fields["tombstones"]) if fields["tombstones"] is not None else None
    return SegmentRecord(**{**fields, "files": files, "tombstones": tombstones})


def _self_checksum(body: dict[str, Any]) -> str:
    rest = {name: value for name, value in body.items() if name != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
