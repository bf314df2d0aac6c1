"""The LUSIFER network as a transformers model. Names are loaded when they are first used, torch with them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lusirag.model.alignment import AlignmentOutput, LusiferForAlignment
    from lusirag.model.configuration import LusiferConfig
    from lusirag.model.network import LusiferModel, LusiferOutput
    from lusirag.model.self_check import check_bidirectional

__all__ = [
    "AlignmentOutput",
    "LusiferConfig",
    "LusiferForAlignment",
    "LusiferModel",
    "LusiferOutput",
    "check_bidirectional",
]

_HOME = {
    "AlignmentOutput": "alignment",
    "LusiferConfig": "configuration",
    "LusiferForAlignment": "alignment",
    "LusiferModel": "network",
    "LusiferOutput": "network",
    "check_bidirectional": "self_check",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lusirag.model' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"lusirag.model.{_HOME[name]}"), name)
