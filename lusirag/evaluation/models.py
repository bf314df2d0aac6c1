"""Embedding models by name, of other libraries too, so that they are measured in the same way as lusirag's own."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lusirag.embedding import Embedder
from lusirag.errors import InvalidArgumentError, MissingDependencyError, ModelError
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
    if kind not in _KINDS or not name:
        if base_url is not None:
            raise InvalidArgumentError(f"base_url is given, but {spec!r} has no endpoint; openai:<model> has one")
        return Embedder.load(spec, **given)
    load, takes = _KINDS[kind]
    if useless := sorted(given.keys() - takes):
        raise InvalidArgumentError(
            f"a model of the kind {kind!r} takes no {' and no '.join(useless)}; it takes {', '.join(takes) or 'none'}"
        )
    return load(name, **given)


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
        try:  # a local server needs no key
            self._client = openai.OpenAI(base_url=base_url, api_key="none" if base_url else None, max_retries=4)
        except openai.OpenAIError as error:
            raise ModelError(f"openai:{model}: {error}") from error
        self.name = f"openai:{model}"
        self.fingerprint = f"{self.name} {self._client.base_url}"
        self.dimension = len(self._request(["dimension"])[0])

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
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for start in range(0, len(texts), _BATCH):
            rows = np.asarray(self._request(list(texts[start : start + _BATCH])), np.float32)
            vectors[start : start + _BATCH] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return vectors

    def _request(self, texts: list[str]) -> list[list[float]]:
        try:
            answer = self._client.embeddings.create(model=self._model, input=[text or " " for text in texts])
        except self._errors as error:
            raise ModelError(f"{self.name}: the endpoint failed: {error}") from error
        return [row.embedding for row in sorted(answer.data, key=lambda row: row.index)]


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
    """Changes with the prompts and, as good as surely, with the weights: the first values of each tensor are read."""
    digest = hashlib.sha256(json.dumps([model.prompts, model.max_seq_length], sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten()[:64].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _from_python(spec: str) -> Encoder:
    """What a function of the user's own returns.

    Raises:
        InvalidArgumentError: no such function, or it returns something else.
    """
    module, _, function = spec.partition(":")
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidArgumentError(
            f"the model is 'python:{spec}': {error}; write python:<module>:<function>, importable from here"
        ) from error
    encoder = make()
    if not isinstance(encoder, Encoder):
        raise InvalidArgumentError(
            f"python:{spec} returned a {type(encoder).__name__}; an object with the members of lusirag.types.Encoder "
            "is needed"
        )
    return encoder


_KINDS: dict[str, tuple[Callable[..., Encoder], frozenset[str]]] = {
    "sentence-transformers": (SentenceTransformersEncoder, frozenset({"device"})),
    "openai": (OpenAIEncoder, frozenset({"base_url"})),
    "python": (_from_python, frozenset()),
}
