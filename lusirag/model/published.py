"""Checkpoints of the published LUSIFER code: its hyperparameters as our configuration, its parameter names as ours.

| published | here |
|---|---|
| universal_learner.* | multilingual_encoder.* |
| encoder.model.* (a causal language model) | language_model.* |
| connection_module.ff.0, .ff.2, .added_tokens | connector.feed_forward.0, .feed_forward.2, .added_tokens |
| connection_module.ff.0, .embedding (a table) | connector.to_vocabulary, .embedding |
| laten_attention_model.* | pooler.* |
| output_projection.0, .2 | projection.0, .2 |
| X.base_layer.weight, X.lora_A.<adapter>.weight under base_model.model. | X.weight, X.lora_A.weight |

Token embedding and vocabulary head of the language model and the encoder's pooling head compute no embedding: they are
not read.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from lusirag.errors import ModelError
from lusirag.model.backbones import T5_ENCODERS
from lusirag.model.base_models import base_config
from lusirag.model.configuration import LusiferConfig
from lusirag.model.files import CONFIG, read_json, weight_files
from lusirag.model.loading import StoredWeights

logger = logging.getLogger(__name__)

# The published spelling of each hyperparameter.
ENCODER, DECODER = "universal_learner_name_or_path", "encoder_name_or_path"
POOLINGS = {"mean": "mean", "weightedmean": "weighted_mean", "cls": "cls", "lasttoken": "last"}
MARKS = (ENCODER, DECODER, "connection_type")
KNOWN = {
    *MARKS,
    "universal_learner_backbone_type",
    "encoder_backbone_type",
    "is_freeze_universal_learner",
    "is_freeze_encoder",
    "num_added_tokens",
    "pooling_method",
    "encoder_lora_name",
    "universal_learner_lora_name",
    "encoder_lora_target_modules",
    "universal_learner_lora_target_modules",
    "loar_r",
    "lora_r",
    "lora_alpha",
    "dropout",
    "attn_implementation",
    "model_dtype",
}
NV_EMBED_HEAD = {"num_cross_heads": 8}  # NV-Embed-v2; its other sizes are read from the weights

_LATENT_NAMES = {
    "latents": "latents",
    "cross_attend_blocks.0.norm": "token_norm",
    "cross_attend_blocks.0.norm_context": "latent_norm",
    "cross_attend_blocks.0.fn.to_q": "query",
    "cross_attend_blocks.0.fn.to_kv": "key_value",
    "cross_attend_blocks.0.fn.to_out": "output",
    "cross_attend_blocks.1.norm": "feed_forward_norm",
    "cross_attend_blocks.1.fn.net.0": "gate_up",
    "cross_attend_blocks.1.fn.net.2": "down",
}
_LORA = re.compile(r"\.lora_([AB])\.\w+\.weight$")


def is_published(values: Any) -> bool:
    """Whether the content of a config.json is that of a published checkpoint."""
    return isinstance(values, dict) and all(mark in values for mark in MARKS)


def published_config(directory: Path, *, published_positions: bool, local_files_only: bool) -> LusiferConfig:
    """Our configuration of a published checkpoint.

    Raises:
        ModelError: config.json is missing or not a published one, a hyperparameter has no meaning here, or a base
            model's configuration cannot be had.
    """
    values = _hyperparameters(directory)
    problems = [
        f"{name} is {values.get(name)!r}, allowed: {', '.join(allowed)}"
        for name, allowed in (("pooling_method", POOLINGS), ("connection_type", ("ff", "attn", "embedding_table")))
        if values.get(name) not in allowed
    ]
    added = values.get("num_added_tokens", 0)
    if values["connection_type"] == "attn" and added:
        problems.append("connection_type 'attn' with added tokens was never written; use 'ff'")
    if problems:
        raise ModelError(f"{directory / CONFIG} cannot be used: {'; '.join(problems)}")

    bases = {role: base_source(directory, values[name]) for role, name in (("encoder", ENCODER), ("decoder", DECODER))}
    encoder, decoder = (
        base_config({"source": source, "revision": None}, local_files_only=local_files_only)
        for source in bases.values()
    )
    table = values["connection_type"] == "embedding_table"
    nv_embed = "nv-embed" in str(values.get("encoder_backbone_type", "")).lower()
    gemma2 = decoder.get_text_config().model_type == "gemma2"
    lora = values.get("encoder_lora_name") or values.get("universal_learner_lora_name")
    rank = values.get("loar_r", values.get("lora_r"))
    return LusiferConfig(
        encoder_config=encoder,
        decoder_config=decoder,
        connector="embedding_table" if table else "ff",
        added_tokens=0 if table else added,
        pooling="latent_attention" if nv_embed else POOLINGS[values["pooling_method"]],
        latent_attention=_latent_attention(directory, decoder) if nv_embed else None,
        projection="none" if nv_embed else "mlp",
        lora={"rank": rank, "alpha": values["lora_alpha"], "dropout": values.get("dropout", 0.0)} if lora else None,
        base_models={role: {"source": source, "revision": None} for role, source in bases.items()},
        # NOTE: the published Gemma2 applies its window to past tokens alone, in eager attention.
        past_window=decoder.get_text_config().sliding_window if gemma2 else None,
        published_positions=published_positions,
    )


def base_source(directory: Path, name: str) -> str:
    """Where a base model is: beside the checkpoint, at a path, or on the hub under its name."""
    beside = directory / name
    return str(beside) if beside.is_dir() else name


class CheckpointNames:
    """From a published parameter name to ours, see the table above; None for what computes no embedding.

    Args:
        config: of the checkpoint.
    """

    def __init__(self, config: LusiferConfig) -> None:
        encoder: Any = config.encoder_config
        self._t5 = encoder.model_type in T5_ENCODERS
        self._table = config.connector == "embedding_table"
        self._latent = config.pooling == "latent_attention"

    def __call__(self, key: str) -> str | None:
        """Our name, None, or the key itself when it is unknown."""
        part, _, rest = key.partition(".")
        rest = _LORA.sub(r".lora_\1.weight", rest.removeprefix("base_model.model.")).replace(".base_layer.", ".")
        if part == "universal_learner":
            return self._of_encoder(rest)
        if part == "encoder":
            return self._of_decoder(rest, key)
        if part == "connection_module":
            new = {"ff.0": "to_vocabulary"} if self._table else {"ff.0": "feed_forward.0", "ff.2": "feed_forward.2"}
            return f"connector.{_renamed(rest, new)}"
        if part == "output_projection":
            return None if self._latent else f"projection.{rest}"
        if part == "laten_attention_model" and self._latent:
            return f"pooler.{_renamed(rest, _LATENT_NAMES)}"
        return key

    def _of_encoder(self, rest: str) -> str | None:
        if rest.startswith("pooler.") or rest in ("embeddings.position_ids", "embeddings.token_type_ids"):
            return None
        if self._t5 and rest == "encoder.embed_tokens.weight":
            return None  # shared.weight again
        return f"multilingual_encoder.{rest}"

    def _of_decoder(self, rest: str, key: str) -> str | None:
        if rest.startswith(("lm_head.", "model.embed_tokens.")) or rest.endswith("rotary_emb.inv_freq"):
            return None
        return f"language_model.{rest.removeprefix('model.')}" if rest.startswith("model.") else key


def _renamed(rest: str, names: dict[str, str]) -> str:
    stem, dot, last = rest.rpartition(".")
    return names.get(rest) or names.get(stem, stem) + dot + last


def _hyperparameters(directory: Path) -> dict[str, Any]:
    file = directory / CONFIG
    values = read_json(file)
    if not is_published(values):
        raise ModelError(
            f"{file} lacks the published hyperparameters {', '.join(MARKS)}; "
            "LusiferModel.from_pretrained loads directories that lusirag wrote"
        )
    if unknown := sorted(set(values) - KNOWN):
        logger.warning("%s: hyperparameters without a meaning here are left out: %s", file, ", ".join(unknown))
    return dict(values)


def _latent_attention(directory: Path, decoder: Any) -> dict[str, int]:
    """Sizes of NV-Embed's head: heads from the base model's configuration, the rest from the weights."""
    stored = StoredWeights(weight_files(directory)).tensors
    try:
        latents = stored["laten_attention_model.latents"].shape[0]
        inner = stored["laten_attention_model.cross_attend_blocks.0.fn.to_q.weight"].shape[0]
    except KeyError as error:
        raise ModelError(
            f"the weights in {directory} lack {error.args[0]}, which an NV-Embed backbone needs"
        ) from error
    given = getattr(decoder, "latent_attention_config", None) or {}
    heads = (NV_EMBED_HEAD | (given if isinstance(given, dict) else {}))["num_cross_heads"]
    return {"latents": latents, "heads": heads, "head_width": inner // heads}


def vocabulary_weights(directory: Path) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Token embedding (V, D), head (V, D) and head bias (V) of a checkpoint's language model, None where it has none.

    A checkpoint without a head has a tied one.
    """

    def name(key: str) -> str | None:
        if not key.startswith("encoder."):
            return None
        rest = key.removeprefix("encoder.").removeprefix("base_model.model.").removeprefix("model.")
        return rest if rest in ("embed_tokens.weight", "lm_head.weight", "lm_head.bias") else None

    weights = StoredWeights(weight_files(directory), rename=name)
    found = {key: tensor for key, (tensor,) in weights.read((key, [key]) for key in weights.tensors)}
    embedding = found.get("embed_tokens.weight")
    return embedding, found.get("lm_head.weight", embedding), found.get("lm_head.bias")
