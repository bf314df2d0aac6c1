"""`Embedder`: the one object that turns texts into vectors, for a person, an index or a RAG framework."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from lusirag.embedding.catalog import DEFAULT_MODEL, EMBEDDED_MODELS
from lusirag.embedding.fingerprint import cut_fingerprint
from lusirag.embedding.precision import convert, require_precision
from lusirag.embedding.running import BatchRunner
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

    With `devices`, worker processes compute; `close`, or the end of a `with` block, ends them (so does the end of this
    process, however it comes).
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
        full_dimension: int | None = None,
    ) -> None:
        self.name = name
        self.dimension = dimension
        self.full_dimension = full_dimension or dimension
        self.max_tokens = tokenizer.max_tokens
        self.fingerprint = fingerprint
        self.statistics = EncodingStatistics()
        self._runtime = runtime
        self._run = BatchRunner(runtime, padding_id=padding_id, batch_tokens=batch_tokens)
        self._tokenizer = tokenizer
        self._templates = templates
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        model: str | Path = DEFAULT_MODEL,
        *,
        runtime: str | None = None,
        device: str | None = None,
        devices: Sequence[str] | None = None,
        dtype: str | None = None,
        dimension: int | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        batch_tokens: int | None = None,
        attention: str | None = None,
        compiled: bool = False,
    ) -> Embedder:
        """Load a model.

        Args:
            model: an embedded name ("lusifer-mini"), a model directory, or a hub id ("owner/name"). Embedded names and
                directories never touch the network.
            runtime: "onnx" (8-bit, CPU only, needs no torch) or "torch". When None, "onnx" where the model has an ONNX
                form, onnxruntime is installed, there is no GPU, and neither a GPU nor a dtype is asked for.
            device: "cpu", "cuda", "cuda:1", ...; the first GPU when there is one, else the CPU.
            devices: several, one worker process each, such as ["cuda:0", "cuda:1"], in the place of `device`.
            dtype: "float32", "bfloat16" or "float16", of torch; float32 on a CPU, bfloat16 on a GPU.
            dimension: cut vectors to their first values and renormalise, for models trained for it (Matryoshka).
            revision: branch, tag or commit of a hub id.
            local_files_only: use a hub id's cached files only.
            batch_tokens: most tokens that run at once, padding included; the runtime's own choice when None. Halved
                whenever memory runs out.
            attention: kernel of torch: "sdpa" when None, "eager", or "flash_attention_2" where that is installed.
            compiled: let torch.compile fuse the network (one device): slow to start, faster on a GPU.

        Raises:
            ModelError: no such model, or its files are damaged or incomplete.
            InvalidArgumentError: no such runtime, device, dtype, dimension or batch size, or they do not go together.
            MissingDependencyError: runtime="onnx" without onnxruntime.
        """
        from lusirag.embedding.loading import find_directory, load_model

        if batch_tokens is not None and batch_tokens < 1:
            raise InvalidArgumentError(f"batch_tokens is {batch_tokens}; give 1 or more, or leave it out")
        directory = find_directory(model, revision=revision, local_files_only=local_files_only)
        loaded = load_model(
            directory,
            runtime=runtime,
            device=device,
            devices=devices,
            dtype=dtype,
            attention=attention,
            compiled=compiled,
            local_files_only=local_files_only,
        )
        full = loaded.description.dimension
        kept = _dimension(dimension, full, loaded.description.matryoshka_dimensions)
        return cls(
            loaded.runtime,
            loaded.tokenizer,
            loaded.description.templates,
            name=str(model) if model in EMBEDDED_MODELS or not Path(model).exists() else str(Path(model).resolve()),
            dimension=kept,
            full_dimension=full,
            padding_id=loaded.description.padding_id,
            fingerprint=cut_fingerprint(loaded.fingerprint, kept, full),
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

    @property
    def instruction_roles(self) -> frozenset[str]:
        """Which of "query" and "document" take an instruction; most models none, some queries alone."""
        return frozenset(role for role, template in self._templates.items() if template.takes_instruction)

    @property
    def arithmetic(self) -> str:
        """What computes, and in which numbers: "onnx-int8", "torch-bfloat16"; no part of the fingerprint."""
        return self._runtime.arithmetic

    def encode_queries(
        self,
        texts: Sequence[str],
        *,
        instruction: str | None = None,
        progress: Progress | None = None,
        precision: str = "float32",
    ) -> npt.NDArray[Any]:
        """Embed questions.

        Args:
            texts: n texts.
            instruction: what to search for, in words, for models trained with instructions; their default when None.
            progress: called as progress(done, total) after each batch.
            precision: "float32", or a smaller form: "float16", "int8", "binary" (see `precision.convert`).

        Returns:
            float32 (n, dimension), unit length, in the order of `texts`; (0, dimension) for none. With "binary",
            uint8 (n, ceil(dimension / 8)).

        Raises:
            InvalidArgumentError: a text is not str, the model takes no instruction, or there is no such precision.
            ModelError: a text does not fit into the device's memory, or a worker process failed.
        """
        return self._encode("query", texts, instruction, progress, precision)

    def encode_documents(
        self,
        texts: Sequence[str],
        *,
        instruction: str | None = None,
        progress: Progress | None = None,
        precision: str = "float32",
    ) -> npt.NDArray[Any]:
        """Embed passages; as `encode_queries`, in the document template."""
        return self._encode("document", texts, instruction, progress, precision)

    def close(self) -> None:
        """End the worker processes of an embedder with several devices; others have nothing to close."""
        self._runtime.close()

    def __enter__(self) -> Embedder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _encode(
        self, role: str, texts: Sequence[str], instruction: str | None, progress: Progress | None, precision: str
    ) -> npt.NDArray[Any]:
        before, after = self._templates[role].surroundings(instruction)
        checked = require_texts(texts)
        require_precision(precision)
        vectors = np.empty((len(checked), self.dimension), dtype=np.float32)
        truncated = 0
        for start in range(0, len(checked), WINDOW):
            window = [f"{before}{text}{after}" for text in checked[start : start + WINDOW]]
            tokenized = self._tokenizer(window)
            truncated += tokenized.truncated
            self._count(tokenized.ids, tokenized.truncated)
            done = start
            for batch, rows in self._run(tokenized.ids):
                vectors[[start + at for at in batch]] = _unit_length(rows[:, : self.dimension])
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
        return convert(vectors, precision)

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


def _dimension(asked: int | None, full: int, trained: Sequence[int] | None) -> int:
    """The length of the vectors that are wanted.

    Raises:
        InvalidArgumentError: longer than the model's, or not one that the model was trained for.
    """
    if asked is None:
        return full
    allowed = sorted({*trained, full}) if trained else None
    if not 0 < asked <= full or (allowed is not None and asked not in allowed):
        choices = ", ".join(map(str, allowed)) if allowed else f"1 to {full}"
        raise InvalidArgumentError(f"dimension is {asked}; this model has {choices}")
    if asked < full and allowed is None:
        logger.warning("this model was not trained for shorter vectors: its first %d values lose quality", asked)
    return asked
