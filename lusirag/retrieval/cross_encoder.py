"""Reranking by a cross-encoder, a model that reads query and passage together (sentence-transformers runs it)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lusirag.corpus import passage_text
from lusirag.errors import InvalidArgumentError, MissingDependencyError, ModelError
from lusirag.types import Hit, Vectors

# transformers gives any other network a scoring head of random numbers, and only logs it.
_SCORING = ("ForSequenceClassification", "ForCausalLM", "ForConditionalGeneration")


class CrossEncoderReranker:
    """Any `sentence_transformers.CrossEncoder` with one output, as it scores by itself (mostly a sigmoid: 0 to 1).

    Args:
        model: a directory or hub id, such as "cross-encoder/mmarco-mMiniLMv2-L12-H384-v1". Weights must be
            safetensors; code that comes with a model is never run.
        device: "cpu", "cuda", "cuda:1", ...; the first GPU when there is one, else the CPU.
        batch_size: passages that are scored at once.
        local_files_only: never ask the hub.

    Raises:
        MissingDependencyError: sentence-transformers is not installed.
        ModelError: there is no such model, its files cannot be read, or it is no cross-encoder.
        InvalidArgumentError: batch_size below 1, or no such device.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        device: str | None = None,
        batch_size: int = 32,
        local_files_only: bool = False,
    ) -> None:
        if batch_size < 1:
            raise InvalidArgumentError(f"batch_size is {batch_size}; give 1 or more")
        self._name = str(model)
        self._batch_size = batch_size
        self._model = _load(self._name, device, local_files_only=local_files_only)

    def score(self, query: str, hits: Sequence[Hit]) -> Vectors:
        """The model's score (n,) for the query and each hit's title and text; what is too long is cut by the model."""
        pairs = [(query, passage_text(hit.title, hit.text)) for hit in hits]
        scores: Vectors = np.asarray(
            self._model.predict(pairs, batch_size=self._batch_size, show_progress_bar=False), dtype=np.float32
        )
        return scores


def _load(name: str, device: str | None, *, local_files_only: bool) -> Any:
    try:
        from sentence_transformers import CrossEncoder
    except ImportError as error:
        raise MissingDependencyError(
            'a cross-encoder needs sentence-transformers, which is not installed. Run: pip install "lusirag[rerank]"'
        ) from error
    from lusirag.embedding.torch_runtime import choose_device
    from lusirag.model.quiet import quiet_transformers

    place = str(choose_device(device))
    try:
        with quiet_transformers():
            model = CrossEncoder(
                name,
                device=place,
                local_files_only=local_files_only,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
    except Exception as error:  # each kind of broken model raises another one, of several libraries
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"the cross-encoder {name!r} cannot be loaded ({reason}); give a directory or hub id of a "
            "sequence classification model with safetensors weights"
        ) from error
    architecture = (getattr(model.config, "architectures", None) or ["unknown"])[0]
    if not architecture.endswith(_SCORING):
        raise ModelError(
            f"{name!r} is no cross-encoder: its config.json says {architecture}, which has no trained score; "
            f"a model that ends in {', '.join(_SCORING)} is needed"
        )
    if model.num_labels != 1:
        raise ModelError(f"the cross-encoder {name!r} has {model.num_labels} outputs; reranking needs a model with one")
    return model
