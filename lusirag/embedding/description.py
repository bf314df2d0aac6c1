"""What config.json and tokenizer.json say of a model, read without torch or transformers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lusirag.embedding.templates import Template
from lusirag.embedding.tokenization import TextTokenizer
from lusirag.errors import ModelError

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
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
    """

    directory: Path
    config: dict[str, Any]
    templates: dict[str, Template]
    max_tokens: int
    dimension: int
    padding_id: int

    def tokenizer(self) -> TextTokenizer:
        """Read tokenizer.json.

        Raises:
            ModelError: it is missing or damaged.
        """
        return TextTokenizer(self.directory / TOKENIZER, max_tokens=self.max_tokens)


def read_description(directory: Path) -> Description:
    """Read a model directory's config.json, as `LusiferModel.save_pretrained` writes it.

    Raises:
        ModelError: it is missing, damaged, of another kind of model, or lacks a setting.
    """
    file = directory / CONFIG
    try:
        config = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{directory} has no {CONFIG}: it is no model directory") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read ({error}); copy or download it again") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != MODEL_TYPE:
        raise ModelError(f"{file} describes a model of type {kind!r}; this version loads {MODEL_TYPE!r}")
    try:
        return Description(
            directory,
            config,
            {role: Template(role, config["templates"][role], config["instructions"][role]) for role in ROLES},
            max_tokens=config["max_tokens"],
            dimension=config["embedding_size"],
            padding_id=config["encoder_config"]["pad_token_id"],
        )
    except (KeyError, TypeError) as error:
        raise ModelError(f"{file} lacks {error}; save the model again with save_pretrained") from error
