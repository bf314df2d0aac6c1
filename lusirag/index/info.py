"""What an index holds, in a dict that can be shown and written as JSON."""

from __future__ import annotations

from typing import Any

from lusirag.index.ann.facts import ann_facts
from lusirag.index.manifest import FORMAT_VERSION, MANIFEST_FILE
from lusirag.index.snapshot import Snapshot


def describe(snapshot: Snapshot) -> dict[str, Any]:
    """Documents, passages, languages (live passages each), columns, model, size and more; see `Index.info`."""
    manifest = snapshot.manifest
    chunking = manifest.chunking
    manifest_bytes = (snapshot.directory / MANIFEST_FILE).stat().st_size
    return {
        "documents": snapshot.documents,
        "passages": snapshot.passages,
        "deleted": sum(record.deleted_documents for record in manifest.segments),
        "deleted_passages": sum(record.deleted_rows for record in manifest.segments),
        "segments": len(manifest.segments),
        "dimension": manifest.embedder.dimension,
        "embedder": manifest.embedder.name,
        "fingerprint": manifest.embedder.fingerprint,
        "generation": manifest.generation,
        "bytes": sum(file.bytes for file in manifest.files()) + manifest_bytes,
        "languages": snapshot.languages,
        "columns": dict(manifest.columns),
        "chunking": None if chunking is None else {"tokens": chunking.tokens, "overlap": chunking.overlap},
        "identify_languages": manifest.identify_languages,
        "lexical": None if manifest.lexical is None else manifest.lexical.analyser,
        "complete": manifest.complete,
        "sources": list(manifest.sources),
        "created": manifest.created,
        "updated": manifest.updated,
        "ann": ann_facts(snapshot),
        "metric": manifest.metric,
        "vectors": manifest.vectors,
        "format_version": FORMAT_VERSION,
    }
