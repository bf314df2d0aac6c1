"""What mteb is told about a model: its name, and everything that must keep its results apart from others'."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lusirag.embedding.catalog import EMBEDDED_MODELS
from lusirag.evaluation.benchmark.dependency import require_mteb
from lusirag.evaluation.benchmark.instructed import digest, instruction_roles
from lusirag.types import Encoder

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta

ORGANIZATION = "lusirag"
PUBLISHED = "Hieuman/LUSIFER"
CODE = "https://github.com/hieum98/lusifer"

# What is known of some models, by the names that mteb gets to see.
_KNOWN: dict[str, dict[str, Any]] = {
    f"{ORGANIZATION}/lusifer-mini": {
        "license": "apache-2.0",
        "open_weights": True,
        "adapted_from": "intfloat/multilingual-e5-small",
    },
    PUBLISHED: {
        "open_weights": True,
        "public_training_code": CODE,
        "reference": "https://huggingface.co/Hieuman/LUSIFER",
        "adapted_from": "mistralai/Mistral-7B-Instruct-v0.3",
        # Those of the paper's training data (table 4) that mteb has; PAQ, SNLI and SQuAD are the others.
        "training_datasets": {"ArguAna", "FEVER", "FiQA2018", "HotpotQA", "MSMARCO", "NQ"},
    },
}
_FRAMEWORKS = {"onnx": "ONNX", "torch": "PyTorch"}


def model_meta(encoder: Encoder, instructions: Mapping[str, str], **experiment: str | int) -> ModelMeta:
    """mteb's description of a model, under whose name, revision and experiment it keeps results.

    Results are shared by models of one fingerprint that compute in the same way and are told the same: the experiment
    names runtime and number type, the length that vectors are cut to, and the set of instructions, each where there is
    such a thing.

    Args:
        encoder: the model.
        instructions: {task name: instruction}, of all tasks; they count only where the model takes any.
        experiment: more that keeps results apart.

    Raises:
        MissingDependencyError: mteb is not installed.
    """
    require_mteb()
    from mteb.models.model_meta import ModelMeta, ScoringFunction

    name = mteb_name(encoder.name)
    arithmetic = getattr(encoder, "arithmetic", None)
    instructed = bool(instruction_roles(encoder))
    details: dict[str, str | int] = dict(experiment)
    if arithmetic is not None:
        details["runtime"] = str(arithmetic)
    if encoder.dimension != getattr(encoder, "full_dimension", encoder.dimension):
        details["dimension"] = encoder.dimension
    if instructed:
        details["instructions"] = digest(dict(instructions)) if instructions else "default"
    return ModelMeta.model_validate(
        {
            **_unknown(),
            "name": name,
            "revision": _as_file_name(encoder.fingerprint),
            "max_tokens": encoder.max_tokens,
            "embed_dim": encoder.dimension,
            "framework": [_FRAMEWORKS[part] for part in _FRAMEWORKS if str(arithmetic).startswith(part)],
            "similarity_fn_name": ScoringFunction.COSINE,
            "use_instructions": instructed,
            "experiment_kwargs": details or None,
            **_KNOWN.get(name, {}),
        }
    )


def mteb_name(name: str) -> str:
    """A model's name in mteb's form "organization/model": a hub id as it is, anything else as "lusirag/<last part>"."""
    if name.count("/") == 1 and not Path(name).is_absolute() and all(name.split("/")):
        return "/".join(_as_file_name(part) for part in name.split("/"))
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    return f"{ORGANIZATION}/{_as_file_name(last)}"


def register_models() -> None:
    """Let mteb find the embedded models and the published one by name: `mteb.get_model("lusirag/lusifer-mini")`.

    Options go to the loader: `mteb.get_model(name, device="cuda", instructions={...}, dtype="float16")`. What is
    registered already stays. No model is loaded.

    Raises:
        MissingDependencyError: mteb is not installed.
    """
    require_mteb()
    from mteb.models.model_implementations import MODEL_REGISTRY
    from mteb.models.model_meta import ModelMeta, ScoringFunction

    from lusirag.embedding.description import read_description
    from lusirag.embedding.fingerprint import fingerprint_of
    from lusirag.embedding.loading import model_files
    from lusirag.evaluation.benchmark.encoder import load_encoder

    common = {**_unknown(), "loader": load_encoder, "similarity_fn_name": ScoringFunction.COSINE}
    for short, directory in EMBEDDED_MODELS.items():
        name = mteb_name(short)
        if name in MODEL_REGISTRY:
            continue
        described = read_description(directory)
        MODEL_REGISTRY[name] = ModelMeta.model_validate(
            {
                **common,
                "name": name,
                "revision": fingerprint_of(described.config, model_files(described)),
                "max_tokens": described.max_tokens,
                "embed_dim": described.dimension,
                "framework": ["ONNX", "PyTorch"],
                "use_instructions": any(template.takes_instruction for template in described.templates.values()),
                **_KNOWN.get(name, {}),
            }
        )
    if PUBLISHED not in MODEL_REGISTRY:
        MODEL_REGISTRY[PUBLISHED] = ModelMeta.model_validate(
            {
                **common,
                "name": PUBLISHED,
                "revision": None,  # whichever the hub has; results go by the fingerprint
                "max_tokens": 512,
                "embed_dim": 4096,
                "framework": ["PyTorch"],
                "use_instructions": True,
                **_KNOWN[PUBLISHED],
            }
        )


def _unknown() -> dict[str, Any]:
    """The fields of `ModelMeta` that have no default, as not known."""
    return dict.fromkeys(
        (
            "loader",
            "revision",
            "release_date",
            "languages",
            "n_parameters",
            "memory_usage_mb",
            "max_tokens",
            "license",
            "open_weights",
            "public_training_code",
            "public_training_data",
            "training_datasets",
        )
    )


def _as_file_name(text: str) -> str:
    """A text that can name a directory: the same where it already can, else with its other characters replaced.

    Texts that differ stay different: what was replaced is told apart by a digest at the end.
    """
    safe = re.sub(r"[^\w.\-]+", "-", text).strip(".") or "model"
    return safe if safe == text else f"{safe}-{digest(text)}"
