"""lusirag: multilingual retrieval and RAG around the LUSIFER embedding model.

    from lusirag import Document, Embedder, Index

`import lusirag` is quick: the names below load their modules (and torch) when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lusirag.embedding import Embedder
    from lusirag.errors import LusiragError
    from lusirag.index import Index
    from lusirag.model import LusiferConfig, LusiferModel
    from lusirag.rag import Answerer
    from lusirag.retrieval import Retriever
    from lusirag.types import Document, Hit

__version__ = "0.1.0"
__all__ = [
    "Answerer",
    "Document",
    "Embedder",
    "Hit",
    "Index",
    "LusiferConfig",
    "LusiferModel",
    "LusiragError",
    "Retriever",
    "__version__",
]

_HOME = {
    "Answerer": "lusirag.rag",
    "Document": "lusirag.types",
    "Embedder": "lusirag.embedding",
    "Hit": "lusirag.types",
    "Index": "lusirag.index",
    "LusiferConfig": "lusirag.model",
    "LusiferModel": "lusirag.model",
    "LusiragError": "lusirag.errors",
    "Retriever": "lusirag.retrieval",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lusirag' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
