"""`Embedder`: the one object that turns texts into vectors, for a person, an index or a RAG framework."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from lusirag.embedding.batching import pad_batch, plan_batches
from lusirag.embedding.catalog import DEFAULT_MODEL, EMBEDDED_MODELS
from lusirag.embedding.runtime import Runtime
from lusirag.embedding.templates import Template
from lusirag.embedding.tokenization import TextTokenizer, require_texts
from lusirag.errors import InvalidArgumentError, ModelError
from lusirag.types import Vectors

logger = logging.getLogger(__name__)

WINDOW = 8192  # texts that are tokenised and sorted together; bounds memory, not results
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class EncodingStatistics:
    """What an embedder has done since it was loaded.

    Attributes:
        texts: encoded. tokens: computed, special tokens included, padding not.
        truncated: texts longer than `max_tokens`, of which only the beginning was embedded.
        empty: texts without a visible character.
    """

    texts: int = 0
    tokens: int = 0
    truncated: int = 0
    empty: int = 0


class Embedder:
    """A LUSIFER model with its tokenizer and text templates. Safe to share between threads.

    `Embedder.load` makes one. Vectors are float32, shape (n, dimension), unit length, and a text's vector does not
    depend on the other texts of the call (to 1e-5 in float32). An empty text, or one of white space alone, gets the
    vector of the bare template; `statistics.empty` counts them.
    """

    def __init__(
        self,
        runtime: Runtime,
        tokenizer: TextTokenizer,
        templates: dict[str, Template],
        *,
        name: str,
        dimension: int,
        padding_id: int,
        fingerprint: str,
        batch_tokens: int,
    ) -> None:
        self.name = name
        self.dimension = dimension
        self.max_tokens = tokenizer.max_tokens
        self.fingerprint = fingerprint
        self.statistics = EncodingStatistics()
        self._runtime = runtime
        self._tokenizer = tokenizer
        self._templates = templates
        self._padding_id = padding_id
        self._batch_tokens = batch_tokens
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        model: str | Path = DEFAULT_MODEL,
        *,
        runtime: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        batch_tokens: int | None = None,
    ) -> Embedder:
        """Load a model.

        Args:
            model: an embedded name ("lusifer-mini"), a model directory, or a hub id ("owner/name"). Embedded names and
                directories never touch the network.
            runtime: "onnx" (8-bit, CPU only, needs no torch) or "torch". When None, "onnx" where the model has an ONNX
                form, onnxruntime is installed, there is no GPU, and neither a GPU nor a dtype is asked for.
            device: "cpu", "cuda", "cuda:1", ...; the first GPU when there is one, else the CPU.
            dtype: "float32", "bfloat16" or "float16", of torch; float32 on a CPU, bfloat16 on a GPU.
            revision: branch, tag or commit of a hub id.
            local_files_only: use a hub id's cached files only.
            batch_tokens: most tokens that run at once, padding included; the runtime's own choice when None.

        Raises:
            ModelError: no such model, or its files are damaged or incomplete.
            InvalidArgumentError: no such runtime, device, dtype or batch size, or they do not go together.
            MissingDependencyError: runtime="onnx" without onnxruntime.
        """
        from lusirag.embedding.loading import find_directory, load_model

        if batch_tokens is not None and batch_tokens < 1:
            raise InvalidArgumentError(f"batch_tokens is {batch_tokens}; give 1 or more, or leave it out")
        directory = find_directory(model, revision=revision, local_files_only=local_files_only)
        loaded = load_model(directory, runtime=runtime, device=device, dtype=dtype)
        return cls(
            loaded.runtime,
            loaded.tokenizer,
            loaded.description.templates,
            name=str(model) if model in EMBEDDED_MODELS or not Path(model).exists() else str(Path(model).resolve()),
            dimension=loaded.description.dimension,
            padding_id=loaded.description.padding_id,
            fingerprint=loaded.fingerprint,
            batch_tokens=batch_tokens or loaded.runtime.batch_tokens,
        )

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer, for chunking by its tokens; it neither cuts nor pads."""
        return self._tokenizer.tokenizer

    @property
    def max_passage_tokens(self) -> int:
        """How many tokens of a document's own text fit beside the template and the special tokens."""
        return self._tokenizer.room_for_text(*self._templates["document"].surroundings(None))

    def encode_queries(
        self, texts: Sequence[str], *, instruction: str | None = None, progress: Progress | None = None
    ) -> Vectors:
        """Embed questions.

        Args:
            texts: n texts.
            instruction: what to search for, in words, for models trained with instructions; their default when None.
            progress: called as progress(done, total) after each batch.

        Returns:
            float32 (n, dimension), unit length, in the order of `texts`; (0, dimension) for none.

        Raises:
            InvalidArgumentError: a text is not str, or the model takes no instruction.
        """
        return self._encode("query", texts, instruction, progress)

    def encode_documents(
        self, texts: Sequence[str], *, instruction: str | None = None, progress: Progress | None = None
    ) -> Vectors:
        """Embed passages; as `encode_queries`, in the document template."""
        return self._encode("document", texts, instruction, progress)

    def _encode(self, role: str, texts: Sequence[str], instruction: str | None, progress: Progress | None) -> Vectors:
        before, after = self._templates[role].surroundings(instruction)
        checked = require_texts(texts)
        vectors = np.empty((len(checked), self.dimension), dtype=np.float32)
        truncated = 0
        for start in range(0, len(checked), WINDOW):
            window = [f"{before}{text}{after}" for text in checked[start : start + WINDOW]]
            tokenized = self._tokenizer(window)
            truncated += tokenized.truncated
            self._count(tokenized.ids, tokenized.truncated)
            done = start
            for batch in plan_batches([len(ids) for ids in tokenized.ids], batch_tokens=self._batch_tokens):
                rows = self._runtime(*pad_batch([tokenized.ids[at] for at in batch], padding_id=self._padding_id))
                vectors[[start + at for at in batch]] = _unit_length(rows)
                done += len(batch)
                if progress is not None:
                    progress(done, len(checked))
        empty = sum(not text for text in checked)
        with self._lock:
            self.statistics = replace(self.statistics, empty=self.statistics.empty + empty)
        if truncated:
            logger.warning(
                "%d of %d texts were longer than %d tokens and were cut; split long texts into chunks",
                truncated,
                len(checked),
                self.max_tokens,
            )
        return vectors

    def _count(self, ids: list[list[int]], truncated: int) -> None:
        with self._lock:
            self.statistics = replace(
                self.statistics,
                texts=self.statistics.texts + len(ids),
                tokens=self.statistics.tokens + sum(map(len, ids)),
                truncated=self.statistics.truncated + truncated,
            )


def _unit_length(rows: Vectors) -> Vectors:
    """Normalise (B, O) by rows.

    Raises:
        ModelError: a vector is not finite or zero, as when float16 overflows.
    """
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and norms.all()):
        raise ModelError("the model computed a vector that is not finite; load it with dtype='float32' or 'bfloat16'")
    unit: Vectors = rows / norms
    return unit
