"""Documents and their vectors on disk: crash-safe, incremental, searched by meaning, by words, or both.

    index = Index.create("my-index", embedder)
    index.add(documents)
    hits = index.search("question in any language")

`Index` (index.py) is the door. A state of the index is a `Snapshot` of immutable segments (snapshot.py, segment.py)
named by a manifest (manifest.py); only `Writer` (writer.py) makes a new state.
"""

from __future__ import annotations

from lusirag.index.ann.records import LanguageRecall, RecallRecord
from lusirag.index.build import OnDuplicate
from lusirag.index.fusion import Fusion
from lusirag.index.index import Index
from lusirag.index.language_report import LanguageReport, LanguageStatistics
from lusirag.index.repair import repair_index
from lusirag.index.reports import AddReport, Progress, RepairReport, VerifyReport
from lusirag.index.verify import verify_index

__all__ = [
    "AddReport",
    "Fusion",
    "Index",
    "LanguageRecall",
    "LanguageReport",
    "LanguageStatistics",
    "OnDuplicate",
    "Progress",
    "RecallRecord",
    "RepairReport",
    "VerifyReport",
    "repair_index",
    "verify_index",
]
