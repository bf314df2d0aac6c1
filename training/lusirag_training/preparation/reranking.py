"""A reranker reads query and document together: slower and surer than two vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from lusirag.errors import ModelError
from lusirag.types import Vectors


class Reranker(Protocol):
    """Anything that scores documents for a query."""

    @property
    def name(self) -> str:
        """For the report."""

    def score(self, query: str, texts: Sequence[str]) -> Vectors:
        """Return float32 (len(texts),), from 0 (does not answer) to 1; the rules about ratio and margin need that."""


class CrossEncoder:
    """A sequence classifier of transformers with one output (its sigmoid is the score) or two (softmax, the second).

    Args:
        model: a directory or a hub id.
        device: "cpu", "cuda", ...; the first GPU when there is one.
        batch_size: documents at once.
        max_tokens: query and document together; what is longer is cut in the document.
        local_files_only: use a hub id's cached files only.

    Raises:
        ModelError: it cannot be loaded, or has another number of outputs.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str | None = None,
        batch_size: int = 32,
        max_tokens: int = 512,
        local_files_only: bool = False,
    ) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.name = model
        options = {"local_files_only": local_files_only, "trust_remote_code": False}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(model, **options)
            network = AutoModelForSequenceClassification.from_pretrained(model, use_safetensors=True, **options)
        except (OSError, ValueError) as error:
            said = " ".join(str(error).split())[:200]
            raise ModelError(f"the reranker {model} cannot be loaded ({said}); give a directory or hub id") from error
        if network.config.num_labels not in (1, 2):
            raise ModelError(f"the reranker {model} has {network.config.num_labels} outputs; one or two are needed")
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._network: Any = network.to(self._device).eval()
        self._batch_size, self._max_tokens = batch_size, max_tokens

    def score(self, query: str, texts: Sequence[str]) -> Vectors:
        """Score documents for a query, as `Reranker.score`."""
        import torch

        scores = np.empty(len(texts), dtype=np.float32)
        for start in range(0, len(texts), self._batch_size):
            some = list(texts[start : start + self._batch_size])
            inputs = self._tokenizer(
                [query] * len(some),
                some,
                truncation="only_second",
                max_length=self._max_tokens,
                padding=True,
                return_tensors="pt",
            ).to(self._device)
            with torch.inference_mode():
                logits = self._network(**inputs).logits.float()  # (b, 1) or (b, 2)
            chances = logits.sigmoid()[:, 0] if logits.shape[1] == 1 else logits.softmax(-1)[:, 1]
            scores[start : start + len(some)] = chances.cpu().numpy()
        return scores
