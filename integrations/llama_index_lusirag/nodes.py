"""Nodes of LlamaIndex as documents of an index, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from llama_index.core.schema import BaseNode, MetadataMode, NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from llama_index_lusirag.columns import (
    KEYS,
    NODE,
    NODE_TYPE,
    REF_DOC,
    REF_DOC_KEYS,
    TYPES,
    Layout,
    keys_of,
    metadata_columns,
)
from lusirag.errors import InvalidArgumentError
from lusirag.types import Document, Hit

_CONTENT, _TYPE = "_node_content", "_node_type"
_NO_TEXT = "-"  # an index takes no empty text, and searches nothing in this one
_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")  # BCP 47, so that "English" is no language
_OWN_TEXT = "\n"  # before the JSON of a node whose text is in it, because the document has another one


def table_of(nodes: Sequence[BaseNode], layout: Layout) -> pa.Table:
    """Nodes as documents: id, text, language, the rest of the node as JSON, and columns for its metadata.

    The language is the metadata's "language" where that is a tag, else it is identified by the index.

    Raises:
        InvalidArgumentError: a node has half of a surrogate pair in it, or is otherwise no JSON.
    """
    try:
        rows = [_row(node) for node in nodes]
        metadata = [row.pop("metadata") for row in rows]
        columns = {
            "id": pa.array([row["id"] for row in rows], pa.string()),
            "text": pa.array([row["text"] for row in rows], pa.large_string()),
            "language": pa.array([_language(each) for each in metadata], pa.string()),
            REF_DOC: pa.array([row[REF_DOC] for row in rows], pa.string()),
            NODE: pa.array([row[NODE] for row in rows], pa.string()),
            NODE_TYPE: pa.array([row[NODE_TYPE] for row in rows], pa.string()),
            KEYS: pa.array([keys_of(each) for each in metadata], TYPES["texts"]),
        }
        return pa.table(columns | metadata_columns(metadata, layout))
    except (UnicodeEncodeError, ValueError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidArgumentError(
            f"a node cannot be stored: {reason}; its text, id and metadata must be what JSON and UTF-8 can say"
        ) from error


def node_of(found: Hit | Document) -> BaseNode:
    """The node that was stored; of a document that was no node, a text node with all that is known about it.

    The latter is a passage of the document, which is its source: title, language, source and columns are metadata.
    """
    content = found.metadata.get(NODE)
    if content is not None:
        text = None if content.startswith(_OWN_TEXT) else found.text
        return metadata_dict_to_node({_CONTENT: content, _TYPE: found.metadata.get(NODE_TYPE)}, text=text)
    known = {"title": found.title, "language": found.language, "source": found.source}
    metadata = {**{name: value for name, value in known.items() if value is not None}, **found.metadata}
    if isinstance(found, Document):
        return TextNode(id_=found.id, text=found.text, metadata=metadata)
    return TextNode(
        id_=found.id,
        text=found.text,
        metadata=metadata,
        start_char_idx=found.start,
        end_char_idx=found.end,
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=found.document_id)},
    )


def scored_node(hit: Hit) -> NodeWithScore:
    """A hit as a node with its score."""
    return NodeWithScore(node=node_of(hit), score=hit.score)


def _row(node: BaseNode) -> dict[str, Any]:
    text = node.get_content(metadata_mode=MetadataMode.NONE)
    as_text = bool(text) and not text.isspace() and "\0" not in text
    described = node_to_metadata_dict(node, remove_text=as_text)
    content = described.pop(_CONTENT)
    kind = described.pop(_TYPE)
    metadata = {key: _restored(value, node.metadata.get(key)) for key, value in described.items()}
    if infinite := {key: metadata[key] for key, value in described.items() if metadata[key] is not value}:
        whole = json.loads(content)
        content = json.dumps(whole | {"metadata": whole["metadata"] | infinite}, ensure_ascii=False)
    return {
        "id": node.node_id,
        "text": text if as_text else text.replace("\0", " ").strip() or _NO_TEXT,
        REF_DOC: node.ref_doc_id,
        NODE: content if as_text else _OWN_TEXT + content,
        NODE_TYPE: kind,
        "metadata": {key: value for key, value in metadata.items() if key not in REF_DOC_KEYS},
    }


def _restored(written: Any, given: Any) -> Any:
    """A value of the metadata with its infinities and NaNs, of which LlamaIndex's JSON makes null; the same if none."""
    if written is None:
        return given if isinstance(given, float) else None
    if isinstance(written, dict) and isinstance(given, Mapping):
        found = {key: _restored(value, given.get(key)) for key, value in written.items()}
        return found if any(found[key] is not value for key, value in written.items()) else written
    if isinstance(written, list) and isinstance(given, list | tuple) and len(written) == len(given):
        values = [_restored(value, each) for value, each in zip(written, given, strict=True)]
        return values if any(new is not value for new, value in zip(values, written, strict=True)) else written
    return written


def _language(metadata: Mapping[str, Any]) -> str | None:
    language = metadata.get("language")
    return language if isinstance(language, str) and _TAG.fullmatch(language) else None
