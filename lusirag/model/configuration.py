"""LusiferConfig: everything that shapes a LUSIFER network, stored as config.json beside the weights."""

from __future__ import annotations

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from lusirag.errors import ModelError

CONNECTORS = ("ff",)
POOLINGS = ("mean", "weighted_mean", "cls", "last")
PROJECTIONS = ("mlp", "linear", "none")
ROLES = ("query", "document")

# The special tokens around them, <s> and </s>, are written by the tokenizer itself.
PUBLISHED_TEMPLATES = {"query": "{instruction}.\n{text}", "document": "{instruction}. Candidate:\n{text}"}


@strict
class LusiferConfig(PreTrainedConfig):
    """Configuration of a `LusiferModel`.

    Args:
        encoder_config: the multilingual encoder's own configuration (BERT or XLM-R type).
        decoder_config: the language model's own configuration (Llama type); it is made bidirectional.
        connector: "ff", two linear layers from encoder width to decoder width.
        added_tokens: trainable vectors that follow the text into the language model.
        pooling: over the language model's output: "mean", "weighted_mean" (token i weighs i), "cls" (first), "last".
        projection: from pooled output to embedding: "mlp" (the published Linear, ReLU, Linear), "linear" or "none".
        embedding_size: length of an embedding; the decoder width when None (always so for "mlp" and "none").
        encoder_skip: add the mean-pooled encoder output (its width must be `embedding_size`) to the projection.
        lora: {"rank": r, "alpha": a} when the weight file holds LoRA matrices that loading merges, else None.
        templates: text format a role, with the places {instruction} and {text}.
        instructions: default instruction a role.
        max_tokens: longest input in tokens, template and special tokens included.

    Raises:
        ModelError: a value is not allowed; all such values are listed in one message.
    """

    model_type = "lusifer"
    sub_configs_defaults: ClassVar[dict[str, Any]] = {
        "encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="bert"),
        "decoder_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
    }

    encoder_config: dict[str, Any] | PreTrainedConfig | None = None
    decoder_config: dict[str, Any] | PreTrainedConfig | None = None
    connector: str = "ff"
    added_tokens: int = 1
    pooling: str = "mean"
    projection: str = "mlp"
    embedding_size: int | None = None
    encoder_skip: bool = False
    lora: dict[str, Any] | None = None
    templates: dict[str, str] | None = None
    instructions: dict[str, str] | None = None
    max_tokens: int = 512

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        decoder: Any = self.decoder_config
        # In transformers a decoder attends in both directions when its config says so before the model is built.
        decoder.is_causal = False
        decoder.use_cache = False
        self.embedding_size = self.embedding_size or decoder.hidden_size
        self.templates = dict(self.templates or PUBLISHED_TEMPLATES)
        self.instructions = dict(self.instructions or dict.fromkeys(ROLES, ""))
        problems = list(self._problems(self.encoder_width, self.decoder_width))
        if problems:
            raise ModelError("this LUSIFER configuration cannot be used: " + "; ".join(problems))

    @property
    def encoder_width(self) -> int:
        """E, the multilingual encoder's hidden size."""
        encoder: Any = self.encoder_config
        return int(encoder.hidden_size)

    @property
    def decoder_width(self) -> int:
        """D, the language model's hidden size."""
        decoder: Any = self.decoder_config
        return int(decoder.hidden_size)

    @property
    def dimension(self) -> int:
        """O, the length of an embedding."""
        return self.embedding_size or self.decoder_width

    @property
    def padding_id(self) -> int:
        """The multilingual encoder's padding token."""
        encoder: Any = self.encoder_config
        return int(encoder.pad_token_id)

    def text_format(self, role: str) -> tuple[str, str]:
        """Template and default instruction of "query" or "document"."""
        return (self.templates or {})[role], (self.instructions or {})[role]

    def _problems(self, encoder_width: int, decoder_width: int) -> list[str]:
        problems = [
            f"{name} is {value!r}, allowed: {', '.join(allowed)}"
            for name, value, allowed in (
                ("connector", self.connector, CONNECTORS),
                ("pooling", self.pooling, POOLINGS),
                ("projection", self.projection, PROJECTIONS),
            )
            if value not in allowed
        ]
        if self.added_tokens < 0:
            problems.append(f"added_tokens is {self.added_tokens}, allowed: 0 or more")
        if self.max_tokens < 8:
            problems.append(f"max_tokens is {self.max_tokens}, allowed: 8 or more")
        if self.projection != "linear" and self.embedding_size != decoder_width:
            problems.append(
                f"embedding_size is {self.embedding_size}, but with projection {self.projection!r} "
                f"it is the decoder width {decoder_width}"
            )
        if self.encoder_skip and self.embedding_size != encoder_width:
            problems.append(
                f"encoder_skip adds the encoder output of width {encoder_width}, but embedding_size is "
                f"{self.embedding_size}"
            )
        if self.lora is not None and not (self.lora.get("rank", 0) > 0 and self.lora.get("alpha", 0) > 0):
            problems.append(f"lora is {self.lora!r}, allowed: None or a positive rank and alpha")
        for field in ("templates", "instructions"):
            value = getattr(self, field)
            if set(value) != set(ROLES):
                problems.append(f"{field} names {sorted(value)}, needed: {', '.join(ROLES)}")
        for role, template in (self.templates or {}).items():
            if template.count("{text}") != 1:
                problems.append(f"the {role} template {template!r} must hold {{text}} once")
        return problems
