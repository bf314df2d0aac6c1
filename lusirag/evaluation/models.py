"""Embedding models by name, of other libraries too, so that they are measured in the same way as lusirag's own."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lusirag.embedding import Embedder
from lusirag.errors import InvalidArgumentError, MissingDependencyError, ModelError
from lusirag.evaluation.checking import unit_rows
from lusirag.types import Encoder, Vectors

_BATCH = 64  # texts of one request to an API


def load_encoder(
    spec: str,
    *,
    runtime: str | None = None,
    device: str | None = None,
    devices: Sequence[str] | None = None,
    dtype: str | None = None,
    base_url: str | None = None,
) -> Encoder:
    """Load a model to be measured.

    Args:
        spec: what `Embedder.load` takes; or "sentence-transformers:<directory or hub id>", with the model's own
            prompts for queries and documents, or those that mteb knows; "openai:<model>" for any endpoint with OpenAI's
            embeddings; "python:<module>:<function>", a function without arguments that returns an `Encoder`.
        runtime, device, devices, dtype: as of `Embedder.load`; a sentence-transformers model takes a device.
        base_url: of the endpoint; OPENAI_BASE_URL or OpenAI's own when None.

    Raises:
        InvalidArgumentError: no such kind, or an option that it does not take.
        ModelError: the model cannot be loaded.
        MissingDependencyError: the package that runs it is not installed.
    """
    kind, _, name = spec.partition(":")
    given: dict[str, Any] = {"runtime": runtime, "device": device, "devices": devices, "dtype": dtype}
    given = {option: value for option, value in (given | {"base_url": base_url}).items() if value is not None}
    load, takes = _KINDS[kind] if kind in _KINDS and name else (_own, _OWN_OPTIONS)
    if useless := sorted(given.keys() - takes):
        raise InvalidArgumentError(
            f"{spec!r} takes no {' and no '.join(useless)}; it takes {', '.join(sorted(takes)) or 'no option'}"
        )
    return load(name if load is not _own else spec, **given)


def options_of(spec: str) -> frozenset[str]:
    """Which options `load_encoder` takes for a model."""
    kind, _, name = spec.partition(":")
    return _KINDS[kind][1] if kind in _KINDS and name else _OWN_OPTIONS


def _own(spec: str, **options: Any) -> Encoder:
    return Embedder.load(spec, **options)


class SentenceTransformersEncoder:
    """Any model of sentence-transformers, normalised; satisfies lusirag.types.Encoder.

    Queries and documents get the model's own prompts. Some models were trained with prompts that their files do not
    name (those of E5 among them): for a hub id, mteb's registry is asked for them.

    Raises:
        MissingDependencyError: sentence-transformers is not installed.
        ModelError: it cannot be loaded.
    """

    def __init__(self, model: str, *, device: str | None = None) -> None:
        try:
            from sentence_transformers import SentenceTransformer

            from lusirag.model.quiet import quiet_transformers
        except ImportError as error:
            raise MissingDependencyError(
                "this model is run by sentence-transformers, which is not installed; pip install 'lusirag[eval]'"
            ) from error
        try:
            with quiet_transformers():
                self._model: Any = SentenceTransformer(model, device=device)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{model}: sentence-transformers cannot load it: {reason}") from error
        self._model.prompts.update(_missing_prompts(model, self._model.prompts))
        self.name = f"sentence-transformers:{model}"
        self.fingerprint = _fingerprint(self._model)
        self.dimension = int(self._model.get_embedding_dimension())
        self.max_tokens = int(self._model.max_seq_length or 0)

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension).

        Raises:
            InvalidArgumentError: an instruction is given; the model's own prompts stand in its place.
        """
        if instruction is not None:
            raise InvalidArgumentError(f"{self.name} takes no instruction; its own prompts are used")
        return self._encode(self._model.encode_query, texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension)."""
        return self._encode(self._model.encode_document, texts)

    def _encode(self, encode: Callable[..., Any], texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        found = encode(list(texts), normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False)
        vectors: Vectors = np.asarray(found, np.float32)
        return vectors


class OpenAIEncoder:
    """An embedding model behind an endpoint that speaks OpenAI's protocol; satisfies lusirag.types.Encoder.

    Args:
        model: as the endpoint names it. base_url: OPENAI_BASE_URL, or else OpenAI's, when None.

    Raises:
        MissingDependencyError: the package openai is not installed.
        ModelError: no API key is given, or the endpoint cannot be reached or refuses.
    """

    max_tokens = 0  # NOTE: the protocol does not tell

    def __init__(self, model: str, *, base_url: str | None = None) -> None:
        try:
            import openai
        except ImportError as error:
            raise MissingDependencyError(
                "this model is run by the package openai, which is not installed; pip install 'lusirag[openai]'"
            ) from error
        self._model = model
        self._errors = openai.OpenAIError
        key = os.environ.get("OPENAI_API_KEY") or ("none" if base_url else None)  # a local server needs none
        try:
            self._client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=4)
        except openai.OpenAIError as error:
            raise ModelError(f"openai:{model}: {error}") from error
        self.name = f"openai:{model}"
        self.dimension = 0  # until the first answer
        [probe] = self._request(["dimension"])
        self.dimension = len(probe)
        # Another model may be served under the same name: what it answers is part of its fingerprint.
        answer = hashlib.blake2b(np.round(probe, 3).tobytes(), digest_size=8).hexdigest()
        self.fingerprint = f"{self.name} {self._client.base_url} {answer}"

    def encode_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension).

        Raises:
            InvalidArgumentError: an instruction is given. ModelError: the endpoint failed.
        """
        if instruction is not None:
            raise InvalidArgumentError(f"{self.name} takes no instruction")
        return self.encode_documents(texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return float32 unit vectors of shape (n, dimension).

        Raises:
            ModelError: the endpoint failed.
        """
        starts = range(0, len(texts), _BATCH)
        rows = [self._request(list(texts[start : start + _BATCH])) for start in starts]
        return np.concatenate([np.empty((0, self.dimension), np.float32), *rows])

    def _request(self, texts: list[str]) -> Vectors:
        """The unit vectors of some texts, in their order."""
        try:
            answer = self._client.embeddings.create(model=self._model, input=[text or " " for text in texts])
            rows = sorted(answer.data, key=lambda row: row.index)
            vectors = [row.embedding for row in rows]
            dimension = self.dimension or len(vectors[0])
        except self._errors as error:
            raise ModelError(f"{self.name}: the endpoint failed: {error}") from error
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            raise ModelError(f"{self.name}: the endpoint's answer holds no embeddings: {error}") from error
        return unit_rows(self.name, vectors, count=len(texts), dimension=dimension)


def _missing_prompts(model: str, own: Mapping[str, str]) -> dict[str, str]:
    """The prompts that mteb knows of a model on the hub that names none itself."""
    if any(own.values()) or Path(model).exists():
        return {}
    try:
        from mteb.models.model_implementations import MODEL_REGISTRY
    except ImportError:
        return {}
    meta = MODEL_REGISTRY.get(model)
    known = {} if meta is None else meta.loader_kwargs.get("model_prompts") or {}
    return {role: str(known[role]) for role in ("query", "document") if role in known}


def _fingerprint(model: Any) -> str:
    """Changes with the weights, their type, the modules (pooling among them), the tokenizer and the prompts."""
    tokenizer = getattr(model.tokenizer, "backend_tokenizer", None)
    words = [
        str(model),  # the modules with their settings
        json.dumps(model.prompts, sort_keys=True),
        str(model.max_seq_length),
        str(getattr(model, "truncate_dim", None)),
        "" if tokenizer is None else tokenizer.to_str(),
    ]
    import torch

    digest = hashlib.blake2b("\0".join(words).encode(), digest_size=8)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _from_python(spec: str) -> Encoder:
    """What a function of the user's own returns.

    Raises:
        InvalidArgumentError: no such function, or it returns something else.
    """
    module, _, function = spec.partition(":")
    try:
        encoder = getattr(importlib.import_module(module), function)()
    except Exception as error:  # whatever somebody's code raises
        reason = (str(error).splitlines() or [""])[0]
        raise InvalidArgumentError(
            f"the model is 'python:{spec}': {type(error).__name__}: {reason}; write python:<module>:<function>, a "
            "function without arguments, importable from here"
        ) from error
    if not isinstance(encoder, Encoder):
        raise InvalidArgumentError(
            f"python:{spec} returned a {type(encoder).__name__}; an object with the members of lusirag.types.Encoder "
            "is needed"
        )
    return encoder


_OWN_OPTIONS = frozenset({"runtime", "device", "devices", "dtype"})
_KINDS: dict[str, tuple[Callable[..., Encoder], frozenset[str]]] = {
    "sentence-transformers": (SentenceTransformersEncoder, frozenset({"device"})),
    "openai": (OpenAIEncoder, frozenset({"base_url"})),
    "python": (_from_python, frozenset()),
}
