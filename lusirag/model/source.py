"""Where a model's files are: a local directory, or a hub id whose snapshot is cached (and downloaded if allowed)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from lusirag.errors import ModelError
from lusirag.model.configuration import LusiferConfig
from lusirag.model.files import CONFIG, TOKENIZER, read_json

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def resolve_directory(
    source: str | Path,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    files: Sequence[str] = ("*.json", "*.safetensors", "*.onnx", "README.md"),
) -> Path:
    """Return the local directory of a model.

    Args:
        source: a directory, or a hub id such as "Hieuman/LUSIFER".
        revision: branch, tag or commit on the hub.
        local_files_only: never ask the network; the hub's snapshot must be cached.
        files: which files of a hub model are needed, as patterns.

    Raises:
        ModelError: there is no such directory, or the hub has no such model or cannot be reached.
    """
    if Path(source).is_dir():
        return Path(source)
    if isinstance(source, Path) or not _HUB_ID.fullmatch(source) or source.startswith("."):
        raise ModelError(
            f"no model at {str(source)!r}: give a model directory that exists or a hub id such as owner/name"
        )
    try:
        return Path(
            snapshot_download(
                source,
                revision=revision,
                local_files_only=local_files_only,
                allow_patterns=list(files),
            )
        )
    except GatedRepoError as error:
        raise ModelError(
            f"the hub gives {source!r} only to those who accepted its licence: accept it on the model's page, then "
            "run `hf auth login`"
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ModelError(f"the hub has no model {source!r} (revision {revision or 'main'}): check its name") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        why = "only local files are allowed" if local_files_only else "the hub cannot be reached"
        raise ModelError(
            f"model {source!r} is not in the local cache and {why}: "
            "download it once while online, or give the directory that holds it"
        ) from error


def read_config(directory: Path, *, local_files_only: bool = False) -> LusiferConfig:
    """Read config.json of a model directory, ours or a published one (whose base models are asked for theirs).

    Raises:
        ModelError: it is missing, broken, or of another kind of model.
    """
    from lusirag.model.published import is_published, published_config

    values = read_json(directory / CONFIG)
    if is_published(values):
        return published_config(directory, published_positions=False, local_files_only=local_files_only)
    kind = values.get("model_type") if isinstance(values, dict) else None
    if kind != LusiferConfig.model_type:
        raise ModelError(
            f"{directory / CONFIG} describes a model of type {kind!r}; "
            f"this version loads {LusiferConfig.model_type!r} and published LUSIFER checkpoints"
        )
    return cast(LusiferConfig, LusiferConfig.from_dict(values))


def tokenizer_file(directory: Path, config: LusiferConfig, *, local_files_only: bool = False) -> Path:
    """The tokenizer.json of a model: its own, or else that of the multilingual encoder it was made from.

    Raises:
        ModelError: there is none.
    """
    own = directory / TOKENIZER
    if own.is_file():
        return own
    base = (config.base_models or {}).get("encoder")
    if base is not None:
        its = resolve_directory(
            base["source"], revision=base["revision"], local_files_only=local_files_only, files=[TOKENIZER]
        )
        if (its / TOKENIZER).is_file():
            return its / TOKENIZER
    raise ModelError(f"{directory} lacks {TOKENIZER}; copy or download the whole model directory")
