"""What `Index.info` says of how an index is searched."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from lusirag.index import gpu
from lusirag.index.ann.memory import structure_bytes
from lusirag.index.manifest import content_state
from lusirag.index.segment import Segment
from lusirag.index.snapshot import Snapshot


def ann_facts(snapshot: Snapshot) -> dict[str, Any]:
    """The kind asked for, what segments have, memory, where is searched, settings, and the last measurement of recall.

    `recall` is that of the worst language: 1.0 where all search is exact, None where it was not measured. `stale` says
    that passages have come or gone since.
    """
    record, segments = snapshot.manifest.ann, snapshot.manifest.segments
    structures = Counter(segment.structure or "exact" for segment in segments)
    approximate = any(segment.structure for segment in segments)
    measured = record.recall
    recall = (measured.worst if measured else None) if approximate else 1.0
    facts: dict[str, Any] = {
        "kind": record.kind,
        "structures": dict(structures),
        "memory": sum(map(_bytes_touched, snapshot.segments)),
        "memory_allowed": record.memory,
        "latency_ms": record.latency_ms,
        "device": "gpu" if gpu.searches() else "cpu",
        "settings": asdict(record.settings),
        "recall": recall,
    }
    if approximate and measured:
        facts |= {
            "recall_of": {
                "k": measured.k,
                "queries": measured.queries,
                "source": measured.source,
                "milliseconds": measured.milliseconds,
            },
            "stale": measured.state != content_state(snapshot.manifest),
            "languages": [asdict(each) for each in measured.languages],
        }
    return facts


def _bytes_touched(segment: Segment) -> int:
    vectors, record = segment.vectors, segment.record
    return structure_bytes(record.structure, record.rows, vectors.dimension, vectors.codes.itemsize) or 0
