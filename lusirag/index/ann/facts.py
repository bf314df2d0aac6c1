"""What `Index.info` says of how an index is searched."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from lusirag.index.ann.memory import structure_bytes
from lusirag.index.manifest import content_state
from lusirag.index.snapshot import Snapshot


def ann_facts(snapshot: Snapshot) -> dict[str, Any]:
    """The kind asked for, what segments have, memory, settings, and the last measurement of recall.

    `recall` is that of the worst language: 1.0 where all search is exact, None where it was not measured. `stale` says
    that passages have come or gone since.
    """
    record, segments = snapshot.manifest.ann, snapshot.manifest.segments
    dimension = snapshot.manifest.embedder.dimension
    structures = Counter(segment.structure or "exact" for segment in segments)
    approximate = any(segment.structure for segment in segments)
    measured = record.recall
    recall = (measured.worst if measured else None) if approximate else 1.0
    facts: dict[str, Any] = {
        "kind": record.kind,
        "structures": dict(structures),
        "memory": sum(structure_bytes(segment.structure, segment.rows, dimension) or 0 for segment in segments),
        "memory_allowed": record.memory,
        "settings": asdict(record.settings),
        "recall": recall,
    }
    if approximate and measured:
        facts |= {
            "recall_of": {"k": measured.k, "queries": measured.queries, "source": measured.source},
            "stale": measured.state != content_state(snapshot.manifest),
            "languages": [asdict(each) for each in measured.languages],
        }
    return facts
