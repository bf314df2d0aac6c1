"""Base models: a multilingual encoder and a language model, from directories or the hub, joined into LUSIFER."""

from __future__ import annotations

import logging
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModel, PreTrainedConfig

from lusirag.errors import ModelError
from lusirag.model.backbones import encoder_class, prepare_attention, without_tokens
from lusirag.model.configuration import LusiferConfig
from lusirag.model.quiet import quiet_transformers
from lusirag.model.self_check import check_bidirectional
from lusirag.model.source import resolve_directory

logger = logging.getLogger(__name__)
PARTS = {"encoder": "multilingual_encoder", "decoder": "language_model"}


def join(
    kind: Any,
    encoder: dict[str, str | None],
    decoder: dict[str, str | None] | None,
    *,
    decoder_layers: int | None,
    local_files_only: bool,
    dtype: torch.dtype,
    attn_implementation: str,
    settings: dict[str, Any],
) -> Any:
    """Join two base models; see `LusiferModel.from_base_models`.

    Args:
        kind: the model class. encoder, decoder: {"source", "revision"}.
    """
    decoder_config: Any = None
    if decoder is not None:
        decoder_config = base_config(decoder, local_files_only=local_files_only).get_text_config()
        shorten(decoder_config, decoder_layers)
    base_models: dict[str, Any] = {"encoder": encoder} | ({} if decoder is None else {"decoder": decoder})
    if decoder is None:
        settings = {"connector": "none", "projection": "none"} | settings
    config = LusiferConfig(
        encoder_config=base_config(encoder, local_files_only=local_files_only),
        decoder_config=decoder_config,
        base_models=base_models,
        **settings,
    )
    model = kind._from_config(config, dtype=dtype, attn_implementation=attn_implementation)
    add_base_weights(model, dtype=dtype, local_files_only=local_files_only)
    model.eval()
    check_bidirectional(model)
    return model


def shorten(config: Any, layers: int | None) -> None:
    """Keep the first layers of a language model's configuration.

    Raises:
        ModelError: it has fewer.
    """
    if layers is None:
        return
    if not 0 < layers <= config.num_hidden_layers:
        raise ModelError(f"decoder_layers is {layers}; the language model has {config.num_hidden_layers}")
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]


def base_config(base: dict[str, str | None], *, local_files_only: bool) -> PreTrainedConfig:
    """Read the configuration of a base model.

    Raises:
        ModelError: nothing there, or transformers does not know its type.
    """
    directory = resolve_directory(
        str(base["source"]), revision=base.get("revision"), local_files_only=local_files_only, files=["config.json"]
    )
    try:
        return cast(PreTrainedConfig, AutoConfig.from_pretrained(directory, trust_remote_code=False))
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{base['source']} has no configuration that transformers can read ({reason})") from error


def needs_base_weights(config: LusiferConfig, names: set[str]) -> bool:
    """Whether weight files leave out the base models' weights, all but adapters."""
    if config.base_models is None:
        return False
    return not any(name.startswith(tuple(PARTS.values())) and ".lora_" not in name for name in names)


def add_base_weights(model: Any, *, dtype: torch.dtype | None, local_files_only: bool) -> None:
    """Fill encoder and language model of a model from its base models, where adapters may be attached already.

    Raises:
        ModelError: a base model cannot be had, or its weights do not fit.
    """
    for role, part in PARTS.items():
        base = model.config.base_models.get(role)
        if base is None:
            continue
        config = getattr(model.config, f"{role}_config")
        loaded = _base_model(role, base, config, dtype=dtype or model.dtype, local_files_only=local_files_only)
        if getattr(model.config, "lora", None) is None:
            setattr(model, part, loaded)
            continue
        from lusirag.model.adapters import name_in_files

        weights = loaded.state_dict()
        with torch.no_grad():
            for name, parameter in getattr(model, part).state_dict().items():
                if ".lora_" not in name:
                    parameter.copy_(weights[name_in_files(name)])


def _base_model(
    role: str, base: dict[str, str | None], config: Any, *, dtype: torch.dtype, local_files_only: bool
) -> Any:
    kind, arguments = encoder_class(config) if role == "encoder" else (AutoModel, {})
    directory = resolve_directory(str(base["source"]), revision=base.get("revision"), local_files_only=local_files_only)
    if role == "decoder":
        prepare_attention(config)
    try:
        with quiet_transformers():
            loaded, report = kind.from_pretrained(
                directory,
                config=config,
                dtype=dtype,
                attn_implementation=config._attn_implementation,
                use_safetensors=True,
                output_loading_info=True,
                **arguments,
            )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"the base model {base['source']} cannot be loaded ({reason})") from error
    lacking = sorted(report["missing_keys"])
    if lacking:
        raise ModelError(f"the base model {base['source']} lacks {len(lacking)} weights: {', '.join(lacking[:8])}")
    return without_tokens(loaded) if role == "decoder" else loaded
