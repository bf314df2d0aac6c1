"""Writes tiny random language models, so that generation runs the real transformers offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = ["<s>", "</s>", "<pad>", "<unk>", *(f"w{number}" for number in range(60))]
CHAT = (
    "{{ bos_token }}{% for message in messages %}w{{ {'system': 1, 'user': 2, 'assistant': 3}[message.role] }} "
    "{{ message.content }} {% endfor %}{% if add_generation_prompt %}w3 {% endif %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system\nrole') }}{% endif %}" + CHAT
THINKING = CHAT + "<think>\n"


def write_tokenizer(directory: Path, template: str | None) -> None:
    """One token a word, <s> before the text."""
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", model_max_length=16,
    )  # fmt: skip
    fast.chat_template = template
    fast.save_pretrained(directory)


def write_language_model(directory: Path, *, template: str | None = CHAT, ends: bool = False, **config: Any) -> Path:
    """Llama of two layers, for 256 tokens.

    Args:
        directory: where to.
        template: of a chat; None for a model without one.
        ends: the model may end its answer; else it goes on for ever.
        config: other settings of the model.
    """
    torch.manual_seed(5)
    settings = {
        "vocab_size": len(WORDS), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.4,
        "bos_token_id": 0, "eos_token_id": 1 if ends else None, "pad_token_id": None,
    }  # fmt: skip
    model = LlamaForCausalLM(LlamaConfig(**settings | config))
    # What chat models come with; none of it is what is asked for here.
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=3.0, top_k=2, top_p=0.5, repetition_penalty=1.7, eos_token_id=1 if ends else 999
    )
    model.save_pretrained(directory)
    write_tokenizer(directory, template)
    return directory
