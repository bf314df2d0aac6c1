"""The LUSIFER network as a transformers model: `LusiferConfig`, `LusiferModel`, `LusiferOutput`."""

from lusirag.model.configuration import LusiferConfig
from lusirag.model.network import LusiferModel, LusiferOutput
from lusirag.model.self_check import check_bidirectional

__all__ = ["LusiferConfig", "LusiferModel", "LusiferOutput", "check_bidirectional"]
