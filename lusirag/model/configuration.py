"""LusiferConfig: everything that shapes a LUSIFER network, stored as config.json beside the weights."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

from lusirag.errors import ModelError

try:
    from transformers.configuration_utils import SubConfigSpec
except ImportError:  # transformers 5.17
    SubConfigSpec = None

CONNECTORS = ("ff", "embedding_table", "none")
POOLINGS = ("mean", "weighted_mean", "cls", "last", "latent_attention")
PROJECTIONS = ("mlp", "linear", "none")
ROLES = ("query", "document")

# The special tokens around them, <s> and </s>, are written by the tokenizer itself.
PUBLISHED_TEMPLATES = {"query": "{instruction}.\n{text}", "document": "{instruction}. Candidate:\n{text}"}


@strict
class LusiferConfig(PreTrainedConfig):
    """Configuration of a `LusiferModel`.

    Args:
        encoder_config: the multilingual encoder's own configuration (see `backbones.ENCODERS` for the types).
        decoder_config: the language model's own configuration, any transformers decoder; it is made bidirectional and
            its attention windows are opened. None with connector "none" alone.
        connector: "ff", two linear layers from encoder width to decoder width; "embedding_table", a softmax over the
            language model's vocabulary times an embedding; "none": there is no language model, the encoder's output
            is pooled.
        added_tokens: trainable vectors that follow the text into the language model; 0 unless the connector is "ff".
        pooling: over the language model's output: "mean", "weighted_mean" (token i weighs i), "cls" (first), "last",
            or "latent_attention" (NV-Embed's head, then the mean, unit length).
        latent_attention: {"latents", "heads", "head_width"} of that pooling, else None.
        projection: from pooled output to embedding: "mlp" (the published Linear, ReLU, Linear), "linear" or "none".
        embedding_size: length of an embedding; the width of what is pooled when None (always so for "mlp" and "none").
        encoder_skip: add the mean-pooled encoder output (its width must be `embedding_size`) to the projection.
        erased_directions: directions that are taken out of an embedding at the end, as those that tell scripts apart
            (`lusirag train erase` finds those); 0 for none.
        matryoshka_dimensions: lengths to which an embedding may be cut, as trained; None: not trained for any.
        lora: {"rank": r, "alpha": a, "dropout": p} of the LoRA matrices beside the weights, None without any.
        base_models: {"encoder": {"source", "revision"}, "decoder": {...}}: where the weights of the two base models
            come from when the model's own files hold only what was trained.
        templates: text format a role, with the places {instruction} and {text}.
        instructions: default instruction a role.
        max_tokens: longest input in tokens, template and special tokens included.
        past_window: the sliding layers hide tokens that lie this far or farther back, as the published Gemma2 does.
        published_positions: reproduce the published code where this one differs on purpose: added tokens stand after
            the padding in position too, special tokens written in a user's text are read as such, and cutting a long
            text cuts its last special token. An embedding then depends on the padding.

    Raises:
        ModelError: a value is not allowed; all such values are listed in one message.
    """

    model_type = "lusifer"
    has_no_defaults_at_init: ClassVar[bool] = True  # older transformers build one without arguments otherwise
    if SubConfigSpec is None:
        sub_configs: ClassVar[dict[str, Any]] = {"encoder_config": AutoConfig, "decoder_config": AutoConfig}
    else:
        sub_configs_defaults: ClassVar[dict[str, Any]] = {
            "encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="bert"),
            "decoder_config": SubConfigSpec(config_class=AutoConfig, model_type="llama", optional=True),
        }

    encoder_config: dict[str, Any] | PreTrainedConfig | None = None
    decoder_config: dict[str, Any] | PreTrainedConfig | None = None
    connector: str = "ff"
    added_tokens: int = 1
    pooling: str = "mean"
    latent_attention: dict[str, Any] | None = None
    projection: str = "mlp"
    embedding_size: int | None = None
    encoder_skip: bool = False
    erased_directions: int = 0
    matryoshka_dimensions: list[int] | None = None
    lora: dict[str, Any] | None = None
    base_models: dict[str, Any] | None = None
    templates: dict[str, str] | None = None
    instructions: dict[str, str] | None = None
    max_tokens: int = 512
    past_window: int | None = None
    published_positions: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        self.encoder_config = part_config(self.encoder_config or {}, model_type="bert")
        if self.decoder_config is not None:
            self.decoder_config = part_config(self.decoder_config, model_type="llama")
        super().__post_init__(**kwargs)
        if (self.decoder_config is None) != (self.connector == "none"):
            raise ModelError(
                f"connector is {self.connector!r} and decoder_config is {self.decoder_config!r}; "
                "connector 'none' goes without a language model, every other one needs it"
            )
        if self.decoder_config is None:
            self.added_tokens = 0
        else:
            self.decoder_config = bidirectional(self.decoder_config)
        self.embedding_size = self.embedding_size or self.decoder_width
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
        """D, the language model's hidden size; without one, the encoder's."""
        decoder: Any = self.decoder_config or self.encoder_config
        return int(decoder.hidden_size)

    @property
    def vocabulary(self) -> int:
        """V, the language model's vocabulary."""
        decoder: Any = self.decoder_config
        return int(decoder.vocab_size)

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
        if self.added_tokens and self.connector == "embedding_table":
            problems.append(f"added_tokens is {self.added_tokens}, but connector 'embedding_table' allows none: give 0")
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
        if not 0 <= self.erased_directions < self.dimension:
            problems.append(f"erased_directions is {self.erased_directions}, allowed: 0 to {self.dimension - 1}")
        if self.lora is not None and not (self.lora.get("rank", 0) > 0 and self.lora.get("alpha", 0) > 0):
            problems.append(f"lora is {self.lora!r}, allowed: None or a positive rank and alpha")
        if (self.latent_attention is not None) != (self.pooling == "latent_attention"):
            problems.append(f"pooling is {self.pooling!r} and latent_attention {self.latent_attention!r}: give both")
        if self.latent_attention is not None and not all(
            self.latent_attention.get(name, 0) > 0 for name in ("latents", "heads", "head_width")
        ):
            problems.append(
                f"latent_attention is {self.latent_attention!r}, needed: positive latents, heads, head_width"
            )
        cuts = self.matryoshka_dimensions or []
        if any(not 0 < size <= self.dimension for size in cuts):
            problems.append(f"matryoshka_dimensions are {cuts}, allowed: 1 to {self.dimension}")
        for field in ("templates", "instructions"):
            value = getattr(self, field)
            if set(value) != set(ROLES):
                problems.append(f"{field} names {sorted(value)}, needed: {', '.join(ROLES)}")
        for role, template in (self.templates or {}).items():
            if template.count("{text}") != 1:
                problems.append(f"the {role} template {template!r} must hold {{text}} once")
        return problems


def part_config(values: dict[str, Any] | PreTrainedConfig, *, model_type: str) -> PreTrainedConfig:
    """The configuration of encoder or language model, from what config.json says of it.

    Args:
        model_type: where the values name none.

    Raises:
        ModelError: transformers knows no such model type.
    """
    if isinstance(values, PreTrainedConfig):
        return values
    kind = values.get("model_type", model_type)
    if kind not in CONFIG_MAPPING:
        raise ModelError(f"model_type is {kind!r}, which transformers does not know; update transformers")
    return CONFIG_MAPPING[kind](**values)


def bidirectional(decoder: Any) -> Any:
    """A decoder's configuration, of its text part, that attends in both directions and over the whole text.

    In transformers >= 5.2 a decoder attends in both directions when its configuration says so before it is built.
    """
    config = copy.deepcopy(decoder.get_text_config())
    config.is_causal = False
    config.use_cache = False
    if getattr(config, "sliding_window", None) is not None:
        layered = "sliding_attention" in (getattr(config, "layer_types", None) or ())
        config.sliding_window = config.max_position_embeddings if layered else None
    return config
