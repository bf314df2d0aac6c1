"""LangChain documents into an index's rows, and hits back into LangChain documents."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from langchain_core.documents import Document

import lusirag
from langchain_lusirag.metadata import METADATA_COLUMN, columns_of, from_json, is_text, to_json
from lusirag.errors import InvalidArgumentError
from lusirag.types import Hit

_ROWS = 1024
_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")


def chosen_ids(documents: Sequence[Document], ids: Sequence[str | None] | None) -> list[str]:
    """The id of each document: that of `ids`, else its own, else a new UUID.

    Raises:
        InvalidArgumentError: as many ids as documents are needed.
    """
    if ids is None:
        return [document.id or str(uuid.uuid4()) for document in documents]
    if len(ids) != len(documents):
        raise InvalidArgumentError(f"{len(ids)} ids were given for {len(documents)} documents; give one for each")
    return [given or document.id or str(uuid.uuid4()) for given, document in zip(ids, documents, strict=True)]


def to_batches(documents: Sequence[Document], ids: Sequence[str], columns: Mapping[str, str]) -> list[pa.RecordBatch]:
    """Documents as record batches that `Index.add` takes. All are checked before the first is made.

    Args:
        documents: n of them.
        ids: n of them.
        columns: the index's own columns, name to Arrow type in words.

    Raises:
        InvalidArgumentError: a text that is empty, or metadata that cannot be kept; says of which document.
    """
    kept = [_checked(document, name, at) for at, (document, name) in enumerate(zip(documents, ids, strict=True))]
    return list(_batches(documents, ids, kept, dict(columns)))


def from_hit(hit: Hit) -> Document:
    """A hit as a document with the passage's id.

    Metadata is what was added by LangChain; of a document that came into the index otherwise its own columns, title,
    language and source. A passage of a document that the index split also has document_id and start_index, its place in
    the document's text in characters.
    """
    stored = hit.metadata.get(METADATA_COLUMN)
    metadata = _other_metadata(hit) if stored is None else from_json(stored)
    if hit.id != hit.document_id:
        metadata |= {"document_id": hit.document_id, "start_index": hit.start}
    return Document(id=hit.id, page_content=hit.text, metadata=metadata)


def from_stored(document: lusirag.Document) -> Document:
    """A whole document of an index; metadata as of `from_hit`."""
    stored = document.metadata.get(METADATA_COLUMN)
    metadata = _other_metadata(document) if stored is None else from_json(stored)
    return Document(id=document.id, page_content=document.text, metadata=metadata)


def to_hits(documents: Sequence[Document]) -> list[Hit]:
    """Documents as hits for a reranker: their texts, and numbers as ids."""
    return [
        Hit(str(at), 0.0, found.page_content, None, None, None, {}, str(at), 0, len(found.page_content))
        for at, found in enumerate(documents)
    ]


def _checked(document: Document, name: str, at: int) -> str:
    place = f"document {at + 1} (id {name!r})"
    if not document.page_content.strip():
        raise InvalidArgumentError(f"{place} has no text; leave out documents whose page_content is blank")
    if not isinstance(name, str) or not name.strip() or not is_text(name) or "\0" in name:
        raise InvalidArgumentError(f"{place} cannot have this id; give a str that is not blank, without NUL characters")
    if "\0" in document.page_content:
        raise InvalidArgumentError(f"{place} has a NUL character in its text; remove it, as by replace('\\0', '')")
    return to_json(document.metadata, place)


def _batches(
    documents: Sequence[Document], ids: Sequence[str], kept: Sequence[str], columns: dict[str, str]
) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(documents), _ROWS):
        part = documents[start : start + _ROWS]
        metadatas = [document.metadata for document in part]
        own = columns_of(metadatas, columns)
        columns |= {name: str(column.type) for name, column in own.items() if columns.get(name) in (None, "null")}
        arrays = {
            "id": pa.array(ids[start : start + _ROWS], pa.string()),
            "text": pa.array([document.page_content for document in part], pa.large_string()),
            "language": pa.array([_language(metadata) for metadata in metadatas], pa.string()),
            "source": pa.array([_source(metadata) for metadata in metadatas], pa.string()),
            **own,
            METADATA_COLUMN: pa.array(kept[start : start + _ROWS], pa.string()),
        }
        yield pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def _language(metadata: Mapping[str, Any]) -> str | None:
    """What the metadata says, if it is a BCP 47 tag; "English" or "No language found." leave it to the index."""
    value = metadata.get("language")
    return str(value) if isinstance(value, str) and _TAG.fullmatch(value) else None


def _source(metadata: Mapping[str, Any]) -> str | None:
    value = metadata.get("source")
    return value if isinstance(value, str) and is_text(value) else None


def _other_metadata(found: Hit | lusirag.Document) -> dict[str, Any]:
    fields = {"title": found.title, "language": found.language, "source": found.source}
    return {name: value for name, value in fields.items() if value is not None} | dict(found.metadata)
