"""Texts to float32 unit vectors: `Embedder` loads a model by name, directory or hub id and encodes in batches."""

from lusirag.embedding.catalog import DEFAULT_MODEL, EMBEDDED_MODELS
from lusirag.embedding.embedder import Embedder, EncodingStatistics

__all__ = ["DEFAULT_MODEL", "EMBEDDED_MODELS", "Embedder", "EncodingStatistics"]
