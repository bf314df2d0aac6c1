"""Fixtures that many tests share: tiny random LUSIFER models that need no download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    ModernBertConfig,
    MT5Config,
    Phi3Config,
    PhiConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
    T5Config,
    UMT5Config,
    XLMRobertaConfig,
    XLMRobertaXLConfig,
)

from lusirag.model import LusiferConfig, LusiferModel

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'\"()-#/\\<>{}_\n"
SCRIPTS = "áéíóúñабвгдежзиклмнопрстуфхцчшщыьэюяابتثجحخدرزسشعفقكلمنهويअआकखगतदनपबमरलसहক খগতদনবমরলসতెలుగు한국어中文。日本語"


def tiny_tokenizer() -> Tokenizer:
    """One token a character, with XLM-R's special tokens around the text."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *dict.fromkeys(ALPHABET + SCRIPTS.replace(" ", ""))]
    tokenizer = Tokenizer(models.Unigram([(piece, -float(at)) for at, piece in enumerate(pieces)], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


ENCODER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 256,
    "pad_token_id": 1,
    "max_position_embeddings": 520,
}
T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "vocab_size": 256,
    "pad_token_id": 1,
    "feed_forward_proj": "gated-gelu",
}
ENCODERS: dict[str, Callable[[], PreTrainedConfig]] = {
    "bert": lambda: BertConfig(**ENCODER),
    "xlm-roberta": lambda: XLMRobertaConfig(**ENCODER),
    "xlm-roberta-xl": lambda: XLMRobertaXLConfig(**ENCODER),
    "modernbert": lambda: ModernBertConfig(**ENCODER, local_attention=8, global_attn_every_n_layers=2),
    "t5": lambda: T5Config(**T5),
    "mt5": lambda: MT5Config(**T5),
    "umt5": lambda: UMT5Config(**T5),
}
# Small windows, so that a window that is not opened shows.
DECODER = {
    "vocab_size": 64,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "max_position_embeddings": 1024,
    "pad_token_id": 0,
}
DECODERS: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**DECODER),
    "mistral": lambda: MistralConfig(**DECODER, sliding_window=4),
    "qwen2": lambda: Qwen2Config(**DECODER, use_sliding_window=True, sliding_window=4, max_window_layers=1),
    "qwen3": lambda: Qwen3Config(**DECODER, head_dim=12),
    "gemma2": lambda: Gemma2Config(**DECODER, head_dim=12, sliding_window=4, query_pre_attn_scalar=12),
    "gemma3": lambda: Gemma3TextConfig(**DECODER, head_dim=12, sliding_window=4, query_pre_attn_scalar=12),
    "phi": lambda: PhiConfig(**DECODER, partial_rotary_factor=0.5),
    "phi3": lambda: Phi3Config(**DECODER, sliding_window=4),
    "smollm3": lambda: SmolLM3Config(**DECODER),
}


def tiny_config(encoder: str = "bert", decoder: str | None = "llama", **settings: Any) -> LusiferConfig:
    """Two layers each side, encoder width 32, decoder width 48."""
    decoder_config = None if decoder is None else DECODERS[decoder]()
    return LusiferConfig(encoder_config=ENCODERS[encoder](), decoder_config=decoder_config, **settings)


def tiny_model(encoder: str = "bert", decoder: str | None = "llama", **settings: Any) -> LusiferModel:
    """A random model whose parts all matter: weights are scaled up from the usual small start values."""
    torch.manual_seed(11)
    model = LusiferModel(tiny_config(encoder, decoder, **settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.15)
            elif "bias" in name:
                parameter.normal_(std=0.1)
    return model.eval()


@pytest.fixture(scope="session")
def save_tiny_model() -> Callable[..., Path]:
    """Write a tiny model directory: `save_tiny_model(folder, templates=...)`."""

    def save(directory: Path, encoder: str = "bert", **settings: Any) -> Path:
        tiny_model(encoder, **settings).save_pretrained(directory)
        tiny_tokenizer().save(str(directory / "tokenizer.json"))
        return directory

    return save


@pytest.fixture(scope="session")
def tiny_directory(tmp_path_factory: pytest.TempPathFactory, save_tiny_model: Callable[..., Path]) -> Path:
    """A tiny model directory with e5's templates and an encoder skip."""
    return save_tiny_model(
        tmp_path_factory.mktemp("tiny"),
        projection="linear",
        embedding_size=32,
        encoder_skip=True,
        templates={"query": "query: {text}", "document": "passage: {text}"},
        max_tokens=64,
    )
