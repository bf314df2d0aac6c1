"""`LusiferEmbeddings`: a LUSIFER model as a LangChain embedding model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from langchain_core.embeddings import Embeddings

from lusirag.embedding import Embedder
from lusirag.errors import InvalidArgumentError
from lusirag.types import Encoder, Vectors

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "lusifer-mini"
_Progress = Callable[[int, int], None]

# What Embedder.load takes, and what sentence-transformers calls the same.
_LOAD_OPTIONS = (
    "runtime", "device", "devices", "dtype", "dimension", "revision", "local_files_only", "batch_tokens", "attention",
    "compiled",
)  # fmt: skip
_OTHER_NAMES = {"truncate_dim": "dimension", "backend": "runtime"}
_ENCODE_OPTIONS = ("batch_size", "normalize_embeddings")


class LusiferEmbeddings(Embeddings):
    """Embeds queries and documents in a hundred languages, each in its own template. Safe to share between threads.

    Takes what `HuggingFaceEmbeddings` of langchain-huggingface takes, so that only the import changes. Vectors are
    lists of Python floats, of unit length. The async methods compute in a thread.

    Args:
        model_name: "lusifer-mini", which needs no download; a model directory; or a hub id.
        model: the same; one of both.
        embedder: a loaded `Embedder` (or any `Encoder`) in the place of a name.
        model_kwargs: for `Embedder.load`: device, devices, runtime ("backend" too), dtype, dimension ("truncate_dim"
            too), revision, local_files_only, batch_tokens, attention, compiled. trust_remote_code is taken and does
            nothing: code that comes with a model is never run.
        encode_kwargs: normalize_embeddings may be True, as vectors always have unit length. batch_size is taken and
            does nothing: batches are made by tokens (model_kwargs={"batch_tokens": 8192}), and change no vector.
        query_instruction, instruction: what to search for, in words, for models that take it; one of both.
        multi_process: use all GPUs of this machine, one worker process each; where there are fewer than two, nothing.
        show_progress: a progress bar on standard error, or a function called with (done, total) after each batch.
        cache_folder: None; the hub's cache is set by the environment variable HF_HUB_CACHE.

    Raises:
        InvalidArgumentError: an option that is not listed here, or two that exclude each other.
        ModelError: no such model, or its files are damaged or incomplete.
    """

    def __init__(
        self,
        *,
        model_name: str | None = None,
        model: str | None = None,
        embedder: Encoder | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        encode_kwargs: Mapping[str, Any] | None = None,
        query_instruction: str | None = None,
        instruction: str | None = None,
        multi_process: bool = False,
        show_progress: bool | _Progress = False,
        cache_folder: None = None,
    ) -> None:
        if cache_folder is not None:
            raise InvalidArgumentError(
                f"cache_folder is {cache_folder!r}; leave it out and set the environment variable HF_HUB_CACHE instead"
            )
        _check_encoding(encode_kwargs or {})
        name = _one_of("model_name", model_name, "model", model)
        self.query_instruction = _one_of("query_instruction", query_instruction, "instruction", instruction)
        self._show_progress = show_progress
        self.embedder: Encoder
        if embedder is None:
            options = _load_options(model_kwargs or {}, multi_process=multi_process)
            self.embedder = Embedder.load(name or DEFAULT_MODEL, **options)
        else:
            _check_ready(embedder, name, model_kwargs, multi_process=multi_process, show_progress=show_progress)
            self.embedder = embedder
        self.model_name = self.embedder.name

    @property
    def model(self) -> str:
        """The model's name, as `model_name`."""
        return self.model_name

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector of floats for each passage; [] for none."""
        with self._progress("documents") as options:
            return _as_lists(self.embedder.encode_documents(list(texts), **options))

    def embed_queries(self, texts: list[str]) -> list[list[float]]:
        """One vector of floats for each question, computed at once; [] for none."""
        with self._progress("queries") as options:
            return _as_lists(self.embedder.encode_queries(list(texts), instruction=self.query_instruction, **options))

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        return self.embed_queries([text])[0]

    @contextmanager
    def _progress(self, what: str) -> Iterator[dict[str, Any]]:
        """What to tell the embedder of progress."""
        if self._show_progress is not True:
            yield {"progress": self._show_progress} if callable(self._show_progress) else {}
            return
        from tqdm.auto import tqdm  # type: ignore[import-untyped]

        with tqdm(desc=f"Embedding {what}", unit="text") as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield {"progress": show}

    def __repr__(self) -> str:
        return f"LusiferEmbeddings(model_name={self.model_name!r})"


def _as_lists(vectors: Vectors) -> list[list[float]]:
    lists: list[list[float]] = vectors.tolist()
    return lists


def _one_of(first: str, value: str | None, second: str, other: str | None) -> str | None:
    if value is not None and other is not None and value != other:
        raise InvalidArgumentError(f"{first} is {value!r} and {second} is {other!r}; they mean the same, so give one")
    return other if value is None else value


def _check_ready(
    embedder: Any,
    name: str | None,
    model_kwargs: Mapping[str, Any] | None,
    *,
    multi_process: bool,
    show_progress: bool | _Progress,
) -> None:
    """Refuse what only loading could heed, and an embedder that is none."""
    if not isinstance(embedder, Encoder):
        raise InvalidArgumentError(f"embedder is {embedder!r}; give what Embedder.load returns, or model_name")
    if name is not None or model_kwargs or multi_process:
        raise InvalidArgumentError("embedder is given, so model_name, model_kwargs and multi_process must be left out")
    if show_progress and not isinstance(embedder, Embedder):
        raise InvalidArgumentError(f"{embedder.name!r} reports no progress; leave show_progress out")


def _load_options(model_kwargs: Mapping[str, Any], *, multi_process: bool) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for given, value in model_kwargs.items():
        name = _OTHER_NAMES.get(given, given)
        if given == "trust_remote_code":
            continue
        if name not in _LOAD_OPTIONS:
            allowed = ", ".join((*_LOAD_OPTIONS, *_OTHER_NAMES, "trust_remote_code"))
            raise InvalidArgumentError(f"model_kwargs has {given!r}; it takes {allowed}")
        if name in options:
            raise InvalidArgumentError(f"model_kwargs has {name!r} twice, by both of its names; give one")
        options[name] = value
    if multi_process and (devices := _gpus()):
        if "device" in options or "devices" in options:
            raise InvalidArgumentError("multi_process takes all GPUs; leave device and devices out of model_kwargs")
        options["devices"] = devices
    return options


def _gpus() -> list[str]:
    """All GPUs of this machine, [] for fewer than two."""
    import torch

    count = torch.cuda.device_count()
    return [f"cuda:{number}" for number in range(count)] if count > 1 else []


def _check_encoding(encode_kwargs: Mapping[str, Any]) -> None:
    for name, value in encode_kwargs.items():
        if name in ("prompt", "prompt_name"):
            raise InvalidArgumentError(
                f"encode_kwargs has {name!r}; a LUSIFER model has templates of its own. "
                "Leave it out, or give query_instruction for a model that takes one"
            )
        if name not in _ENCODE_OPTIONS:
            raise InvalidArgumentError(f"encode_kwargs has {name!r}; it takes {', '.join(_ENCODE_OPTIONS)}")
        if name == "normalize_embeddings" and value is not True:
            raise InvalidArgumentError(
                f"normalize_embeddings is {value!r}; vectors always have unit length, so give True or leave it out"
            )
        if name == "batch_size":
            logger.info("batch_size has no effect: batches are made by tokens (model_kwargs={'batch_tokens': ...})")
