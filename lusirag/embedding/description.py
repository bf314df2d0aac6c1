"""What config.json and tokenizer.json say of a model, read without torch or transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lusirag.embedding.templates import Template
from lusirag.embedding.tokenization import TextTokenizer
from lusirag.errors import ModelError
from lusirag.model.files import CONFIG, TOKENIZER, read_json

MODEL_TYPE = "lusifer"
ROLES = ("query", "document")


@dataclass(frozen=True, slots=True)
class Description:
    """A model directory, without its weights.

    Attributes:
        directory: where it lies.
        config: config.json as read.
        templates: text format of "query" and "document".
        max_tokens: longest text, special tokens included.
        dimension: of an embedding.
        padding_id: the multilingual encoder's padding token.
        matryoshka_dimensions: shorter lengths that the model was trained for; None when it was not.
        tokenizer_file: its tokenizer.json, or that of the base model it was made from.
        as_published: see `TextTokenizer`.
    """

    directory: Path
    config: dict[str, Any]
    templates: dict[str, Template]
    max_tokens: int
    dimension: int
    padding_id: int
    matryoshka_dimensions: list[int] | None
    tokenizer_file: Path
    as_published: bool

    def tokenizer(self) -> TextTokenizer:
        """Read the tokenizer.

        Raises:
            ModelError: it is damaged.
        """
        return TextTokenizer(self.tokenizer_file, max_tokens=self.max_tokens, as_published=self.as_published)


def read_description(directory: Path, *, local_files_only: bool = False) -> Description:
    """Read a model directory's config.json, ours or a published checkpoint's.

    A directory that needs its base models' files (a published checkpoint, adapters) is read by transformers.

    Args:
        local_files_only: never ask the hub for files of base models.

    Raises:
        ModelError: it is missing, damaged, of another kind of model, or lacks a setting.
    """
    config = read_json(directory / CONFIG)
    ours = isinstance(config, dict) and config.get("model_type") == MODEL_TYPE
    if not ours or (config.get("base_models") and not (directory / TOKENIZER).is_file()):
        return _described_by_transformers(directory, config, local_files_only=local_files_only)
    return _describe(directory, config, config, directory / TOKENIZER)


def _described_by_transformers(directory: Path, config: dict[str, Any], *, local_files_only: bool) -> Description:
    from lusirag.model.source import read_config, tokenizer_file

    full = read_config(directory, local_files_only=local_files_only)
    tokenizer = tokenizer_file(directory, full, local_files_only=local_files_only)
    return _describe(directory, config, full.to_dict(), tokenizer)


def _describe(directory: Path, config: dict[str, Any], settings: dict[str, Any], tokenizer: Path) -> Description:
    """Args: config: config.json as read. settings: all fields of `LusiferConfig`."""
    try:
        return Description(
            directory,
            config,
            {role: Template(role, settings["templates"][role], settings["instructions"][role]) for role in ROLES},
            max_tokens=settings["max_tokens"],
            dimension=settings["embedding_size"],
            padding_id=settings["encoder_config"]["pad_token_id"],
            matryoshka_dimensions=settings.get("matryoshka_dimensions"),
            tokenizer_file=tokenizer,
            as_published=settings.get("published_positions", False),
        )
    except (KeyError, TypeError) as error:
        raise ModelError(f"{directory / CONFIG} lacks {error}; save the model again with save_pretrained") from error
