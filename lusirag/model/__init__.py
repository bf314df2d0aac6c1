"""The LUSIFER network as a transformers model: `LusiferConfig`, `LusiferModel`, `LusiferOutput`."""

from transformers import AutoConfig, AutoModel

from lusirag.model.alignment import AlignmentOutput, LusiferForAlignment
from lusirag.model.configuration import LusiferConfig
from lusirag.model.network import LusiferModel, LusiferOutput
from lusirag.model.self_check import check_bidirectional

AutoConfig.register(LusiferConfig.model_type, LusiferConfig, exist_ok=True)
AutoModel.register(LusiferConfig, LusiferModel, exist_ok=True)

__all__ = [
    "AlignmentOutput",
    "LusiferConfig",
    "LusiferForAlignment",
    "LusiferModel",
    "LusiferOutput",
    "check_bidirectional",
]
